"""Contract 2, segment -> pretrain, probe, retrieve: stretches of video as JPEG frames, with their words.

`FOLDER/COLLECTION/SPLIT/00000.arrow` ... are Arrow IPC files, memory-mapped and read at random by row. A row
is a stretch of one video, long enough for any number of transcripts K and frames M: those are drawn when the
row is used, so no sweep ever decodes video again, and only the drawn frames are decoded from JPEG.

Damage is seen where it lies: each frame has a checksum, which is looked at when the frame is read, and each record
batch one of all else in it, which is looked at when the batch is first used. `checksums.json` beside the shards says
how many they are and where their batches lie, and is looked at when they are opened.

With `segment.store` the shards themselves lie under an address, and the folder has in their place what is small: the
same files with the frames' lengths instead of the frames (`WITHOUT_FRAMES`), and in the list beside them the address
and the checksum of each shard. Words, times and labels are then read here, and a shard is fetched when a frame of it
is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg

from scriptsight.catalogue import CUES, Cue, Word
from scriptsight.errors import InputError
from scriptsight.files import CHECKSUMS, check_sealed, digest, seal, write_json
from scriptsight.shards import Cache, Kept

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
        ("frame_checks", pa.list_(pa.uint32())),  # CRC-32 of each frame
        ("check", pa.uint32()),  # CRC-32 of the batch in which the row lies, but for its frames; see `_content`
    ]
)
WITHOUT_FRAMES = SCHEMA.set(  # of what stands here for a shard that lies elsewhere
    SCHEMA.get_field_index("frames"), pa.field("frame_bytes", pa.list_(pa.int32()))
)
_CONTENT = [name for name in SCHEMA.names if name not in ("frame_checks", "check")]  # the fields of a segment
_LISTED = f"{CHECKSUMS}.json"  # beside the shards of a split
_TAIL = 10  # bytes at the end of an Arrow file: the length of its footer, int32, and a word
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
        {name: getattr(segment, name) for name in _CONTENT}
        | {
            "cues": [asdict(cue) for cue in segment.cues],
            "frame_times": segment.frame_times.tolist(),
            "frame_checks": [zlib.crc32(segment.frames[i]) for i in range(len(segment.frames))],
        }
        for segment in segments
    ]
    return _checked(pa.RecordBatch.from_pylist(rows, SCHEMA))


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Record batches of `SCHEMA` as one."""
    return _checked(pa.Table.from_batches(batches, SCHEMA).combine_chunks().to_batches()[0])


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with its own checksum in it."""
    checks = np.full(batch.num_rows, _checksum(batch), np.uint32)
    return batch.set_column(SCHEMA.get_field_index("check"), SCHEMA.field("check"), pa.array(checks))


def _checksum(batch: pa.RecordBatch) -> int:
    """CRC-32 of all values of a batch but the bytes of its frames. Of values, not of how Arrow lays them out, which
    is not the same in all its versions."""
    total = 0
    for column in batch.columns[:-1]:  # lengths of frames count as their frames do
        total = _content(column, total)
    return total


def without_frames(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of `SCHEMA` as one of `WITHOUT_FRAMES`, whose checksum is the same."""
    frames = batch.column("frames")
    lengths = pc.binary_length(frames.flatten())
    ends = pa.array(np.concatenate([[0], np.cumsum(pc.list_value_length(frames).to_numpy())]), pa.int32())
    place = SCHEMA.get_field_index("frames")
    columns = [*batch.columns[:place], pa.ListArray.from_arrays(ends, lengths), *batch.columns[place + 1 :]]
    return pa.RecordBatch.from_arrays(columns, schema=WITHOUT_FRAMES)


def _content(array: pa.Array, total: int) -> int:
    """CRC-32 of the values of an array, continued from `total`; of binary values only of their lengths."""
    total = zlib.crc32(len(array).to_bytes(8, "little"), total)
    if array.null_count:
        total = zlib.crc32(array.is_null().to_numpy(zero_copy_only=False), total)
    if pa.types.is_struct(array.type):
        for inner in array.flatten():
            total = _content(inner, total)
        return total
    if pa.types.is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        return _content(array.flatten(), zlib.crc32(lengths.to_numpy(), total))
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        total = zlib.crc32(pc.fill_null(pc.binary_length(array), 0).to_numpy(), total)
        return total if pa.types.is_binary(array.type) else zlib.crc32(_text(array), total)
    return zlib.crc32(pc.fill_null(array, 0).to_numpy().tobytes(), total)


