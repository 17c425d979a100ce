"""After the segment stage: do the new videos differ from what the champion learned from? An event where they do.

It is asked in a process of its own, and whatever goes wrong there is a line and stops nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from prefect import get_run_logger
from prefect.events import emit_event

from flows.orchestration.automations import DRIFT
from flows.running.repository import StageOutcome
from flows.tracking import store

SECONDS = 900  # more than a bounded sample takes on any machine


def look(outcomes: Sequence[StageOutcome]) -> str:
    """Within a flow run, after a stage: compare, if it was segment and made new segments -> the answer in a line;
    nothing where there is no champion to ask about."""
    last = outcomes[-1] if outcomes else None
    if last is None or last.name != "segment" or last.how not in ("ran", "restored") or not _any_store():
        return ""
    line, verdict = _asked()
    get_run_logger().info("New videos: %s", line or "there is no champion to compare them with")
    if verdict == "differs":
        resource = {
            "prefect.resource.id": f"scriptsight.data.{Path.cwd().name}",
            "prefect.resource.name": "new videos",
        }
        emit_event(DRIFT, resource, payload={"why": line})
    return line


def _any_store() -> bool:
    """Whether there is an MLflow to ask, which is not made for this."""
    return "MLFLOW_TRACKING_URI" in os.environ or store.home().is_file()


def _asked() -> tuple[str, str]:
    """The answer in a line, and its verdict; or why there is none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flows.experiments.drift"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == 0:
            found = json.loads(done.stdout.splitlines()[-1])
            return (found["line"], found["verdict"]) if found else ("", "")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else f"its process ended with status {done.returncode}"
    except (OSError, ValueError, LookupError, subprocess.TimeoutExpired) as error:
        why = f"{type(error).__name__}: {error}"
    return f"the new videos were not compared with what the champion learned from: {why}", ""
