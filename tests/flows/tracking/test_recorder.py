"""One recorder for any number of runs, on a real sqlite store, which breaks."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows import parameters
from flows.experiments.sweep.record import StudyRecord
from flows.tracking import recorder, store
from flows.tracking.recorder import Recorder
from flows.tracking.reporter import WEIGHTS, tracked


def lose_figures() -> None:
    """Break the store as a failing disk does: what it has can be read, and it takes no more figures."""
    with sqlite3.connect(store.FOLDER / "mlflow.db") as database:
        database.execute("DROP TABLE metrics")


def history(client: Any, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def test_figures_of_all_threads_arrive_in_batches(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More parameters and figures than MLflow takes at once, of two runs; nothing is written before its time."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 1000)
    with store.opened() as client:
        record = Recorder(client, "the study")
        params = {f"p{number}": number for number in range(230)} | {"address": "s3://key:secret@host/videos"}
        runs = [record.create(f"run {number}", params, {"kind": "test"}) for number in range(2)]

        def report(start: int) -> None:
            for step in range(start, start + 600):
                record.metrics(runs[step % 2], {"loss": step / 2, "step": step}, step, moment=step)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(report, range(0, 2400, 600)))
        assert not history(client, runs[0], "loss")
        monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0)
        record.metrics(runs[0], {"last": 1.5})
        for place, run_id in enumerate(runs):
            expected = [(step, step / 2) for step in range(place, 2400, 2)]
            assert sorted(history(client, run_id, "loss")) == expected
            run = client.get_run(run_id)
            assert len(run.data.params) == 231 and "secret" not in run.data.params["address"]
        assert history(client, runs[0], "last") == [(0, 1.5)]

        monkeypatch.setattr(recorder, "FLUSH_SECONDS", 1000)
        record.metrics(runs[1], {"last": 2.5})
        record.end(runs[1], "KILLED", {"reason": "postgresql://me:secret@host/x is gone"})
        ended = client.get_run(runs[1])
        assert (ended.info.status, ended.data.metrics["last"]) == ("KILLED", 2.5)
        assert "secret" not in ended.data.tags["reason"]
        assert not record.lost


def test_a_study_goes_on_without_its_record(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is lost is said once; whatever is recorded afterwards is no error."""
    study = StudyRecord("small", None, {"space": {"k": 3}})
    trial = study.begin(0, {"k": 3})
    lose_figures()
    for number in range(3):
        study.metrics(trial, {"loss": 1.0}, number)
        study.flush()
    assert study.lost and study.begin(1, {"k": 4}) == ""
    study.artifact(study.run_id, Path("params.yaml"))
    study.end(study.run_id, "FINISHED")
    said = capsys.readouterr().err
    assert said.count("WARNING: MLflow stopped taking figures; the study goes on") == 1


def test_a_study_finds_its_run_again_or_makes_one(workspace: Path) -> None:
    first = StudyRecord("small", None, {})
    first.end(first.run_id, "KILLED")
    again = StudyRecord("small", first.run_id, {})
    assert again.run_id == first.run_id
    assert again.client.get_run(again.run_id).info.status == "RUNNING"
    assert StudyRecord("small", "f" * 32, {}).run_id not in (first.run_id, "f" * 32)


def test_a_training_goes_on_without_its_record(workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracked("pretrain", parameters.load()) as reporter:
        reporter.metrics({"train/loss": 5.0}, 1)
        lose_figures()
        for step in range(2, 5):
            reporter.metrics({"train/loss": 1.0}, step)
        WEIGHTS.parent.mkdir(parents=True)
        WEIGHTS.write_bytes(b"a model")
    said = capfd.readouterr().err
    assert said.count("WARNING: MLflow stopped taking figures; the stage goes on") == 1
    assert said.count("WARNING: MLflow lost figures of this run (see above); the stage's files are whole.") == 1
