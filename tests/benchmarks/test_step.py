"""The benchmark of a training step still runs, and both formulations still compute the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_step_benchmark_compares_equal_computations() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/step.py", "--tiny"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    timed = {"way", "step_s", "vs_best", "mfu", "matrix_gflops"}
    whole = {"speedup", "default", "max_abs_diff", "data_wait_share", "peak_mb", "reference_peak_mb", "processor"}
    assert set(figures) == timed | whole and set(figures["default"]) == timed
    assert figures["max_abs_diff"] < 1e-5
