"""What is said of decoding can be measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("decord")

from benchmarks import decoding
from tests.conftest import MakeVideo


def test_both_ways_give_the_same_pictures(make_video: MakeVideo, tmp_path: Path) -> None:
    figures = decoding.compare(make_video(tmp_path / "a.mp4", seconds=3), repeats=1)  # which compares them
    assert min(figures["pyav"], figures["decord"]) > 0
