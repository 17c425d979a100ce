"""Contract 1, ingest -> segment: which videos there are, what is said in them, and what was refused.

A catalogue is a folder of three Parquet files. What a video has decides what it is good for: cues for
sorting, a title or caption for pairs, a label for the probe. Media stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scriptsight.errors import InputError
from scriptsight.files import whole_folder

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


@dataclass(frozen=True)
class Word:
    """One spoken word with its times in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Cue:
    """One timed entry of a script: `text` is spoken from `start` to `end` (seconds); `raw` is the source's wording
    where cleaning changed it."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...] | None = None
    raw: str | None = None


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
    cues: tuple[Cue, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Reject:
    """Something that was refused: the file, a countable reason, and the detail for a person."""

    collection: str
    uri: str
    reason: str
    detail: str


def write(folder: str | Path, videos: Iterable[Video], rejects: Iterable[Reject]) -> None:
    """Write a catalogue, whole or not at all, ordered by collection and video id.

    Raises:
        InputError: two videos of one collection share an id, or the disk is full.
    """
    ordered = sorted(videos, key=lambda video: (video.collection, video.video_id))
    for one, other in pairwise(ordered):
        if (one.collection, one.video_id) == (other.collection, other.video_id):
            raise InputError(
                f"Two videos of collection {one.collection!r} have the id {one.video_id!r}: "
                f"{one.uri} and {other.uri}. Rename one of them."
            )
    video_rows = [{name: getattr(video, name) for name in VIDEOS.names} for video in ordered]
    cue_rows = [
        {"collection": video.collection, "video_id": video.video_id, "index": index, **asdict(cue)}
        for video in ordered
        for index, cue in enumerate(video.cues)
    ]
    reject_rows = sorted((asdict(reject) for reject in rejects), key=lambda row: (row["collection"], row["uri"]))
    with whole_folder(folder) as partial:
        pq.write_table(pa.Table.from_pylist(video_rows, VIDEOS), partial / "videos.parquet")
        pq.write_table(pa.Table.from_pylist(cue_rows, CUES), partial / "cues.parquet")
        pq.write_table(pa.Table.from_pylist(reject_rows, REJECTS), partial / "rejects.parquet")


def read(folder: str | Path) -> Iterator[Video]:
    """Yield the videos of a catalogue with their cues, in its order.

    Raises:
        InputError: there is no catalogue in `folder`.
    """
    folder = Path(folder)
    if not (folder / "videos.parquet").is_file():
        raise InputError(f"There is no catalogue in {folder}: run the ingest stage first.")
    cues: dict[tuple[str, str], list[Cue]] = {}
    for row in pq.read_table(folder / "cues.parquet").to_pylist():
        words = None if row["words"] is None else tuple(Word(**word) for word in row["words"])
        cue = Cue(row["start"], row["end"], row["text"], words, row["raw"])
        cues.setdefault((row["collection"], row["video_id"]), []).append(cue)
    for row in pq.read_table(folder / "videos.parquet").to_pylist():
        spoken = cues.get((row["collection"], row["video_id"]), ())
        yield Video(**row | {"captions": tuple(row["captions"])}, cues=tuple(spoken))


def read_rejects(folder: str | Path) -> list[Reject]:
    """The refused inputs of a catalogue or of a segments folder."""
    return [Reject(**row) for row in pq.read_table(Path(folder) / "rejects.parquet").to_pylist()]
