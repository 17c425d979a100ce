"""`scriptsight register`: enter the trained model into MLflow's registry, and decide about the champion.

A model whose figure is above chance and above an untrained encoder by its interval becomes a version of the
registered model, which can be served (`serving`). The alias `champion` goes to the first of them, and moves only to
one that is better on the same test items by McNemar's test. What was decided, and by which numbers, is
written on the version.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flows import parameters
from flows.experiments import better, named, outcomes
from flows.running import locks
from flows.tracking import models, origin, registered, reporter, store, views
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.statistics import PairedComparison

CHAMPION = "champion"
BUNDLE = reporter.WEIGHTS.parent
EXAMPLE = "the red circle moves to the left"
ABOUT = """Encoders that scriptsight trained: texts and videos in, unit vectors of one space out.

The alias **champion** is the best so far, by a paired test on the same items; each version says how that was decided.

    export SCRIPTSIGHT_SERVE_ROOT=/folder/of/videos
    mlflow models serve -m models:/{name}@champion --env-manager local -p 5001
    curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
      -d '{{"dataframe_records": [{{"text": "{example}"}}, {{"video": "clip.mp4"}}]}}'
"""

Status = Literal["champion", "challenger", "beside", "refused", "off"]


@dataclass(frozen=True)
class Decision:
    """What became of a model, and why: the new champion, a version that is no better, one that can't be compared with
    it (`beside`), or not fit to be registered."""

    status: Status
    reason: str
    version: int | None = None
    comparison: PairedComparison | None = None  # with the champion before; None where there was none to compare with

    def __str__(self) -> str:
        head = {
            "champion": f"version {self.version} is the champion",
            "challenger": f"version {self.version} is registered; the champion stays",
            "beside": f"version {self.version} is registered; which is better can't be told, and the champion stays",
            "refused": "not registered",
            "off": "nothing registered",
        }
        return f"{head[self.status]}: {self.reason}"


def publish(settings: parameters.Params | None = None) -> Decision:
    """Register the weights in models/pretrained, once, and decide about the champion.

    Weights that have been decided about keep their decision. Two processes of one folder don't decide at once.

    Args:
        settings: of the workspace; None reads params.yaml.

    Raises:
        InputError: MLflow can't be used, there is no trained model, or it was not probed.
    """
    settings = settings or parameters.load()
    chosen = settings.registry
    if not chosen.enabled:
        return Decision("off", "registry.enabled is false.")
    if not reporter.WEIGHTS.is_file():
        raise InputError(f"There is no trained model ({reporter.WEIGHTS}): run the pretrain stage first.")
    digest = files.digest(reporter.WEIGHTS)
    with locks.lock("registry"), store.opened() as client:
        name = registered.name_of(client, chosen.name)
        hint = registered.hint(client, name, chosen.name)
        version = _version_of(client, name, digest)
        if version is not None and "decision" in version.tags:
            return _decided(version)
        run = store.measured_run_of(client, digest)
        if run is None:
            raise InputError("MLflow has no run of this model: run the probe stage, which makes one.")
        model = named.Run(client, run).model()
        if chosen.metric not in model.figures:
            has = ", ".join(model.figures)
            raise InputError(
                f"registry.metric {chosen.metric!r} is no figure of {model.name}; it has: {has}. Name one of these, "
                "such as t2v/r1 where there are no labelled clips."
            )
        reason = _fitness(model, chosen.metric, run.data.metrics)
        if reason is not None:
            return Decision("refused", reason)
        if version is None:
            version = _register(client, name, run, digest)
        return _decide(client, version, model, name, chosen.metric, run.data.metrics, hint)


def _version_of(client: Any, name: str, digest: str) -> Any:
    """The version with these weights, or None."""
    found = client.search_model_versions(f"name = '{name}' and tag.weights_digest = '{digest}'")
    return found[0] if found else None


def _decided(version: Any) -> Decision:
    return Decision(version.tags["decision"], version.tags["reason"], int(version.version))


def _fitness(model: outcomes.Model, metric: str, metrics: dict[str, float]) -> str | None:
    """Why a model is not fit to be registered; None if it is: its interval lies above chance and random weights."""
    floors = _floors(model, metric, metrics)
    if not floors:
        raise InputError(
            f"{model.name} has no chance level or random initialisation to read {metric} against: choose another "
            "registry.metric, such as linear_top1."
        )
    low, high = model.interval(metric)
    name, floor = max(floors.items(), key=lambda item: item[1])
    if low > floor:
        return None
    return (
        f"{metric} is {model.share(metric):.1%} (95% interval {low:.1%} to {high:.1%}), which is not surely above "
        f"{name} ({floor:.1%})."
    )


def _floors(model: outcomes.Model, metric: str, metrics: dict[str, float]) -> dict[str, float]:
    """What a figure must be above to say anything: chance, and an untrained encoder of the same shape."""
    head, _, protocol = metric.rpartition("/")
    if head in ("t2v", "v2t"):
        gallery = sum(item[0] == "v2t" for item in model.figures["v2t/r1"])
        return {"chance": int(protocol.removeprefix("r")) / gallery}
    test = f"probe/{head}/" if head else "probe/"
    floors = {"an untrained encoder": f"{test}random_init/{protocol}"}
    if protocol.endswith("top1"):
        floors["chance"] = f"{test}chance"
    return {meaning: metrics[name] for meaning, name in floors.items() if name in metrics}


# ------------------------------------------------------------------------------------------------ registering


def _register(client: Any, name: str, run: Any, digest: str) -> Any:
    """Log the bundle as a model that MLflow can serve, from `run`, and make it a version.

    These are the steps of `mlflow.pyfunc.log_model`, which works on the process's current run and address: here
    none of the process's state is touched, and the run keeps its end.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    run_id = run.info.run_id
    logged = models.ensure(client, run_id)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # no pip here is nothing to warn of
    with tempfile.TemporaryDirectory() as folder:
        save_model(
            path=f"{folder}/model",
            mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
            **contents(BUNDLE),
        )
        for compiled in Path(folder).rglob("__pycache__"):
            shutil.rmtree(compiled)
        client.log_model_artifacts(logged.model_id, f"{folder}/model")
    models.stored(client, logged.model_id)
    registered.ensure(client, name, ABOUT.format(name=name, example=EXAMPLE))
    learned = origin.learned_from()  # what the model itself says; the run of an older one has what DVC said
    data = learned.digest if learned else run.data.tags.get(f"input/{views.SEGMENTS}", "unknown")
    # Not models:/ID, which the store of sqlite looks up at the process's own address.
    version = client.create_model_version(
        name,
        logged.artifact_location,
        run_id=run_id,
        tags={"weights_digest": digest, "data_digest": data},
        model_id=logged.model_id,
    )
    known_as = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": known_as})  # the page links them by it
    return version


