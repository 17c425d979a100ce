"""What DVC, Prefect and MLflow cost: a full run of the pipeline, less the seconds of the stage functions.

    python benchmarks/orchestration.py [--project]

The run starts from an empty PREFECT_HOME, in a new workspace with a tiny world, or with --project in the
project itself (where everything must be stale: a fresh clone). The last line is one JSON object;
`imports_s`, a part of `orchestration_s`, is what the stages' own libraries (torch) take to import.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import processor

TINY = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 4, val: 2, test: 2}, scenes: 8, seed: 1}
    actions: {kind: world, content: loop, videos: {train: 120, val: 0, test: 60}, seed: 2}
pretrain:
  steps: 40
  batch: 16
  schedule: {warmup_steps: 5}
  validate_every: 20
  validation_samples: 32
  checkpoint_every: 20
"""


def main() -> None:
    """Run, subtract, print."""
    parser = argparse.ArgumentParser(description="Measure what orchestration costs in a full run.")
    parser.add_argument("--project", action="store_true", help="run the project itself, not a tiny workspace")
    project = parser.parse_args().project
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 4200)) == 0:
            sys.exit("something listens on port 4200 (`scriptsight ui`?), and the run would use it: stop it first")
    command = [sys.executable, "-m", "scriptsight", "run"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "workspace"
        folder.mkdir()
        if project:
            folder = Path.cwd()
        else:
            (folder / "overrides.yaml").write_text(TINY, encoding="utf-8")
            command += ["--workspace", str(folder)]
        elsewhere = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")
        environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
        environment["PREFECT_HOME"] = str(Path(scratch) / "prefect")
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, check=False)  # noqa: S603
        if done.returncode:
            sys.exit(f"the pipeline failed with status {done.returncode}")
        total = time.perf_counter() - started
        stages = json.loads((folder / ".locks" / "pipeline.json").read_text(encoding="utf-8"))["stages"]
    left_out = [name for name, stage in stages.items() if stage["how"] != "ran"]
    if left_out or not stages:
        sys.exit(f"not a full run: {left_out or 'every stage'} did not run")
    seconds = {name: round(stage["run_s"], 2) for name, stage in stages.items()}
    figures = {
        "orchestration_s": round(total - sum(seconds.values()), 2),
        "total_s": round(total, 2),
        "stages_s": seconds,
        "imports_s": round(sum(stage["import_s"] for stage in stages.values()), 2),
    }
    print(json.dumps({**figures, "processor": processor()}))


if __name__ == "__main__":
    main()
