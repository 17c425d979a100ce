"""MLflow tracking on a real sqlite store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows import tracking
from scriptsight import params
from scriptsight.errors import InputError


@pytest.fixture
def settings(workspace: Path) -> params.Params:
    return params.load()


def train(settings: params.Params) -> None:
    """What pretrain leaves behind, reported as it reports."""
    with tracking.tracked("pretrain", settings) as reporter:
        for step in range(5):
            reporter.metrics({"train/loss": 5.0 - step}, step)
        tracking.WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        tracking.WEIGHTS.write_bytes(b"a model")
        picture = Path("curves.csv")
        picture.write_text("step,loss\n")
        reporter.figure(picture)
        write("pretrain", {"samples_per_second": 10.5, "val": {"chance": 0.25}})


def probe(settings: params.Params) -> None:
    with tracking.tracked("probe", settings):
        write("probe", {"linear_top1": 0.5, "random_init": {"linear_top1": 0.25}})


def write(stage: str, values: dict[str, Any]) -> None:
    Path("metrics").mkdir(exist_ok=True)
    (Path("metrics") / f"{stage}.json").write_text(json.dumps(values))


def runs() -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking.uri())
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])


def test_a_model_is_one_run(settings: params.Params, capsys: pytest.CaptureFixture[str]) -> None:
    """Probe finds the run of pretrain by the weights; other weights, of which there is no run, get one."""
    write("ingest", {"narrated": {"videos": 3}})
    train(settings)
    with pytest.raises(KeyError), tracking.tracked("probe", settings):
        raise KeyError("boom")
    (run,) = runs()
    assert (run.info.status, run.data.tags["failed_stage"]) == ("FINISHED", "probe")  # the model is trained
    probe(settings)
    assert "failed_stage" not in runs()[0].data.tags
    assert "MLflow has no run of this model" not in capsys.readouterr().err
    tracking.WEIGHTS.write_bytes(b"another model")  # as a checkout from DVC's cache does
    probe(settings)
    assert "MLflow has no run of this model" in capsys.readouterr().err
    newest, run = runs()
    assert newest.data.metrics == {"probe/linear_top1": 0.5, "probe/random_init/linear_top1": 0.25}
    assert run.info.status == "FINISHED"
    assert run.data.metrics["train/loss"] == 1.0
    assert run.data.metrics["pretrain/samples_per_second"] == 10.5
    assert run.data.metrics["data/ingest/narrated/videos"] == 3
    assert run.data.metrics["probe/linear_top1"] == 0.5
    assert run.data.metrics["probe/random_init/linear_top1"] == 0.25
    assert run.data.params["pretrain.k"] == str(settings.pretrain.k)
    assert run.data.params["ingest.collections.narrated.kind"] == "world"
    assert len(run.data.tags["git_commit"]) == 40
    artifacts = Path("mlruns/artifacts") / run.info.run_id / "artifacts/pretrain/curves.csv"
    assert artifacts.read_text() == "step,loss\n"


def test_a_failed_stage_leaves_a_failed_run(settings: params.Params) -> None:
    with pytest.raises(KeyError), tracking.tracked("pretrain", settings):
        raise KeyError("boom")
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert "weights_digest" not in run.data.tags


def test_a_dead_server_is_told_before_work_begins(settings: params.Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    dead = pytest.raises(InputError, match=r"127\.0\.0\.1:9 does not answer")
    with dead as told, tracking.tracked("pretrain", settings):
        raise AssertionError("the block must not run")
    assert "secret" not in str(told.value)


def test_a_broken_store_is_told_at_the_first_figure(
    settings: params.Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the training is done and would be lost; nor does it hide an error of the stage."""
    Path("file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/file/x.db")  # not even root can make it
    broken = pytest.raises(InputError, match=r"MLflow at sqlite:.* can't be used")
    with broken, tracking.tracked("pretrain", settings) as reporter:
        reporter.metrics({"train/loss": 5.0}, 1)
        raise AssertionError("told too late")
    assert "can't be used" not in capsys.readouterr().err
    with pytest.raises(KeyError, match="boom"), tracking.tracked("pretrain", settings):
        raise KeyError("boom")
    assert "can't be used" in capsys.readouterr().err
