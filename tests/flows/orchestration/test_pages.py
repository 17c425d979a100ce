"""What is on the pages of Prefect and MLflow, read in a browser without a screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.orchestration import runs
from flows.orchestration.deployed import pipeline
from flows.running import processes
from flows.tracking import store, views
from tests.conftest import MakeVideo
from tests.flows import browser
from tests.flows.conftest import FOLDER, serving

Read = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Open a page, with its scripts run -> its text, once it has these words."""
    return partial(browser.text_of, tmp_path / "browser")


def test_prefect_shows_a_run_and_its_tables(
    read: Read, prefect_server: str, workspace: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's name and state, its artifacts, and the text of an artifact as text and not as HTML."""
    make_video(workspace / "videos/one.mp4")
    (workspace / "videos/<b>two.mp4").write_text("no video")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    monkeypatch.setenv(processes.DEPLOYED, "1")  # restored afterwards
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        state: Any = pipeline(stages=["ingest"], workspace=str(workspace), return_state=True)
        run = client.read_flow_run(state.state_details.flow_run_id)
        asked = {"artifacts": {"flow_run_id": {"any_": [str(run.id)]}}}
        found = client.request("POST", "/artifacts/filter", json=asked).json()
    pages = prefect_server.removesuffix("/api")
    assert_all(read, f"{pages}/runs/flow-run/{run.id}", run.name, "Completed", "pipeline", "Artifacts")
    ids = {one["key"].rpartition("-")[2]: one["id"] for one in found}
    assert_all(read, f"{pages}/artifacts/artifact/{ids['stages']}", "ingest", "ran", "it has not run here before")
    assert_all(read, f"{pages}/artifacts/artifact/{ids['figures']}", "videos refused by ingest", "before", "after")
    assert_all(read, f"{pages}/artifacts/artifact/{ids['rejects']}", "<b>two.mp4")


@pytest.mark.usefixtures("new_events")
def test_tasks_of_the_pipeline_have_no_tags_and_its_flow_runs_have(
    prefect_server: str, workspace: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a task with tags Prefect asks the server for a slot of each, and a server that is away fails the run."""
    make_video(workspace / "videos/one.mp4")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    monkeypatch.setenv(processes.DEPLOYED, "1")  # restored afterwards
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        state: Any = pipeline(stages=["ingest"], workspace=str(workspace), return_state=True)
        run = str(state.state_details.flow_run_id)
        asked = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        (stage,) = client.request("POST", "/flow_runs/filter", json=asked).json()
        assert runs.OURS in stage["tags"]
        deadline = time.monotonic() + 120
        while not (tasks := _tasks_of(client, run)):  # they reach the server as events
            assert time.monotonic() < deadline, "no task run came"
            time.sleep(0.5)
    assert [task["tags"] for task in tasks] == [[]]


def _tasks_of(client: Any, run: str) -> list[Any]:
    """The task runs of stages in a flow run. Prefect's own, which stand for flow runs within, run nothing."""
    found = client.request("POST", "/task_runs/filter", json={"flow_runs": {"id": {"any_": [run]}}}).json()
    return [task for task in found if task["task_key"].startswith("_stage-")]


def test_mlflow_shows_what_models_are_worth(read: Read, workspace: Path) -> None:
    """The table that the saved view opens, two runs side by side, a model with its figures, and the champion."""
    ids, models = [], []
    with store.opened() as client:
        experiment = store.experiment(client)
        for name, value in (("first", 0.441), ("second", 0.562)):
            run = client.create_run(experiment, run_name=f"{name} <b>model</b>").info.run_id
            logged = client.create_logged_model(experiment, name=f"{name}-weights", source_run_id=run)
            client.log_metric(run, "probe/linear_top1", value, model_id=logged.model_id)
            client.finalize_logged_model(logged.model_id, "READY")
            client.set_terminated(run)
            ids.append(run)
            models.append(logged)
        client.create_registered_model("scriptsight")
        location = models[1].artifact_location
        client.create_model_version("scriptsight", location, run_id=ids[1], model_id=models[1].model_id)
        client.set_registered_model_alias("scriptsight", "champion", "1")
    command = ("mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port")
    with serving(command, "", {"MLFLOW_BACKEND_STORE_URI": store.uri()}) as address:
        names = ("first <b>model</b>", "second <b>model</b>")
        side_by_side = f"{address}/#/compare-runs?runs={json.dumps(ids)}&experiments={json.dumps([experiment])}"
        assert_all(read, side_by_side, *names, "probe/linear_top1", "0.441", "0.562")
        assert_all(read, address + views.address(experiment), *names, "Compare models", "What it is worth")
        model = f"{address}/#/experiments/{experiment}/models/{models[1].model_id}"
        assert_all(read, model, "second-weights", "probe/linear_top1", "0.562", names[1])
        assert_all(read, f"{address}/#/models/scriptsight", "Version 1", "champion")


def assert_all(read: Read, address: str, *words: str) -> None:
    """All of these words are on the page."""
    text = read(address, *words)
    assert not [word for word in words if word not in text], text
