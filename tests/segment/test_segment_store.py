"""The stage with `segment.store`: the shards are elsewhere, all else is as without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from scriptsight import ingest, segment
from scriptsight.errors import InputError
from scriptsight.segment import joining
from scriptsight.segments import Segments
from tests import small, stores
from tests.conftest import MakeVideo

VIDEOS = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Server]:
    with stores.server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(joining, "BATCH_ROWS", 3)
    for number in range(VIDEOS):
        make_video(Path(f"v/{number}.mp4"), seconds=2 + number % 3)
        Path(f"v/{number}.vtt").write_text(f"WEBVTT\n\n00:00.500 --> 00:01.500\nsentence number {number}\n")
    cut()


def cut() -> None:
    splits = {"8.mp4": "val", "9.mp4": "test", "*": "train"}
    ingest.run(small.ingest_params({"mine": {"kind": "folder", "path": "v", "splits": splits}}))


def outputs(*folders: str) -> dict[str, bytes]:
    found = [path for name in folders for path in Path(name).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in sorted(found)}


def run(store: str | None) -> segment.Result:
    return segment.run(small.segment_params(shard_mb=0.01, store=store))


def test_shards_are_elsewhere_and_all_else_is_the_same(server: stores.Server, tmp_path: Path) -> None:
    result = run(None)
    here = outputs("data/segments")
    others = outputs("metrics", "plots")
    assert len(others) >= 3 and sum("train" in name and name.endswith(".arrow") for name in here) >= 3
    address = f"s3://videos/{tmp_path.name}"
    server.requests()
    assert run(address) == result
    assert outputs("metrics", "plots") == others
    there = outputs("data/segments")
    assert there.keys() == here.keys()
    shards = [name for name in here if name.endswith(".arrow")]
    assert server.requests()["PUT"] == len(shards)
    for group in ("train", "val", "test"):
        rows = Segments("data/segments", "mine", group)
        assert rows.address == f"{address}/mine/{group}"
        for number, path in enumerate(rows.paths):
            assert rows.fetch(number).read_bytes() == here[f"data/segments/mine/{group}/{path.name}"]
            assert len(there[str(path)]) < len(here[str(path)])
    # Again, and from nothing: equal to the byte, and nothing is put that is there.
    for _ in range(2):
        run(address)
        assert outputs("data/segments") == there
        shutil.rmtree(".work")
    assert server.requests()["PUT"] == 0
    run(None)
    assert outputs("data/segments") == here


def test_the_next_run_decodes_what_is_new_and_takes_the_rest_from_the_store(
    server: stores.Server, tmp_path: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"s3://videos/{tmp_path.name}"
    run(address)
    old = {path: path.read_bytes() for path in Path("data/segments").rglob("checksums.json")}
    make_video(Path("v/new.mp4"), seconds=3)
    cut()
    capsys.readouterr()
    run(address)
    assert f"segment: {VIDEOS} of {VIDEOS + 1} videos are as in the last run" in capsys.readouterr().err
    again = outputs("data/segments")
    shutil.rmtree(".work")
    run(address)
    assert outputs("data/segments") == again
    # What an older version of the output names is still there: nothing was overwritten.
    for path, content in old.items():
        path.write_bytes(content)
    store = fsspec.filesystem("s3")
    store.invalidate_cache()
    there = {path.rpartition("/")[2] for path in store.find(f"videos/{tmp_path.name}")}
    for content in old.values():
        for name in [word for word in content.decode().split('"') if word.endswith(".arrow") and "-" in word]:
            assert name in there


def test_a_store_that_takes_nothing_stops_the_stage_and_leaves_the_old_output(server: stores.Server) -> None:
    run(None)
    before = outputs("data/segments")
    with pytest.raises(InputError, match=r"s3://nobody/a/mine/.*can't be written"):
        run("s3://nobody/a")
    with pytest.raises(InputError, match=r"segment\.store holds what may be a password") as error:
        run("s3://me:GUARDED@videos/a")
    assert "GUARDED" not in str(error.value)
    assert outputs("data/segments") == before
    assert not list(Path("data").glob(".partial*"))
