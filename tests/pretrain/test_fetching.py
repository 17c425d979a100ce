"""Training from shards that lie elsewhere: the bytes of weights from shards here, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from scriptsight import shards
from scriptsight.errors import InputError
from scriptsight.pretrain.batches import TrainingBatches, in_shards, training_batches
from scriptsight.pretrain.samplers import Clip, Cues
from scriptsight.segments import Segments
from tests import small, stores
from tests.training.together import settings, train

PROJECT = Path(__file__).parents[2]
SHARDS, ROWS = 8, 6  # an epoch of 48 samples is six steps; the state of a training is saved after every fourth
FEW = {"shuffle_shards": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Server]:
    with stores.server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def worlds(server: stores.Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with the same segments here and elsewhere."""
    here, far = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("far")
    stores.sharded(here / "segments", "narrated", "train", SHARDS, ROWS)
    small.narrated(here / "segments", "val", 12, "narrated")
    stores.send(here / "segments", far / "segments", "s3://videos/segments")
    return here, far


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path / "scriptsight"))
    return tmp_path / "scriptsight/shards"


def tight(worlds: tuple[Path, Path]) -> float:
    """GB of a cache that has room for two windows of two shards and what is validated on, and for no more."""
    sizes = Segments(worlds[0] / "segments", "narrated", "train").sizes()
    validated = Segments(worlds[0] / "segments", "narrated", "val").sizes().sum()
    return float((4 * sizes.max() + validated) / 1e9)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "checkpoints" not in path.parts and path.name != "speed.json"
    }


@pytest.mark.parametrize("choice", [{}, FEW, FEW | {"engine": {"loader_workers": 1}}])
def test_weights_are_the_same_from_here_and_from_elsewhere(
    worlds: tuple[Path, Path], choice: dict[str, object]
) -> None:
    name = f"{len(choice)}"
    train(worlds[0], name, settings(**choice))
    train(worlds[1], name, settings(**choice, **({"shard_cache_gb": tight(worlds)} if choice else {})))
    found = files(worlds[1] / name)
    assert {"last/model.safetensors", "best/model.safetensors", "plots/training.csv"} < found.keys()
    assert found == files(worlds[0] / name)


