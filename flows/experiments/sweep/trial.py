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


def settings_of(params: parameters.Params, since: str) -> dict[str, Any]:
    """What a trial's model and figures depend on: not how many trials there are, or how long they may take.

    Args:
        since: when the trial was first begun, which distinguishes it from that of an earlier study of the same name.
    """
    return {"since": since, **params.model_dump(mode="json", include={"pretrain", "probe", "retrieve"})}


def work(settings: runner.Settings, folder: Path, reporter: Reporter) -> dict[str, float]:
    """Train and measure -> figures by name: pretrain/, probe/, retrieve/, speed/ and the seconds of both."""
    from scriptsight import pretrain, probe, retrieve

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
    measured = {
        "pretrain": runner.read(metrics)["val"],
        "speed": runner.read(metrics.with_name("speed.json")),
        "probe": probe.measure(
            model,
            ProbeParams.model_validate(settings["probe"]),
            checkpoints=checkpoints,
            reporter=reporter,
            with_controls=False,
        ),
        "retrieve": retrieve.measure(model, RetrieveParams.model_validate(settings["retrieve"]), reporter=reporter),
        "seconds": {"train": trained - started, "measure": time.perf_counter() - trained},
    }
    return {name: float(value) for name, value in flat(measured, "/").items() if isinstance(value, int | float)}


def tidy(folder: Path, names: Sequence[str] = (MODEL, BEST, CHECKPOINTS)) -> None:
    """Remove the weights of a trial; its figures, pictures and log stay."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