def _text(array: pa.StringArray) -> memoryview | bytes:
    """The UTF-8 bytes of all strings of an array, one after the other."""
    _, offsets, data = array.buffers()
    if data is None or offsets is None or not len(array):
        return b""
    ends = np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4)
    return memoryview(data)[ends[0] : ends[-1]]


def write_without_frames(shard: Path, place: Path) -> None:
    """Write what stands for a shard where its frames are not."""
    with (
        pa.memory_map(str(shard)) as source,
        pa.OSFile(str(place), "wb") as sink,
        pa.ipc.new_file(sink, WITHOUT_FRAMES) as writer,
    ):
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            writer.write_batch(without_frames(reader.get_batch(number)))


@dataclass(frozen=True)
class Listed:
    """What a shard is held to when it is opened: how many rows and bytes it has, and the CRC-32 of its footer, which
    says where its batches lie; `kept` is the shard with its frames, where that lies elsewhere."""

    rows: int
    bytes: int
    footer: str
    kept: Kept | None = None


def describe_shard(path: Path, kept: Kept | None = None) -> Listed:
    """What `list_shards` says of a shard."""
    rows = sum(batch.num_rows for batch in _batches(path, SCHEMA if kept is None else WITHOUT_FRAMES))
    return Listed(rows, path.stat().st_size, _footer(path), kept)


def list_shards(folder: Path, shards: Mapping[str, Listed] | None = None, address: str | None = None) -> None:
    """Write beside the shards of a split, when they are all there, what `Segments` holds them to.

    Args:
        shards: what they are by their names, where that is known; by default it is looked at.
        address: below which the shards with their frames lie, if they are not here.
    """
    if shards is None:
        shards = {path.name: describe_shard(path) for path in sorted(folder.glob("*.arrow"))}
    rows = {name: asdict(listed) for name, listed in sorted(shards.items())}
    for row in rows.values():
        if row["kept"] is None:
            del row["kept"]
    write_json(folder / _LISTED, ({} if address is None else {"address": address}) | {"shards": rows})
    seal(folder / _LISTED, names=())


