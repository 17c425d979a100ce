"""Flow runs of a process that is killed are closed by the next one in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.orchestration import runs
from flows.running import notes

WORK = """
from flows.orchestration import runs
from prefect import flow, task
@flow(name="inner")
def inner():
    print(1, flush=True)
    input()
@task(name="middle")
def middle():
    inner()
@flow(name="outer")
def outer():
    middle()
with runs.recorded():
    outer()
"""


@pytest.fixture
def client(prefect_server: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)  # for the processes that are started
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as connected:
        yield connected


@contextmanager
def working() -> Iterator[subprocess.Popen[str]]:
    """A process within a flow within a task within a flow; it is killed in the end."""
    process = subprocess.Popen([sys.executable, "-c", WORK], stdin=-1, stdout=-1, text=True)  # noqa: S603
    try:
        assert process.stdout and process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def of(client: Any, token: str, kind: str = "flow_runs") -> dict[str, str]:
    """Name -> state of the flow runs, or the task runs, with a token."""
    asked = {"flow_runs": {"tags": {"all_": [token]}}}
    found = client.request("POST", f"/{kind}/filter", json=asked).json()
    return {run["name"].partition("-")[0]: run["state_name"] for run in found}


def test_the_next_run_closes_what_a_killed_process_left(client: Any) -> None:
    with working():
        (note,) = runs.NOTES.glob("*.json")
        assert note.stem.startswith(runs.BEATING)
        runs.close_left()  # nothing: it is alive
        assert set(of(client, note.stem).values()) == {"Running"}
        (run,) = [
            one
            for one in client.request(
                "POST", "/flow_runs/filter", json={"flow_runs": {"tags": {"all_": [note.stem]}}}
            ).json()
            if not one["parent_task_run_id"]
        ]
    runs.close_left()
    assert list(of(client, note.stem).values()) == ["Crashed", "Crashed"]
    assert client.read_flow_run(run["id"]).state.message == runs.GONE
    assert "Running" not in of(client, note.stem, "task_runs").values()
    assert not list(runs.NOTES.glob("*.json"))


def test_a_run_that_was_to_be_cancelled_is(client: Any) -> None:
    with working():
        (note,) = runs.NOTES.glob("*.json")
        asked = {"flow_runs": {"tags": {"all_": [note.stem]}}}
        for run in client.request("POST", "/flow_runs/filter", json=asked).json():
            client.set_flow_run_state(run["id"], Cancelling(), force=True)
    runs.close_left()
    assert set(of(client, note.stem).values()) == {"Cancelled"}


def test_a_note_of_runs_on_another_server_is_kept_for_some_days(client: Any) -> None:
    notes.Note(runs.NOTES, {"own_server": False, "since": 4e9}, "run-new").let_go()
    notes.Note(runs.NOTES, {"own_server": False, "since": 0}, "run-old").let_go()
    (runs.NOTES / "spoilt.json").write_text("{")
    runs.close_left()
    assert [path.stem for path in runs.NOTES.glob("*.json")] == ["run-new"]


def test_a_run_whose_worker_is_gone_is_closed_by_another(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = client.request("POST", "/flows/", json={"name": "pipeline"}).json()["id"]
    client.request("POST", "/work_pools/", json={"name": "claimed", "type": "process"})

    def claimed(**keys: Any) -> str:
        pending = {"type": "PENDING"}
        body = {"flow_id": flow, "work_pool_name": "claimed", "state": pending, "tags": [runs.OURS], **keys}
        return str(client.request("POST", "/flow_runs/", json=body).json()["id"])

    mine, lost, foreign = claimed(), claimed(), claimed(tags=[])
    begun = claimed(tags=[runs.OURS, "run-1"])
    runs.close_unbegun(client.read_flow_run(mine).id)
    assert client.read_flow_run(lost).state.is_pending()  # its process may be about to begin
    monkeypatch.setattr(runs, "CLAIMED_SECONDS", 0)
    runs.close_unbegun(client.read_flow_run(mine).id)
    assert client.read_flow_run(lost).state.is_crashed()
    assert all(client.read_flow_run(run).state.is_pending() for run in (mine, foreign, begun))


def test_only_runs_that_beat_at_our_rate_say_so(workspace: Path) -> None:
    show = [sys.executable, "-c", "from flows.orchestration import runs; print(runs.token())"]
    own = {name: value for name, value in os.environ.items() if name != "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"}
    for more, begins in (({}, runs.BEATING), ({"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60"}, "run-")):
        done = subprocess.run(show, env=own | more, capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout.startswith(begins)