def test_a_training_killed_in_mid_epoch_ends_with_the_same_bytes(worlds: tuple[Path, Path], cache: Path) -> None:
    """SIGKILL in a process of its own, twice; the second one begins with an empty cache."""
    choice = FEW | {"shard_cache_gb": tight(worlds)}
    for when in ("6", "12", None):
        environment = {key: value for key, value in os.environ.items() if key != "KILL_AT"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT / "src")} | (
            {"KILL_AT": when} if when else {}
        )
        command = [sys.executable, "-m", "tests.training.together", str(worlds[1]), "killed", "ddp"]
        done = subprocess.run(  # noqa: S603 - our own words
            [*command, *(f"{key}={value}" for key, value in choice.items())],
            env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == (-9 if when else 0), done.stderr
        for path in cache.rglob("[0-9a-f]*") if when == "6" else ():
            if path.is_file():
                path.unlink()
    train(worlds[0], "whole", settings(**FEW))
    assert files(worlds[1] / "killed") == files(worlds[0] / "whole")
    assert stores.SECRET not in done.stdout + done.stderr
    for data in files(worlds[1]).values():
        assert stores.SECRET.encode() not in data


def sampler(folder: Path) -> Cues:
    return Cues(Segments(folder / "segments", "narrated", "train"), Clip(4, 16), 3)


def test_shards_come_once_an_epoch_before_their_turn_and_never_over_the_limit(
    worlds: tuple[Path, Path], server: stores.Server, cache: Path
) -> None:
    limit = 6.2 * float(Segments(worlds[0] / "segments", "narrated", "train").sizes().max()) / 1e9
    server.requests()
    with shards.cache_of(limit):
        batches = TrainingBatches([sampler(worlds[1])], [1], batch=8, accumulate=1, steps=12, seed=0, shuffle=2)
    stream = training_batches(batches, 0, 0)
    most = 0
    for number, batch in enumerate(stream):
        if number == 0:  # two more batches are read, from four shards; half of the cache is for what comes later
            time.sleep(1)
            assert server.requests()["GET"] == 2 + 3
        most = max(most, sum(path.stat().st_size for path in cache.rglob("[0-9a-f]*") if path.is_file()))
        assert batch.segment_ids == expected(worlds[0], 12)[number]
    assert most <= limit * 1e9
    assert SHARDS <= 5 + server.requests()["GET"] <= 2 * SHARDS


def expected(folder: Path, steps: int, **keys: int) -> list[list[str]]:
    """The segments of each batch from here."""
    batches = TrainingBatches([sampler(folder)], [1], batch=8, accumulate=1, steps=steps, seed=0, shuffle=2, **keys)
    return [batches[item].segment_ids for item in range(steps)]


def test_a_stream_that_begins_later_goes_on_the_same_and_ends_its_threads(worlds: tuple[Path, Path]) -> None:
    batches = TrainingBatches([sampler(worlds[1])], [1], batch=8, accumulate=1, steps=12, seed=0, shuffle=2)
    before = threading.active_count()
    stream = training_batches(batches, 5, 0)
    assert next(stream).segment_ids == expected(worlds[0], 12)[5]
    assert threading.active_count() > before
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_damaged_shard_stops_the_training_with_its_name(
    worlds: tuple[Path, Path], tmp_path: Path, server: stores.Server
) -> None:
    stores.send(worlds[0] / "segments", tmp_path / "far/segments", "s3://videos/spoilt")
    store = fsspec.filesystem("s3")
    name = next(path for path in store.find("videos/spoilt/narrated/train") if "/00005-" in path)
    data = bytearray(store.cat_file(name))
    data[len(data) // 2] ^= 1
    store.pipe(name, bytes(data))
    with pytest.raises(InputError, match=r"s3://videos/spoilt/narrated/train/00005-\w+\.arrow is damaged.*SHA-256"):
        train(tmp_path / "far", "it", settings())


def test_a_cache_that_is_too_small_is_told_before(worlds: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"all shards at a time.*shard_cache_gb is .*: raise it, set"):
        train(worlds[1], "small", settings(shard_cache_gb=tight(worlds)))
    with pytest.raises(InputError, match=r"3 shards, and as many fetched ahead.*lower pretrain\.shuffle_shards"):
        train(worlds[1], "small", settings(shard_cache_gb=tight(worlds), shuffle_shards=3))


def test_an_order_in_few_shards_is_a_permutation_that_needs_few_at_a_time() -> None:
    owners = np.repeat(np.arange(10), 7)
    eligible = np.flatnonzero(np.arange(70) % 5 != 3)
    orders = [in_shards(eligible, owners[eligible], 3, np.random.default_rng(seed)) for seed in range(200)]
    windows = []
    for order in orders:
        assert sorted(order) == eligible.tolist()
        used, seen = [owners[row] for row in order], []
        while used:
            together = set(dict.fromkeys(used)) if len(set(used)) <= 3 else set(list(dict.fromkeys(used))[:3])
            count = sum(owners[row] in together for row in eligible)
            assert set(used[:count]) == together
            used = used[count:]
            seen.append(frozenset(together))
        windows.append(seen)
    assert len({tuple(window) for window in windows}) > 150  # and other shards come together each time
    first = np.array([order[0] for order in orders])
    assert len(set(first.tolist())) > 40
    inside = [np.flatnonzero(np.diff([owners[row] for row in order])).size for order in orders]
    assert min(inside) > 20  # shards of a window are mixed, not one after the other
    assert set(map(tuple, orders)) - {tuple(eligible)}
    assert in_shards(eligible, owners[eligible], 10, np.random.default_rng(0)).tolist() != eligible.tolist()
