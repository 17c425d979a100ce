"""What stages record in MLflow, on a real sqlite store."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from flows import parameters
from flows.tracking import origin, store, views
from flows.tracking.origin import used
from flows.tracking.reporter import WEIGHTS, tracked
from scriptsight import overlap
from scriptsight.errors import InputError
from scriptsight.segments import Segments
from tests import small


@pytest.fixture
def settings(workspace: Path) -> parameters.Params:
    return parameters.load()


def train(settings: parameters.Params) -> None:
    """What pretrain leaves behind, reported as it reports."""
    with tracked("pretrain", settings) as reporter:
        for step in range(5):
            reporter.metrics({"train/loss": 5.0 - step}, step)
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        WEIGHTS.write_bytes(b"a model")
        picture = Path("curves.csv")
        picture.write_text("step,loss\n")
        reporter.artifact(picture)
        write("pretrain", {"val": {"chance": 0.25}})
        write("speed", {"samples_per_second": 10.5})


def probe(settings: parameters.Params) -> None:
    with tracked("probe", settings):
        write("probe", {"linear_top1": 0.5, "random_init": {"linear_top1": 0.25}})


def cut(count: int) -> str:
    """Training segments -> their digest."""
    small.narrated(Path("data/segments"), "train", count, "narrated")
    return overlap.data_digest([("narrated", Segments("data/segments", "narrated", "train"))])


def write(stage: str, values: dict[str, Any]) -> None:
    Path("metrics").mkdir(exist_ok=True)
    (Path("metrics") / f"{stage}.json").write_text(json.dumps(values))


def runs() -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(store.uri())
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])


def test_a_model_is_one_run(settings: parameters.Params, capsys: pytest.CaptureFixture[str]) -> None:
    """Probe finds the run of pretrain by the weights; other weights, of which there is no run, get one."""
    write("ingest", {"narrated": {"videos": 3}})
    train(settings)
    with pytest.raises(KeyError), tracked("probe", settings):
        raise KeyError("boom")
    (run,) = runs()
    assert (run.info.status, run.data.tags["failed_stage"]) == ("FINISHED", "probe")  # the model is trained
    probe(settings)
    assert "failed_stage" not in runs()[0].data.tags
    assert "MLflow has no run of this model" not in capsys.readouterr().err
    WEIGHTS.write_bytes(b"another model")  # as a checkout from DVC's cache does
    probe(settings)
    assert "MLflow has no run of this model" in capsys.readouterr().err
    newest, run = runs()
    assert (newest.info.run_name[-8:], run.info.run_name[-8:]) == tuple(
        hashlib.sha256(weights).hexdigest()[:8] for weights in (b"another model", b"a model")
    )
    assert newest.data.metrics == {"probe/linear_top1": 0.5, "probe/random_init/linear_top1": 0.25}
    assert run.info.status == "FINISHED"
    assert run.data.metrics["train/loss"] == 1.0
    assert run.data.metrics["speed/samples_per_second"] == 10.5
    assert run.data.metrics["val/chance"] == 0.25
    assert run.data.metrics["data/ingest/narrated/videos"] == 3
    assert run.data.metrics["probe/linear_top1"] == 0.5
    assert run.data.metrics["probe/random_init/linear_top1"] == 0.25
    assert run.data.params["pretrain.k"] == str(settings.pretrain.k)
    assert run.data.params["ingest.collections.narrated.kind"] == "world"
    assert len(run.data.tags["git_commit"]) == 40
    artifacts = Path("mlruns/artifacts") / run.info.run_id / "artifacts/pretrain/curves.csv"
    assert artifacts.read_text() == "step,loss\n"


def test_a_probe_of_next_week_leaves_the_duration_of_the_training(settings: parameters.Params) -> None:
    train(settings)
    before = runs()[0].info
    time.sleep(0.05)
    probe(settings)
    after = runs()[0].info
    assert (after.start_time, after.end_time, after.status) == (before.start_time, before.end_time, "FINISHED")


def test_parameters_are_those_that_distinguish_models(settings: parameters.Params) -> None:
    names = used(settings)
    assert settings.pretrain.objective == "tvts"
    assert {"pretrain.tvts.sort_weight", "pretrain.optimizer.lr"} <= names.keys()
    assert not [name for name in names if name.startswith(("pretrain.cpd.", "pretrain.joint."))]  # not in use
    assert not [name for name, value in names.items() if value is None or name.endswith((".workers", ".runner"))]
    machine = {"pretrain.engine.threads", "pretrain.keep_checkpoints", "pretrain.tvts.align_chunk", "probe.batch"}
    assert not machine & names.keys() and {"ingest.timeout_seconds", "pretrain.batch"} <= names.keys()
    plain = settings.pretrain.model_copy(update={"objective": "contrastive"})
    names = used(settings.model_copy(update={"pretrain": plain}))
    assert "pretrain.tvts.align_weight" in names  # contrastive's weight is that of tvts
    train(settings)
    (run,) = runs()
    everything = Path("mlruns/artifacts") / run.info.run_id / "artifacts/params.yaml"
    assert parameters.load(everything) == settings


def test_pages_explain_themselves_and_keep_what_a_person_wrote(settings: parameters.Params) -> None:
    from mlflow import MlflowClient

    train(settings)
    probe(settings)
    client = MlflowClient(store.uri())
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment is not None
    view = json.loads(experiment.tags["mlflow.sharedViewState.scriptsight"])
    state = json.loads(view["state"])
    assert (view["name"], experiment.tags["mlflow.experimentKind"]) == ("Compare models", "custom_model_development")
    assert "metrics.`probe/linear_top1`" in state["selectedColumns"]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections
    assert views.address(experiment.experiment_id) in experiment.tags["mlflow.note.content"]
    (run,) = runs()
    assert "| linear probe, share right | 0.5 | untrained encoder 0.25 |" in run.data.tags["mlflow.note.content"]
    primary = experiment.tags["mlflow.experiment.primaryMetric.name"]  # the chart that the page opens on
    assert primary in run.data.metrics and not primary.startswith("train/")
    client.set_tag(run.info.run_id, "mlflow.note.content", "my own words")
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine, too")
    probe(settings)
    assert runs()[0].data.tags["mlflow.note.content"] == "my own words"
    assert client.get_experiment(experiment.experiment_id).tags["mlflow.note.content"] == "mine, too"


def test_the_data_is_what_was_read_and_not_what_dvc_lock_names(settings: parameters.Params) -> None:
    """Stages that are run by hand: segments are cut again, and params.yaml is changed without cutting them."""
    import mlflow

    Path("dvc.lock").write_text("stages: {segment: {outs: [{path: data/segments, md5: 0123456789abcdef.dir}]}}\n")
    digests = []
    for count in (3, 4):
        digests.append(cut(count))
        write("segment", {"segments": count})
        origin.note("ingest", settings)
        origin.note("segment", settings)
        write("segment", {"segments": 77})  # of other ones
        slower = settings.model_copy(update={"segment": settings.segment.model_copy(update={"fps": 0.5})})
        train(slower)
        run = runs()[0]
        data = run.inputs.dataset_inputs[0].dataset
        assert run.data.tags["input/data/segments"] == data.digest == digests[-1]
        assert mlflow.data.get_source(data).load() == str(Path("data/segments").resolve())
        assert run.data.params["segment.fps"] == str(settings.segment.fps)
        assert run.data.params["pretrain.k"] == str(settings.pretrain.k)
        assert run.data.metrics["data/segment/segments"] == count
        assert run.data.tags["data_known_by"] == "its note" and len(run.data.tags["input/data/catalogue"]) == 32
    assert digests[0] != digests[1]
    cut(5)
    train(settings)
    assert runs()[0].data.tags["data_known_by"] == origin.UNKNOWN


def test_figures_belong_to_the_model_also_when_they_come_later(settings: parameters.Params) -> None:
    from mlflow import MlflowClient

    cut(3)
    train(settings)
    (run,) = runs()
    client = MlflowClient(store.uri())

    def found(condition: str) -> list[Any]:
        return list(client.search_logged_models([run.info.experiment_id], filter_string=condition))

    (model,) = found("metrics.`speed/samples_per_second` > 1")
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert model.params["pretrain.k"] == str(settings.pretrain.k)
    assert "train/loss" not in {figure.key for figure in model.metrics}  # of weights on the way
    assert not found("metrics.`probe/linear_top1` > 0.1")
    test = settings.probe.tests["actions"].model_copy(update={"collections": ("narrated",), "test_split": "train"})
    measured = settings.probe.model_copy(update={"tests": {"narrated": test}})
    probe(settings.model_copy(update={"probe": measured}))
    (again,) = found("metrics.`probe/linear_top1` > 0.1")
    assert again.model_id == model.model_id and not found("metrics.`probe/linear_top1` > 0.6")
    (figure,) = [one for one in again.metrics if one.key == "probe/linear_top1"]
    data = {one.dataset.name: one.dataset.digest for one in runs()[0].inputs.dataset_inputs}
    assert data[figure.dataset_name] == figure.dataset_digest
    assert set(data) == {"data/segments", "data/segments (probe)"}


def test_a_measurement_with_other_parameters_says_so(settings: parameters.Params) -> None:
    train(settings)
    (run,) = runs()
    assert not [name for name in run.data.params if name.startswith(("probe.", "retrieve."))]  # nothing measured yet
    probe(settings)
    assert runs()[0].data.params["probe.seed"] == str(settings.probe.seed)
    other = settings.probe.model_copy(update={"seed": settings.probe.seed + 1})
    probe(settings.model_copy(update={"probe": other}))
    seeds = f"probe.seed: {settings.probe.seed} -> {settings.probe.seed + 1}"
    assert runs()[0].data.tags["probe.changed"] == seeds
    probe(settings)
    assert "probe.changed" not in runs()[0].data.tags


def test_figures_of_weights_that_were_replaced_meanwhile_are_refused(settings: parameters.Params) -> None:
    train(settings)
    with pytest.raises(InputError, match="was replaced while probe measured it"), tracked("probe", settings):
        write("probe", {"linear_top1": 0.5})
        WEIGHTS.write_bytes(b"another model")
    assert "probe/linear_top1" not in runs()[0].data.metrics


def test_a_failed_stage_leaves_a_failed_run(settings: parameters.Params) -> None:
    with pytest.raises(KeyError), tracked("pretrain", settings):
        raise KeyError("boom")
    (run,) = runs()
    assert run.info.status == "FAILED"
    assert "weights_digest" not in run.data.tags


def test_a_dead_server_is_reported_before_work_begins(
    settings: parameters.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    dead = pytest.raises(InputError, match=r"127\.0\.0\.1:9 does not answer")
    with dead as refused, tracked("pretrain", settings):
        raise AssertionError("the block must not run")
    assert "secret" not in str(refused.value)


def test_a_broken_store_is_reported_at_the_first_figure(
    settings: parameters.Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the training is done and would be lost; nor does it hide an error of the stage."""
    Path("file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/file/x.db")  # not even root can make it
    broken = pytest.raises(InputError, match=r"MLflow at sqlite:.* can't be used")
    with broken, tracked("pretrain", settings) as reporter:
        reporter.metrics({"train/loss": 5.0}, 1)
        raise AssertionError("refused too late")
    assert "can't be used" not in capsys.readouterr().err
    with pytest.raises(KeyError, match="boom"), tracked("pretrain", settings):
        raise KeyError("boom")
    assert "can't be used" in capsys.readouterr().err
