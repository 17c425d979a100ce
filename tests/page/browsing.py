"""The search page in a real browser: a small workspace with real videos, its server, and Chromium."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from scriptsight import retrieve
from scriptsight.catalogue import Cue
from scriptsight.judgements import FILE
from scriptsight.page import app
from scriptsight.page.access import Access
from scriptsight.page.shelf import Shelf
from scriptsight.params import reading
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.segments import Segment
from tests import small

SECONDS = 12.0  # of each video; moments are from 1 to 4 and from 7 to 10
RATE = 12  # frames a second
PATIENCE = 60_000  # milliseconds: other tests may have the processor
MOMENTS = ((1.0, 4.0), (7.0, 10.0))


@dataclass(frozen=True)
class Film:
    """A video to make: its name, its colour, and what is said in its two moments."""

    name: str
    colour: tuple[int, int, int]
    said: tuple[str, str]
    split: str = "test"
    label: str | None = None
    collection: str = "shapes"


FILMS = (
    Film("red", (214, 69, 65), ("the red circle moves left", "then the red square grows"), label="moves"),
    Film("blue", (52, 101, 186), ("the blue square shrinks", "the blue circle moves right"), label="shrinks"),
    Film("green", (46, 139, 87), ("the green triangle moves up", "the green triangle grows"), "val", "moves"),
)


def film(path: Path, colour: Sequence[int]) -> Path:
    """A disc that wanders through a picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0:120, 0:160]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"g": "12", "threads": "1", "preset": "ultrafast"}
        )
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(round(SECONDS * RATE)):
            picture = np.full((120, 160, 3), colour, dtype=np.uint8)
            middle = 20 + 120 * number / (SECONDS * RATE)
            picture[(columns - middle) ** 2 + (rows - 60) ** 2 < 300] = 240
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def workspace(folder: Path, films: Sequence[Film] = FILMS, seed: int = 0) -> Path:
    """A workspace with these videos, a model that has learned nothing, and their index."""
    for one in films:
        film(folder / "videos" / f"{one.name}.mp4", one.colour)
    return learned(folder, films, seed)


def learned(folder: Path, films: Sequence[Film] = FILMS, seed: int = 0) -> Path:
    """The segments, the model and the index of a workspace."""
    groups: dict[tuple[str, str], list[Film]] = {}
    for one in films:
        groups.setdefault((one.collection, one.split), []).append(one)
    for (collection, split), own in groups.items():
        rows = [_segment(one, number) for one in own for number in range(len(MOMENTS))]
        small.write_segments(folder / "data" / "segments", collection, split, rows)
    small.tiny_bundle(folder / "models" / "pretrained", seed=seed)
    measured(folder, films)
    return folder


def measured(folder: Path, films: Sequence[Film] = FILMS) -> None:
    """What the retrieve stage makes of a workspace: its index, and the figures, those of people's thumbs as well."""
    section = reading.read_yaml(small.PROJECT / "params.yaml")["retrieve"]
    first, *others = sorted({one.collection for one in films})
    choice = RetrieveParams.model_validate(
        section
        | {
            "collection": first,
            "more_collections": others,
            "split": "test",
            "index_splits": sorted({one.split for one in films}),
            "map_points": 0,
            "queries": ["the red circle moves left"],
            "batch": 4,
            "top": 2,
        }
    )
    retrieve.run(
        choice,
        segments=folder / "data" / "segments",
        catalogue=folder / "data" / "catalogue",
        bundle=folder / "models" / "pretrained",
        index=folder / "models" / "index",
        metrics=folder / "metrics" / "retrieve.json",
        plots=folder / "plots" / "retrieve",
        work_root=folder / ".work",
        judgements=folder / FILE,
    )


def _segment(one: Film, number: int) -> Segment:
    start, end = MOMENTS[number]
    made = small.segment(one.name, colour=one.colour, label=one.label, title=one.name, seed=number)
    return replace(
        made,
        segment_id=f"{one.collection}/{one.name}/{number}",
        uri=f"videos/{one.name}.mp4",
        start=start,
        end=end,
        frame_times=np.linspace(start, end, len(made.frames), endpoint=False),
        cues=(Cue(start, end, one.said[number]),),
    )


@contextmanager
def serving(folder: Path, password: str | None = None, models: dict[str, Path] | None = None) -> Iterator[str]:
    """Serve a workspace from a thread; yields the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    built = app.build(Shelf(folder, models or {}), Access(port=port, password=password))
    server = uvicorn.Server(uvicorn.Config(built, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("The server ended before it began.")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser; a test that needs it is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and all that should not have happened on it."""

    page: Page
    faults: list[str] = field(default_factory=list)  # scripts' errors, the console's, dialogs, foreign addresses


@contextmanager
def visit(
    browser: Browser, address: str, *, dark: bool = False, phone: bool = False, path: str = "/"
) -> Iterator[Visit]:
    """Open a page. Errors, dialogs and requests to anywhere else are gathered, and none may be there at the end."""
    size = {"width": 390, "height": 800} if phone else {"width": 1280, "height": 900}
    context = browser.new_context(
        base_url=address,
        viewport=size,  # type: ignore[arg-type]
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    made = Visit(page)
    page.on("pageerror", lambda error: made.faults.append(f"error: {error}"))
    page.on("console", lambda said: made.faults.append(f"console: {said.text}") if said.type == "error" else None)

    def dialog(one: object) -> None:
        made.faults.append("a dialog opened")
        one.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", dialog)
    page.on("request", lambda one: made.faults.append(f"asked {one.url}") if not _own(one.url, address) else None)
    page.goto(path)
    yield made
    assert made.faults == []
    context.close()


def until(page: Page, condition: str) -> None:
    """Wait for a condition in JavaScript; Playwright would evaluate a text in the page, whose policy forbids that."""
    last = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < last, f"never came: {condition}"
        page.wait_for_timeout(20)


def _own(url: str, address: str) -> bool:
    return url.startswith((address + "/", "data:", "blob:"))
