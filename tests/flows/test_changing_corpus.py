"""Videos come, go, get other names and other words: `run` redoes what it must, and a page that is open shows it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import MakeVideo
from tests.flows.conftest import Command, serving

OVERRIDES = """
ingest: {collections: {talks: {kind: folder, path: ../talks, splits: {"learn*": train, "val*": val, "*": test}}}}
segment: {fps: 4, short_side: 16, max_gap_seconds: 10}
pretrain:
  image_size: 16
  frames: 4
  k: 2
  video: {width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 16, vocabulary: 500}
  steps: 4
  batch: 4
  schedule: {warmup_steps: 1}
  validate_every: 2
  validation_samples: 4
retrieve: {map_points: 0}
"""
NAMES = ("learn_a", "learn_b", "learn_c", "learn_d", "val_a", "val_b", "edited", "lost", "old")
SHOWN_SECONDS = 30  # within which the page shows what was made; it looks every second


def test_a_run_redoes_what_it_must_and_an_open_page_shows_it(
    command: Command, make_video: MakeVideo, workspace: Path
) -> None:
    talks = workspace.parent / "talks"
    for number, name in enumerate(NAMES):
        make_video(talks / f"{name}.mp4", seconds=8 + number % 3, size=(64, 64))
        write_script(talks / f"{name}.vtt", f"about {name.replace('_', ' ')}")
    (workspace / "overrides.yaml").write_text(OVERRIDES)
    first = command("scriptsight", "run", "--workspace", ".")
    assert first.returncode == 0, first.stderr
    weights = Path("models/pretrained/model.safetensors").read_bytes()
    with (
        serving(("scriptsight", "page", ".", "--port"), "/api/state", {}) as address,
        httpx.Client(base_url=address.removesuffix("/api/state"), timeout=60) as page,
    ):
        assert said(page, "lost") == {"lost.mp4"}
        before = page.get("/api/state").json()["version"]

        make_video(talks / "added.mp4", seconds=11, size=(64, 64))
        write_script(talks / "added.vtt", "about something added")
        for suffix in (".mp4", ".vtt"):
            (talks / f"old{suffix}").rename(talks / f"renamed{suffix}")
            (talks / f"lost{suffix}").unlink()
        write_script(talks / "edited.vtt", "quite another zebra")
        second = command("scriptsight", "run", "--workspace", ".")
        assert second.returncode == 0, second.stderr
        told = second.stdout + second.stderr
        # New, renamed and edited are the three that are not as they were.
        assert "ingest: 6 of 9 videos are as in the last run" in told
        assert "segment: 6 of 9 videos are as in the last run" in told
        assert "its model is taken over" in told
        assert Path("models/pretrained/model.safetensors").read_bytes() == weights
        segments = json.loads(Path("metrics/segment.json").read_text())["segments"]
        (reused,) = re.findall(rf"(\d+) of {segments} segments were in the index already", told)
        assert int(reused) == segments - 2  # new and renamed; other words have the same pictures

        until(lambda: page.get("/api/state").json()["version"] != before)
        assert said(page, "something added") == {"added.mp4"}
        assert said(page, "zebra") == {"edited.mp4"}
        assert not said(page, "lost")
        assert said(page, "about old") == {"renamed.mp4"}
        (found,) = search(page, "about old")
        film = page.get(f"/video/{found['video']}")
        assert film.status_code == 200
        assert film.content == (talks / "renamed.mp4").read_bytes()

    third = command("scriptsight", "run", "--workspace", ".")
    assert "everything is up to date" in third.stdout


def write_script(path: Path, words: str) -> None:
    """Four cues of a second and a half that say the words."""
    cues = [f"00:0{2 * i}.000 --> 00:0{2 * i + 1}.500\n{words}, part number {i}\n" for i in range(4)]
    path.write_text("WEBVTT\n\n" + "\n".join(cues))


def search(page: httpx.Client, words: str) -> list[dict[str, Any]]:
    """The moments in which all the words are said."""
    asked = {"q": words, "by": "words", "said": words}
    return list(page.get("/api/search", params=asked).raise_for_status().json()["moments"])


def said(page: httpx.Client, words: str) -> set[str]:
    return {Path(moment["uri"]).name for moment in search(page, words)}


def until(condition: Any) -> None:
    deadline = time.monotonic() + SHOWN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the page does not show what was made"
        time.sleep(0.2)
