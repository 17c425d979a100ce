"""What a run leaves on its page, read back from a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows.orchestration import artifacts
from flows.orchestration.deployed import pipeline
from flows.running import processes
from flows.running.repository import StageOutcome
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER

Run = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def run(prefect_server: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the deployed flow on the workspace in this process -> its state and its artifacts."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv(processes.DEPLOYED, "1")  # restored afterwards
    settings = {PREFECT_API_URL: prefect_server, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), get_client(sync_client=True) as client:

        def once(**parameters: Any) -> tuple[Any, dict[str, Any]]:
            state: Any = pipeline(workspace=str(workspace), retries=0, **parameters, return_state=True)
            found = client.request(
                "POST",
                "/artifacts/filter",
                json={"artifacts": {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}},
            ).json()
            return state, {one["key"].partition("-")[2]: one["data"] for one in found}

        yield once


def test_the_page_of_a_run(run: Run, workspace: Path, make_video: MakeVideo) -> None:
    """What ran, the figures before and after, the rejects; then nothing to do; then a failure by its own words."""
    videos = workspace / "videos"
    make_video(videos / "one.mp4")
    (videos / "one.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nthe red circle moves\n")
    (videos / "<img src=x>.mp4").write_text("no video")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    state, found = run(stages=["ingest", "segment"])
    assert state.is_completed(), state.message
    rows = json.loads(found["stages"])
    assert [(row["stage"], row["outcome"], row["why"]) for row in rows] == [
        ("ingest", "ran", "it has not run here before"),
        ("segment", "ran", "it has not run here before"),
    ]
    figures = {row["figure"]: row for row in json.loads(found["figures"])}
    assert figures["videos"] == {"figure": "videos", "before": "-", "after": "1", "change": "", "read against": ""}
    assert figures["videos refused by ingest"]["after"] == "1"
    (reject,) = json.loads(found["rejects"])
    assert reject["uri"].endswith("&lt;img src=x&gt;.mp4")

    make_video(videos / "two.mp4")
    (workspace / ".dvc/tmp/rwlock").write_text("")  # as a process leaves it that is killed at a bad moment
    state, found = run(stages=["ingest"])
    figures = {row["figure"]: row for row in json.loads(found["figures"])}
    assert (figures["videos"]["before"], figures["videos"]["after"], figures["videos"]["change"]) == ("1", "2", "+1")
    assert "videos modified" in json.loads(found["stages"])[0]["why"]

    state, found = run(stages=["ingest"])
    assert state.is_completed() and "ingest skipped" in state.message
    assert json.loads(found["stages"])[0]["why"] == "up to date"

    for path in videos.glob("*.mp4"):
        path.write_text("no video")
    state, found = run(stages=["ingest", "segment"])
    assert state.is_failed()
    assert "ingest failed" in found["report"] and "no video is left" in found["report"]
    assert "Traceback" not in found["report"]


def test_the_last_lines_of_an_unforeseen_error(run: Run, workspace: Path, make_video: MakeVideo) -> None:
    """They are the stage's own, and not those of what started it."""
    make_video(workspace / "videos/one.mp4")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    (workspace / ".work").write_text("no folder")
    state, found = run(stages=["ingest"])
    assert state.is_failed() and "NotADirectoryError" in state.message
    quoted = found["report"].partition("```text\n")[2].partition("\n```")[0].splitlines()
    assert "src/scriptsight/" in found["report"]
    assert quoted[-1].startswith("NotADirectoryError")
    assert "subprocess" not in found["report"] and "dvc" not in found["report"].lower()


def test_text_of_a_failure_stays_text() -> None:
    """A fence in it, or HTML, does not end the block that quotes it."""
    evil = "```\n<script>alert(1)</script>\n[click](http://127.0.0.1)"
    report = artifacts.report([StageOutcome("segment", "failed", evil)])
    block = report.partition("````text\n")[2].partition("\n````")[0]
    assert block == evil


def test_a_password_of_mlflow_is_not_on_the_page(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://someone:secret@mlflow.test/at?token=abc")
    report = artifacts.report([])
    assert "https://mlflow.test/at/" in report
    assert "secret" not in report and "abc" not in report
