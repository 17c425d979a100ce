"""Which models MLflow's registry keeps, and when the champion changes, on a real sqlite store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from flows import parameters
from flows.experiments import better
from flows.tracking import registered, registry, store
from flows.tracking.reporter import WEIGHTS, opening
from flows.tracking.stage_run import StageRun
from scriptsight import overlap
from scriptsight.cli import main
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.segments import Segments
from tests import small
from tests.flows.outcomes import hits, write_probe, write_retrieve


@pytest.fixture
def settings(workspace: Path) -> parameters.Params:
    small.narrated(Path("data/segments"), "train", 3, "narrated")
    return parameters.load()


def measured(settings: parameters.Params, seed: int, right: np.ndarray, untrained: float = 0.3) -> str:
    """A model with its weights, and an MLflow run with the outcomes of its probe -> the id of the run."""
    small.tiny_bundle(registry.BUNDLE, seed=seed)
    learned = [("narrated", Segments("data/segments", "narrated", "train"))]
    overlap.write(registry.BUNDLE, overlap.videos(learned), overlap.data_digest(learned))
    write_probe(Path("plots/probe"), linear_top1=right)
    write_retrieve(Path("plots/retrieve"), t2v=[1, 2, 3], v2t=[1, 1, 1])
    for stage in ("probe", "retrieve"):  # as tracked() does, without a process for each
        run = StageRun(opening(stage, settings))
        run.take({"artifact": f"plots/{stage}/outcomes.csv"})
        figures = {"probe/random_init/linear_top1": untrained, "probe/chance": 0.1}
        run.take({"metrics": figures if stage == "probe" else {}, "step": 0, "time": 0, "of_model": True})
        run.close("FINISHED")
    with store.opened() as client:
        return str(store.run_of(client, digest(WEIGHTS)).info.run_id)


def champion() -> Any:
    with store.opened() as client:
        return store.model_version(client, "scriptsight", "champion")


def test_only_what_learned_something_is_registered_and_once(settings: parameters.Params) -> None:
    measured(settings, 0, hits(0.31))
    decision = registry.publish(settings)
    assert (decision.status, decision.version) == ("refused", None)
    assert "not surely above an untrained encoder (30.0%)" in decision.reason
    assert champion() is None
    first = measured(settings, 1, hits(0.5))
    again = StageRun(opening("pretrain", settings))  # with the same result: what was measured is in the first run
    again.take({"tags": {"weights_digest": digest(WEIGHTS)}})
    again.close("FINISHED")
    decision = registry.publish(settings)
    assert (decision.status, decision.version) == ("champion", 1)
    version = champion()
    assert (version.run_id, version.tags["weights_digest"]) == (first, digest(WEIGHTS))
    with store.opened() as client:
        (data,) = [one.dataset.digest for one in client.get_run(first).inputs.dataset_inputs]
        found = client.search_logged_models(
            [client.get_run(first).info.experiment_id], "tags.weights_digest = " + repr(digest(WEIGHTS))
        )
        (model,) = [one for one in found if one.source_run_id == first]
        assert version.tags["data_digest"] == data == overlap.trained_on(registry.BUNDLE)
        assert (model.source_run_id, "mlflow.model.isExternal" in model.tags) == (first, False)
        assert model.params and "probe/chance" in {figure.key for figure in model.metrics}
        assert "MLmodel" in {Path(file.path).name for file in client.list_logged_model_artifacts(model.model_id)}
    assert registry.publish(settings) == decision  # the same weights: nothing new
    with store.opened() as client:
        assert len(client.search_model_versions("name = 'scriptsight'")) == 1


def test_the_champion_moves_only_to_what_is_better(settings: parameters.Params) -> None:
    for seed, right, outcome, reason in (
        (1, hits(0.5), "champion", "it is the first"),
        (2, hits(0.9)[:150], "beside", "200 items against 150"),
        (3, hits(0.515), "challenger", "No difference is established: 51.5% against 50.0%"),
    ):
        measured(settings, seed, right)
        decision = registry.publish(settings)
        assert (decision.status, decision.version) == (outcome, seed) and reason in decision.reason
        assert champion().version == 1
    best = measured(settings, 4, hits(0.65))
    assert registry.publish(settings).status == "champion"
    version = champion()
    assert (version.version, version.run_id, version.tags["compared_with"]) == (4, best, "version 1")
    numbers = {name: float(version.tags[name]) for name in ("first", "second", "difference", "p_value")}
    assert numbers == pytest.approx(
        {"first": 0.5, "second": 0.65, "difference": 0.15, "p_value": 2 / 2**30}, rel=1e-4
    )
    assert "65.0% against 50.0%" in version.description


def test_a_champion_of_another_folder_is_not_overrun(
    settings: parameters.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was entered while this model was compared with the champion before."""
    for seed, share in ((1, 0.5), (2, 0.9)):
        measured(settings, seed, hits(share))
        registry.publish(settings)
    with store.opened() as client:
        client.set_registered_model_alias("scriptsight", "champion", "1")
    published = better.publish

    def meanwhile(client: Any, answer: better.Answer) -> Any:
        client.set_registered_model_alias("scriptsight", "champion", "2")
        return published(client, answer)

    monkeypatch.setattr(better, "publish", meanwhile)
    measured(settings, 3, hits(0.65))
    decision = registry.publish(settings)
    assert (decision.status, champion().version) == ("challenger", 2)
    assert "65.0% against 90.0%" in decision.reason


