"""Measured videos that a model learned from are found by id, by file and by recording, across collections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scriptsight import overlap
from scriptsight.errors import InputError
from scriptsight.overlap import SCHEMA, Overlap
from scriptsight.segments import Segments
from tests import small
from tests.probe.test_probe_run import Listener

Row = tuple[str, str, str | None, str | None]


def table(*rows: Row) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def naive(measured: list[Row], learned: list[Row]) -> Overlap:
    ids = [row for row in measured if row[:2] in {one[:2] for one in learned}]
    files = [row for row in measured if row[3] and row[3] in {one[3] for one in learned}]
    cut_from = [row for row in measured if row[2] and row[2] in {one[2] for one in learned}]
    found = [row for row in measured if row in ids or row in files or row in cut_from]
    first = "/".join(found[0][:2]) if found else None
    return Overlap(len(measured), len(found), len(ids), len(files), len(cut_from), first)


@pytest.mark.parametrize("learned", range(0, 9))
def test_an_overlap_is_what_a_naive_search_finds(learned: int) -> None:
    known: list[Row] = [
        ("a", "1", None, None),
        ("a", "2", "film", None),
        ("a", "3", None, "d3"),
        ("b", "1", "film", "d1"),
        ("b", "9", "song", "d9"),
        ("c", "x", "film", "d3"),
        ("c", "y", None, "d1"),
        ("d", "z", "play", None),
    ]
    measured: list[Row] = [
        ("a", "1", None, None),
        ("a", "9", None, None),
        ("b", "3", "film", "d4"),
        ("c", "1", "song", "d1"),
        ("e", "1", "none", "d0"),
    ]
    assert overlap.overlap(table(*measured), table(*known[:learned])) == naive(measured, known[:learned])


def test_nothing_known_is_nothing_shared() -> None:
    found = overlap.overlap(table(("a", "1", None, None)), table(("b", "1", None, None)))
    assert (found.found, found.warning("it"), found.first) == (0, None, None)


def test_the_list_of_a_model_has_each_video_once_and_the_same_bytes(tmp_path: Path) -> None:
    rows = [replace(small.segment(name), recording="film") for name in ("b", "a", "b")]
    small.write_segments(tmp_path, "c", "train", rows)
    small.write_segments(tmp_path, "d", "train", rows[:1])
    splits = [(name, Segments(tmp_path, name, "train")) for name in ("d", "c")]
    found = overlap.videos(splits)
    assert found.column("video_id").to_pylist() == ["a", "b", "b"]
    assert found.column("collection").to_pylist() == ["c", "c", "d"]
    for folder, parts in (("one", splits), ("two", splits[::-1])):
        (tmp_path / folder).mkdir()
        overlap.write(tmp_path / folder, overlap.together([overlap.videos([part]) for part in parts]))
    assert len({(tmp_path / folder / overlap.LEARNED).read_bytes() for folder in ("one", "two")}) == 1
    assert overlap.read(tmp_path / "one") == found


def test_data_is_named_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    """Other pictures, words or splits are other data, of as many bytes or not."""

    def named(folder: str, collection: str = "c", split: str = "train", **keys: Any) -> str:
        rows = [small.segment("a", texts=["it moves left"]), small.segment("b", **keys)]
        small.write_segments(tmp_path / folder, collection, split, rows)
        return overlap.data_digest([(collection, Segments(tmp_path / folder, collection, split))])

    digest = named("one")
    assert named("two") == digest and len(digest) == 32
    others = [
        named("seed", seed=1),
        named("said", texts=["it moves away"]),
        named("name", "d"),
        named("val", "c", "val"),
    ]
    assert len({digest, *others}) == 5
    overlap.write(tmp_path, table(("c", "a", None, None)), digest)
    assert overlap.trained_on(tmp_path) == digest
    overlap.write(tmp_path, table(("c", "a", None, None)))
    assert overlap.trained_on(tmp_path) is None


def test_a_model_that_does_not_say_what_it_learned_from(tmp_path: Path) -> None:
    listener = Listener()
    assert overlap.known(tmp_path, listener) is None
    assert "does not say what it learned from" in listener.said[0]
    (tmp_path / overlap.LEARNED).write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"learned_from\.parquet is damaged"):
        overlap.known(tmp_path, listener)
