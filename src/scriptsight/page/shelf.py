"""The models and indexes that the page searches: opened when first asked for, and anew when their files change."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scriptsight.errors import InputError
from scriptsight.retrieve.index import OtherModel
from scriptsight.retrieve.search import Searcher
from scriptsight.spreading import evenly

DEFAULT = "default"  # the name of the workspace's own model
LOOK = 1.0  # seconds: how often files are looked at for a change
TRIES = 3  # to open files that are being exchanged
RUN = "scriptsight run"
EXAMPLES = 4
MODEL, INDEX = Path("models/pretrained"), Path("models/index")

Stamp = tuple[tuple[str, int, int, int], ...]  # name, size, time and number of each file
_LOG = logging.getLogger(__name__)


class Missing(Exception):
    """What an address asks for is not there; the message is for people."""


class Empty(Exception):
    """There is nothing to search: no model, no index, or files that don't fit together.

    Attributes:
        code: "no-model", "no-index", "other-model" or "damaged".
    """

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy = code, message, remedy


@dataclass(frozen=True)
class Video:
    """One video of an index."""

    key: str  # 16 hex digits; the only name of a video in an address
    collection: str
    uri: str  # as the catalogue has it: a path, absolute or relative to the workspace, or an address
    video_id: str
    rows: np.ndarray  # rows of the index in time order, int64
    start: float  # what the index covers, seconds
    end: float


class Videos:
    """The rows of an index grouped by video, V videos of N rows. A million rows are a few arrays, no objects."""

    def __init__(self, moments: pa.Table) -> None:
        self._moments = moments
        self._starts, self._ends = (moments[name].to_numpy() for name in ("start", "end"))  # seconds, [N]
        uris = pc.dictionary_encode(moments["uri"].combine_chunks())
        names = pc.dictionary_encode(moments["collection"].combine_chunks())
        uri_codes = uris.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        codes = names.indices.to_numpy(zero_copy_only=False).astype(np.int64) * len(uris.dictionary) + uri_codes
        kinds, self._of_row = np.unique(codes, return_inverse=True)  # [V], [N]
        self._by_video = np.lexsort((self._starts, self._of_row))
        self._edges = np.searchsorted(self._of_row[self._by_video], np.arange(len(kinds) + 1))  # [V + 1]
        keys = np.empty(len(kinds), dtype=np.uint64)
        for number, code in enumerate(kinds.tolist()):
            name, uri = divmod(code, len(uris.dictionary))
            keys[number] = int(key_of(names.dictionary[name].as_py(), uris.dictionary[uri].as_py()), 16)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def __len__(self) -> int:
        return len(self._sorted)

    def of_key(self, key: str) -> Video:
        """The video with this key.

        Raises:
            Missing: there is none.
        """
        # int() would take signs, spaces and digits of other scripts as well.
        if len(key) == 16 and set(key) <= set("0123456789abcdef"):
            wanted = np.uint64(int(key, 16))
            place = int(np.searchsorted(self._sorted, wanted))
            if place < len(self) and self._sorted[place] == wanted:
                return self._video(int(self._order[place]))
        raise Missing("There is no such video in this index.")

    def of_row(self, row: int) -> Video:
        """The video of a row."""
        return self._video(int(self._of_row[row]))

    def stretch(self, rows: Sequence[int]) -> tuple[float, float]:
        """From where to where rows of one video reach, in seconds."""
        chosen = list(rows)
        return float(self._starts[chosen].min()), float(self._ends[chosen].max())

    def within(self, video: Video, start: float, end: float) -> list[int]:
        """The rows of a video that lie from `start` to `end` seconds."""
        chosen = (self._starts[video.rows] >= start) & (self._ends[video.rows] <= end)
        rows: list[int] = video.rows[chosen].tolist()
        return rows

    def _video(self, number: int) -> Video:
        rows = self._by_video[self._edges[number] : self._edges[number + 1]]
        first = self._moments.slice(int(rows[0]), 1).to_pylist()[0]
        collection, uri, segment_id = first["collection"], first["uri"], first["segment_id"]
        return Video(
            key=key_of(collection, uri),
            collection=collection,
            uri=uri,
            video_id=segment_id.removeprefix(f"{collection}/").rpartition("/")[0],
            rows=rows,
            start=float(self._starts[rows].min()),
            end=float(self._ends[rows].max()),
        )


def key_of(collection: str, uri: str) -> str:
    """The name that a video has in addresses: it tells nothing of where the video lies."""
    return blake2b(f"{collection}\n{uri}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Opened:
    """A model and its index, open. When files change a new one is made; who has this one keeps it whole."""

    name: str  # "default", or the NAME of --model
    weights: str  # SHA-256 of the model's weights
    searcher: Searcher
    folder: Path  # of the workspace; videos with relative paths are relative to it
    segments: Path  # the stored frames, which may be missing
    videos: Videos
    facets: Mapping[str, frozenset[str]]  # column -> the values that moments have: what can be filtered by
    examples: tuple[str, ...]  # queries that are offered to somebody who doesn't know what there is
    version: str  # another whenever something was opened

    def video(self, key: str) -> Video:
        """The video with this key.

        Raises:
            Missing: there is none.
        """
        return self.videos.of_key(key)

    def video_of(self, row: int) -> Video:
        """The video that a row of the index is from."""
        return self.videos.of_row(row)

    def moment(self, row: int) -> dict[str, Any]:
        """One row of the index."""
        found: dict[str, Any] = self.searcher.index.moments.slice(row, 1).to_pylist()[0]
        return found

    def row_of(self, segment_id: str) -> int:
        """Where a segment is in the index.

        Raises:
            Missing: it is not there.
        """
        try:
            return self.searcher.index.row_of(segment_id)
        except InputError as error:
            raise Missing("There is no such moment in this index.") from error


@dataclass(frozen=True)
class Clip:
    """A clip that somebody dropped on the page, after it was embedded: the file itself is gone."""

    name: str  # as its owner calls it; for display alone
    digest: str  # SHA-256 of the file
    seconds: float
    vectors: Mapping[str, np.ndarray]  # digest of a model's weights -> unit vector float32 [E]


class Clips:
    """The clips of late, by random ids: the newest `most`, in memory alone."""

    def __init__(self, most: int = 1000) -> None:
        self._kept: OrderedDict[str, Clip] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def add(self, clip: Clip) -> str:
        """Keep a clip; returns its id, which can't be guessed."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[name] = clip
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str) -> Clip:
        """The clip with this id.

        Raises:
            Missing: it is not kept, or no longer.
        """
        with self._lock:
            clip = self._kept.get(name)
        if clip is None:
            raise Missing("This clip is no longer here: drop it again.")
        return clip

    def vector(self, name: str, weights: str) -> np.ndarray:
        """A clip as the model with these weights sees it, float32 [E].

        Raises:
            Missing: the clip is not kept, or was seen by other models only.
        """
        vector = self.get(name).vectors.get(weights)
        if vector is None:
            raise Missing("This clip was dropped before this model was there: drop it again.")
        return vector


