"""What is on the pages of Prefect and MLflow, read in a browser without a screen."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.orchestration.deployed import pipeline
from flows.running import processes
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


def test_mlflow_compares_two_models(read: Read, tmp_path: Path) -> None:
    """Side by side, as benchmarks and sweeps leave them."""
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(store)
    experiment = client.create_experiment("scriptsight")
    runs = []
    for name, value in (("first", 0.441), ("second", 0.562)):
        run = client.create_run(experiment, run_name=f"{name} model").info.run_id
        client.log_metric(run, "probe/linear_top1", value)
        client.set_terminated(run)
        runs.append(run)
    command = ("mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port")
    with serving(command, "", {"MLFLOW_BACKEND_STORE_URI": store}) as address:
        page = f"{address}/#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment])}"
        assert_all(read, page, "first model", "second model", "probe/linear_top1", "0.441", "0.562")


def assert_all(read: Read, address: str, *words: str) -> None:
    """All of these words are on the page."""
    text = read(address, *words)
    assert not [word for word in words if word not in text], text