def _footer(path: Path) -> str:
    """CRC-32 of the end of an Arrow file, in which it lists its batches."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - _TAIL - length))
        return f"{zlib.crc32(file.read()):08x}"


def _batches(path: Path, schema: pa.Schema = SCHEMA) -> list[pa.RecordBatch]:
    """The record batches of a shard, memory-mapped.

    Raises:
        InputError: it is damaged, or of an earlier version.
    """
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            if reader.schema != schema:
                lacks = sorted(set(schema.names) - set(reader.schema.names))
                how = f"it lacks {lacks[0]}" if lacks else "its columns are others"
                raise InputError(
                    f"The shard {path} is damaged or of an earlier version ({how}): run the segment stage again."
                )
            return [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except InputError:
        raise
    except Exception as error:  # whatever damage provokes in Arrow
        raise InputError(f"The shard {path} is damaged ({error}): run the segment stage again.") from error


class Segments:
    """All segments of one collection and split, memory-mapped; picklable, and cheap to open in a worker.

    Of shards that lie elsewhere it keeps copies on this machine, as many as `shards.cache_of` says.

    Raises:
        InputError: the collection or split has no shards under `folder`, or one is damaged, missing or of an earlier
            version. What is asked for later raises it as well, where that is damaged, or can't be fetched.
    """

    def __init__(self, folder: str | Path, collection: str, split: str) -> None:
        self.paths = sorted((Path(folder) / collection / split).glob("*.arrow"))
        if not self.paths:
            raise InputError(
                f"No segments of collection {collection!r}, split {split!r}, in {folder}: name a collection of "
                "params.yaml that has videos in this split, or run the segment stage first."
            )
        self.cache = Cache()
        listed = self._open()
        self._check_list(listed)

    def _open(self) -> dict[str, Any] | None:
        """Map what is here -> the list beside it, if there is one."""
        path, listed = self.paths[0].with_name(_LISTED), None
        if check_sealed(path, (), "Run the segment stage again."):
            listed = json.loads(path.read_text(encoding="utf-8"))
        self.address: str | None = (listed or {}).get("address")
        schema = SCHEMA if self.address is None else WITHOUT_FRAMES
        opened = [(number, batch) for number, path in enumerate(self.paths) for batch in _batches(path, schema)]
        self._batches = [batch for _, batch in opened]
        self._numbers = np.array([number for number, _ in opened], np.int64)  # the shard of each batch
        self._kept: list[Kept] = []  # of each shard, where they lie elsewhere
        self._fetched: dict[int, list[pa.RecordBatch]] = {}  # copies of those, mapped
        self._checked: set[int] = set()  # batches whose checksum was looked at
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])
        if not self._batches:
            raise InputError(f"The shard {self.paths[0]} is damaged: it is empty. Run the segment stage again.")
        if listed is not None and self.address is not None:
            self._check_names(listed["shards"])
            self._kept = [Kept(**listed["shards"][path.name]["kept"]) for path in self.paths]
        return listed

    def _check_names(self, shards: Mapping[str, Any]) -> None:
        if missing := sorted(set(shards) ^ {path.name for path in self.paths}):
            raise InputError(
                f"{self.paths[0].with_name(missing[0])} is missing, or is none of the shards that were written "
                "together: run the segment stage again."
            )

    def _check_list(self, listed: dict[str, Any] | None) -> None:
        """Hold the shards to the list beside them, if there is one."""
        if listed is None:
            return
        self._check_names(listed["shards"])
        rows = np.bincount(self._numbers, [batch.num_rows for batch in self._batches], len(self.paths))
        for path, count in zip(self.paths, rows, strict=True):
            wanted = {name: listed["shards"][path.name][name] for name in ("rows", "bytes", "footer")}
            if {"rows": int(count), "bytes": path.stat().st_size, "footer": _footer(path)} != wanted:
                raise InputError(
                    f"The shard {path} is damaged (it is not as long as it was, or its list of batches "
                    "is another): run the segment stage again."
                )

    def shards(self) -> np.ndarray:
        """The number of the shard that each row lies in, ascending, int64 [N]."""
        return np.repeat(self._numbers, [batch.num_rows for batch in self._batches])

    def sizes(self) -> np.ndarray:
        """Bytes of each shard, with its frames, int64."""
        return np.array([kept.size for kept in self._kept] or [path.stat().st_size for path in self.paths], np.int64)

    def fetch(self, shard: int) -> Path:
        """The file of a shard with its frames: what is here, or the copy of what lies elsewhere, fetched if need be.

        Raises:
            InputError: it can't be fetched, or its bytes are not those that were written.
        """
        if self.address is None:
            return self.paths[shard]
        return self.cache.fetch(self.address, self._kept[shard])

    def _frames(self, number: int, row: int) -> pa.BinaryArray:
        """The frames of a row of a batch, from wherever they lie."""
        if self.address is None:
            return self._batches[number].column("frames")[row].values
        shard = int(self._numbers[number])
        path = self.fetch(shard)
        opened = self._fetched.get(shard)
        if opened is None:
            # A copy that went is let go: while it is mapped, the disk has no more room than before.
            for other in list(self._fetched):
                if not self.cache.has(self._kept[other]):
                    self._fetched.pop(other, None)
            opened = self._fetched[shard] = _batches(path)
        return opened[number - int(np.searchsorted(self._numbers, shard))].column("frames")[row].values

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows as record batches of `SCHEMA`, or `WITHOUT_FRAMES` where these lie elsewhere."""
        return (self._whole(number) for number in range(len(self._batches)))

    def _whole(self, number: int) -> pa.RecordBatch:
        """A batch that is as it was written, but perhaps for its frames, which are looked at one by one."""
        batch = self._batches[number]
        if number in self._checked:
            return batch
        try:
            batch.validate(full=True)
            if set(batch.column("check").to_pylist()) - {_checksum(batch)}:
                raise ValueError("texts, times or frames of its segments are not what was written")
        except Exception as error:  # whatever damage provokes in Arrow
            raise InputError(
                f"The shard {self._path(number)} is damaged ({error}): run the segment stage again."
            ) from error
        self._checked.add(number)
        return batch

    def _path(self, number: int) -> Path:
        return self.paths[int(self._numbers[number])]

    def __getstate__(self) -> tuple[list[Path], Cache]:
        return self.paths, self.cache

    def __setstate__(self, state: tuple[list[Path], Cache]) -> None:
        self.paths, self.cache = state
        self._open()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Segment:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._ends, index, side="right"))
        batch = self._whole(number)
        row = int(index) - int(self._ends[number]) + batch.num_rows
        values = {name: batch.column(name)[row] for name in SCHEMA.names if name != "frames"}
        checks = values["frame_checks"].values.to_numpy()
        where = f"the shard {self._path(number)}"
        special = {"frames", "frame_times", "cues", "captions"}
        return Segment(
            **{name: values[name].as_py() for name in _CONTENT if name not in special},
            frame_times=values["frame_times"].values.to_numpy(),
            frames=_Frames(partial(self._frames, number, row), checks, values["segment_id"].as_py(), where),
            cues=tuple(_cue(cue) for cue in values["cues"].as_py()),
            captions=tuple(values["captions"].as_py()),
        )

    def __iter__(self) -> Iterator[Segment]:
        return (self[index] for index in range(len(self)))

    def column(self, name: str) -> list[Any]:
        """One column over all rows as Python values; for the light ones (labels, ids, times)."""
        return [value for batch in self.batches() for value in batch.column(name).to_pylist()]

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns over all rows, as Arrow has them."""
        return pa.Table.from_batches([batch.select(list(names)) for batch in self.batches()])

    def texts(self, kind: str) -> Iterator[str]:
        """All that is said in order of rows, a batch of them at a time: of kind "caption" or "title" the untimed
        texts, else the cues."""
        for batch in self.batches():
            if kind == "title":
                yield from (title for title in batch.column("title").to_pylist() if title)
            elif kind == "caption":
                yield from (text for texts in batch.column("captions").to_pylist() for text in texts)
            else:
                yield from (cue["text"] for cues in batch.column("cues").to_pylist() for cue in cues)

    def transcripts(self) -> np.ndarray:
        """How many cues of each row are transcripts, int64 [N]."""
        counts = []
        for batch in self.batches():
            cues = batch.column("cues")
            long = pc.greater_equal(pc.utf8_length(cues.flatten().field("text")), MIN_CHARACTERS)
            before = np.concatenate([[0], np.cumsum(long.to_numpy(zero_copy_only=False))])
            ends = np.concatenate([[0], np.cumsum(pc.list_value_length(cues).to_numpy(zero_copy_only=False))])
            counts.append(np.diff(before[ends.astype(np.int64)]))
        return np.concatenate(counts)

    def content(self) -> str:
        """SHA-256 over the checksums that are in the shards: names this data without reading its frames."""
        total = hashlib.sha256()
        for batch in self._batches:
            frames = batch.column("frame_checks")
            for part in (batch.column("check"), pc.list_value_length(frames), frames.flatten()):
                total.update(pc.fill_null(part, 0).to_numpy(zero_copy_only=False).tobytes())
        return total.hexdigest()

    def digest(self) -> str:
        """SHA-256 over the shards' bytes: names this exact data, whatever the folder is called."""
        checksums = [kept.sha256 for kept in self._kept] or [digest(path) for path in self.paths]
        return hashlib.sha256(b"".join(map(bytes.fromhex, checksums))).hexdigest()


class _Frames:
    """JPEG bytes of a row without copying them out of the memory map, each held to its checksum when it is read.
    Where they are is asked when the first is read: they may have to be fetched."""

    def __init__(self, find: Callable[[], pa.BinaryArray], checks: np.ndarray, segment_id: str, where: str) -> None:
        self._find, self._checks, self._segment_id, self._where = find, checks, segment_id, where

    def __len__(self) -> int:
        return len(self._checks)

    @cached_property
    def _values(self) -> pa.BinaryArray:
        return self._find()

    def __getitem__(self, index: int) -> memoryview:
        frame = memoryview(self._values[int(index)].as_buffer()).cast("B")
        if zlib.crc32(frame) != self._checks[int(index)]:
            raise InputError(
                f"The frames of segment {self._segment_id} are damaged: number {index} in {self._where} is not what "
                "was written. Run the segment stage again."
            )
        return frame


def is_transcript(text: str) -> bool:
    """Whether a text is long enough to be one of the K that are sorted."""
    return len(text) >= MIN_CHARACTERS


def _cue(row: dict[str, Any]) -> Cue:
    words = row.pop("words")
    return Cue(**row, words=None if words is None else tuple(Word(**word) for word in words))
