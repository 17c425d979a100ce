"""Contract 1, ingest -> segment: which videos there are, what is said in them, and what was refused.

A catalogue is a folder of three Parquet files, and of their checksums, which show damage. What a video has decides
what it is good for: cues for sorting, a title or caption for pairs, a label for the probe. Media stay where they are.

Videos and cues are ordered by collection and video id, rejects by collection and address. Files are written
and read in row groups, so that memory does not grow with the number of videos.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scriptsight.errors import InputError
from scriptsight.files import CHECKSUMS, check_sealed, room, seal, whole_folder

WORD = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])

VIDEOS = pa.schema(
    [
        ("video_id", pa.string()),  # unique in its collection; safe as a file name
        ("collection", pa.string()),
        ("split", pa.string()),  # "train", "val" or "test"
        ("uri", pa.string()),  # a path (relative ones start at the workspace) or an fsspec address
        ("size", pa.int64()),  # bytes
        ("digest", pa.string()),  # SHA-256 of the file
        ("duration", pa.float64()),  # seconds
        ("fps", pa.float64()),
        ("width", pa.int32()),  # pixels, as shown
        ("height", pa.int32()),
        ("codec", pa.string()),
        ("has_audio", pa.bool_()),
        ("language", pa.string()),
        ("title", pa.string()),
        ("captions", pa.list_(pa.string())),  # descriptions without times; datasets may have many a video
        ("label", pa.string()),
        ("start", pa.float64()),  # seconds of the file between which this video lies; null: from its beginning,
        ("end", pa.float64()),  # to its end. All times of a video count from the beginning of its file.
        ("recording", pa.string()),  # what it was cut from, named alike in all collections; null: not known
    ]
)
CUES = pa.schema(
    [
        ("collection", pa.string()),
        ("video_id", pa.string()),
        ("index", pa.int32()),
        ("start", pa.float64()),  # seconds, presentation time
        ("end", pa.float64()),
        ("text", pa.string()),
        ("raw", pa.string()),  # as the source has it, where cleaning changed it; else null
        ("words", pa.list_(WORD)),  # null where word times are unknown
    ]
)
REJECTS = pa.schema(
    [
        ("collection", pa.string()),
        ("uri", pa.string()),
        ("reason", pa.string()),  # a short, countable kind: "unreadable video", "no cues", ...
        ("detail", pa.string()),
    ]
)
# A video's row with its cues in it, as the parts of a catalogue have it.
_CUE = pa.struct([field for field in CUES if field.name not in ("collection", "video_id")])
VIDEOS_WITH_CUES = pa.schema([*VIDEOS, ("cues", pa.list_(_CUE))])

_VIDEO_ROWS = 4096  # a row group
_CUE_ROWS = 32768
_REJECT_ROWS = 32768


@dataclass(frozen=True)
class Word:
    """One spoken word with its times in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Cue:
    """One timed entry of a script: `text` is spoken from `start` to `end` (seconds); `raw` is the source's wording
    where cleaning changed it; `speaker` who says it, where a caption file does: cleaning asks, no table holds it."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] | None = None
    raw: str | None = None
    speaker: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Video:
    """One video of a collection with all that is known of it; see `VIDEOS` for the units."""

    video_id: str
    collection: str
    split: str
    uri: str
    size: int
    digest: str
    duration: float
    fps: float
    width: int
    height: int
    codec: str
    has_audio: bool
    language: str | None = None
    title: str | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None
    start: float | None = None
    end: float | None = None
    recording: str | None = None
    cues: tuple[Cue, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Reject:
    """Something that was refused: the file, a countable reason, and the detail for a person."""

    collection: str
    uri: str
    reason: str
    detail: str


def with_cues(videos: Iterable[Video]) -> pa.Table:
    """Videos with their cues as one table of `VIDEOS_WITH_CUES`."""
    rows = [
        {name: getattr(video, name) for name in VIDEOS.names}
        | {"cues": [{"index": index, **asdict(cue)} for index, cue in enumerate(video.cues)]}
        for video in videos
    ]
    return pa.Table.from_pylist(rows, VIDEOS_WITH_CUES)


def write(folder: str | Path, tables: Iterable[pa.Table], rejects: Iterable[Reject]) -> None:
    """Write a catalogue, whole or not at all, from tables of `VIDEOS_WITH_CUES` in the catalogue's order.

    Row groups have a fixed number of rows: the bytes do not depend on how videos are spread over tables.

    Raises:
        InputError: two videos of one collection share an id, or the disk is full.
        ValueError: the videos are not in order.
    """
    with whole_folder(folder) as partial:
        _write(partial, tables, rejects)
        seal(partial / f"{CHECKSUMS}.json")


def _write(partial: Path, tables: Iterable[pa.Table], rejects: Iterable[Reject]) -> None:
    last = ("", "")
    with (
        _Groups(partial / "videos.parquet", VIDEOS, _VIDEO_ROWS) as videos,
        _Groups(partial / "cues.parquet", CUES, _CUE_ROWS) as cues,
        _Groups(partial / "rejects.parquet", REJECTS, _REJECT_ROWS) as refused,
    ):
        for table in tables:
            for one in zip(*(table[name].to_pylist() for name in ("collection", "video_id")), strict=True):
                if one <= last:
                    _out_of_order(last, one)
                last = one
            videos.add(table.select(VIDEOS.names))
            cues.add(_cues(table))
        for table in reject_tables(rejects):
            refused.add(table)


def _out_of_order(last: tuple[str, str], one: tuple[str, str]) -> None:
    if one != last:
        raise ValueError(f"{one} comes after {last}")
    raise InputError(f"Two videos of collection {one[0]!r} have the id {one[1]!r}: rename one of them.")


def _cues(table: pa.Table) -> pa.Table:
    """The rows of `CUES` in a table of `VIDEOS_WITH_CUES`."""
    lists = table["cues"].combine_chunks()
    owners = pc.list_parent_indices(lists)
    said = pa.RecordBatch.from_struct_array(pc.list_flatten(lists))
    columns = {name: pc.take(table[name].combine_chunks(), owners) for name in ("collection", "video_id")}
    return pa.table(columns | {name: said[name] for name in said.schema.names}, schema=CUES)


class _Groups:
    """A Parquet file that is written in groups of exactly `rows` rows, and a last one."""

    def __init__(self, path: Path, schema: pa.Schema, rows: int) -> None:
        self._writer = pq.ParquetWriter(path, schema)
        self._schema, self._rows = schema, rows
        self._waiting: list[pa.Table] = []
        self._count = 0

    def __enter__(self) -> _Groups:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None and self._count:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Append rows."""
        self._waiting.append(table)
        self._count += table.num_rows
        if self._count < self._rows:
            return
        whole = pa.concat_tables(self._waiting)
        while self._count >= self._rows:
            self._writer.write_table(whole.slice(0, self._rows).combine_chunks())
            whole = whole.slice(self._rows)
            self._count -= self._rows
        self._waiting = [whole.combine_chunks()]  # a copy: a slice would keep what was written alive


