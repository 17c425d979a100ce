"""In small: `make chaos`, which `.ci/run` calls. `python -m tests.chaos --kills 200` is the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.chaos.pipeline import PROJECT

pytestmark = pytest.mark.chaos


def test_a_pipeline_comes_back_from_whatever_is_killed() -> None:
    """From the last stage on, so that it takes some four minutes on two cores."""
    options = ["--kills", "3", "--full", "0", "--spoil", "0", "--seed", "0", "--stages", "retrieve"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tests.chaos", *options], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout.splitlines()[-1])
    assert (totals["kills"], totals["equal"]) == (3, 3), done.stdout + done.stderr
    faults = ("left_running", "stale_locks", "hung", "runs_for_ever", "failed")
    assert not any(totals[fault] for fault in faults), done.stdout + done.stderr


def test_a_scheduled_pipeline_comes_back_from_power_cuts() -> None:
    """Server, worker, run and stages are killed at once, and the next run ends well; some four minutes as well."""
    options = ["--cuts", "2", "--seed", "0", "--stages", "retrieve"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tests.chaos.power", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    totals = json.loads(done.stdout.splitlines()[-1])
    assert (totals["cuts"], totals["equal"], totals["faults"]) == (2, 2, 0), done.stdout
