"""Where the elements of a Matroska or WebM file (RFC 9559) no longer follow each other: FFmpeg passes over what it
can't make out, up to the next cluster, and shows the block before it, whose end may be spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_BLOCKS = (0xA3, 0xA0, 0xAF)  # simple ones, those in a group, encrypted ones
_TOP = (_HEADER, _SEGMENT, 0xEC, 0xBF)
# Within a segment: index, facts, tracks, clusters, cues, files, chapters, tags, padding, check sums.
_IN_SEGMENT = (
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    _CLUSTER,
    0x1C53BB6B,
    0x1941A469,
    0x1043A770,
    0x1254C367,
    0xEC,
    0xBF,
)
# Within a cluster: also its time, place and size, and silent tracks.
_IN_CLUSTER = (*_BLOCKS, 0xE7, 0xA7, 0xAB, 0x5854, 0xEC, 0xBF)


class _Element(NamedTuple):
    kind: int
    start: int  # byte where its content begins
    end: int | None  # None where it lasts until what can't be in it


def broken_from(path: str | Path) -> int | None:
    """The byte of the last block before the first place where elements no longer follow each other; None where all
    do, up to the file's end, or to that of its first recording."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        at, block = 0, None
        segment: int | None = size
        cluster: _Element | None = None
        while at < size:
            if cluster is not None and cluster.end is not None and at >= cluster.end:
                cluster = None
            found = _element(file, at)
            if at == segment or (found is not None and found.kind == _HEADER and at > 0):
                return None
            if cluster is not None and cluster.end is None and found is not None and found.kind in _IN_SEGMENT[:8]:
                cluster = None
            allowed = _TOP + _IN_SEGMENT if cluster is None else _IN_CLUSTER
            if found is None or not _fits(file, found, allowed, cluster, size):
                return block
            if found.kind == _SEGMENT:
                segment, at = found.end, found.start
            elif found.kind == _CLUSTER:
                cluster, at = found, found.start
            else:
                block = at if found.kind in _BLOCKS else block
                assert found.end is not None
                at = found.end
    return None


def _fits(file: BinaryIO, found: _Element, allowed: tuple[int, ...], cluster: _Element | None, size: int) -> bool:
    """Whether an element can be where it is: one of a kind that nobody knows, too, if one that is known follows."""
    if found.end is None:
        return found.kind in (_SEGMENT, _CLUSTER)
    if cluster is not None and cluster.end is not None and found.end > cluster.end:
        return False
    if found.kind in allowed:
        return True
    following = _element(file, found.end)
    return found.end == size or (following is not None and following.kind in _IN_CLUSTER + _IN_SEGMENT)


def _element(file: BinaryIO, at: int) -> _Element | None:
    """The element at a byte; None where there can't be one."""
    file.seek(at)
    head = file.read(12)
    named, sized = _length(head[:1]), 0
    if named is None or named > 4 or len(head) <= named:
        return None
    sized = _length(head[named : named + 1]) or 0
    if not sized or len(head) < named + sized:
        return None
    start = at + named + sized
    length = int.from_bytes(head[named : named + sized]) & ((1 << 7 * sized) - 1)
    return _Element(int.from_bytes(head[:named]), start, None if length == (1 << 7 * sized) - 1 else start + length)


def _length(first: bytes) -> int | None:
    """How many bytes a number has that begins with this one."""
    return 9 - first[0].bit_length() if first and first[0] else None