@dataclass
class _Place:
    """Where a model and its index lie, and what was found there last."""

    name: str
    folder: Path
    model: Path
    index: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    looked: float = -LOOK  # when, by time.monotonic
    stamp: Stamp | None = None
    found: Opened | Empty | None = None


class Shelf:
    """A workspace and its models, by name; the first is the workspace's own."""

    def __init__(self, workspace: Path, models: Mapping[str, Path] | None = None) -> None:
        """Nothing is opened yet.

        Args:
            models: NAME -> a folder with models/pretrained and models/index in it.
        """
        self.workspace = workspace.resolve()
        self.work = self.workspace / ".work" / "page"
        folders = {DEFAULT: self.workspace} | {name: folder.resolve() for name, folder in (models or {}).items()}
        self._places = {
            name: _Place(name, folder, folder / MODEL, folder / INDEX) for name, folder in folders.items()
        }
        self.names = list(self._places)
        self.clips = Clips()

    def open(self, name: str | None = None) -> Opened:
        """The model with this name, or the workspace's own, and its index as they are now.

        Raises:
            Missing: no model has this name.
            Empty: there is nothing that could be searched.
        """
        place = self._places.get(name or DEFAULT)
        if place is None:
            raise Missing(f"There is no model of this name; there are: {', '.join(self.names)}.")
        # Who asks while another opens what is new gets what is old.
        if place.lock.acquire(blocking=place.found is None):
            try:
                if place.found is None or time.monotonic() - place.looked >= LOOK:
                    _look(place)
            finally:
                place.lock.release()
        found = place.found
        if isinstance(found, Empty):
            raise Empty(found.code, found.message, found.remedy)
        assert found is not None
        return found


def _look(place: _Place) -> None:
    """Open a place anew if its files are not those of last time."""
    stamp = _stamp(place)
    if place.found is None or stamp != place.stamp:
        for _ in range(TRIES):
            place.found, place.stamp = _open(place), stamp
            if (stamp := _stamp(place)) == place.stamp:
                break  # else files were exchanged meanwhile, and what was opened may be of both
    place.looked = time.monotonic()


def _stamp(place: _Place) -> Stamp:
    """What changes when a folder of a place is replaced or a file in it is; empty where there is no folder."""
    found = []
    for folder in (place.model, place.index):
        try:
            files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
            stats = [(file.name, file.stat()) for file in files]
        except OSError:
            continue
        found += [(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats]
    return tuple(found)


def _open(place: _Place) -> Opened | Empty:
    if not (place.model / "config.json").is_file():
        return Empty("no-model", "There is no trained model here yet.", RUN)
    if not (place.index / "config.json").is_file():
        return Empty("no-index", "There is a model here, but no index of moments yet.", RUN)
    try:
        searcher = Searcher(place.index, place.model)
    except OtherModel:
        return Empty("other-model", "The index was made by another model than the one that is here.", RUN)
    except InputError as error:
        _LOG.warning("%s", error)
        return Empty(
            "damaged", "The model or its index can't be opened; where the page was started it says why.", RUN
        )
    moments = searcher.index.moments
    return Opened(
        name=place.name,
        weights=searcher.index.weights,
        searcher=searcher,
        folder=place.folder,
        segments=place.folder / "data" / "segments",
        videos=Videos(moments),
        facets={
            column: frozenset(filter(None, pc.unique(moments[column]).to_pylist()))
            for column in ("collection", "label", "language", "split")
        },
        examples=_examples(place.folder, moments),
        version=secrets.token_hex(8),
    )


def _examples(folder: Path, moments: pa.Table) -> tuple[str, ...]:
    """The queries that a workspace's parameters name; else short things that are said, from all over the index."""
    try:
        from scriptsight.params.reading import read_yaml  # needs a package that the page itself does not

        named = [str(query) for query in read_yaml(folder / "params.yaml")["retrieve"]["queries"]]
    except (ImportError, InputError, KeyError, TypeError):
        named = []  # a folder without parameters, or with those of another version
    return tuple(islice(dict.fromkeys(named or _sayings(moments)), EXAMPLES))


def _sayings(moments: pa.Table) -> Iterator[str]:
    for row in evenly(len(moments), 100):
        for cue in moments["cues"][row].as_py():
            if 2 <= len(cue["text"].split()) <= 8 and len(cue["text"]) <= 60:
                yield cue["text"]
                break
