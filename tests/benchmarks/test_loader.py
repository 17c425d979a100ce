"""What the README says of shards can be measured again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("decord")

from benchmarks import loader


def test_the_three_ways_of_reading_give_the_same_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loader.draw(Path("videos/0.mp4"), 10, seed=0)
    figures = loader.compare(loader.cut(Path("videos"), 420), repeats=1)  # which compares them
    assert figures["bytes_per_sample"] > 0
    assert min(figures["vs_seek"], figures["vs_decord"]) > 0
