"""What the boxes of an MP4 or MOV file say that FFmpeg does not pass on: a track's edit list, and another
file after it.

FFmpeg applies edit lists itself, but leaves out the picture that is on screen where an edit begins if it appeared
before, moves what follows to its place, and plays what an empty edit follows from its start again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_NESTED = (b"moov", b"trak", b"mdia", b"edts", b"minf", b"stbl")
_LONGEST = 1 << 26  # bytes of a box that are read; the largest have 8 bytes a picture
_TICK = 1e-3  # seconds by which edits may overlap: their times are rounded
_PICTURES = 10_000_000  # of a track: more is an error of its tables


@dataclass(frozen=True)
class Edit:
    """A stretch of a track that is shown: seconds of the presentation, and seconds of the track's own clock."""

    start: float
    end: float  # infinite where the file does not say it
    media: float

    @property
    def moved(self) -> float:
        """Seconds from the track's own clock to the presentation."""
        return self.start - self.media

    @property
    def media_end(self) -> float:
        """Until which second of the track's own clock it is shown."""
        return self.media + self.end - self.start


class _Box(NamedTuple):
    kind: bytes
    start: int  # byte where its content begins
    end: int


def edits(path: str | Path, track: int) -> tuple[Edit, ...]:
    """The stretches of the track with this number that are shown, in order; none where the file lists none that make
    sense."""
    with Path(path).open("rb") as file:
        moov = next((box for box in _boxes(file, 0, _size(file)) if box.kind == b"moov"), None)
        if moov is None:
            return ()
        inside = list(_boxes(file, moov.start, moov.end))
        fragmented = any(box.kind == b"mvex" for box in inside)
        scale = _timescale(next((_content(file, box) for box in inside if box.kind == b"mvhd"), b""))
        for trak in (box for box in inside if box.kind == b"trak"):
            found = {box.kind: box for box in _within(file, trak)}
            if b"elst" in found and _number(_content(file, found[b"tkhd"]) if b"tkhd" in found else b"") == track:
                own = _timescale(_content(file, found[b"mdhd"]) if b"mdhd" in found else b"")
                listed = _listed(_content(file, found[b"elst"]), scale, own)
                ends = inf if fragmented or b"stts" not in found else _ends(file, found) / max(1, own)
                return _edits(listed, ends, fragmented)
    return ()


def forward(edits: tuple[Edit, ...]) -> Iterator[tuple[Edit, ...]]:
    """Runs of edits in each of which the track's clock only goes forward."""
    begin = 0
    for place in range(1, len(edits) + 1):
        if place == len(edits) or edits[place].media < edits[place - 1].media_end - _TICK:
            yield edits[begin:place]
            begin = place


def another_follows(path: str | Path) -> bool:
    """Whether a second whole file was joined to the first one: FFmpeg reads only the first `moov`."""
    with Path(path).open("rb") as file:
        kinds = [(box.kind, box) for box in _boxes(file, 0, _size(file))]
        first = next((place for place, (kind, _) in enumerate(kinds) if kind == b"moov"), len(kinds))
        later = [kind for kind, _ in kinds[first + 1 :]]
        if b"ftyp" not in later or b"moov" not in later[later.index(b"ftyp") :]:
            return False
        # Fragments go on after a header that is repeated, as in joined segments.
        return all(box.kind != b"mvex" for box in _boxes(file, kinds[first][1].start, kinds[first][1].end))


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[_Box]:
    """The boxes from one byte to another, as far as they make sense."""
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            long = file.read(8)
            if len(long) < 8:
                return
            size, head = struct.unpack(">Q", long)[0], 16
        size = end - at if size == 0 else size
        if size < head:
            return
        yield _Box(kind, at + head, min(at + size, end))
        at += size


def _within(file: BinaryIO, box: _Box) -> Iterator[_Box]:
    """The boxes in a track that are not too deep to matter."""
    for inner in _boxes(file, box.start, box.end):
        yield inner
        if inner.kind in _NESTED:
            yield from _within(file, inner)


def _content(file: BinaryIO, box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(min(box.end - box.start, _LONGEST))


def _timescale(header: bytes) -> int:
    """Ticks a second of `mvhd` or `mdhd`; 0 where it is broken."""
    place = 20 if header[:1] == b"\x01" else 12
    return int.from_bytes(header[place : place + 4]) if len(header) >= place + 4 else 0


def _number(header: bytes) -> int | None:
    """A track's number, of its `tkhd`."""
    place = 20 if header[:1] == b"\x01" else 12
    return int.from_bytes(header[place : place + 4]) if len(header) >= place + 4 else None


def _listed(elst: bytes, movie: int, own: int) -> list[tuple[float, float | None]]:
    """(seconds that it lasts, seconds of the track's clock; None where nothing is shown) of each edit."""
    if len(elst) < 8 or not (movie and own):
        return []
    entry = struct.Struct(">Qqhh" if elst[0] == 1 else ">Iihh")
    count = min(int.from_bytes(elst[4:8]), (len(elst) - 8) // entry.size)
    made = []
    for length, media, _, _ in (entry.unpack_from(elst, 8 + place * entry.size) for place in range(count)):
        made.append((length / movie, None if media < 0 else media / own))
    return made


def _ends(file: BinaryIO, found: dict[bytes, _Box]) -> float:
    """The tick of a track's clock at which its last picture ends; infinite where the tables are broken. Headers count
    in the order of decoding, in which a picture that stays long may be counted twice."""
    counts, steps = _runs(_content(file, found[b"stts"]))
    if not 0 < counts.sum() <= _PICTURES:
        return inf
    steps = steps.repeat(counts)
    shown = steps.cumsum() - steps
    if b"ctts" in found:
        counts, late = _runs(_content(file, found[b"ctts"]))
        if counts.sum() != len(shown):
            return inf
        shown = shown + late.astype(np.int32).repeat(counts)  # they may be negative
    last = shown.argmax()
    return float(shown[last] + steps[last])


def _runs(table: bytes) -> tuple[np.ndarray, np.ndarray]:
    """How often, and which value, of `stts` or `ctts`."""
    rows = np.frombuffer(table, ">u4", offset=8)[: 2 * int.from_bytes(table[4:8])] if len(table) % 4 == 0 else ()
    pairs = np.asarray(rows[: len(rows) // 2 * 2], np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _edits(listed: list[tuple[float, float | None]], ends: float, fragmented: bool) -> tuple[Edit, ...]:
    """The edits; they last no longer than the track, which `ends` at this second of its clock. One of length 0 lasts
    to its end, as in fragmented files, whose header is written when only the first fragment is known."""
    made: list[Edit] = []
    time = 0.0
    for place, (length, media) in enumerate(listed):
        is_last = place == len(listed) - 1
        if length == 0 and not is_last:
            continue
        if media is not None:
            open_end = length == 0 or (fragmented and is_last)
            end = time + min(inf if open_end else length, ends - media)
            if end > time:
                made.append(Edit(time, end, media))
        time += length
    return tuple(made)
