"""Cuts lie at silences, pieces are short enough, and nothing said is lost."""

from __future__ import annotations

import numpy as np
import pytest

from scriptsight.catalogue import Cue
from scriptsight.params.segment import SegmentParams
from scriptsight.segment.cut import stretches


def params(**keys: float) -> SegmentParams:
    values = {
        "fps": 4.0,
        "short_side": 32,
        "max_seconds": 20.0,
        "max_gap_seconds": 2.0,
        "pad_seconds": 0.5,
        "jpeg_quality": 90,
        "shard_mb": 1.0,
        "timeout_seconds": 60.0,
        "workers": 1,
        "runner": "processes",
        "dask_address": None,
        "max_reject_share": 0.5,
    }
    return SegmentParams.model_validate(values | keys)


def times(*spans: tuple[float, float]) -> list[Cue]:
    return [Cue(start, end, f"from {start}") for start, end in spans]


def spans(cues: list[Cue], duration: float, **keys: float) -> list[tuple[float, float, int]]:
    return [(start, end, len(inside)) for start, end, inside in stretches(cues, duration, params(**keys))]


def test_a_silence_ends_a_stretch() -> None:
    cues = times((1, 2), (3, 5), (9, 10))
    assert spans(cues, 30) == [(0.5, 5.5, 2), (8.5, 10.5, 1)]


def test_neighbours_share_a_short_silence_and_the_video_has_ends() -> None:
    assert spans(times((0.2, 2), (2.4, 4)), 4.1, max_gap_seconds=0.1) == [(0, 2.2, 1), (2.2, 4.1, 1)]


def test_a_long_talk_breaks_at_its_longest_silence_in_the_second_half() -> None:
    cues = times((0, 4), (5.5, 9), (9.5, 12), (13, 16), (16.1, 21), (21.5, 24))
    assert spans(cues, 30, pad_seconds=0.0) == [(0, 12, 3), (13, 24, 3)]


def test_a_long_cue_is_a_stretch_of_its_own_and_loses_its_end() -> None:
    found = stretches(times((0, 1), (1.5, 60), (60.5, 62)), 70, params())
    assert [(start, end) for start, end, _ in found] == [(0, 1.25), (1.5, 21.5), (60.0, 62.5)]
    assert found[1][2] == (Cue(1.5, 21.5, "from 1.5"),)


def test_a_silent_video_is_cut_into_equal_pieces() -> None:
    assert spans([], 50) == [
        (0, pytest.approx(50 / 3), 0),
        (pytest.approx(50 / 3), pytest.approx(100 / 3), 0),
        (pytest.approx(100 / 3), 50, 0),
    ]
    assert spans([], 20) == [(0, 20, 0)]
    assert spans([], 0) == []


def test_cues_outside_of_the_video_are_left_out() -> None:
    assert spans(times((1, 2), (40, 41)), 10) == [(0.5, 2.5, 1)]


@pytest.mark.parametrize("seed", range(50))
def test_any_script_is_cut_as_promised(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(0, 200, 60))
    cues = times(*((float(start), float(start + rng.exponential(3))) for start in starts))
    found = stretches(cues, 190, params())
    edges = [edge for start, end, _ in found for edge in (start, end)]
    assert edges == sorted(edges)  # no stretch over another
    assert edges[0] >= 0 and edges[-1] <= 190
    assert all(0 < end - start <= 20 + 1e-9 for start, end, _ in found)
    assert all(start <= cue.start < cue.end <= end for start, end, inside in found for cue in inside)
    said = [cue.text for _, _, inside in found for cue in inside]
    assert said == [cue.text for cue in cues if cue.start < 190]  # each once, in order
