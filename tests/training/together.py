"""What the processes of a distributed test run; started by torchrun or alone, results in a folder.

python -m tests.training.together FOLDER NAME STRATEGY [CHANGE=VALUE ...]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from flows import parameters
from scriptsight import pretrain
from scriptsight.params import reading
from scriptsight.params.pretrain import PretrainParams
from scriptsight.reporting import ConsoleReporter

PROJECT = Path(__file__).parents[2]
WORLD = {"kind": "world", "content": "narrated", "videos": {"train": 1, "val": 1, "test": 1}}
SMALL: dict[str, Any] = {
    "ingest": {"collections": {"narrated": WORLD, "pictures": WORLD}},
    "probe": {"tests": {"narrated": {"collections": ["narrated"]}}},
    "pretrain": {
        "collections": {"narrated": {}},
        "frames": 4,
        "image_size": 16,
        "k": 3,
        "video": {"width": 32, "depth": 2, "heads": 2, "patch": 8, "tubelet": 2},
        "text": {"kind": "transformer", "width": 32, "depth": 1, "heads": 2, "vocabulary": 200},
        "tvts": {"head_depth": 1, "head_heads": 2, "align_weight": 1.0},
        "steps": 12,
        "batch": 8,
        # Adam divides a gradient that is nearly zero by itself: rounding would show as steps of full length.
        "optimizer": {
            "kind": "sgd",
            "lr": 0.05,
            "text_lr": 0.02,
            "weight_decay": 1e-4,
            "momentum": 0.9,
            "clip_norm": 100.0,
        },
        "schedule": {"warmup_steps": 2},
        "validate_every": 6,
        "validation_samples": 12,
        "checkpoint_every": 4,
        "engine": {"precision": "fp32", "threads": 1},
    },
}


def settings(**changes: Any) -> PretrainParams:
    """The parameters of a tiny training."""
    values = reading.merge(reading.read_yaml(PROJECT / "params.yaml"), SMALL)
    return parameters.build(reading.merge(values, {"pretrain": changes})).pretrain


class Mortal(ConsoleReporter):
    """Dies by SIGKILL when the figures of step KILL_AT of the environment come."""

    def metrics(self, values: Any, step: int | None = None) -> None:
        if str(step) == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    folder: Path, name: str, choice: PretrainParams, reporter: ConsoleReporter | None = None
) -> pretrain.Result:
    """Train on the segments in `folder`; everything goes to `folder/NAME`."""
    return pretrain.run(
        choice,
        segments=folder / "segments",
        bundle=folder / name / "last",
        best=folder / name / "best",
        metrics=folder / name / "pretrain.json",
        plots=folder / name / "plots",
        checkpoints=folder / name / "checkpoints",
        reporter=reporter or Mortal(),
    )


if __name__ == "__main__":
    where, called, strategy, *rest = sys.argv[1:]
    other: dict[str, Any] = {"engine": {"strategy": strategy}}
    for item in rest:
        key, value = item.split("=")
        if key == "accumulate":
            other["engine"][key] = int(value)
        else:
            other[key] = float(value) if "." in value else int(value)
    train(Path(where), called, settings(**other))
