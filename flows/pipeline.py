"""`scriptsight run`: bring all stages up to date, under one Prefect server, and print the headline figures.

DVC decides what is stale. When nothing is, this says so and ends before Prefect is imported. `python -m
flows.pipeline` is the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from flows import PROJECT, parameters
from flows.orchestration import runs, server
from flows.running import estimate, events, headlines, locks, plan, workspace
from scriptsight import cli, files
from scriptsight.errors import InputError
from scriptsight.params import reading

if TYPE_CHECKING:
    from flows.orchestration.pipeline import PipelineRun
    from flows.running.repository import StageOutcome

REPORT = locks.LOCKS / "pipeline.json"  # seconds of the last run's stages, for benchmarks/orchestration.py
LEAST_SHARE = 0.1  # of its steps, for a training to tell how long one takes
LONGEST_WHY = 300  # characters


def command(options: argparse.Namespace) -> None:
    """Run the pipeline of the current folder, or of the workspace that is named."""
    started, start = time.perf_counter(), Path.cwd()
    folder = _folder(options)
    if folder.resolve() != PROJECT and (folder != Path() or Path("overrides.yaml").is_file()):
        workspace.prepare(folder)
    os.chdir(folder)
    shell = headlines.Shell(start, "" if Path.cwd() == start else str(folder))
    settings = parameters.load()
    workspace.require()
    from flows.running import repository
    from flows.tracking import unfinished

    with locks.lock("pipeline"):
        unfinished.close_all()
        try:
            run(started, settings, shell)
        finally:
            unfinished.close_all()
            runs.close_left_anywhere()  # where nothing was stale, no run has come after them
    for line in headlines.lines(repository.figures(), settings.retrieve.queries, shell):
        print(line)
    for line in workspace.uncommitted():
        print(line)


def _folder(options: argparse.Namespace) -> Path:
    """The folder that is meant.

    Raises:
        InputError: two are named.
    """
    named = {folder for folder in (options.folder, options.workspace) if folder is not None}
    if len(named) > 1:
        raise InputError(f"Two workspaces are named, {' and '.join(sorted(map(str, named)))}: name one.")
    return named.pop() if named else Path()


def run(started: float, settings: parameters.Params, shell: headlines.Shell) -> None:
    """Run what is stale in the current folder; exit with status 1 if a stage fails."""
    from flows.running.repository import STAGES, figures, restorable, stale

    reasons = stale()
    if not reasons:
        print(f"pipeline: everything is up to date; nothing to do (skipped: {', '.join(STAGES)})")
        _report([])
        return
    before = figures()
    planned = plan.plan(
        reading.read_yaml("dvc.yaml"), reasons, restorable, lambda names: estimate.expect(names, settings, before)
    )
    print("\n".join(plan.lines(planned)), flush=True)
    expected = plan.expected(planned)
    os.environ[estimate.EXPECTED] = json.dumps(expected)
    outcomes: list[StageOutcome] = []
    try:
        try:
            ran = _run_flow(reasons, before, expected, outcomes)
        finally:
            _remember(outcomes, settings)
    except (KeyboardInterrupt, SystemExit):
        print(_interrupted(outcomes, reasons, shell), file=sys.stderr)
        raise
    _report(outcomes)
    for outcome in outcomes:
        seconds = f"{outcome.run_s:8.1f} s" if outcome.how == "ran" else " " * 10
        why = "see above" if outcome.how == "failed" else outcome.why  # the stage has printed its failure
        print(f"pipeline: {outcome.name:9} {outcome.how:8} {seconds}  {why}")
    if outcomes[-1].how == "failed":
        sys.stdout.flush()
        sys.exit(_failed(outcomes, shell))
    if ran.drift:
        print(f"pipeline: {ran.drift}")
    if ran.decision:
        print(f"pipeline: {ran.decision}")
    print(f"pipeline: up to date after {time.perf_counter() - started:.0f} s")


def _run_flow(
    reasons: dict[str, str],
    before: dict[str, float],
    expected: dict[str, float | None],
    outcomes: list[StageOutcome],
) -> PipelineRun:
    """Run the Prefect flow on the configured server, on that of `scriptsight ui`, or on one of our own; `outcomes`
    gets how each stage went."""
    from flows.running.repository import STAGES, reproduce

    began = time.time_ns()
    early: dict[str, Future[StageOutcome]] = {}
    try:
        url = server.find()
        if url is None:
            url, process = server.own()
            first = next(name for name in STAGES if name in reasons)
            early[first] = ThreadPoolExecutor(1).submit(reproduce, first, reasons[first])
        os.environ["PREFECT_API_URL"] = url
        from flows.orchestration.pipeline import PipelineRun, by_hand

        if early:
            server.wait(url, process)
        ran = PipelineRun(
            early=early, began=began, reasons=reasons, before=before, expected=expected, outcomes=outcomes
        )
        state = by_hand(ran)
        if not ran.outcomes or ran.outcomes[-1].how != "failed":
            state.result()  # an error of the pipeline itself is raised with its traceback
        return ran
    finally:
        _end_early(early.values())


def _end_early(early: Iterable[Future[StageOutcome]]) -> None:
    """End a stage that began early, should Prefect's server not start or ctrl-C come; DVC may be starting it."""
    from flows.running.repository import end

    end()
    for future in early:
        while not future.done():
            wait([future], timeout=0.2)
            end()


