"""Shards that are planned from sizes and joined anywhere are those that one process would write, to the byte."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from scriptsight import parts
from scriptsight.catalogue import Cue, Word
from scriptsight.errors import InputError
from scriptsight.reporting import ConsoleReporter
from scriptsight.segment import joining
from scriptsight.segments import SCHEMA, Segment, joined, to_batch


def segment(number: int, draw: random.Random, most: int = 200) -> Segment:
    """One with everything that may be missing, now there and now not."""

    def text() -> str:
        return "wörd " * draw.randint(0, 3)

    def words() -> tuple[Word, ...] | None:
        return None if draw.random() < 0.5 else tuple(Word(0.0, 1.0, text()) for _ in range(draw.randint(0, 3)))

    count = draw.randint(1, 9)
    return Segment(
        segment_id=f"c/v{number}/0",
        video_id=f"v{number}",
        uri="u" * draw.randint(1, 9),
        start=0.0,
        end=1.0,
        frame_times=np.arange(count) * 1.0,
        frames=[draw.randbytes(draw.randint(0, most)) for _ in range(count)],
        cues=tuple(Cue(i, i + 1.0, text(), words()) for i in range(draw.choice([0, 0, 1, 5]))),
        title=draw.choice([None, "a title"]),
        captions=tuple(text() for _ in range(draw.randint(0, 2))),
        label=draw.choice([None, "a label"]),
        recording=draw.choice([None, "a film"]),
        file_digest=draw.choice([None, "d" * 64]),
    )


def read(path: Path) -> list[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as source:
        reader = pa.ipc.open_file(source)
        return [reader.get_batch(i) for i in range(reader.num_record_batches)]


def write(path: Path, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return read(path)


def test_how_large_a_joined_batch_is_follows_from_its_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(60):
        made = [to_batch([segment(number, draw)]) for number in range(draw.randint(1, 32))]
        rows = write(tmp_path / "rows.arrow", made)
        assert joining.nbytes(map(joining.extents, rows)) == joined(rows).nbytes
        for new, row in zip(made, rows, strict=True):
            assert joining.extents(new) == joining.extents(row)
            assert joining.nbytes([joining.extents(row)]) == row.nbytes


def one_after_the_other(files: Sequence[Path], most: float) -> Iterator[list[pa.RecordBatch]]:
    """The batches of each shard, as one process makes them that reads every row and knows no plan."""
    rows = [row for path in files for row in read(path)]
    shard: list[pa.RecordBatch] = []
    while rows:
        pending = [rows.pop(0)]
        while rows and len(pending) < joining.BATCH_ROWS:
            if sum(row.nbytes for row in [*pending, rows[0]]) > joining.BATCH_BYTES:
                break
            pending.append(rows.pop(0))
        batch = joined(pending)
        if shard and sum(one.nbytes for one in [*shard, batch]) > most:
            yield shard
            shard = []
        shard.append(batch)
    if shard:
        yield shard


@pytest.mark.parametrize(("shard_mb", "batch_bytes"), [(0.02, 4000), (0.005, 2**23), (100.0, 2**23)])
def test_shards_are_those_of_one_process_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_mb: float, batch_bytes: int
) -> None:
    monkeypatch.setattr(joining, "BATCH_BYTES", batch_bytes)
    draw = random.Random(1)
    files = []
    for number in range(20):
        lines = [str(number).encode()]
        with parts.part_file(tmp_path, lines, ".arrow") as file:
            rows = write(file.path, [to_batch([segment(i, draw)]) for i in range(draw.randint(1, 20))])
        files.append((file.name, [joining.extents(row) for row in rows]))
    folder = tmp_path / "shards"
    folder.mkdir()
    plan = joining.plan([("c/train", files)], folder, shard_mb)
    job = joining.job(folder, tmp_path, None, timeout=60)
    parts.finish(job, plan, parts.in_processes(2), "shards", ConsoleReporter())
    found = list(job.parts(plan))
    wanted = list(one_after_the_other([tmp_path / name for name, _ in files], shard_mb * 1e6))
    assert len(found) == len(wanted) == (1 if shard_mb == 100 else len(wanted))
    assert len(wanted) > 3 or shard_mb == 100
    for number, (shard, batches) in enumerate(zip(found, wanted, strict=True)):
        assert (shard.group, shard.number, shard.name) == ("c/train", number, f"{number:05}.arrow")
        write(tmp_path / "wanted.arrow", batches)
        assert (folder / shard.file).read_bytes() == (tmp_path / "wanted.arrow").read_bytes()
        assert shard.listed.rows == sum(batch.num_rows for batch in batches)


def test_a_shard_of_a_damaged_part_is_told(tmp_path: Path) -> None:
    lines = [b"0"]
    with parts.part_file(tmp_path, lines, ".arrow") as file:
        rows = write(file.path, [to_batch([segment(0, random.Random(0))])])
    data = bytearray((tmp_path / file.name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / file.name).write_bytes(data)
    folder = tmp_path / "shards"
    folder.mkdir()
    plan = joining.plan([("c/train", [(file.name, [joining.extents(row) for row in rows])])], folder, 1.0)
    job = joining.job(folder, tmp_path, None, timeout=60)
    with pytest.raises(InputError, match=r"damaged: remove the folder .*run the stage again"):
        parts.finish(job, plan, parts.in_processes(1), "shards", ConsoleReporter())
