"""A video file as equal windows of time, each a clip as a model sees it.

Nothing here needs torch, so that processes that decode untrusted files start at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from scriptsight import clips
from scriptsight.media.reader import Frame, frames_at_rate, probe

WINDOW = 60.0  # seconds: as long as a segment of the default parameters
RATE = 2.0  # frames a second at least, as they are stored by the default parameters


@dataclass(frozen=True)
class Window:
    """A stretch of a video, `start` to `end` seconds, and its clip uint8 [M, size, size, 3]."""

    start: float
    end: float
    clip: np.ndarray


@dataclass(frozen=True)
class Order:
    """What `decoded` is to make, as `seen` takes it."""

    path: str
    frames: int
    size: int
    window: float
    most: int | None = None


def decoded(orders: Sequence[Order]) -> list[Window]:
    """All windows of videos: `seen` for a process apart (`media.isolated`).

    Raises:
        MediaError: see `seen`.
    """
    return [one for order in orders for one in seen(order.path, order.frames, order.size, order.window, order.most)]


def seen(path: str | Path, frames: int, size: int, window: float, most: int | None = None) -> Iterator[Window]:
    """A video in equal windows of at most `window` seconds.

    Args:
        frames: M of each clip.
        size: of its frames, pixels.
        most: so many windows, which are longer where need be.

    Raises:
        MediaError: the file is not there, or can't be decoded to its end.
    """
    duration = max(probe(path).duration, 1e-3)  # a single picture has none
    count = max(1, ceil(duration / window - 1e-9))
    count = count if most is None else min(count, most)
    # Each of a window's M parts has a frame of its own; windows that had to be longer have no more frames for it.
    rate = max(RATE * min(1.0, window * count / duration), frames * count / duration)
    for start, end, shown in windows(frames_at_rate(path, rate, size), duration, count):
        times = np.array([frame.time for frame in shown])
        indices = clips.frame_indices(times, start, end, frames)
        yield Window(start, end, np.ascontiguousarray(clips.fit(np.stack([shown[i].image for i in indices]), size)))


def windows(source: Iterator[Frame], duration: float, count: int) -> Iterator[tuple[float, float, Sequence[Frame]]]:
    """Start, end and frames of `count` equal windows; what is on screen when a window begins belongs to it."""
    edges = np.linspace(0, duration, count + 1).tolist()
    number = 0
    shown: list[Frame] = []
    for frame in source:
        while number < count - 1 and frame.time >= edges[number + 1]:
            yield edges[number], edges[number + 1], shown or [frame]  # a picture that starts late
            number, shown = number + 1, shown[-1:]
        shown.append(frame)
    for last in range(number, count):
        yield edges[last], edges[last + 1], shown
        shown = shown[-1:]
