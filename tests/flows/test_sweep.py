"""Studies of tiny trials: real processes, a real server, a real database."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import tracking
from flows.sweeping import apply
from flows.sweeping import study as studies
from scriptsight import params
from scriptsight.errors import InputError
from tests.flows.conftest import NOWHERE, SURROUNDINGS, Command
from tests.small import segment, told, write_segments

OVERRIDES = """
ingest:
  collections:
    narrated: {kind: folder, path: videos}
    actions: {kind: folder, path: clips}
pretrain:
  collections: {narrated: {}}
  k: 3
  frames: 4
  size: 16
  embed_dim: 8
  video: {width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 16, vocabulary: 100}
  steps: 20
  batch: 8
  schedule: {warmup_steps: 2}
  validate_every: 10
  validation_samples: 16
  checkpoint_every: 5
probe: {knn_k: 2}
sweep:
  study: small
  overrides: {pretrain: {engine: {threads: 1}}}
  n_trials: 4
  trial_seconds: 100
  heartbeat_seconds: 1
"""


@pytest.fixture
def small(workspace: Path) -> Path:
    """A workspace with segments of two narrated splits, and of two of labelled clips."""
    folder = workspace / "data" / "segments"
    told(folder, "train", 24, "narrated")
    told(folder, "val", 8, "narrated")
    for split, count in (("train", 12), ("val", 6)):
        clips = [
            segment(f"{split}{i}", colour=(40 + 150 * (i % 2),) * 3, label=("dark", "light")[i % 2], seed=i)
            for i in range(count)
        ]
        write_segments(folder, "actions", split, clips)
    write(workspace)
    return workspace


def write(folder: Path, more: str = "") -> params.Params:
    """params.yaml of the workspace: the project's, with what makes it small, and with `more` laid over that."""
    from ruamel.yaml import YAML

    path = folder / "params.yaml"
    yaml = YAML()
    for text in (OVERRIDES, more):
        path.with_suffix(".more").write_text(text or "{}")
        merged = params.merge(params.read_yaml(path), params.read_yaml(path.with_suffix(".more")))
        with path.open("w") as file:
            yaml.dump(merged, file)
    return params.load(path)


def trials(study: str = "small") -> list[dict[str, str]]:
    with Path("plots/sweep", study, "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_of_two_objectives(command: Command, small: Path) -> None:
    done = command("flows.sweep")
    assert done.returncode == 0, done.stderr + done.stdout
    rows = trials()
    assert [row["state"] for row in rows] == ["complete"] * 4
