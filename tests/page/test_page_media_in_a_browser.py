"""A real browser that is sent to a second of a film shows the picture whose number belongs there."""

from __future__ import annotations

import base64
import io
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from scriptsight.media import frames_at
from scriptsight.page import delivery
from scriptsight.page.shelf import Shelf
from tests.numbered import RATE, SIDE, copied, film, number_of
from tests.page.films_on_a_shelf import key, shelf_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
COUNT = 200
CLOSED = {"g": "25", "bf": "2"}
# Film -> whether the browser gets a file as it is.
FILMS = {
    "plain.mp4": True,
    "turned.mp4": True,
    "small.webm": True,
    "late.ts": False,
    "stream.mkv": False,
    "cut.mp4": False,
    "open.mp4": False,
    "hevc.mp4": False,
}
TIMES = [0.01, 1.02, 4.02, 4.06, 2.5, 6.02]
SCRIPT = """async ([src, times]) => {
  const video = document.querySelector("video"), canvas = document.querySelector("canvas"), pictures = [];
  const event = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, {once: true});
    video.addEventListener("error", () => reject(video.error.message), {once: true});
    setTimeout(() => reject("no " + name + " in 30 s"), 30000);
  });
  let waited = event("loadeddata");
  video.src = src;
  await waited;
  for (const time of times) {
    waited = event("seeked");
    video.currentTime = time;
    await waited;
    await new Promise((resolve) => setTimeout(resolve, 100));
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    pictures.push(canvas.toDataURL("image/png").split(",")[1]);
  }
  return pictures;
}"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    plain = film(folder / "plain.mp4", range(COUNT), "libx264", CLOSED, sound=(1.0, 8.0))
    film(folder / "turned.mp4", range(COUNT), view=lambda seen: np.rot90(seen, -1), turn=(90, False, False))
    film(folder / "small.webm", range(COUNT), "libvpx-vp9", {"g": "25", "deadline": "realtime", "cpu-used": "8"})
    copied(plain, folder / "late.ts", later=50.0)
    copied(plain, folder / "stream.mkv")
    copied(plain, folder / "cut.mp4", start=13 / RATE)
    film(folder / "open.mp4", range(COUNT), "libx264", {"g": "20", "x264-params": "open-gop=1:bframes=3:scenecut=0"})
    film(folder / "hevc.mp4", range(COUNT), "libx265", {"x265-params": "log-level=none:pools=none:frame-threads=1"})
    shelf_of(folder, dict.fromkeys(FILMS, 7.0), stored=False)
    return folder


@pytest.fixture(scope="module")
def served(workspace: Path) -> Iterator[str]:
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse("<video muted></video><canvas></canvas>")

    app = Starlette(routes=[Route("/", page), *delivery.routes(Shelf(workspace))])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def tab(served: str) -> Iterator[Any]:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser here to play films with: none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=OPTIONS)
        page = opened.new_page()
        page.goto(served)
        yield page
        opened.close()


@pytest.mark.parametrize("name", FILMS)
def test_the_second_of_the_player_shows_the_picture_of_that_second(
    name: str, tab: Any, served: str, workspace: Path
) -> None:
    deadline = time.monotonic() + 120
    while (answer := tab.request.get(f"{served}/api/player/{key(name)}?at=0").json())["status"] == "preparing":
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert answer["status"] == "ready"
    assert (answer["src"] == f"/video/{key(name)}") == FILMS[name]
    seen = []
    for picture in tab.evaluate(SCRIPT, [answer["src"], [one - answer["offset"] for one in TIMES]]):
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        seen.append(number_of(np.asarray(image.resize((80, SIDE), Image.Resampling.BILINEAR))))
    assert seen == [number_of(frame.image) for frame in frames_at(workspace / name, TIMES, SIDE)]
