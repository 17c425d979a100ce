"""The frames of videos that the segment stage stored, found by what an index says of a video."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scriptsight.errors import InputError
from scriptsight.page.shelf import Opened, Video
from scriptsight.segments import Segment, Segments

_OPEN = 16  # collections and splits whose shards are kept open

Stamp = tuple[tuple[str, int, int], ...]  # name, size and time of each shard


class Stored:
    """Opens shards when they are asked for, and anew when they changed."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[Path, str, str], tuple[Stamp, Segments]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, opened: Opened, video: Video) -> list[Segment]:
        """The segments of a video in order of time; none where they are no longer stored, or are damaged."""
        rows = opened.searcher.index.described(video.rows, ["segment_id", "split"])
        found: list[Segment] = []
        for split in sorted({row["split"] for row in rows}):
            wanted = [row["segment_id"] for row in rows if row["split"] == split]
            try:
                segments = self._segments(opened.segments, video.collection, split)
                found += [segments[place] for place in _places(segments, wanted)]
            except InputError:  # the page goes on with what the index itself knows
                return []
        return sorted(found, key=lambda segment: segment.start)

    def stamp(self, opened: Opened, video: Video) -> Stamp:
        """What changes when the shards of a video's collection do."""
        return _stamp(opened.segments / video.collection)

    def _segments(self, folder: Path, collection: str, split: str) -> Segments:
        key, stamp = (folder, collection, split), _stamp(folder / collection / split)
        with self._lock:
            known = self._open.get(key)
            if known is None or known[0] != stamp:
                known = self._open[key] = stamp, Segments(folder, collection, split)
            self._open.move_to_end(key)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
            return known[1]


def _places(segments: Segments, wanted: Sequence[str]) -> list[int]:
    """Rows of the segments with these ids."""
    ids = segments.table(["segment_id"])["segment_id"]
    found: list[int] = np.flatnonzero(pc.is_in(ids, value_set=pa.array(wanted, pa.string())).to_numpy()).tolist()
    return found


def _stamp(folder: Path) -> Stamp:
    stats = [(file.name, file.stat()) for file in sorted(folder.rglob("*.arrow"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
