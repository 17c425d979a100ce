"""Deployments as a person uses them: a real server, a real worker, a training that is cancelled and goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events import Event, RelatedResource, Resource, emit_event
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Cancelling, Running

from flows.orchestration import automations, runs
from flows.orchestration.deployed import pipeline
from flows.running import locks, processes
from scriptsight.errors import InputError
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER, PROJECT, SURROUNDINGS, stop

LONG = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 2, val: 1, test: 1}, scenes: 4, seed: 1}
pretrain:
  video: {width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 32, vocabulary: 500}
  steps: 100000
  batch: 4
  validate_every: 100000
  validation_samples: 4
  checkpoint_every: 20
probe: {tests: {narrated: {collections: [narrated]}}}
"""
CANCEL_SECONDS = 20  # for a training to end, with a checkpoint
PATIENCE = 150


@pytest.fixture
def client(prefect_server: str) -> Iterator[Any]:
    settings = {PREFECT_API_URL: prefect_server, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), get_client(sync_client=True) as connected:
        yield connected


@pytest.fixture
def deployed(client: Any, prefect_server: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The project's deployments, without their schedules, and a worker -> starts a run of pipeline/weekly."""
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own |= {"PREFECT_API_URL": prefect_server, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    own["PATH"] = os.defpath  # as where no environment is activated
    prefect = str(Path(sys.executable).parent / "prefect")
    for words in (("work-pool", "create", "local", "--type", "process", "--overwrite"), ("deploy", "--all")):
        done = subprocess.run(  # noqa: S603 - our own words
            [prefect, "--no-prompt", *words], env=own, cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for deployment in client.request("POST", "/deployments/filter", json={}).json():
        for schedule in deployment["schedules"]:
            path = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
            client.request("PATCH", path, json={"active": False})
    weekly = client.read_deployment_by_name("pipeline/weekly")

    def run(**parameters: Any) -> Any:
        return client.create_flow_run_from_deployment(weekly.id, parameters=parameters)

    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(  # noqa: S603 - our own words
            [prefect, "worker", "start", "--pool", "local"],
            env=own,
            cwd=PROJECT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield run
        finally:
            stop(worker)


def wait(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What a function returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def ended(client: Any, run: Any) -> Any:
    """The state of a run, once it is final."""

    def state() -> Any:
        now = client.read_flow_run(run.id).state
        return now if now and now.is_final() else None

    return wait(state)


def last_step(folder: Path) -> int:
    """Of the newest checkpoint; 0 before the first."""
    return max((int(path.stem) for path in (folder / ".checkpoints").rglob("[0-9]*.pt")), default=0)


def test_cancel_writes_a_checkpoint_and_the_next_run_goes_on(
    deployed: Callable[..., Any], client: Any, workspace: Path, tmp_path: Path
) -> None:
    (workspace / "overrides.yaml").write_text(LONG)
    stages = ["ingest", "segment", "pretrain"]
    first = deployed(workspace=str(workspace), stages=stages)
    wait(lambda: last_step(workspace) > 0)
    (training,) = [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(workspace) and process.info["cmdline"][-1:] == ["flows.pretrain"]
    ]
    client.set_flow_run_state(first.id, Cancelling())  # as the button on the page does

    def says(words: str) -> bool:
        return words in (tmp_path / "worker.log").read_text()

    wait(lambda: says("Stopped after step"), CANCEL_SECONDS)
    training.wait(PATIENCE)  # when MLflow has all of it
    step = last_step(workspace)
    assert says(f"Stopped after step {step};")
    assert ended(client, first).is_cancelled()

    second = deployed(workspace=str(workspace), stages=["pretrain"])
    wait(lambda: says(f"Resuming after step {step} "))
    client.set_flow_run_state(second.id, Cancelling())
    assert ended(client, second).is_cancelled()


def test_the_form(deployed: Callable[..., Any], client: Any) -> None:
    """Each parameter has its type, its choices and its sentence."""
    deployments = client.request("POST", "/deployments/filter", json={}).json()
    by_name = {deployment["name"]: deployment for deployment in deployments}
    assert set(by_name) == {"weekly", "new-videos", "study"}
    form = by_name["weekly"]["parameter_openapi_schema"]["properties"]
    assert form["when_busy"]["enum"] == ["wait", "cancel"]
    assert form["stages"]["items"]["enum"] == ["ingest", "segment", "pretrain", "probe", "retrieve"]
    assert all(field["description"] for field in form.values())
    assert by_name["new-videos"]["parameters"]["stages"] == ["ingest"]


def test_a_limit_of_an_earlier_version_goes_when_it_is_deployed_again(client: Any, prefect_server: str) -> None:
    own = os.environ | {"PREFECT_API_URL": prefect_server}
    prefect = str(Path(sys.executable).parent / "prefect")

    def deploy(*options: str) -> Any:
        words = [prefect, "--no-prompt", "deploy", "--name", "weekly", "--pool", "limits", *options]
        done = subprocess.run(words, env=own, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stdout + done.stderr
        return client.read_deployment_by_name("pipeline/weekly").global_concurrency_limit

    client.create_work_pool(WorkPoolCreate(name="limits", type="process"))
    assert deploy("--concurrency-limit", "1").limit == 1
    assert deploy() is None


# ------------------------------------------------------------------------ without a worker, in this process


@pytest.fixture
def run(client: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the deployed flow on the workspace in this process -> its state."""
    monkeypatch.setenv(processes.DEPLOYED, "1")  # restored afterwards
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")

    def once(**parameters: Any) -> Any:
        return pipeline(workspace=str(workspace), **parameters, return_state=True)

    return once


def test_a_second_run_is_cancelled_or_waits(run: Callable[..., Any]) -> None:
    """As it was asked to; and a lock whose holder has gone holds up nobody."""
    with locks.lock("pipeline"):
        state = run(stages=[], when_busy="cancel")
        assert state.is_cancelled()
        assert f"pipeline is already running in {Path.cwd()}: process {os.getpid()} " in state.message
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.lock("pipeline"):
            held.set()
            time.sleep(1)
            over.set()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert run(stages=[], when_busy="wait").is_completed()
    assert over.is_set()
    holder.join()


def test_outputs_go_to_a_remote_and_come_from_it(
    run: Callable[..., Any], workspace: Path, make_video: MakeVideo
) -> None:
    make_video(workspace / "videos/one.mp4")
    state = run(stages=[], push_to="store")
    assert state.is_failed() and "dvc remote add store" in state.message
    store = workspace.parent / "store"
    with (workspace / ".dvc/config").open("a") as config:
        config.write(f"['remote \"store\"']\n    url = {store}\n")
    assert run(stages=["ingest"], push_to="store").is_completed()
    catalogue = workspace / "data/catalogue/videos.parquet"
    content = catalogue.read_bytes()
    for path in ("data", ".dvc/cache"):
        shutil.rmtree(workspace / path)
    assert run(stages=[], pull_from="store").is_completed()
    assert catalogue.read_bytes() == content


@pytest.mark.usefixtures("new_events")
def test_lost_runs_crash_and_people_are_notified(client: Any, prefect_server: str) -> None:
    """A flow that sends no more heartbeats, and a model that is no better, by the automations of the README."""
    with inbox() as (address, received):
        text = {"text": "{{subject}}: {{body}}"}
        block = CustomWebhookNotificationBlock(name="tests", url=address, json_data=text, headers=None, cookies=None)
        block.save("tests", overwrite=True)
        automations.create("custom-webhook/tests", lost_seconds=10)
        assert len(automations.create("custom-webhook/tests", lost_seconds=10)) == 6
        assert len({one.name for one in client.read_automations()}) == len(client.read_automations()) == 6
        ours = [runs.OURS, f"{runs.BEATING}-1"]
        lost = client.create_flow_run(pipeline, parameters={}, tags=ours, state=Running())
        slower = client.create_flow_run(pipeline, parameters={}, tags=[runs.OURS, "run-2"], state=Running())
        for run in (slower, lost):
            beat(client, run)
        emit_event(automations.WORSE, {"prefect.resource.id": "scriptsight.model.x"}, payload={"why": "p = 0.4"})
        emit_event(automations.DRIFT, {"prefect.resource.id": "scriptsight.data.x"}, payload={"why": "other rooms"})
        assert ended(client, lost).is_crashed()
        wait(lambda: any("pipeline Crashed" in text and "No heartbeat for 10 s" in text for text in received))
        wait(lambda: any("no better: p = 0.4" in text for text in received))
        wait(lambda: any("differ from what the champion learned from: other rooms" in text for text in received))
        beat(client, lost)  # its machine had slept
        wait(lambda: client.read_flow_run(lost.id).state.is_running())
        assert client.read_flow_run(slower.id).state.is_running()  # it was left alone


def beat(client: Any, run: Any) -> None:
    """What Prefect sends for a flow run. Not by `emit_event`, which adds the tags of flows that this process ran."""
    tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in run.tags]
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
    event = Event(
        event="prefect.flow-run.heartbeat",
        resource=Resource(resource),
        related=[RelatedResource(tag) for tag in tags],
    )
    client.request("POST", "/events", json=[event.model_dump(mode="json")]).raise_for_status()


def test_a_block_that_is_not_there_is_named(client: Any) -> None:
    with pytest.raises(InputError, match="no block 'slack-webhook/nobody'"):
        automations.create("slack-webhook/nobody")


@contextmanager
def inbox() -> Iterator[tuple[str, list[str]]]:
    """A receiver of webhooks -> its address, and the texts it gets."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as here:
        thread = threading.Thread(target=here.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{here.server_port}", received
        here.shutdown()
        thread.join()
