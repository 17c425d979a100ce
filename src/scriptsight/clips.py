"""Clips: the M frames of a stretch of a segment that a model sees. The same code draws them everywhere."""

from __future__ import annotations

import numpy as np
from PIL import Image

from scriptsight.segments import Segment


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


def whole(segment: Segment, frames: int, size: int) -> np.ndarray:
    """The evaluation view of a whole segment: M middle frames -> uint8 [M, size, size, 3]."""
    return read(segment, frame_indices(segment.frame_times, segment.start, segment.end, frames), size)


def fit(frames: np.ndarray, size: int) -> np.ndarray:
    """Scale the short side of uint8 [M, H, W, 3] to `size` pixels and crop the centre square."""
    height, width = frames.shape[1:3]
    if (height, width) == (size, size):
        return frames
    scale = size / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))  # PIL: width first
    top, left = (shape[1] - size) // 2, (shape[0] - size) // 2
    return np.stack(
        [
            np.asarray(Image.fromarray(frame).resize(shape, Image.Resampling.BILINEAR))[
                top : top + size, left : left + size
            ]
            for frame in frames
        ]
    )
