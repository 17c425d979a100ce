"""What a trial does: train, and measure on the validation splits. It works in the folder of the study."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import parameters
from flows.experiments import runner
from flows.names import flat
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.probe import ProbeParams
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import Reporter

MODEL, BEST, CHECKPOINTS = "model", "best", "checkpoints"
OUTCOMES = "outcomes"  # which items were hits: two models, or two splits, are compared by them


def settings_of(params: parameters.Params, since: str) -> dict[str, Any]:
    """What a trial's model and figures depend on: not how many trials there are, or how long they may take.

    Args:
        since: when the trial was first begun, which distinguishes it from that of an earlier study of the same name.
    """
    return {"since": since, **params.model_dump(mode="json", include={"pretrain", "probe", "retrieve"})}


def work(settings: runner.Settings, folder: Path, reporter: Reporter) -> dict[str, float]:
    """Train and measure -> figures by name: pretrain/, probe/, retrieve/, speed/ and the seconds of both.

    `seconds/steps` is what the steps cost at the speed that was measured, so that a trial that was interrupted, and
    of which `seconds/train` is the last part, is not taken for a cheap one.
    """
    from scriptsight import pretrain

    model, checkpoints, metrics = folder / MODEL, folder / CHECKPOINTS, folder / "pretrain.json"
    started = time.perf_counter()
    if not metrics.is_file():  # a trial that was lost while it was measured need not learn again
        pretrain.run(
            PretrainParams.model_validate(settings["pretrain"]),
            bundle=model,
            best=folder / BEST,
            metrics=metrics,
            plots=folder / "plots" / "pretrain",
            checkpoints=checkpoints,
            reporter=reporter,
        )
    trained = time.perf_counter()
    speed = runner.read(metrics.with_name("speed.json"))
    learned = {"pretrain": runner.read(metrics)["val"], "speed": speed}
    figures = learned | _measured(model, settings, folder, reporter)
    figures["seconds"] = {"train": trained - started, "measure": time.perf_counter() - trained}
    if "samples_per_second" in speed:
        params = settings["pretrain"]
        figures["seconds"]["steps"] = params["steps"] * params["batch"] / speed["samples_per_second"]
    return _numbers(figures)


def measure(settings: runner.Settings, folder: Path, reporter: Reporter) -> dict[str, float]:
    """Measure the model that is at `settings["bundle"]` -> figures by name: probe/ and retrieve/."""
    return _numbers(_measured(Path(settings["bundle"]), settings, folder, reporter))


def _measured(model: Path, settings: runner.Settings, folder: Path, reporter: Reporter) -> dict[str, Any]:
    from scriptsight import probe, retrieve

    return {
        "probe": probe.measure(
            model,
            ProbeParams.model_validate(settings["probe"]),
            checkpoints=folder / CHECKPOINTS,
            reporter=reporter,
            with_controls=False,
            outcomes=folder / OUTCOMES / "probe",
        ),
        "retrieve": retrieve.measure(
            model,
            RetrieveParams.model_validate(settings["retrieve"]),
            reporter=reporter,
            outcomes=folder / OUTCOMES / "retrieve",
        ),
    }


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in flat(figures, "/").items() if isinstance(value, int | float)}


def tidy(folder: Path, names: Sequence[str] = (MODEL, BEST, CHECKPOINTS)) -> None:
    """Remove the weights of a trial; its figures, pictures and log stay."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
