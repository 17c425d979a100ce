"""Where packets of an MPEG transport stream (ISO/IEC 13818-1) are missing or spoilt: each counts on from the one
before. FFmpeg counts, too, but mostly forgets what it found before the picture is complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_SIZES = (188, 192, 204)  # bytes of a packet: plain, with a time before it (Blu-ray), with a check sum after it
_TIME = 4  # bytes before the packet itself on Blu-ray
_SYNC = 0x47
_ROW = 188
_AT_ONCE = 40_000  # packets
_WINDOW = 1 << 16  # bytes in which the next packet is looked for
_SURE = 4  # packets in a row that show where they begin


class Loss(NamedTuple):
    """A place in a stream at which something is lost."""

    before: int  # byte where the picture begins that may have lost its end
    after: int  # byte of the first packet that is there again
    entry: bool  # whether a picture begins with that packet that needs none before it


def losses(path: str | Path, stream: int) -> Iterator[Loss]:
    """The losses of the stream with this number, in order; none where the file has no packets."""
    last: int | None = None  # the counter of its packet before
    start = 0  # byte of its last beginning of a picture
    for rows, places, cut in _packets(path):
        picked = np.flatnonzero(((rows[:, 1].astype(int) & 0x1F) << 8 | rows[:, 2]) == stream)
        own, at = rows[picked], places[picked]
        if len(own) == 0:
            continue
        begins = own[:, 1] & 0x40 > 0
        starts = np.maximum.accumulate(np.where(begins, at, start))
        before = np.concatenate([[start], starts[:-1]])
        gap, spoilt = _counted(own, last), _spoilt(own)
        if cut and picked[-1] == len(rows) - 1:  # what follows it makes no sense: it may be spoilt, too
            spoilt[-1] = True
        entry = begins & (own[:, 3] & 0x20 > 0) & (own[:, 4] > 0) & (own[:, 5] & 0x40 > 0)
        for one in np.flatnonzero(gap | spoilt):
            yield Loss(int((starts if spoilt[one] else before)[one]), int(at[one]), bool(entry[one] & ~spoilt[one]))
        last, start = int(own[-1, 3] & 15), int(starts[-1])


def _counted(own: np.ndarray, last: int | None) -> np.ndarray:
    """Whether each packet does not count on from the one before; a packet may come twice, and those without content
    don't count."""
    count = own[:, 3].astype(int) & 15
    before = np.concatenate([[count[0] if last is None else last], count[:-1]])
    content = own[:, 3] & 0x10 > 0
    fits = (count == (before + 1) % 16) & content | (count == before)
    announced = (own[:, 3] & 0x20 > 0) & (own[:, 4] > 0) & (own[:, 5] & 0x80 > 0)
    missing: np.ndarray = ~(fits | announced)
    return missing


def _spoilt(own: np.ndarray) -> np.ndarray:
    """Whether the receiver marked a packet as wrong, or one that begins a picture does not do so."""
    extra = np.where(own[:, 3] & 0x20 > 0, own[:, 4].astype(int) + 1, 0)
    place = 4 + extra
    readable = (own[:, 1] & 0x40 > 0) & (own[:, 3] & 0x10 > 0) & (own[:, 3] & 0xC0 == 0)
    inside = place <= _ROW - 3
    code = own[np.arange(len(own))[:, None], np.where(inside, place, 0)[:, None] + np.arange(3)]
    wrong = readable & inside & (code != (0, 0, 1)).any(axis=1)
    spoilt: np.ndarray = (own[:, 1] & 0x80 > 0) | wrong | (place > _ROW)
    return spoilt


def _packets(path: str | Path) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """(uint8 [packets, 188], the byte of each, whether other bytes follow and packets again after those)."""
    with Path(path).open("rb") as file:
        head = np.frombuffer(file.read(_WINDOW), np.uint8)
        found = ((size, _first(head, size)) for size in _SIZES)
        size, at = next(((size, place) for size, place in found if place is not None), (0, 0))
        while size:
            file.seek(at)
            data = np.frombuffer(file.read(size * _AT_ONCE), np.uint8)
            # Of the last packet what stands after it (a check sum, the next one's time) may not be there.
            count = (len(data) + size - _ROW) // size
            if count <= 0:
                return
            padded = np.concatenate([data, np.zeros(max(0, count * size - len(data)), np.uint8)])
            rows = padded[: count * size].reshape(count, size)[:, :_ROW]
            wrong = np.flatnonzero(rows[:, 0] != _SYNC)
            good = int(wrong[0]) if len(wrong) else count
            after = at + good * size
            following = _next(file, after, size) if good < count else after
            if good:
                begin = at - (_TIME if size == 192 else 0)
                yield rows[:good], begin + size * np.arange(good), good < count and following is not None
            if following is None or (good < count and following <= at):
                return
            at = following


def _next(file: BinaryIO, at: int, size: int) -> int | None:
    """The byte at or after `at` where packets begin again."""
    while True:
        file.seek(at)
        data = np.frombuffer(file.read(_WINDOW + size * _SURE), np.uint8)
        place = _first(data, size)
        if place is not None:
            return at + place
        if len(data) < _WINDOW:
            return None
        at += _WINDOW


def _first(data: np.ndarray, size: int) -> int | None:
    """Where packets of this size begin in some bytes."""
    count = len(data) - size * (_SURE - 1)
    if count <= 0:
        return None
    sure = np.logical_and.reduce([data[size * one : size * one + count] == _SYNC for one in range(_SURE)])
    return int(sure.argmax()) if sure.any() else None
