"""Clips: the M frames of a stretch of a segment that a model sees. The same code draws them everywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from PIL import Image

from scriptsight.segments import Segment

Order = Literal["forward", "shuffled", "reversed", "first_frame"]


@dataclass(frozen=True)
class View:
    """How a segment is looked at: V = stretches * crops clips, whose features or scores are then averaged.

    TVTS tests with 2 stretches and 3 crops, CPD with 10 and 3.

    Attributes:
        stretches: equal parts of the segment's time, each a clip of M middle frames.
        crops: 1, the centre square, or 3 squares along the longer side: its two ends and the centre.
        order: of each clip's frames. The others than "forward" take time away, to see what was learned of it:
            "shuffled" permutes them by a draw from the segment's id alone and leaves no clip of two frames or more
            as it was, "reversed" runs backward, and "first_frame" shows the clip's first frame M times.
    """

    stretches: int = 1
    crops: Literal[1, 3] = 1
    order: Order = "forward"

    @property
    def clips(self) -> int:
        """V."""
        return self.stretches * self.crops


def frame_indices(
    times: np.ndarray, start: float, end: float, frames: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """One frame from each of M equal parts of [start, end] (TVTS, section 3.1) -> int64 [M].

    Args:
        times: presentation times of the stored frames in seconds, ascending, float64 [F].
        start, end: the stretch in seconds.
        frames: M.
        rng: draws the moment in each part uniformly; None takes its middle, as evaluation does.

    The stored frame that is on screen at a moment is taken: the last one at or before it. A stretch with
    fewer stored frames than parts shows frames more than once.
    """
    offsets = np.full(frames, 0.5) if rng is None else rng.random(frames)
    moments = start + (np.arange(frames) + offsets) * (end - start) / frames
    return np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 1)


def strided_indices(
    times: np.ndarray, start: float, end: float, frames: int, stride: int, rng: np.random.Generator | None = None
) -> np.ndarray:
    """M frames, each `stride` stored frames after the last, from a uniform start in [start, end] (CPD) -> int64 [M].

    Without `rng` the clip lies in the middle, as in evaluation. A stretch that is too short ends with its last
    frame, repeated.
    """
    first, last = np.clip(np.searchsorted(times, [start, end], side="right") - 1, 0, len(times) - 1)
    room = max(0, last - first - (frames - 1) * stride)
    begin = first + (room // 2 if rng is None else rng.integers(room + 1))
    return np.minimum(begin + stride * np.arange(frames), last)


def read(segment: Segment, indices: np.ndarray, size: int) -> np.ndarray:
    """Decode the frames at `indices`, short side scaled to `size`, centre crop -> uint8 [M, size, size, 3]."""
    return fit(segment.decode(indices.tolist()), size)


def views(segment: Segment, view: View, frames: int, size: int) -> np.ndarray:
    """What evaluation sees of a segment -> uint8 [V, M, size, size, 3], the crops of the first stretch first.

    Three crops of square frames would be one and the same, so of those there is one: V = stretches.
    """
    edges = np.linspace(segment.start, segment.end, view.stretches + 1).tolist()
    indices = np.stack([frame_indices(segment.frame_times, *stretch, frames) for stretch in pairwise(edges)])[
        :, arrangement(view.order, frames, segment.segment_id)
    ]  # [stretches, M]
    shown, places = np.unique(indices, return_inverse=True)
    images = _scale(segment.decode(shown.tolist()), size)  # a frame of several clips is decoded once
    squares = np.stack([_crop(images, size, share) for share in _shares(images, view.crops)])  # [crops, F, ...]
    clips = squares[:, places.reshape(indices.shape)]  # [crops, stretches, M, size, size, 3]
    return np.ascontiguousarray(clips.swapaxes(0, 1)).reshape(-1, frames, size, size, 3)


def arrangement(order: Order, frames: int, segment_id: str) -> np.ndarray:
    """Which of a clip's M frames is shown at each place -> int64 [M]."""
    forward = np.arange(frames)
    if order == "first_frame":
        return np.zeros_like(forward)
    if order == "reversed":
        return forward[::-1]
    if order == "forward" or frames == 1:
        return forward
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(segment_id.encode()).digest()))
    while (shuffled := rng.permutation(frames)).tolist() == forward.tolist():
        pass
    return shuffled


def fit(frames: np.ndarray, size: int) -> np.ndarray:
    """Scale the short side of uint8 [M, H, W, 3] to `size` pixels and crop the centre square."""
    return _crop(_scale(frames, size), size, 0.5)


def _scale(frames: np.ndarray, size: int) -> np.ndarray:
    """uint8 [M, H, W, 3] with a short side of `size` pixels."""
    height, width = frames.shape[1:3]
    if min(height, width) == size:
        return frames
    scale = size / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))  # PIL: width first
    return np.stack([np.asarray(Image.fromarray(frame).resize(shape, Image.Resampling.BILINEAR)) for frame in frames])


def _crop(frames: np.ndarray, size: int, share: float) -> np.ndarray:
    """A square of `size` pixels with this `share` of what is left over before it, on either axis."""
    height, width = frames.shape[1:3]
    top, left = int((height - size) * share), int((width - size) * share)
    return frames[:, top : top + size, left : left + size]


def _shares(frames: np.ndarray, crops: int) -> tuple[float, ...]:
    """Where the squares lie: at the start, in the middle and at the end of the longer side."""
    square = frames.shape[1] == frames.shape[2]
    return (0.5,) if crops == 1 or square else (0.0, 0.5, 1.0)