def reject_tables(rejects: Iterable[Reject]) -> Iterator[pa.Table]:
    """Rejects, sorted by collection and address, as tables of `REJECTS`; sorted on disk where they are many."""
    with room(gettempdir()), closing(sqlite3.connect("")) as database:  # a temporary file that nobody else sees
        database.execute("CREATE TABLE rejects (collection, uri, reason, detail)")
        database.executemany("INSERT INTO rejects VALUES (?, ?, ?, ?)", map(astuple, rejects))
        found = database.execute("SELECT * FROM rejects ORDER BY collection, uri, rowid")
        while rows := found.fetchmany(_REJECT_ROWS):
            yield pa.Table.from_pylist([dict(zip(REJECTS.names, row, strict=True)) for row in rows], REJECTS)


def read(folder: str | Path) -> Iterator[Video]:
    """Yield the videos of a catalogue with their cues, in its order, reading little by little.

    Raises:
        InputError: there is no catalogue in `folder`, its files are damaged, or do not belong together.
    """
    folder = Path(folder)
    if not (folder / "videos.parquet").is_file():
        raise InputError(f"There is no catalogue in {folder}: run the ingest stage first.")
    with _damage_told(folder, "ingest"):
        yield from _read(folder)


def _read(folder: Path) -> Iterator[Video]:
    cue_groups = groupby(_rows(folder / "cues.parquet"), key=lambda row: (row["collection"], row["video_id"]))
    upcoming = next(cue_groups, None)
    for row in _rows(folder / "videos.parquet"):
        cues: tuple[Cue, ...] = ()
        if upcoming is not None and upcoming[0] == (row["collection"], row["video_id"]):
            cues = tuple(_cue(said) for said in upcoming[1])
            upcoming = next(cue_groups, None)
        yield Video(**row | {"captions": tuple(row["captions"])}, cues=cues)
    if upcoming is not None:
        raise InputError(f"The cues of {folder} are of other videos than its own: run the ingest stage again.")


def batches(
    path: Path, columns: Sequence[str] | None = None, rows: int = 1024, *, stage: str = "ingest"
) -> Iterator[pa.RecordBatch]:
    """A Parquet file of a catalogue, or the rejects that another `stage` left, `rows` at a time.

    Raises:
        InputError: it is damaged; the message names it and the stage that makes it.
    """
    with _damage_told(path, stage):
        remedy = f"The file is not what was written: run the {stage} stage again."
        check_sealed(path.with_name(f"{CHECKSUMS}.json"), [path.name], remedy)
        # With pre_buffer, which is on by default, what was read of the file stays in memory to the end.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=rows, columns=columns):
                batch.validate(full=True)
                yield batch.select(columns) if columns else batch


@contextmanager
def _damage_told(path: Path, stage: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever damage provokes in Parquet's reader, and in what is made of its rows
        cause = str(error) or type(error).__name__
        raise InputError(f"{path} is damaged ({cause}): run the {stage} stage again.") from error


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in batches(path):
        yield from batch.to_pylist()


def _cue(row: dict[str, Any]) -> Cue:
    words = None if row["words"] is None else tuple(Word(**word) for word in row["words"])
    return Cue(row["start"], row["end"], row["text"], words, row["raw"])


def read_rejects(folder: str | Path) -> list[Reject]:
    """The refused inputs of a catalogue or of a segments folder."""
    return [Reject(**row) for row in _rows(Path(folder) / "rejects.parquet")]
