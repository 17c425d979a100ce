from pathlib import Path

import pytest

from scriptsight import params
from tests import small

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 230, 30),
    "blue": (30, 30, 230),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
}


@pytest.fixture
def chosen() -> params.Retrieve:
    return params.Retrieve(
        collection="c",
        split="test",
        index_splits=("val", "test"),
        batch=4,
        queries=("the red circle", "costs $5 and $6_x"),
        top=3,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A model and segments of two splits; one test segment has no words."""
    small.tiny_bundle(tmp_path / "model")
    for split in ("val", "test"):
        rows = [
            small.segment(f"{split}-{name}", colour=colour, texts=[f"the {name} circle", "moves left $x^2$"])
            for name, colour in COLOURS.items()
        ]
        if split == "test":
            rows.append(small.segment("silent", colour=(90, 160, 90)))
        small.write_segments(tmp_path / "segments", "c", split, rows)
    return tmp_path
