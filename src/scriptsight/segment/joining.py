"""Joining parts to shards: planned from the sizes of rows alone, done shard by shard on any machine, resumable.

Where a batch and where a shard ends follows from how large rows are, and `extents` says that of a row without its
content. So the plan needs no frame, and each of its lines, which is a shard, can be written by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pydantic import TypeAdapter

from scriptsight import parts, shards
from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.media import Failed
from scriptsight.parts import Plan, Work
from scriptsight.segments import SCHEMA, Listed, describe_shard, joined, write_without_frames

BATCH_ROWS = 32
BATCH_BYTES = 8 * 2**20  # a batch is the unit that memory-mapped readers touch

Extents = tuple[int, ...]


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a part file: `count` from `first` on."""

    file: str
    first: int
    count: int


@dataclass(frozen=True)
class _Item:
    """A line of the plan: a shard. `batches` are the rows of each of its record batches."""

    group: str  # COLLECTION/SPLIT
    number: int
    batches: tuple[int, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Shard:
    """A shard that was written: its file in the work folder, and what the list beside the shards says of it."""

    group: str
    number: int
    file: str
    bytes: int  # with the frames, wherever they are
    listed: Listed
    rejects: tuple[Reject, ...] = ()  # none: a shard is written whole or the stage stops

    @property
    def name(self) -> str:
        """Its name beside the others of its group."""
        return shard_name(self.number)


_ITEM = TypeAdapter(_Item)


def shard_name(number: int) -> str:
    """What the shards of a group are called, in order."""
    return f"{number:05}.arrow"


# ------------------------------------------------------------------------------------------------- sizes


def extents(batch: pa.RecordBatch) -> Extents:
    """How large a batch of `SCHEMA` is: of each array, those within others included, how many values it has, whether
    some are null, and of texts and pictures their bytes. The sums over some batches are those of the batches joined,
    but for the nulls."""
    return tuple(number for column in batch.columns for number in _extents(column))


def _extents(array: pa.Array) -> Iterator[int]:
    yield len(array)
    yield int(array.null_count > 0)
    if pa.types.is_struct(array.type):
        for field in range(array.type.num_fields):
            yield from _extents(array.field(field))
    elif pa.types.is_list(array.type):
        yield from _extents(array.flatten())
    elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        yield sum(len(value.as_buffer()) for value in array if value.is_valid)


def nbytes(rows: Iterable[Extents]) -> int:
    """What `pyarrow.RecordBatch.nbytes` is of the batch that is joined from these."""
    total = iter([sum(numbers) for numbers in zip(*rows, strict=True)])
    return sum(_nbytes(field.type, total) for field in SCHEMA)


def _nbytes(kind: pa.DataType, total: Iterator[int]) -> int:
    values, nulls = next(total), next(total)
    size = -(-values // 8) if nulls else 0  # a bit a value
    if pa.types.is_struct(kind):
        return size + sum(_nbytes(kind.field(field).type, total) for field in range(kind.num_fields))
    if pa.types.is_list(kind):
        return size + 4 * values + _nbytes(kind.value_type, total)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return size + 4 * values + next(total)
    return int(size + values * kind.bit_width // 8)


# -------------------------------------------------------------------------------------------- plan, work


def plan(
    groups: Iterable[tuple[str, Iterable[tuple[str, Sequence[Extents]]]]], folder: Path, shard_mb: float
) -> Plan:
    """Write the plan into `folder`: a line a shard of about `shard_mb`, of the part files of each group (COLLECTION/
    SPLIT) in their order, each with the extents of its rows."""
    return parts.write_plan(
        folder,
        (
            (group, [_ITEM.dump_json(_Item(group, number, batches, pieces))])
            for group, files in groups
            for number, (batches, pieces) in enumerate(_shards(files, shard_mb * 1e6))
        ),
    )


def _shards(
    files: Iterable[tuple[str, Sequence[Extents]]], most: float
) -> Iterator[tuple[tuple[int, ...], tuple[Piece, ...]]]:
    """The batches and the pieces of each shard."""
    batches: list[int] = []
    pieces: list[Piece] = []
    written = 0
    for size, of_batch in _batches(files):
        if batches and written + size > most:
            yield tuple(batches), _together(pieces)
            batches, pieces, written = [], [], 0
        batches.append(sum(piece.count for piece in of_batch))
        pieces += of_batch
        written += size
    if batches:
        yield tuple(batches), _together(pieces)


def _batches(files: Iterable[tuple[str, Sequence[Extents]]]) -> Iterator[tuple[int, list[Piece]]]:
    """The bytes and the pieces of batches of modest size."""
    pending: list[Extents] = []
    pieces: list[Piece] = []
    size = 0
    for file, rows in files:
        for number, row in enumerate(rows):
            own = nbytes([row])
            if pending and (len(pending) == BATCH_ROWS or size + own > BATCH_BYTES):
                yield nbytes(pending), pieces
                pending, pieces, size = [], [], 0
            pending.append(row)
            pieces.append(Piece(file, number, 1))
            size += own
    if pending:
        yield nbytes(pending), pieces


def _together(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Pieces with those that follow one another in a file as one."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].file == piece.file:
            found[-1] = Piece(piece.file, found[-1].first, found[-1].count + piece.count)
        else:
            found.append(piece)
    return tuple(found)


def job(folder: Path, from_parts: Path, store: str | None, timeout: float) -> Work[Shard]:
    """The work of joining in `folder`.

    Args:
        from_parts: where the part files lie.
        store: the address that shards go to; None keeps them in `folder`.
    """
    do = partial(work, from_parts=from_parts, folder=folder, store=store)
    return Work(folder, Path.cwd(), do, _refused, Shard, timeout)


def work(lines: Sequence[bytes], *, from_parts: Path, folder: Path, store: str | None) -> Shard:
    """Write the shard of a line of the plan; equal lines give equal bytes.

    Raises:
        InputError: a part is missing or damaged, or the store can't be written to.
    """
    (line,) = lines
    item = _ITEM.validate_json(line)
    if store is None:
        with parts.part_file(folder, lines, ".arrow") as file:
            _write(file.path, _joined(item, from_parts))
            listed, size = describe_shard(file.path), file.path.stat().st_size
        return Shard(item.group, item.number, file.name, size, listed)
    with TemporaryDirectory() as temporary:
        whole = Path(temporary, shard_name(item.number))
        _write(whole, _joined(item, from_parts))
        kept = shards.put(whole, f"{store}/{item.group}")
        with parts.part_file(folder, lines, ".arrow") as file:
            write_without_frames(whole, file.path)
            listed = describe_shard(file.path, kept)
    return Shard(item.group, item.number, file.name, kept.size, listed)


def _joined(item: _Item, folder: Path) -> Iterator[pa.RecordBatch]:
    rows = (row for piece in item.pieces for row in _rows(parts.whole_part(folder, piece.file), piece))
    return (joined([next(rows) for _ in range(count)]) for count in item.batches)


def _rows(path: Path, piece: Piece) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source)
        for number in range(piece.first, piece.first + piece.count):
            yield reader.get_batch(number)


def _write(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _refused(line: bytes, failed: Failed) -> Shard:
    item = _ITEM.validate_json(line)
    raise InputError(
        f"Shard {item.number} of {item.group} was not joined: its process {failed.reason} ({failed.detail}). Run the "
        "segment stage again, which goes on from here; where it was time that lacked, raise segment.timeout_seconds."
    )