def _remember(outcomes: Sequence[StageOutcome], settings: parameters.Params) -> None:
    """Have later runs know how long the stages took that ran."""
    from flows.running.repository import figures

    took = {outcome.name: outcome.import_s + outcome.run_s for outcome in outcomes if outcome.how == "ran"}
    share = _trained_share(settings.pretrain.steps) if "pretrain" in took else 1.0
    if share < LEAST_SHARE:  # what a training takes besides its steps would count for all of it
        del took["pretrain"]
    estimate.remember(took, settings, figures(), share)


def _trained_share(steps: int) -> float:
    """The share of its steps that the last training did since it began or went on from a checkpoint."""
    told = next(events.following(events.path_of("pretrain")))
    return max((event["total"] or 0 for event in told if event.get("progress") == "pretrain"), default=0) / steps


def _failed(outcomes: Sequence[StageOutcome], shell: headlines.Shell) -> str:
    """Which stage failed, why, where to read on, and how to go on."""
    from flows.running.repository import STAGES

    failed = outcomes[-1]
    why = textwrap.shorten(failed.why.partition("\n")[0], LONGEST_WHY, placeholder=" ...")
    lines = [f"pipeline: stage {failed.name} failed: {why}"]
    lines += [f"  Not run:  {', '.join(STAGES[len(outcomes) :]) or 'none'}."]
    lines += _ways_on(failed.name, shell, "once that is mended")
    return "\n".join(lines)


def _interrupted(outcomes: Sequence[StageOutcome], reasons: Mapping[str, str], shell: headlines.Shell) -> str:
    """Which stage was at work, and how to go on."""
    from flows.running.repository import STAGES

    ended = [outcome.name for outcome in outcomes if outcome.how != "cancelled"]
    name = next(name for name in STAGES if name not in ended and (ended or name in reasons))
    lines = [f"pipeline: interrupted in {name}; what is finished stays, and a training goes on from its checkpoint"]
    return "\n".join([*lines, *_ways_on(name, shell, "whenever you like")])


def _ways_on(stage: str, shell: headlines.Shell, when: str) -> list[str]:
    log = events.path_of(stage)
    said = [f"  It said:  {shell.path(log)}"] if log.is_file() else []
    return [*said, f"  Go on:    {shell.command('run')}   ({when})"]


def _report(outcomes: list[StageOutcome]) -> None:
    stages = {o.name: {"how": o.how, "import_s": o.import_s, "run_s": o.run_s} for o in outcomes}
    files.write_json(REPORT, {"stages": stages})


if __name__ == "__main__":
    sys.exit(cli.main(["run", *sys.argv[1:]]))
