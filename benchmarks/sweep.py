"""What a sweep costs: a study's time, what of a trial is not training or measuring, what a second worker saves.

    python benchmarks/sweep.py [--trials 12] [--steps N] [--workers 2 1]

Runs the study of params.yaml on data/segments of the current folder (run `make repro` first), once for each number
of workers, each time as a new study in a scratch folder with the same draws. Nothing else should run meanwhile:
half of what is said is a ratio of times. `overhead` is a trial's time without training and measuring, as a share of
it; `speedup` compares trials an hour, server and report included. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.machine import processor
from flows import parameters
from scriptsight.params import reading


def measure(workers: int, trials: int, steps: int | None, folder: Path) -> dict[str, Any]:
    """Run a study in an empty folder."""
    values = reading.read_yaml("params.yaml")
    sweep: dict[str, Any] = {"n_trials": trials, "workers": workers, "storage": "sqlite:///mlruns/optuna.db"}
    if steps:
        sweep["overrides"] = {"pretrain": {"steps": steps, "validate_every": steps}}
    text = StringIO()
    YAML().dump(reading.merge(values, {"sweep": sweep}), text)
    (folder / "params.yaml").write_text(text.getvalue(), encoding="utf-8")
    (folder / "data").mkdir()
    (folder / "data" / "segments").symlink_to(Path("data/segments").resolve(), target_is_directory=True)
    elsewhere = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "SCRIPTSIGHT_SWEEP_STORAGE")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    started = time.perf_counter()
    command = [sys.executable, "-m", "scriptsight", "sweep"]
    subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603
    seconds = time.perf_counter() - started
    study = parameters.load(folder / "params.yaml").sweep.study
    with (folder / "plots" / "sweep" / study / "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "complete"]
    if len(rows) != trials:
        sys.exit(f"{len(rows)} of {trials} trials are complete: see above")
    parts = {
        name: [float(row[name]) for row in rows]
        for name in ("seconds", "seconds/train", "seconds/measure", "speed/samples_per_second")
    }
    rest = [
        1 - (train + look) / whole
        for whole, train, look in zip(parts["seconds"], parts["seconds/train"], parts["seconds/measure"], strict=True)
    ]
    return {
        "study_s": round(seconds, 1),
        "trial_s": round(statistics.mean(parts["seconds"]), 1),
        "train_s": round(statistics.mean(parts["seconds/train"]), 1),
        "measure_s": round(statistics.mean(parts["seconds/measure"]), 1),
        "overhead": round(statistics.mean(rest), 4),
        "samples_per_second": round(statistics.mean(parts["speed/samples_per_second"]), 1),
    }


def main() -> None:
    """Measure each number of workers, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--steps", type=int, help="of a trial; by default those of params.yaml")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    options = parser.parse_args()
    found: dict[int, dict[str, Any]] = {}
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as folder:
            found[workers] = measure(workers, options.trials, options.steps, Path(folder))
        print(f"{workers} worker(s): {json.dumps(found[workers])}", flush=True)
    figures: dict[str, Any] = {"trials": options.trials, "workers": found}
    if {1, 2} <= found.keys():
        figures["speedup"] = round(found[1]["study_s"] / found[2]["study_s"], 2)
    print(json.dumps({**figures, "processor": processor()}))


if __name__ == "__main__":
    main()
