"""`scriptsight run`: bring all stages up to date, under one Prefect server, and print the headline figures.

DVC decides what is stale. When nothing is, this says so and ends before Prefect is imported. `python -m
flows.pipeline` is the same command.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from flows import parameters
from flows.orchestration import runs, server
from flows.running import headlines, locks, workspace
from scriptsight import cli, files

if TYPE_CHECKING:
    from flows.orchestration.pipeline import PipelineRun
    from flows.running.repository import StageOutcome

REPORT = locks.LOCKS / "pipeline.json"  # seconds of the last run's stages, for benchmarks/orchestration.py


def command(options: argparse.Namespace) -> None:
    """Run the pipeline of the current folder, or of the workspace that is named."""
    started = time.perf_counter()
    folder: Path | None = options.workspace
    if folder is not None:
        workspace.prepare(folder)
        os.chdir(folder)
    settings = parameters.load()
    workspace.require()
    from flows.running import repository
    from flows.tracking import unfinished

    with locks.lock("pipeline"):
        unfinished.close_all()
        try:
            run(started)
        finally:
            unfinished.close_all()
            runs.close_left_anywhere()  # where nothing was stale, no run has come after them
    for line in headlines.lines(repository.figures(), settings.retrieve.queries):
        print(line)
    for line in workspace.uncommitted():
        print(line)


def run(started: float) -> None:
    """Run what is stale in the current folder; exit with status 1 if a stage fails."""
    from flows.running.repository import STAGES, end, stale

    reasons = stale()
    if not reasons:
        print(f"pipeline: everything is up to date; nothing to do (skipped: {', '.join(STAGES)})")
        _report([])
        return
    try:
        ran = _run_flow(reasons)
    finally:
        end()  # one that began early, should Prefect's server not start
    outcomes = ran.outcomes
    _report(outcomes)
    for outcome in outcomes:
        seconds = f"{outcome.run_s:8.1f} s" if outcome.how == "ran" else " " * 10
        why = "see above" if outcome.how == "failed" else outcome.why  # the stage has printed its failure
        print(f"pipeline: {outcome.name:9} {outcome.how:8} {seconds}  {why}")
    if outcomes[-1].how == "failed":
        left = ", ".join(STAGES[len(outcomes) :])
        sys.stdout.flush()
        sys.exit(f"pipeline: stage {outcomes[-1].name} failed: see above. Not run: {left or 'none'}.")
    if ran.drift:
        print(f"pipeline: {ran.drift}")
    if ran.decision:
        print(f"pipeline: {ran.decision}")
    print(f"pipeline: up to date after {time.perf_counter() - started:.0f} s")


def _run_flow(reasons: dict[str, str]) -> PipelineRun:
    """Run the Prefect flow on the configured server, on that of `scriptsight ui`, or on one of our own."""
    from flows.running.repository import STAGES, figures, reproduce

    before, began = figures(), time.time_ns()
    early: dict[str, Future[StageOutcome]] = {}
    url = server.find()
    if url is None:
        url, process = server.own()
        first = next(name for name in STAGES if name in reasons)
        early[first] = ThreadPoolExecutor(1).submit(reproduce, first, reasons[first])
    os.environ["PREFECT_API_URL"] = url
    from flows.orchestration.pipeline import PipelineRun, by_hand

    if early:
        server.wait(url, process)
    ran = PipelineRun(early=early, began=began, reasons=reasons, before=before)
    state = by_hand(ran)
    if not ran.outcomes or ran.outcomes[-1].how != "failed":
        state.result()  # an error of the pipeline itself is raised with its traceback
    return ran


def _report(outcomes: list[StageOutcome]) -> None:
    stages = {o.name: {"how": o.how, "import_s": o.import_s, "run_s": o.run_s} for o in outcomes}
    files.write_json(REPORT, {"stages": stages})


if __name__ == "__main__":
    sys.exit(cli.main(["run", *sys.argv[1:]]))
