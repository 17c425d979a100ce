"""Films whose pictures show their number, so that what is read at a time can be held against what is right at it.

A picture has ten blocks in its middle, the bits of its number from the left, the lowest first, and a coloured square
in each corner, which say how it is turned. Films have 25 pictures a second unless said otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 160, 96
RATE = 25
SIDE = 48  # pixels, the short side at which pictures are read

_GREY = (98, 128, 128)  # Y, Cb, Cr
_CORNERS = {(0, 0): (81, 90, 240), (0, 1): (145, 54, 34), (1, 0): (41, 240, 110), (1, 1): (235, 128, 128)}
_COLOURS = {(0, 0): (255, 0, 0), (0, 1): (0, 255, 0), (1, 0): (0, 0, 255), (1, 1): (255, 255, 255)}
_CORNER = 20  # pixels
_BITS, _FIRST, _PITCH, _BLOCK = 10, 8, 14, 12

View = Callable[[np.ndarray], np.ndarray]  # [H, W, ...] as seen -> as stored


def drawn(number: int, view: View | None = None) -> av.VideoFrame:
    """The picture of a number, made in yuv420p without a conversion."""
    planes = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    planes[:] = _GREY
    for (row, column), colour in _CORNERS.items():
        rows = slice(0, _CORNER) if row == 0 else slice(HEIGHT - _CORNER, HEIGHT)
        columns = slice(0, _CORNER) if column == 0 else slice(WIDTH - _CORNER, WIDTH)
        planes[rows, columns] = colour
    for bit in range(_BITS):
        left = _FIRST + _PITCH * bit
        planes[HEIGHT // 2 - 7 : HEIGHT // 2 + 7, left : left + _BLOCK] = (235 if number >> bit & 1 else 16, 128, 128)
    stored = np.ascontiguousarray(view(planes) if view else planes)
    height, width = stored.shape[:2]
    chroma = [stored[::2, ::2, channel].reshape(height // 4, width) for channel in (1, 2)]
    return av.VideoFrame.from_ndarray(np.concatenate([stored[:, :, 0], *chroma]), format="yuv420p")


def number_of(image: np.ndarray) -> int:
    """The number that a picture shows, uint8 [48, 80, 3].

    Raises:
        AssertionError: it is not upright, not of its size, or its blocks are neither black nor white.
    """
    assert image.shape == (SIDE, SIDE * WIDTH // HEIGHT, 3), image.shape
    scale = SIDE / HEIGHT
    inset = round(_CORNER * scale / 2)
    for (row, column), colour in _COLOURS.items():
        seen = image[-inset if row else inset, -inset if column else inset].astype(int)
        assert np.abs(seen - colour).max() < 90, f"corner {row}, {column} is {seen}"
    number = 0
    for bit in range(_BITS):
        middle = round((_FIRST + _PITCH * bit + _BLOCK / 2) * scale)
        light = float(image[SIDE // 2 - 2 : SIDE // 2 + 2, middle - 1 : middle + 2].mean())
        assert not 80 < light < 175, f"block {bit} has light {light}"
        number |= (light > 128) << bit
    return number


def film(
    path: Path,
    numbers: Iterable[int],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    times: Sequence[int] | None = None,
    rate: int = RATE,
    pixels: str = "yuv420p",
    view: View | None = None,
    turn: tuple[int, bool, bool] | None = None,
    sound: tuple[float, float] | None = None,
) -> Path:
    """Write the pictures of `numbers`, one a tick of 1/rate seconds or at `times` (ticks).

    `turn` (degrees counter-clockwise, mirrored left to right, upside down) goes into the display matrix; `sound`, two
    times in seconds, is silence up to the second of them with a tone from the first.
    """
    with _at_ordinary_priority(), av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options={"threads": "1"} | (options or {}))
        kind = _SOUND.get(path.suffix, "aac")
        heard: Any = container.add_stream(kind, rate=48_000, layout="mono") if sound else None
        first = drawn(0, view)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, pixels
        stream.codec_context.time_base = Fraction(1, rate)
        if turn:
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
        made = []
        for index, number in enumerate(numbers):
            frame = drawn(number, view)
            frame = frame if pixels == "yuv420p" else frame.reformat(format=pixels)
            frame.pts, frame.time_base = index if times is None else times[index], Fraction(1, rate)
            made += stream.encode(frame)
        made += stream.encode()
        if heard:
            made += _tone(heard, *sound)  # type: ignore[misc]
            made.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in made:
            container.mux(packet)
    return path


@contextmanager
def _at_ordinary_priority() -> Iterator[None]:
    """libsvtav1 leaves a thread of root with the highest real-time priority, and what it starts later as well: such a
    test would stop all others on the machine."""
    try:
        yield
    finally:
        if hasattr(os, "sched_setscheduler"):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


_SOUND = {".webm": "libopus", ".ts": "mp2", ".mpg": "mp2", ".vob": "mp2", ".flv": "aac"}


def _tone(stream: Any, start: float, end: float) -> list[Any]:
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    times = np.arange(round(end * 48_000)) / 48_000
    wave = np.where(times >= start, 0.5 * np.sin(2 * np.pi * 440 * times), 0)
    made = []
    kind = stream.codec_context.format.name
    for first in range(0, len(wave), size):
        part = wave[first : first + size].astype(np.float32)[None]
        part = part if kind.startswith("flt") else (part * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, first, Fraction(1, 48_000)
        made += stream.encode(frame)
    return made + stream.encode()


def copied(
    source: Path,
    path: Path,
    start: float = 0.0,
    end: float | None = None,
    later: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """`ffmpeg -ss start -to end -i source -c copy path`, with times `later` by so many seconds."""
    with av.open(str(source)) as origin, av.open(str(path), "w", options=options or {}) as container:
        streams = {one.index: container.add_stream_from_template(one, opaque=True) for one in origin.streams}
        zero = (origin.start_time or 0) / av.time_base
        if start:
            origin.seek(round((start + zero) * av.time_base))
        begun = False
        for packet in origin.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if end is not None and float(packet.dts * packet.time_base) - zero >= end:
                continue
            begun = begun or (packet.is_keyframe and packet.stream.type == "video")
            if not begun:
                continue
            moved = round((later - start - zero) / packet.time_base)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return path
