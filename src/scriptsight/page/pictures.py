"""The pictures of strips, read in processes of their own: nothing is imported here that takes long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg

from scriptsight.media.errors import MediaError
from scriptsight.page.seeking import frames_near

PICTURES = 8  # of a strip
LINES = 160  # pixels, the most that a picture is high
QUALITY = 80

Stretch = tuple[float, float]  # seconds
Strip = list[bytes]  # JPEG files


def times_of(stretch: Stretch) -> list[float]:
    """The middles of eight equal parts of a stretch, seconds."""
    start, end = stretch
    return [start + (number + 0.5) * (end - start) / PICTURES for number in range(PICTURES)]


def read(jobs: Sequence[tuple[str, Sequence[Stretch]]]) -> list[Strip] | None:
    """The strips of a file, in one pass; None where it can't be read. For a process of its own."""
    file, stretches = jobs[0]
    times = sorted({time for stretch in stretches for time in times_of(stretch)})
    try:
        frames = frames_near(file, times, LINES)
    except MediaError:
        return None
    shown: dict[float, bytes] = {}  # by the time at which a frame appears
    for frame in frames:
        if frame.time not in shown:
            shown[frame.time] = simplejpeg.encode_jpeg(np.ascontiguousarray(frame.image), quality=QUALITY)
    at = {time: shown[frame.time] for time, frame in zip(times, frames, strict=True)}
    return [[at[time] for time in times_of(stretch)] for stretch in stretches]
