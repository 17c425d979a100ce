"""How soon the default learns: steps and seconds to a sorting accuracy on the validation split, over several seeds.

    python benchmarks/speedrun.py [--goal 0.9] [--seeds 0 1 2] [--every 50] [--probe] [KEY=VALUE ...]

Trains on data/segments of the current folder (run `make repro` first) with the parameters of params.yaml, and with
others in their place, as `pretrain.batch=128` or `pretrain.steps=1800`. Seconds are those of the steps themselves,
data and updates among them; validating and checkpoints are not counted. `steps` and `seconds` are medians over the
seeds, null unless most of them reach the goal; `sort_accuracy` is the median at the end of the schedule. With
`--probe` the linear probe on the test clips is measured, too: what sorts sooner and is worth less is no progress. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.machine import processor
from flows import parameters
from scriptsight import pretrain, probe
from scriptsight.params import reading
from scriptsight.reporting import SilentReporter
from scriptsight.training.loop import LOG_EVERY


class Stopwatch(SilentReporter):
    """Seconds of the steps so far, and when the accuracy was first reached."""

    def __init__(self, goal: float, batch: int) -> None:
        self.goal, self.batch, self.seconds = goal, batch, 0.0
        self.reached: tuple[int, float] | None = None  # steps, seconds

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """The speed of training says what the steps took, and figures of validation what they came to."""
        if step and (speed := values.get("speed/samples_per_second")):
            self.seconds = step * self.batch / speed
        if step and not self.reached and values.get("val/sort_accuracy", -inf) >= self.goal:
            self.reached = step, self.seconds


def one_run(settings: parameters.Params, seed: int, goal: float, probed: bool) -> dict[str, Any]:
    """Train a seed -> steps and seconds to the goal (None: not reached), and what it was worth at the end."""
    watch = Stopwatch(goal, settings.pretrain.batch)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trained = pretrain.run(
            settings.pretrain.model_copy(update={"seed": seed}),
            bundle=folder / "model",
            best=folder / "best",
            metrics=folder / "pretrain.json",
            plots=folder / "plots",
            checkpoints=folder / "checkpoints",
            reporter=watch,
        )
        found = {
            "steps": None,
            "seconds": None,
            "sort_accuracy": trained.val["sort_accuracy"],
            "all_s": watch.seconds,
        }
        if watch.reached:
            found |= {"steps": watch.reached[0], "seconds": watch.reached[1]}
        if probed:
            alone = settings.probe.model_copy(update={"protocols": ("linear",)})
            metrics = folder / "probe.json"
            probe.run(alone, bundle=folder / "model", metrics=metrics, plots=folder / "plots", store=None)
            found["linear_top1"] = json.loads(metrics.read_text(encoding="utf-8"))["linear_top1"]
    return found


def _read(value: str) -> Any:
    """A number, a list, null, ... as JSON has them; else the word itself."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def main() -> None:
    """Train every seed, print a row each, and the medians as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--goal", type=float, default=0.9, help="accuracy (default: %(default)g)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(default: 0 1 2)")
    parser.add_argument(
        "--every", type=int, default=50, metavar="N", help="steps between two looks (default: %(default)s)"
    )
    parser.add_argument("--probe", action="store_true", help="measure the linear probe as well")
    parser.add_argument("others", nargs="*", metavar="KEY=VALUE", help="parameters, as pretrain.batch=128")
    options = parser.parse_args()
    if options.every % LOG_EVERY:
        parser.error(f"--every: seconds are known every {LOG_EVERY} steps, so {options.every} must be a multiple")
    values = reading.read_yaml("params.yaml")
    for other in (f"pretrain.validate_every={options.every}", *options.others):
        key, _, value = other.partition("=")
        laid = _read(value)
        for name in reversed(key.split(".")):
            laid = {name: laid}
        values = reading.merge(values, laid)
    settings = parameters.build(values)
    runs = []
    for seed in options.seeds:
        runs.append(one_run(settings, seed, options.goal, options.probe))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    figures: dict[str, Any] = {}
    for name in runs[0]:
        known = [run[name] for run in runs if run[name] is not None]
        figures[name] = round(statistics.median(known), 4) if 2 * len(known) > len(runs) else None
    asked = {"goal": options.goal, "seeds": len(runs), "others": options.others}
    print(json.dumps({**figures, **asked, "processor": processor()}))


if __name__ == "__main__":
    main()
