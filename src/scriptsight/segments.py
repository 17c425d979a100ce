"""Contract 2, segment -> pretrain, probe, retrieve: stretches of video as JPEG frames, with their words.

`FOLDER/COLLECTION/SPLIT/00000.arrow` ... are Arrow IPC files, memory-mapped and read at random by row. A row
is a stretch of one video, long enough for any number of transcripts K and frames M: those are drawn when the
row is used, so no sweep ever decodes video again, and only the drawn frames are decoded from JPEG.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from scriptsight.catalogue import CUES, Cue, Word
from scriptsight.errors import InputError

SCHEMA = pa.schema(
    [
        ("segment_id", pa.string()),  # COLLECTION/VIDEO_ID/INDEX
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("start", pa.float64()),  # seconds in the video
        ("end", pa.float64()),
        ("frame_times", pa.list_(pa.float64())),  # seconds in the video, presentation times
        ("frames", pa.list_(pa.binary())),  # JPEG
        ("cues", pa.list_(pa.struct([CUES.field(name) for name in ("start", "end", "text", "words")]))),
        ("title", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("label", pa.string()),
        ("recording", pa.string()),  # what the video was cut from, as in the catalogue; null: not known
        ("file_digest", pa.string()),  # SHA-256 of the video's file
    ]
)
SPLITS = ("train", "val", "test")
MIN_CHARACTERS = 10  # TVTS: a text with fewer is no transcript


class Frames(Protocol):
    """JPEG bytes by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> bytes | memoryview: ...


@dataclass(frozen=True)
class Segment:
    """One row: a stretch of a video from `start` to `end` seconds. `frames` are JPEG bytes."""

    segment_id: str
    video_id: str
    uri: str
    start: float
    end: float
    frame_times: np.ndarray
    frames: Frames
    cues: tuple[Cue, ...]
    title: str | None
    captions: tuple[str, ...]
    label: str | None
    recording: str | None = None
    file_digest: str | None = None

    def decode(self, indices: Sequence[int]) -> np.ndarray:
        """Decode the frames at `indices` -> uint8 [M, H, W, 3], RGB.

        Raises:
            InputError: they are damaged; the message names the segment and the remedy.
        """
        frames = [self.frames[i] for i in indices]
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(frames[0])
            images = np.empty((len(frames), height, width, 3), np.uint8)
            for image, frame in zip(images, frames, strict=True):  # in place: stacking them takes as long again
                simplejpeg.decode_jpeg(frame, buffer=image)
        except ValueError as error:  # simplejpeg's, or frames of several sizes
            raise InputError(
                f"The frames of segment {self.segment_id} are damaged: {error}. Run the segment stage again."
            ) from error
        return images


def to_batch(segments: Iterable[Segment]) -> pa.RecordBatch:
    """Segments as one Arrow record batch of `SCHEMA`."""
    rows = [
        {name: getattr(segment, name) for name in SCHEMA.names}
        | {"cues": [asdict(cue) for cue in segment.cues], "frame_times": segment.frame_times.tolist()}
        for segment in segments
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


class Segments:
    """All segments of one collection and split, memory-mapped; picklable, and cheap to open in a worker.

    Raises:
        InputError: the collection or split has no shards under `folder`.
    """

    def __init__(self, folder: str | Path, collection: str, split: str) -> None:
        self.paths = sorted((Path(folder) / collection / split).glob("*.arrow"))
        if not self.paths:
            raise InputError(
                f"No segments of collection {collection!r}, split {split!r}, in {folder}: name a collection of "
                "params.yaml that has videos in this split, or run the segment stage first."
            )
        self._open()

    def _open(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        for path in self.paths:
            try:
                with pa.memory_map(str(path)) as source:
                    reader = pa.ipc.open_file(source)
                    self._batches += [reader.get_batch(i) for i in range(reader.num_record_batches)]
            except pa.ArrowInvalid as error:
                raise InputError(f"The shard {path} is damaged ({error}): run the segment stage again.") from error
        if any(name not in batch.schema.names for batch in self._batches[:1] for name in SCHEMA.names):
            raise InputError(f"{self.paths[0]} was written by an older version: run the segment stage again.")
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])

    def __getstate__(self) -> list[Path]:
        return self.paths

    def __setstate__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._open()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        batch = self._batches[number]
        row = int(index) - int(self._ends[number]) + batch.num_rows
        values = {name: batch.column(name)[row] for name in SCHEMA.names}
        special = {"frames", "frame_times", "cues", "captions"}
        return Segment(
            **{name: values[name].as_py() for name in SCHEMA.names if name not in special},
            frame_times=values["frame_times"].values.to_numpy(),
            frames=_Frames(values["frames"].values),
            cues=tuple(_cue(cue) for cue in values["cues"].as_py()),
            captions=tuple(values["captions"].as_py()),
        )

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))

    def column(self, name: str) -> list[Any]:
        """One column over all rows as Python values; for the light ones (labels, ids, times)."""
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns over all rows, as Arrow has them."""
        return pa.Table.from_batches([batch.select(list(names)) for batch in self._batches])

    def texts(self, kind: str) -> Iterator[str]:
        """All that is said in order of rows, a batch of them at a time: of kind "caption" or "title" the untimed
        texts, else the cues."""
        for batch in self._batches:
            if kind == "title":
                yield from (title for title in batch.column("title").to_pylist() if title)
            elif kind == "caption":
                yield from (text for texts in batch.column("captions").to_pylist() for text in texts)
            else:
                yield from (cue["text"] for cues in batch.column("cues").to_pylist() for cue in cues)

    def transcripts(self) -> np.ndarray:
        """How many cues of each row are transcripts, int64 [N]."""
        counts = []
        for batch in self._batches:
            cues = batch.column("cues")
            long = pc.greater_equal(pc.utf8_length(cues.flatten().field("text")), MIN_CHARACTERS)
            before = np.concatenate([[0], np.cumsum(long.to_numpy(zero_copy_only=False))])
            ends = np.concatenate([[0], np.cumsum(pc.list_value_length(cues).to_numpy(zero_copy_only=False))])
            counts.append(np.diff(before[ends.astype(np.int64)]))
        return np.concatenate(counts)

    def digest(self) -> str:
        """SHA-256 over the shards' bytes: names this exact data, whatever the folder is called."""
        total = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()


class _Frames:
    """JPEG bytes of a row without copying them out of the memory map."""

    def __init__(self, values: pa.BinaryArray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> memoryview:
        return memoryview(self._values[int(index)].as_buffer()).cast("B")


def is_transcript(text: str) -> bool:
    """Whether a text is long enough to be one of the K that are sorted."""
    return len(text) >= MIN_CHARACTERS


def _cue(row: dict[str, Any]) -> Cue:
    words = row.pop("words")
    return Cue(**row, words=None if words is None else tuple(Word(**word) for word in words))
