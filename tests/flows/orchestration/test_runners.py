"""The chunks of ingest and segment as Prefect tasks: over threads and over a real Dask cluster, one of whose workers
is killed; the outputs are those of processes here, to the byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.orchestration import runners
from scriptsight import ingest, segment
from scriptsight.errors import InputError
from scriptsight.params.ingest import IngestParams
from scriptsight.params.segment import SegmentParams
from scriptsight.parts import Work, write_plan
from tests import small
from tests.conftest import MakeVideo
from tests.flows.orchestration import waiting

VIDEOS = 6


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server for this file's flows."""
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PREFECT_API_URL", raising=False)
        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ingest, "CHUNK_VIDEOS", 1)
    monkeypatch.setattr(segment, "CHUNK_VIDEOS", 1)
    for i in range(VIDEOS):
        make_video(Path(f"v/{i:02}.mp4"), seconds=2)
        Path(f"v/{i:02}.vtt").write_text(f"WEBVTT\n\n00:00.500 --> 00:01.500\nsentence {i}\n")
    Path("v/broken.mp4").write_text("no video")


def ingest_params(**keys: Any) -> IngestParams:
    return small.ingest_params({"mine": {"kind": "folder", "path": "v", "splits": {"*": "train"}}}, **keys)


def segment_params(**keys: Any) -> SegmentParams:
    return small.segment_params(**keys)


def run(name: str, **keys: Any) -> None:
    """A stage, as `flows.running.stage` runs it."""
    params = ingest_params(**keys) if name == "ingest" else segment_params(**keys)
    mapper = runners.mapper(name, params) if params.runner != "processes" else None
    {"ingest": ingest, "segment": segment}[name].run(params, mapper=mapper)


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("data").rglob("*")) if path.is_file()}


def test_threads_and_dask_end_with_the_same_bytes_as_processes(videos: None) -> None:
    run("ingest")
    run("segment")
    here = outputs()
    assert any(name.endswith(".arrow") for name in here)
    run("ingest", runner="threads")
    run("segment", runner="dask")  # a cluster of its own
    assert outputs() == here
    assert sorted(str(path) for path in Path(".work").glob("*/*")) == [".work/ingest/kept", ".work/segment/kept"]


def test_a_long_chunk_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("others").mkdir()
    plan = write_plan(tmp_path, [("group", [str(number).encode()]) for number in range(6)])
    work = Work(tmp_path, tmp_path, waiting.do, waiting.refuse, waiting.Part, timeout=90)
    spread = runners.mapper("ingest", ingest_params(runner="threads", workers=2))
    assert list(spread(work, plan, plan.chunks)) == [1] * 6


def test_a_killed_dask_worker_costs_nothing(videos: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On an existing scheduler with two workers, one is killed while it is at work: each chunk is there once."""
    import dask
    from distributed import LocalCluster

    run("ingest")
    here = outputs()
    monkeypatch.setattr(runners, "AHEAD", VIDEOS)  # all tasks are with the cluster when the worker dies
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        victim = psutil.Process(int(next(iter(cluster.workers.values())).pid))
        killed: list[psutil.Process] = []
        work = tmp_path / ".work/ingest"
        killer = threading.Thread(target=_kill_at_work, args=(victim, work, killed), daemon=True)
        killer.start()
        run("ingest", runner="dask", dask_address=cluster.scheduler_address)
        killer.join()
        _, alive = psutil.wait_procs(killed, timeout=20)
        assert len(killed) > 1 and not alive
    assert outputs() == here


def _kill_at_work(victim: psutil.Process, folder: Path, killed: list[psutil.Process]) -> None:
    """Kill a worker with SIGKILL once the first part is there and it has processes that decode."""
    deadline = time.monotonic() + 60
    while not (list(folder.glob("*/??/[0-9a-f]*.json")) and victim.children()):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    killed += [victim, *victim.children(recursive=True)]
    victim.kill()


def test_a_dask_scheduler_that_is_not_there_is_reported() -> None:
    with pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:9 does not answer"):
        runners.mapper("ingest", ingest_params(runner="dask", dask_address="tcp://127.0.0.1:9"))


def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    from prefect import states

    errors = (OSError("stale file handle"), InputError("the disk is full"), AssertionError("a mistake"))
    assert [runners.may_pass(None, None, states.Failed(data=error)) for error in errors] == [True, False, False]
