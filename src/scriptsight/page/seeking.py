"""Pictures from the middle of a film, the same as `media.reader` finds when it decodes the film from its start.

Only where each picture has a time of its own and there is one clock (MP4, Matroska) is decoding begun at a key frame
before the time that is asked for; all other films are decoded from their start. What follows from a wrong index is
seen, for then the first picture comes after the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import av

from scriptsight.media import reader
from scriptsight.media.boxes import forward
from scriptsight.media.errors import MediaError
from scriptsight.media.reader import Frame

_BACK = (0.1, 5.0)  # seconds before the time at which a key frame is looked for, tried in turn
_NEAR = 2.0  # seconds: so close pictures are decoded on, not looked for
_OWN_TIMES = ("mov,", "matroska,")


def frames_from(path: str | Path, start: float, short_side: int | None = None) -> Iterator[Frame]:
    """Yield all frames from the one on screen at `start` (seconds) on, at the times that `frames_at_rate` gives.

    Args:
        short_side: pixels; None leaves the size as it is.

    Raises:
        MediaError: as `frames_at_rate` does, but for films that end early.
    """
    with reader.opened_film(path) as opened:
        size = (opened.width, opened.height) if short_side is None else opened.scaled(short_side)
        draw = reader.drawing(opened, size)
        held: tuple[float, float, av.VideoFrame] | None = None  # on screen at the start, as far as is known
        for one in _from(opened, start):
            if one[0] <= start + reader.ROUNDED:
                held = one
                continue
            if held:
                yield Frame(held[0], one[0], draw(held[2]))
                held = None
            yield Frame(one[0], one[1], draw(one[2]))
        if held:
            yield Frame(held[0], held[1], draw(held[2]))


def frames_near(path: str | Path, times: Sequence[float], lines: int) -> list[Frame]:
    """The frames on screen at ascending `times` (seconds), as `frames_at` gives them, but for their ends.

    They are not over `lines` pixels high. For what lies beyond a damaged place the last good frame stands.

    Raises:
        MediaError: nothing can be decoded.
    """
    with reader.opened_film(path) as opened:
        scale = min(1.0, lines / opened.height)
        draw = reader.drawing(opened, opened.scaled(max(1, round(min(opened.width, opened.height) * scale))))
        found: list[Frame] = []
        frames = _from(opened, times[0])
        current = next(frames)
        following = current
        for place, time in enumerate(times):
            if place and time - times[place - 1] > _NEAR and _seekable(opened):
                try:
                    frames = _from(opened, time)
                    current = following = next(frames)
                except MediaError:
                    frames = iter(())
            try:
                while following[0] <= time + reader.ROUNDED:
                    current = following
                    following = next(frames)
            except (StopIteration, MediaError):
                frames = iter(())
            found.append(Frame(current[0], current[1], draw(current[2])))
    return found


def _seekable(opened: reader.OpenedFilm) -> bool:
    clock = opened.clock
    return (
        opened.container.format.name.startswith(_OWN_TIMES)
        and not (clock.lost or clock.more)
        and len(tuple(forward(clock.edits))) <= 1
    )


def _from(opened: reader.OpenedFilm, start: float) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame) in order, from one at or before `start` on."""
    if not _seekable(opened) or start <= _BACK[0]:
        return reader.in_order(opened)
    own = start + opened.clock.origin
    edit = next((one for one in reversed(opened.clock.edits) if one.start <= own), None)
    own -= edit.moved if edit else 0.0
    for back in _BACK:
        frames = _decoded(opened, own - back)
        try:
            first = next(frames, None)
        except MediaError:
            continue
        if first is not None and opened.clock.own(first) <= own:
            return reader.in_order(replace(opened, frames=chain([first], frames)))
    return reader.in_order(replace(opened, frames=_decoded(opened, 0.0)))


def _decoded(opened: reader.OpenedFilm, own: float) -> Iterator[av.VideoFrame]:
    """The frames from the last key frame on before a second of the track's own clock."""
    opened.container.seek(max(0, round(own / opened.stream.time_base)), stream=opened.stream)
    opened.stream.codec_context.flush_buffers()
    return reader.decoded_frames(opened.container, opened.stream, opened.clock, opened.path, opened.pixels)
