"""Which videos a model learned from, and which of those that it is measured on are among them.

A model's folder lists the videos of its training splits (`LEARNED`), those of the model that it started from among
them, and names the segments that it was trained on itself by a digest (`data_digest`). A measured video is one of
them if it has its id in its collection, its file (by digest), or its recording, whatever the collections are called:
clips of one recording show the same people and rooms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.reporting import Reporter
from scriptsight.segments import Segments

LEARNED = "learned_from.parquet"
DATA = "segments"  # in the metadata of its schema: the digest of the training splits
SCHEMA = pa.schema(
    [
        ("collection", pa.string()),
        ("video_id", pa.string()),
        ("recording", pa.string()),  # null: not known
        ("file_digest", pa.string()),  # SHA-256; null: not known
    ]
)


@dataclass(frozen=True)
class Overlap:
    """Measured videos that are among those learned from: how many in all, and of these by which sign."""

    measured: int
    found: int
    same_id: int
    same_file: int
    same_recording: int
    first: str | None  # the first one's collection and id

    @property
    def figures(self) -> dict[str, int]:
        """For a metrics file."""
        return {
            "measured": self.measured,
            "learned_from": self.found,
            "same_id": self.same_id,
            "same_file": self.same_file,
            "same_recording": self.same_recording,
        }

    def warning(self, what: str) -> str | None:
        """A line that says so before the figures of `what`; None where there is nothing to say."""
        if not self.found:
            return None
        return (
            f"WARNING: {self.found:,} of the {self.measured:,} videos of {what} are among those that the model "
            f"learned from (the same id: {self.same_id:,}, the same file: {self.same_file:,}, the same recording: "
            f"{self.same_recording:,}), the first is {self.first}. Its figures say less than they seem: measure on "
            "videos that pretrain.collections does not train on."
        )


def videos(splits: Iterable[tuple[str, Segments]], rows: Sequence[Sequence[int]] | None = None) -> pa.Table:
    """The videos of some collections' segments, each once, as a table of `SCHEMA` in order.

    Args:
        rows: of each of `splits` the rows that count; None: all.
    """
    found = [pa.Table.from_batches([], SCHEMA)]
    for number, (collection, segments) in enumerate(splits):
        table = segments.table([name for name in SCHEMA.names if name != "collection"])
        if rows is not None:
            table = table.take(list(rows[number]))
        found.append(table.add_column(0, "collection", pa.repeat(pa.scalar(collection), len(table))).cast(SCHEMA))
    return _once(pa.concat_tables(found))


def together(tables: Iterable[pa.Table]) -> pa.Table:
    """Several tables of videos as one, each video once."""
    return _once(pa.concat_tables(tables))


def _once(table: pa.Table) -> pa.Table:
    once = table.group_by(SCHEMA.names).aggregate([]).select(SCHEMA.names)
    return once.sort_by([(name, "ascending") for name in SCHEMA.names])


def data_digest(splits: Iterable[tuple[str, Segments]]) -> str:
    """Names the segments of some collections, of one split each: 32 hexadecimal digits."""
    total = hashlib.sha256()
    for place, segments in sorted((f"{name}/{one.paths[0].parent.name}", one.content()) for name, one in splits):
        total.update(f"{place}\0{segments}\n".encode())
    return total.hexdigest()[:32]


def write(folder: str | Path, learned: pa.Table, data: str | None = None) -> None:
    """Put the list of the videos that a model learned from into its folder, and with it the `data_digest` of the
    segments that it was trained on itself."""
    with whole_file(Path(folder) / LEARNED) as partial:
        pq.write_table(learned.replace_schema_metadata({DATA: data} if data else None), partial)


def trained_on(folder: str | Path) -> str | None:
    """The `data_digest` of the segments that a model was trained on; None: its folder doesn't say it.

    Raises:
        InputError: the list is damaged.
    """
    path = Path(folder) / LEARNED
    if not path.is_file():
        return None
    try:
        found = (pq.read_schema(path).metadata or {}).get(DATA.encode())
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): run the pretrain stage again, or remove it.") from None
    return found.decode() if found else None


def read(folder: str | Path) -> pa.Table | None:
    """The videos that a model learned from; None: its folder doesn't say it (an older version wrote it).

    Raises:
        InputError: the list is damaged.
    """
    path = Path(folder) / LEARNED
    if not path.is_file():
        return None
    try:
        return pq.read_table(path).select(SCHEMA.names).replace_schema_metadata(None)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): run the pretrain stage again, or remove it.") from None


def known(folder: str | Path, reporter: Reporter) -> pa.Table | None:
    """As `read`; that a model doesn't say what it learned from is told."""
    learned = read(folder)
    if learned is None:
        reporter.message(
            f"The model in {folder} does not say what it learned from: measured videos among that would go "
            "unnoticed. Run the pretrain stage again for a list."
        )
    return learned


def overlap(measured: pa.Table, learned: pa.Table) -> Overlap:
    """Which of the measured videos are among those learned from; both are tables of `SCHEMA`."""
    names = [
        pc.binary_join_element_wise(table["collection"], table["video_id"], "/") for table in (measured, learned)
    ]
    signs = {
        "same_id": pc.is_in(names[0], names[1].combine_chunks()),
        "same_file": _shared(measured, learned, "file_digest"),
        "same_recording": _shared(measured, learned, "recording"),
    }
    found = pc.or_(pc.or_(signs["same_id"], signs["same_file"]), signs["same_recording"])
    counts: Mapping[str, int] = {sign: pc.sum(flags).as_py() or 0 for sign, flags in signs.items()}
    which = names[0].filter(found).to_pylist()
    return Overlap(measured.num_rows, len(which), **counts, first=which[0] if which else None)


def among(videos: pa.Table, known: pa.Table) -> list[bool]:
    """Whether each of some videos is a known one, by its file or its recording; both are tables of `SCHEMA`.

    The id counts only where a file's digest is not known: another file in a known one's place is another video.
    """
    numbered = pc.binary_join_element_wise(known["collection"], known["video_id"], "/")
    names = pc.binary_join_element_wise(videos["collection"], videos["video_id"], "/")
    without = numbered.filter(pc.is_null(known["file_digest"])).combine_chunks()
    undigested = pc.and_(pc.is_null(videos["file_digest"]), pc.is_in(names, numbered.combine_chunks()))
    same_id = pc.or_(undigested, pc.is_in(names, without))
    found = pc.or_(same_id, pc.or_(*(_shared(videos, known, column) for column in ("file_digest", "recording"))))
    flags: list[bool] = found.to_pylist()
    return flags


def _shared(measured: pa.Table, learned: pa.Table, column: str) -> pa.ChunkedArray:
    """Whether each measured video has a value that a learned one has as well; null is no value."""
    known = learned[column].drop_null().combine_chunks()
    return pc.and_(pc.is_valid(measured[column]), pc.is_in(measured[column], known))