def contents(bundle: Path) -> dict[str, Any]:
    """What MLflow saves of a model: its code, its bundle, its signature, an example and what it needs installed."""
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    import scriptsight
    from scriptsight.models.bundle import load

    width = load(bundle).embed_dim
    columns: list[ColSpec | TensorSpec] = [ColSpec("string", name, required=False) for name in ("text", "video")]
    vectors = Schema([TensorSpec(np.dtype(np.float32), (-1, width))])
    return {
        "python_model": str(Path(__file__).with_name("serving.py")),
        "artifacts": {"bundle": str(bundle.resolve())},
        "code_paths": [str(Path(scriptsight.__file__).parent)],
        "signature": ModelSignature(inputs=Schema(columns), outputs=vectors),
        "input_example": pd.DataFrame({"text": [EXAMPLE]}),
        "pip_requirements": _requirements(),
    }


def _requirements() -> list[str]:
    """The packages of scriptsight itself, and MLflow, as they are installed here."""
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in metadata.requires("scriptsight") or ()]
    needed = [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [f"{name}=={metadata.version(name)}" for name in ("mlflow", *needed)]


# --------------------------------------------------------------------------------------------------- deciding


def _decide(
    client: Any,
    version: Any,
    model: outcomes.Model,
    name: str,
    metric: str,
    metrics: dict[str, float],
    hint: str,
) -> Decision:
    """Champion of the registered model `name` or not; the numbers go onto the version first, so that an alias never
    moves without them. `hint` is said of the first version."""
    number = int(version.version)
    champion = store.model_version(client, name, CHAMPION)
    share = np.mean(list(model.figures[metric].values()))
    facts: dict[str, Any] = {"metric": metric, metric: f"{share:.4f}"}
    if champion is None:
        above = " and ".join(_floors(model, metric, metrics))
        reason = f"it is the first of {name}, with {metric} {share:.1%}, surely above {above}.{hint}"
        decision = Decision("champion", reason, number)
    elif int(champion.version) == number:  # its decision was interrupted after the alias had moved
        decision = Decision("champion", version.tags["reason"], number)
    else:
        before = named.of_version(client, champion).model()
        decision, answer = _against(before, model, metric, number)
        facts |= {"compared_with": f"version {champion.version}"}
        if answer is not None:
            better.publish(client, answer)
        if decision.comparison is not None:
            one = decision.comparison
            names = ("first", "second", "difference", "low", "high", "p_value", "items")
            facts |= {field: f"{getattr(one, field):.6g}" for field in names}
    now = store.model_version(client, name, CHAMPION)
    if now is not None and (champion is None or now.version != champion.version):
        # Another folder, whose lock is its own, was faster.
        return _decide(client, version, model, name, metric, metrics, hint)
    facts["reason"] = decision.reason
    for fact, value in facts.items():
        client.set_model_version_tag(name, version.version, fact.replace("/", "_"), str(value))
    if decision.status == "champion":
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.update_model_version(name, version.version, description=_description(decision, model))
    client.set_model_version_tag(name, version.version, "decision", decision.status)
    return decision


def _against(
    before: outcomes.Model, model: outcomes.Model, metric: str, number: int
) -> tuple[Decision, better.Answer | None]:
    try:
        answer = better.compare(before, model, metric)
    except InputError as error:  # other test items, or a champion that was never measured by this figure
        reason = (
            f"it can't be compared with the champion. {error} Corpora of their own have a registered model of their "
            "own: registry.name in the parameters."
        )
        return Decision("beside", reason, number), None
    decisive = answer.compared[metric]
    status: Status = "champion" if answer.better else "challenger"
    return Decision(status, f"against {before.name}, by {metric}: {decisive}", number, decisive), answer


def _description(decision: Decision, model: outcomes.Model) -> str:
    return f"{decision}\n\nFrom {model.name}. The tags have the numbers; the run has pictures and curves."


def command(options: argparse.Namespace) -> None:
    """Register models/pretrained and say what was decided."""
    print(f"register: {publish(parameters.load(options.params))}")
