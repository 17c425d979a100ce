from pathlib import Path

import pytest

from scriptsight import catalogue
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.segments import Segment
from tests import small

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 230, 30),
    "blue": (30, 30, 230),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
}


@pytest.fixture
def chosen() -> RetrieveParams:
    return RetrieveParams(
        collection="c",
        split="test",
        protocol="segments",
        dual_softmax=None,
        index_splits=("val", "test"),
        more_collections=(),
        search="auto",
        map_points=0,
        batch=4,
        queries=("the red circle", "costs $5 and $6_x"),
        top=3,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A model, segments of two splits, and a catalogue; one test segment has no words, the blue ones are French."""
    small.tiny_bundle(tmp_path / "model")
    videos = []
    for split in ("val", "test"):
        rows = split_rows(split)
        small.write_segments(tmp_path / "segments", "c", split, rows)
        videos += [video(row.video_id, split, "fr" if row.video_id.endswith("blue") else None) for row in rows]
    catalogue.write(tmp_path / "catalogue", [catalogue.with_cues(sorted(videos, key=lambda one: one.video_id))], [])
    return tmp_path


def split_rows(split: str) -> list[Segment]:
    """The segments of a split, new each time."""
    rows = [
        small.segment(f"{split}-{name}", colour=colour, texts=[f"the {name} circle", "moves left $x^2$"])
        for name, colour in COLOURS.items()
    ]
    return [*rows, small.segment("silent", colour=(90, 160, 90))] if split == "test" else rows


def video(video_id: str, split: str, language: str | None) -> catalogue.Video:
    return catalogue.Video(
        video_id=video_id,
        collection="c",
        split=split,
        uri=f"videos/{video_id}.mp4",
        size=1,
        digest="0",
        duration=20.0,
        fps=2.0,
        width=16,
        height=16,
        codec="h264",
        has_audio=False,
        language=language,
    )
