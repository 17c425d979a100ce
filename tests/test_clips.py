"""What evaluation sees of a segment: stretches of its time, squares of its frames, and orders that take time away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import simplejpeg

from scriptsight import clips
from scriptsight.clips import View
from scriptsight.segments import Segment
from tests import small

SIZE, FRAMES = 16, 4


def wide(height: int = 32, width: int = 64, count: int = 24) -> Segment:
    """Twelve seconds whose grey grows from frame to frame and from left to right, and from top to bottom."""
    place = np.linspace(0, 100, max(height, width)).astype(np.uint8)
    picture = place[None, :width] if width > height else place[:height, None]
    frames = [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(np.broadcast_to((picture + 5 * number)[..., None], (height, width, 3))), quality=95
        )
        for number in range(count)
    ]
    times = 10 + np.arange(count) / 2
    return dataclasses.replace(small.segment("v"), frames=frames, frame_times=times, end=10 + count / 2)


def looked_at(segment: Segment, start: float, end: float) -> np.ndarray:
    """The middle frames of a stretch, whole and small -> uint8 [M, ...]."""
    indices = clips.frame_indices(segment.frame_times, start, end, FRAMES)
    return clips.read(segment, indices, SIZE)


@pytest.mark.parametrize("stretches", [1, 2, 3])
def test_stretches_are_equal_parts_of_the_time(stretches: int) -> None:
    segment = wide()
    found = clips.views(segment, View(stretches=stretches), FRAMES, SIZE)
    length = (segment.end - segment.start) / stretches
    expected = [looked_at(segment, 10 + part * length, 10 + (part + 1) * length) for part in range(stretches)]
    np.testing.assert_array_equal(found, np.stack(expected))
    brightness = found.mean(axis=(2, 3, 4)).flatten()
    assert (np.diff(brightness) > 0).all()  # time runs on, from clip to clip


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32), (16, 40)])
def test_three_crops_are_the_ends_and_the_centre_of_the_longer_side(height: int, width: int) -> None:
    segment = wide(height, width)
    found = clips.views(segment, View(stretches=2, crops=3), FRAMES, SIZE)
    assert found.shape == (6, FRAMES, SIZE, SIZE, 3)
    np.testing.assert_array_equal(found[1::3], clips.views(segment, View(stretches=2), FRAMES, SIZE))
    brightness = found[:3, 0].astype(float).mean(axis=-1)
    first, centre, last = brightness.mean(axis=(1, 2))
    assert last - centre == pytest.approx(centre - first, abs=2)
    along = brightness.mean(axis=1 if width > height else 2)
    assert along[0, 0] == pytest.approx(5, abs=3)  # the frame on screen at the first middle is the second
    assert along[2, -1] == pytest.approx(105, abs=3)


def test_three_crops_of_square_frames_are_one() -> None:
    segment = wide(32, 32)
    found = clips.views(segment, View(stretches=2, crops=3), FRAMES, SIZE)
    np.testing.assert_array_equal(found, clips.views(segment, View(stretches=2), FRAMES, SIZE))


def test_orders_take_time_away() -> None:
    segment = wide()
    seen = {order: clips.views(segment, View(2, 3, order), FRAMES, SIZE) for order in ("forward", "shuffled")}
    for order in ("reversed", "first_frame"):
        seen[order] = clips.views(segment, View(2, 3, order), FRAMES, SIZE)
    np.testing.assert_array_equal(seen["reversed"][:, ::-1], seen["forward"])
    np.testing.assert_array_equal(seen["first_frame"], seen["forward"][:, :1].repeat(FRAMES, axis=1))
    places = clips.arrangement("shuffled", FRAMES, segment.segment_id)
    np.testing.assert_array_equal(seen["shuffled"], seen["forward"][:, places])
    assert (seen["shuffled"] != seen["forward"]).any(axis=(1, 2, 3, 4)).all()


def test_a_shuffle_comes_from_the_id_alone_and_is_never_the_identity() -> None:
    drawn = [clips.arrangement("shuffled", 3, f"c/v{number}/0").tolist() for number in range(300)]
    assert drawn == [clips.arrangement("shuffled", 3, f"c/v{number}/0").tolist() for number in range(300)]
    counts = {tuple(order): drawn.count(order) for order in drawn}
    assert set(counts) == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}  # all but the identity
    assert min(counts.values()) > 35  # 60 are expected of each; fewer than 36 in one of 5,000 worlds
    assert clips.arrangement("shuffled", 1, "c/v/0").tolist() == [0]  # there is no other
