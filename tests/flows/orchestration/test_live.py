"""What a run's page shows while the run works, asked of a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from scriptsight.params import reading
from tests import small
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER, SURROUNDINGS, Command
from tests.training.together import SMALL

PATIENCE = 120
LONG = {"pretrain": {"steps": 100_000, "validate_every": 100_000, "checkpoint_every": 20}}


class Server:
    """What a Prefect server knows of runs."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Flow runs of a flow, the newest first."""
        asked = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}
        found: list[dict[str, Any]] = self._client.request("POST", "/flow_runs/filter", json=asked).json()
        return found

    def shown(self, run: str) -> dict[str, Any]:
        """Artifacts of a flow run: key without the workspace -> data."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        found = self._client.request("POST", "/artifacts/filter", json=asked).json()
        assert len({one["key"] for one in found}) == len(found), "an artifact is brought up to date, not made again"
        return {one["key"].partition("-")[2]: one["data"] for one in found}

    def log(self, run: str) -> str:
        """The log lines of a flow run."""
        asked = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        return "\n".join(line["message"] for line in self._client.request("POST", "/logs/filter", json=asked).json())


@pytest.fixture
def server(prefect_server: str) -> Iterator[Server]:
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        yield Server(client)


def until(what: Callable[[], Any]) -> Any:
    """What a function returns, once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found


def test_a_page_moves_while_a_training_works_and_is_whole_when_it_is_ended(
    server: Server, prefect_server: str, workspace: Path
) -> None:
    for split, count in (("train", 20), ("val", 12)):
        small.narrated(workspace / "data/segments", split, count, "narrated")
    YAML().dump(reading.merge(SMALL, LONG), workspace / "overrides.yaml")
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    work = f"from flows.orchestration.deployed import pipeline; pipeline(['pretrain'], {str(workspace)!r})"
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", work], env=own | {"PREFECT_API_URL": prefect_server}, start_new_session=True
    )
    try:
        stage = until(lambda: [run for run in server.runs("pretrain") if run["state_type"] == "RUNNING"])[0]["id"]
        run = next(run for run in server.runs("pipeline") if run["state_type"] == "RUNNING")["id"]
        first = until(lambda: server.shown(stage).get("pretrain-progress"))
        until(lambda: server.shown(stage)["pretrain-progress"] > first)
        until(lambda: "training segments have what" in server.log(stage))  # what the stage says for people
        link = until(lambda: server.shown(stage).get("pretrain-mlflow"))
        assert "/#/experiments/" in link and link.partition("(")[2].partition(")")[0] in server.shown(run)["report"]
        before = server.shown(run)["progress"]
        until(lambda: server.shown(run)["progress"] > before)
        rows = json.loads(server.shown(run)["stages"])
        assert [(row["stage"], row["outcome"]) for row in rows] == [("pretrain", "runs")]
        assert rows[0]["why"] == "it has not run here before"
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert json.loads(server.shown(run)["stages"])[0]["outcome"] == "cancelled"
    assert "**cancelled**: pretrain" in server.shown(run)["report"]
    assert "run again to go on from there" in server.log(stage)


def test_a_stage_alone_is_on_a_page_that_it_names(
    server: Server, prefect_server: str, command: Command, workspace: Path, make_video: MakeVideo
) -> None:
    make_video(workspace / "videos/one.mp4")
    values = reading.merge(reading.read_yaml("params.yaml"), YAML(typ="safe").load(FOLDER % "videos"))
    YAML().dump(values, Path("params.yaml"))
    done = command("flows.ingest", PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    run = server.runs("ingest")[0]["id"]
    assert f"ingest: follow it at {prefect_server.removesuffix('/api')}/runs/flow-run/{run}" in done.stdout
    assert server.shown(run) == {"ingest-progress": 100.0}
