"""Shards that lie elsewhere: the same rows and frames, fetched once, kept within a limit, and damage is told."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest

from scriptsight import overlap, shards
from scriptsight.errors import InputError
from scriptsight.segments import Segments
from tests import stores

SHARDS, ROWS = 6, 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Server]:
    with stores.server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def both(server: stores.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The same segments here and elsewhere, in several shards; an empty cache."""
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "here"
    stores.sharded(here, "talks", "train", SHARDS, ROWS)
    stores.send(here, tmp_path / "far", f"s3://videos/{tmp_path.name}")
    server.requests()
    return here, tmp_path / "far"


def copies(folder: Path) -> list[Path]:
    return [path for path in (folder / "cache").rglob("[0-9a-f]*") if path.is_file()]


def test_what_lies_elsewhere_is_what_lies_here(
    both: tuple[Path, Path], server: stores.Server, tmp_path: Path
) -> None:
    here, far = (Segments(folder, "talks", "train") for folder in both)
    assert far.address == f"s3://videos/{tmp_path.name}/talks/train" and here.address is None
    assert len(far) == len(here) == SHARDS * ROWS
    assert (far.digest(), far.content()) == (here.digest(), here.content())
    assert overlap.data_digest([("talks", far)]) == overlap.data_digest([("talks", here)])
    assert overlap.videos([("talks", far)]).equals(overlap.videos([("talks", here)]))
    assert far.column("segment_id") == here.column("segment_id")
    assert list(far.texts("script")) == list(here.texts("script"))
    assert far.transcripts().tolist() == here.transcripts().tolist()
    assert far.shards().tolist() == here.shards().tolist() == np.repeat(np.arange(SHARDS), ROWS).tolist()
    assert far.sizes().tolist() == here.sizes().tolist()
    assert [len(row.frames) for row in far] == [len(row.frames) for row in here]
    assert sum(path.stat().st_size for path in both[1].rglob("*.arrow")) < 0.6 * here.sizes().sum()
    assert not server.requests()  # all that is small lies here
    opened = pickle.loads(pickle.dumps(far))  # noqa: S301 - it was pickled here and now
    for row, same in zip(opened, here, strict=True):
        assert row.cues == same.cues and row.frame_times.tolist() == same.frame_times.tolist()
        assert [bytes(row.frames[i]) for i in range(len(row.frames))] == [
            bytes(same.frames[i]) for i in range(len(same.frames))
        ]
    requests = server.requests()
    assert requests["GET"] == SHARDS and requests.total() <= 2 * SHARDS
    again = Segments(both[1], "talks", "train")
    assert all(bytes(row.frames[0]) for row in again)
    assert not server.requests()


def test_the_cache_keeps_its_limit_and_what_was_used_last(
    both: tuple[Path, Path], server: stores.Server, tmp_path: Path
) -> None:
    sizes = Segments(both[0], "talks", "train").sizes()
    with shards.cache_of(3.5 * sizes.max() / 1e9):
        far = Segments(both[1], "talks", "train")
    for shard in (0, 1, 2, 0, 3):
        for path in copies(tmp_path):  # the clock of a file system may tick slowly
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
        bytes(far[shard * ROWS].frames[0])
    assert sum(path.stat().st_size for path in copies(tmp_path)) <= 3.5 * sizes.max()
    assert server.requests()["GET"] == 4
    bytes(far[0].frames[1])
    assert not server.requests()
    held = far[3 * ROWS].frames[0]
    for shard in (1, 2, 4, 5):
        bytes(far[shard * ROWS].frames[0])
    assert server.requests()["GET"] == 4
    assert bytes(held) == bytes(Segments(both[0], "talks", "train")[3 * ROWS].frames[0])  # though its copy went
    with shards.cache_of(0.5 * sizes.max() / 1e9):
        far = Segments(both[1], "talks", "train")
    with pytest.raises(InputError, match="raise shard_cache_gb"):
        bytes(far[ROWS].frames[0])


