"""Files that were damaged after they were written: one message that names the file, soon, or the same result.

Each kind of file is made small and real, and damaged a hundred times and more by a seeded generator.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter

from flows import parameters
from scriptsight import catalogue, features, files, parts
from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.reporting import SilentReporter
from scriptsight.retrieve import index as indexes
from scriptsight.segments import Segments, list_shards
from scriptsight.training.checkpoint import Checkpoints
from tests import small

SECONDS = 1.0  # after which a person has heard of the damage
TIMES = 60  # a file is damaged

Read = Callable[[Path], Any]


# ------------------------------------------------------------------------------------------------ kinds of damage


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] if rng.random() < 0.5 else data[:at] + data[at + rng.randint(1, 64) :]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 8, 512))) + data[at:]


def zero(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((4, 64, 4096))
    return data[:at] + b"\0" * len(data[at : at + length]) + data[at + length :]


def swap(data: bytes, rng: random.Random) -> bytes:
    length = rng.choice((1, 8, 256))
    one, other = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    if other - one < length:
        return data[::-1]
    return b"".join(
        (
            data[:one],
            data[other : other + length],
            data[one + length : other],
            data[one : one + length],
            data[other + length :],
        )
    )


DAMAGES = (flip, cut, insert, zero, swap)


def damaged(file: Path, times: int = TIMES) -> Any:
    """Damage a file in one way after another, each time from its whole bytes -> which way."""
    whole = file.read_bytes()
    rng = random.Random(file.name)
    for number in range(times):
        damage = DAMAGES[number % len(DAMAGES)]
        changed = damage(whole, rng)
        if changed == whole:
            continue
        replaced(file, changed)
        yield f"{file.name}: {damage.__name__}, time {number}"
    replaced(file, whole)


def replaced(file: Path, data: bytes) -> None:
    """Under a new number: what is still mapped into memory of the old one stays as it was."""
    file.unlink()
    file.write_bytes(data)


# ----------------------------------------------------------------------------------------------- kinds of files


@dataclass(frozen=True)
class Kind:
    """Files that belong together: how they are made, which of them are damaged, and how all is read."""

    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Read


def segments(folder: Path, *, listed: bool) -> None:
    rows = [small.segment(f"v{i}", texts=["it moves to the left", "and back"], seed=i, title="t") for i in range(3)]
    path = small.write_segments(folder, "c", "train", [replace(row, captions=("it", "moves")) for row in rows])
    if listed:
        list_shards(path.parent)


def read_segments(folder: Path) -> Any:
    found = Segments(folder, "c", "train")
    rows = [(row.segment_id, row.start, row.cues, row.title, row.captions, row.decode(range(6))) for row in found]
    return rows, found.transcripts(), list(found.texts("script")), found.column("uri")


def index(folder: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(64, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [indexes.row(small.segment(f"v{i}", texts=["it moves"]), "c", "train", "en") for i in range(64)]
    indexes.write(folder / "index", vectors, rows, "0" * 64, "hnsw")


def read_index(folder: Path) -> Any:
    found = indexes.read(folder / "index", "0" * 64)
    query = np.eye(8, dtype=np.float32)[:1]
    ids = found.moments["segment_id"].to_pylist()
    return *found.nearest(query, 5), *found.nearest(query, 5, exact=True), ids, found.words.best("moves", 70)


def model(folder: Path) -> None:
    bundle.save(small.tiny_encoder(), folder / "model")


def read_model(folder: Path) -> Any:
    encoder = bundle.load(folder / "model")
    frames = torch.arange(4 * 16 * 16 * 3).remainder(251).to(torch.uint8).view(1, 4, 16, 16, 3)
    untrained = bundle.random_like(folder / "model", 0)
    return encoder.encode_video(frames), encoder.encode_text(["the red circle"]), untrained.encode_video(frames)


def videos(folder: Path) -> None:
    rows = [
        Video(f"v{i}", "c", "train", f"v{i}.mp4", 1, "0", 9.0, 2.0, 16, 16, "h264", False, None, "t", ("a", "b"))
        for i in range(20)
    ]
    cues = (Cue(0.0, 1.0, "it moves"), Cue(1.0, 2.0, "to the left"))
    table = catalogue.with_cues(
        replace(row, cues=cues) for row in sorted(rows, key=lambda row: (row.collection, row.video_id))
    )
    catalogue.write(folder / "catalogue", [table], [Reject("c", "v.mp4", "unreadable video", "why")])


def read_videos(folder: Path) -> Any:
    found = list(catalogue.read(folder / "catalogue"))
    return found, [one.cues for one in found], catalogue.read_rejects(folder / "catalogue")


def checkpoints(folder: Path) -> None:
    kept = Checkpoints(folder, "key", 2)
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 16)
    kept.save(7, {"step": 7, "model": linear.state_dict(), "training": [{"step": 7, "loss": 0.5}]})
    kept.save_best(linear.state_dict())


def read_checkpoints(folder: Path) -> Any:
    found = Checkpoints(folder, "key", 2).load()
    assert found is not None
    return found[0], Checkpoints(folder, "key", 2).load_best()


@dataclass(frozen=True)
class Part:
    collection: str
    rejects: tuple[Reject, ...] = ()


LINES = [[b'{"n": %d}' % i, b'{"m": %d}' % i] for i in range(10)]


def work(folder: Path) -> parts.Work[Part]:
    return parts.Work(folder, folder, parted, refused, Part, 60.0)


def plan(folder: Path) -> None:
    made = parts.write_plan(folder, [(f"group {i % 3}", lines) for i, lines in enumerate(LINES)])
    for number, chunk in enumerate(made):
        summary = work(folder).summary(chunk)
        found = [Part("c", (Reject("c", f"v{number}.mp4", "no cues", "none"),))]
        summary.parent.mkdir(exist_ok=True)
        summary.write_bytes(parts._seal(TypeAdapter(list[Part]).dump_json(found)))
        if not number:
            shutil.copy(summary, folder / "first.json")
    parts.write_lines(folder / "rejects.jsonl", [line for lines in LINES for line in lines])


def read_work(folder: Path) -> Any:
    chunks = parts.Plan(folder, 10, 20)
    first = next(iter(chunks))
    shutil.copy(folder / "first.json", work(folder).summary(first))
    lines = list(parts.read_lines(folder / "rejects.jsonl"))
    return [(chunk.group, chunk.lines()) for chunk in chunks], list(work(folder).parts(chunks)), lines


KINDS = {
    "shards": Kind(partial(segments, listed=True), ("c/train/00000.arrow", "c/train/checksums.json"), read_segments),
    "a shard alone": Kind(partial(segments, listed=False), ("c/train/00000.arrow",), read_segments),
    "an index": Kind(
        index,
        (
            "index/config.json",
            "index/embeddings.npy",
            "index/coarse.npy",
            "index/moments.arrow",
            "index/words.db",
            "index/graph.faiss",
        ),
        read_index,
    ),
    "a model": Kind(
        model,
        (
            "model/config.json",
            "model/preprocessing.json",
            "model/model.safetensors",
            "model/tokenizer/tokenizer.json",
        ),
        read_model,
    ),
    "a catalogue": Kind(
        videos,
        tuple(
            f"catalogue/{name}" for name in ("videos.parquet", "cues.parquet", "rejects.parquet", "checksums.json")
        ),
        read_videos,
    ),
    "checkpoints": Kind(checkpoints, ("key/0000000007.pt", "key/best.pt"), read_checkpoints),
    "a plan and its parts": Kind(plan, ("plan.jsonl", "chunks.jsonl", "rejects.jsonl", "first.json"), read_work),
}


def plain(value: Any) -> Any:
    """A result as something that can be compared."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return np.asarray(value).tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_told_with_the_file_or_changes_nothing(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    kind.make(tmp_path)
    expected = plain(kind.read(tmp_path))
    told = 0
    for file in kind.files:
        for how in damaged(tmp_path / file):
            started = time.process_time()
            try:
                assert plain(kind.read(tmp_path)) == expected, how
            except InputError as error:
                assert str(tmp_path) in str(error), (how, error)
                told += 1
            except Exception as error:
                raise AssertionError(f"{how}: {error!r}") from error
            assert time.process_time() - started < SECONDS, how
    assert told > TIMES * len(kind.files) // 2  # nearly all that is damaged counts
    assert plain(kind.read(tmp_path)) == expected


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    for number, kind in enumerate(KINDS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        kind.make(folder)
        for file in kind.files:
            if Path(file).name in ("checksums.json", "first.json", "0000000007.pt"):
                continue  # without a list there is nothing to hold files to, and without a state a training begins
            (folder / file).rename(folder / "elsewhere")
            with pytest.raises((InputError, FileNotFoundError), match=str(folder)):
                kind.read(folder)
            (folder / "elsewhere").rename(folder / file)


def test_a_model_from_before_there_were_checksums_is_read_and_its_damage_told(tmp_path: Path) -> None:
    model(tmp_path)
    expected = plain(read_model(tmp_path))
    config = tmp_path / "model" / "config.json"
    values = json.loads(config.read_text())
    del values[files.CHECKSUMS]
    config.write_text(json.dumps(values))
    assert plain(read_model(tmp_path)) == expected
    for file in ("config.json", "tokenizer/tokenizer.json", "model.safetensors"):
        for how in damaged(tmp_path / "model" / file, 25):
            started = time.process_time()
            try:
                read_model(tmp_path)  # other weights can't be told from these
            except InputError:
                pass
            except Exception as error:
                raise AssertionError(f"{how}: {error!r}") from error
            assert time.process_time() - started < SECONDS, how


def test_a_flipped_bit_in_a_frame_names_shard_and_segment(tmp_path: Path) -> None:
    segments(tmp_path, listed=True)
    shard = tmp_path / "c" / "train" / "00000.arrow"
    frame = bytes(Segments(tmp_path, "c", "train")[1].frames[2])
    data = bytearray(shard.read_bytes())
    data[data.index(frame) + len(frame) // 2] ^= 1
    replaced(shard, bytes(data))
    rows = Segments(tmp_path, "c", "train")
    assert rows[1].decode([0, 1]).shape == (2, 16, 16, 3)  # the others are whole
    with pytest.raises(
        InputError, match=rf"segment small/v1/0 are damaged: number 2 in the shard {shard}.*segment stage"
    ):
        rows[1].decode([2])


def test_a_lost_shard_is_missed(tmp_path: Path) -> None:
    segments(tmp_path, listed=False)
    shard = tmp_path / "c" / "train" / "00000.arrow"
    shutil.copy(shard, shard.with_name("00001.arrow"))
    list_shards(shard.parent)
    assert len(Segments(tmp_path, "c", "train")) == 6
    shard.unlink()
    with pytest.raises(InputError, match=rf"{shard} is missing.*segment stage again"):
        Segments(tmp_path, "c", "train")


def test_shards_of_an_earlier_version_are_made_again(tmp_path: Path) -> None:
    segments(tmp_path, listed=False)
    shard = tmp_path / "c" / "train" / "00000.arrow"
    with pa.OSFile(str(shard), "rb") as source:
        old = pa.ipc.open_file(source).read_all().drop_columns(["frame_checks", "check"])
    with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, old.schema) as writer:
        writer.write_table(old)
    with pytest.raises(InputError, match=r"earlier version \(it lacks check\): run the segment stage again"):
        Segments(tmp_path, "c", "train")


def test_a_damaged_part_is_done_again(tmp_path: Path) -> None:
    made = parts.write_plan(tmp_path, [("c", lines) for lines in LINES])
    job = work(tmp_path)
    said: list[str] = []

    class Told(SilentReporter):
        def message(self, text: str) -> None:
            said.append(text)

    parts.finish(job, made, parts.in_processes(1), "work", Told())
    expected = list(job.parts(made))
    summary = job.summary(next(iter(made)))
    replaced(summary, summary.read_bytes().replace(b"no cues", b"no cuts"))
    with pytest.raises(InputError, match=rf"{summary} is damaged"):
        list(job.parts(made))
    parts.finish(job, made, parts.in_processes(1), "work", Told())
    assert list(job.parts(made)) == expected and f"work: {summary} is damaged, it is made again" in said


def parted(lines: Any) -> Part:
    return Part("c", (Reject("c", lines[0].decode(), "no cues", "none"),))


def refused(line: bytes, failed: Any) -> Part:
    return Part("c", (Reject("c", line.decode(), failed.reason, failed.detail),))


def test_damaged_features_are_made_again(tmp_path: Path) -> None:
    segments(tmp_path, listed=True)
    encoder, rows = small.tiny_encoder(), Segments(tmp_path, "c", "train")
    extract = partial(features.extract, encoder, rows, 2, SilentReporter(), "x", kinds=("cls",), store=tmp_path / "f")
    expected = extract()["cls"].tolist()
    for name in ("features.npy", "manifest.json"):
        (file,) = (tmp_path / "f").rglob(name)
        for how in damaged(file, 8):
            assert extract()["cls"].tolist() == expected, how


def test_damaged_parameters_are_refused_or_other_parameters(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(small.PROJECT / "params.yaml", path)
    for how in damaged(path, 100):
        started = time.process_time()
        try:
            parameters.load(path)
        except InputError as error:
            assert str(path) in str(error), how
        except Exception as error:
            raise AssertionError(f"{how}: {error!r}") from error
        assert time.process_time() - started < SECONDS, how


ODD = {
    "a date with month 13": "a: 2020-13-45",
    "5,000 digits": f"a: {'9' * 5000}",
    "50,000 hexadecimal digits": f"a: 0x{'f' * 50000}",
    "words as a number": "a: !!int abc",
    "words as a truth": "a: !!bool abc",
    "words as a time": "a: !!timestamp abc",
    "bytes": "a: !!binary aGVsbG8=",
    "a set": "a: !!set {x, y}",
    "code": "a: !!python/object:os.system x",
    "a tag of nobody": "a: !mine x",
    "a list in itself": "a: &a [*a]",
    "a section in itself": "a: &a {b: *a}",
    "an alias of nothing": "a: *b",
    "deep lists": f"a: {'[' * 20000}",
    "deep lists that end": f"a: {'[' * 300}{']' * 300}",
    "deep sections": f"a: {'{a: ' * 3000}",
    "a list as a key": "? [a, b]\n: c",
    "half a character": r'a: "\ud800"',
    "a zero byte": r'a: "x\0y"',
    "not a number": "a: .nan\nb: -.inf",
    "two files in one": "a: 1\n---\nb: 2",
    "a size": "\n".join(f"k{i}: {i}" for i in range(200000)),
    "a bomb": "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)),
}


@pytest.mark.parametrize("what", ODD)
def test_what_no_parameter_can_be_is_refused_at_once(tmp_path: Path, what: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(f"{ODD[what]}\n", encoding="utf-8")
    started = time.process_time()
    with pytest.raises(InputError, match=r"odd\.yaml") as refused:
        parameters.load(path)
    assert time.process_time() - started < SECONDS
    assert len(str(refused.value)) < 2000


def test_odd_values_below_a_free_key_are_refused_too(tmp_path: Path) -> None:
    """What a sweep lays over the parameters is typed later: a bomb in it would come through."""
    text = (small.PROJECT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "p.yaml"
    for odd in ("!!binary aGVsbG8=", "{a: &a [*a]}", "99999999999999999999", r'"\0"'):
        path.write_text(with_override(text, odd), encoding="utf-8")
        with pytest.raises(InputError, match=r"p\.yaml"):
            parameters.load(path)
    path.write_text(with_override(text, "[&x [1, 2], *x, *x]"), encoding="utf-8")
    parameters.load(path)  # aliases as such are no fault


def with_override(text: str, value: str) -> str:
    """params.yaml with one more value in `sweep.overrides.pretrain`."""
    head, found, tail = text.partition("    pretrain: {steps: 400, ")
    assert found and "\nsweep:" in head
    return f"{head}{found}odd: {value}, {tail}"
