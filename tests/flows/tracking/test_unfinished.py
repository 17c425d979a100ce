"""A run whose recorder is killed is closed by whoever comes next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.tracking import store, unfinished
from flows.tracking.recorder import Recorder

OPENED = """
import os, signal, sys
from flows.tracking import store
from flows.tracking.recorder import Recorder
with store.opened() as client:
    recorder = Recorder(client, "the stage")
    how, run = sys.argv[1], sys.argv[2]
    if how == "before":  # the run is there, its id not yet known
        client.log_batch = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    if how == "again":
        recorder.reopen(run, "FINISHED", 5)
    else:
        run = recorder.create("a run", {"k": 4}, {})
    if how == "ended":
        recorder.end(run, "FAILED")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def client(workspace: Path) -> Iterator[Any]:
    with store.opened() as opened:
        yield opened


def opened_and_killed(how: str, run: str = "") -> None:
    done = subprocess.run([sys.executable, "-c", OPENED, how, run], check=False)  # noqa: S603
    assert done.returncode == -9


def statuses(client: Any) -> list[tuple[str, int | None]]:
    return [(run.info.status, run.info.end_time) for run in store.runs(client, store.experiment(client))]


@pytest.mark.parametrize("how", ["after", "before"])
def test_a_killed_recorders_run_was_killed(client: Any, how: str) -> None:
    opened_and_killed(how)
    assert [status for status, _ in statuses(client)] == ["RUNNING"]
    unfinished.close_all()
    assert [status for status, _ in statuses(client)] == ["KILLED"]
    assert not list(unfinished.NOTES.iterdir())


def test_a_run_that_was_opened_again_ended_when_it_first_did(client: Any) -> None:
    recorder = Recorder(client, "the stage")
    run = recorder.create("a run", {}, {})
    recorder.end(run, "FINISHED", end_time=5)
    opened_and_killed("again", run)
    Recorder(client, "the stage")  # the next to come
    assert statuses(client) == [("FINISHED", 5)]


def test_a_run_that_is_recorded_stays_open(client: Any) -> None:
    recorder = Recorder(client, "the stage")
    run = recorder.create("a run", {}, {})
    subprocess.run([sys.executable, "-m", "flows.tracking.unfinished"], check=True)
    assert statuses(client) == [("RUNNING", None)]
    recorder.end(run, "FINISHED")
    assert not list(unfinished.NOTES.iterdir())


def test_a_run_that_had_ended_keeps_its_end(client: Any) -> None:
    opened_and_killed("ended")
    unfinished.close_all()
    assert [status for status, _ in statuses(client)] == ["FAILED"]


def test_a_note_that_is_spoilt_or_of_another_store_hinders_nothing(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished.NOTES.mkdir()
    (unfinished.NOTES / "spoilt.json").write_text("{")
    opened_and_killed("after")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    unfinished.close_all()
    assert [path.suffix for path in sorted(unfinished.NOTES.iterdir())] == [".json", ".lock"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    unfinished.close_all()
    assert [status for status, _ in statuses(client)] == ["KILLED"]