def test_who_asks_at_the_same_time_fetches_once(
    both: tuple[Path, Path], server: stores.Server, tmp_path: Path
) -> None:
    far = Segments(both[1], "talks", "train")
    with ThreadPoolExecutor(8) as threads:
        found = {path.read_bytes() for path in threads.map(lambda _: far.fetch(2), range(16))}
    assert found == {(both[0] / "talks/train/00002.arrow").read_bytes()}
    assert server.requests()["GET"] == 1
    assert not list(tmp_path.rglob("*.part"))


def test_what_a_killed_process_left_half_fetched_is_fetched_anew(both: tuple[Path, Path], tmp_path: Path) -> None:
    far = Segments(both[1], "talks", "train")
    path = far.fetch(0)
    half = path.with_suffix(f".{path.stat().st_size}.part")
    half.write_bytes(path.read_bytes()[:100])
    path.unlink()
    assert far.fetch(0).read_bytes() == (both[0] / "talks/train/00000.arrow").read_bytes()
    assert not half.exists()


@pytest.mark.parametrize("how", ["other bytes", "shorter", "gone"])
def test_a_damaged_shard_is_told(both: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    far = Segments(both[1], "talks", "train")
    store = fsspec.filesystem("s3")
    name = next(path for path in store.find(f"videos/{tmp_path.name}/talks/train") if "/00003-" in path)
    data = bytearray(store.cat_file(name))
    data[len(data) // 2] ^= 1
    if how == "gone":
        store.rm(name)
    else:
        store.pipe(name, bytes(data) if how == "other bytes" else bytes(data[:-9]))
    store.invalidate_cache()
    bytes(far[0].frames[0])
    with pytest.raises(InputError, match=r"00003-\w{16}\.arrow (is damaged: .*SHA-256|can't be read: there is no)"):
        bytes(far[3 * ROWS].frames[0])
    assert len(copies(tmp_path)) == 1


def test_a_damaged_stand_in_is_told(both: tuple[Path, Path]) -> None:
    path = both[1] / "talks/train/00001.arrow"
    data = bytearray(path.read_bytes())
    data[data.index(b"then it moves")] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"00001\.arrow is damaged"):
        Segments(both[1], "talks", "train")[ROWS]
    path.unlink()
    with pytest.raises(InputError, match=r"00001\.arrow is missing"):
        Segments(both[1], "talks", "train")


def test_a_shard_is_put_once(server: stores.Server, both: tuple[Path, Path], tmp_path: Path) -> None:
    path = both[0] / "talks/train/00000.arrow"
    server.requests()
    kept = [shards.put(path, f"s3://videos/{tmp_path.name}/twice") for _ in range(2)]
    assert kept[0] == kept[1]
    assert server.requests()["PUT"] == 1
    folder = tmp_path / "elsewhere"
    assert shards.put(path, f"file://{folder}/deep") == kept[0]
    assert (folder / "deep" / kept[0].file).read_bytes() == path.read_bytes()
    with pytest.raises(InputError, match=r"s3://nobody/a/00000.*can't be written: there is no such file or bucket"):
        shards.put(path, "s3://nobody/a")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("s3://key:GUARDED@bucket/a", "password"),
        ("https://host/a?X-Amz-Signature=GUARDED", "password"),
        ("s3://GUARDED@bucket/a", "password"),
        ("segments", "no address"),
        ("s3://bucket/a/", "no address"),
        ("simplecache::s3://key:GUARDED@bucket/a", "no address"),
    ],
)
def test_an_address_with_a_secret_is_refused_without_it(address: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as error:
        shards.check_address(address)
    assert "GUARDED" not in str(error.value)


def test_no_credential_is_in_what_is_written_or_said(
    both: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.DEBUG, "fsspec"):
        far = Segments(both[1], "talks", "train")
        bytes(far[0].frames[0])
        shutil.rmtree(tmp_path / "cache")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        fsspec.filesystem("s3").clear_instance_cache()
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(InputError, match="can't be read") as error:
            bytes(Segments(both[1], "talks", "train")[ROWS].frames[0])
    fsspec.filesystem("s3").clear_instance_cache()
    said = [caplog.text, str(error.value), repr(error.value.__context__), str(error.value.__cause__)]
    written = [path.read_bytes() for path in both[1].rglob("*") if path.is_file()]
    for secret in (stores.KEY, stores.SECRET):
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in data for data in written)