def test_the_newest_run_is_held_against_the_champion(
    settings: parameters.Params, capsys: pytest.CaptureFixture[str]
) -> None:
    first = measured(settings, 1, hits(0.5))
    registry.publish(settings)
    with pytest.raises(SystemExit, match="there is nothing to compare"):
        main(["better"])  # it is the champion
    second = measured(settings, 2, hits(0.35))
    main(["better"])
    answer = capsys.readouterr().out
    assert "(version 1)" in answer and "No, it is worse." in answer and second[:8] in answer
    main(["better", second[:12], "1"])
    assert "Is the second better, by linear_top1? Yes." in capsys.readouterr().out
    with store.opened() as client:
        files = {file.path for file in client.list_artifacts(second, f"better/{first[:8]}")}
    assert files == {f"better/{first[:8]}/better.md", f"better/{first[:8]}/better.png"}


def test_an_interrupted_decision_is_made_up_for(settings: parameters.Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    measured(settings, 1, hits(0.5))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(MlflowClient, "update_model_version", killed)  # the alias has moved, why is not written down
        registry.publish(settings)
    assert "decision" not in champion().tags
    decision = registry.publish(settings)
    assert (decision.status, decision.version) == ("champion", 1) and "it is the first" in decision.reason
    assert champion().tags["decision"] == "champion"


def test_what_is_missing_is_named(settings: parameters.Params) -> None:
    with pytest.raises(InputError, match="no trained model"):
        registry.publish(settings)
    small.tiny_bundle(registry.BUNDLE)
    with pytest.raises(InputError, match="run the probe stage"):
        registry.publish(settings)
    off = settings.registry.model_copy(update={"enabled": False})
    assert registry.publish(settings.model_copy(update={"registry": off})).status == "off"


def test_a_workspace_has_a_registered_model_of_its_own(
    settings: parameters.Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a team's server: one of another name, one of the same name elsewhere, and one that names it itself."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/team.db")
    names = []
    for place in ("a/talks", "b/größe 1", "c/talks"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        Path("overrides.yaml").touch()
        with store.opened() as client:
            name = registered.name_of(client, None)
            registered.ensure(client, name, "")
            assert registered.name_of(client, None) == name  # and so it stays
            assert registered.name_of(client, "ours") == "ours"
            assert ("Another workspace has" in registered.hint(client, name, None)) == place.startswith("c")
        names.append(name)
    assert names[:2] == ["scriptsight-talks", "scriptsight-größe-1"]
    assert names[2].startswith("scriptsight-talks-") and len(names[2]) == len("scriptsight-talks-") + 8
    moved = (tmp_path / "a/talks").rename(tmp_path / "talks")
    monkeypatch.chdir(moved)
    with store.opened() as client:
        assert registered.name_of(client, None) == "scriptsight-talks"


def test_a_workspace_that_was_killed_while_it_got_its_identity_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = store.folder() / registered.IDENTITY
    path.parent.mkdir()
    path.touch()
    with ThreadPoolExecutor(8) as pool:  # that begin at once
        (one,) = set(pool.map(lambda _: registered.identity(), range(8)))
    assert one == path.read_text() and len(one) == 32


def test_a_workspaces_own_store_goes_on_with_the_name_of_earlier_versions(settings: parameters.Params) -> None:
    Path("overrides.yaml").touch()
    with store.opened() as client:
        assert registered.name_of(client, None) == "scriptsight-workspace"
        client.create_registered_model("scriptsight")
        assert registered.name_of(client, None) == "scriptsight"
