"""The pipeline as a Prefect flow: `dvc repro` stage by stage.

The flow runs of the stages live in this process, below the pipeline's: a stage's own process then needs no
Prefect, which saves four seconds a stage, and one that is killed is seen to have failed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.orchestration import artifacts, live, newcomers, runs
from flows.orchestration.automations import WORSE
from flows.running import repository
from flows.running.repository import STAGES, StageOutcome
from scriptsight.errors import InputError

RETRY_SECONDS = [30.0, 300.0]  # before a stage is tried again: what may pass has some minutes to do so
MEASURES = ("probe", "retrieve")  # stages after which a model can be judged
FORCED = "asked for"  # why a stage that is up to date runs
EARS = 10  # seconds for a stage to hear of ctrl-C by itself


@dataclass
class PipelineRun:
    """What a run is to do, and how it went so far.

    Args:
        names: the stages to look at.
        early: a stage that already runs, because it need not wait for Prefect's server.
        force: run them although DVC sees no change.
        retries: how often a stage whose failure may pass is tried again; a training goes on where it stopped.
        began: when; a stage that runs early began after that (ns since 1970).
        reasons: those of the stages that are stale; None if nobody has looked.
        before: the figures when the run began.
        expected: the seconds that stages will take, in their order, None where nobody knows; empty if nobody
            has looked.
        outcomes: get how each stage went, the last try of each.
        decision: gets what the registry decided about a model that was measured in this run.
        drift: gets whether new videos differ from what the champion learned from.
    """

    names: Sequence[str] = STAGES
    early: dict[str, Future[StageOutcome]] = field(default_factory=dict)
    force: bool = False
    retries: int = 0
    began: int = field(default_factory=time.time_ns)
    reasons: dict[str, str] | None = None
    before: dict[str, float] = field(default_factory=repository.figures)
    expected: dict[str, float | None] = field(default_factory=dict)
    outcomes: list[StageOutcome] = field(default_factory=list)
    decision: str = ""
    drift: str = ""


def by_hand(run: PipelineRun) -> Any:
    """A flow run of the pipeline without parameters -> its state."""

    @flow(name="pipeline", persist_result=False)
    def pipeline() -> Any:
        live.announce("pipeline")
        return bring_up_to_date(run)

    with runs.recorded():
        return pipeline(return_state=True)


def bring_up_to_date(run: PipelineRun) -> Any:
    """Within a flow run: the stages in order; those that are up to date are skipped, and the first failure ends it.
    Leaves artifacts on the run's page, however it ends -> the run's state."""
    outcomes = run.outcomes
    attempt = _stage.with_options(
        retries=run.retries,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=lambda *_: bool(outcomes) and outcomes[-1].may_pass,  # by its own word, or SIGKILL
    )
    with live.Page([str(flow_run.id)]) as shown:
        page = artifacts.RunPage(shown, run.names, _reasons(run), run.before, outcomes, run.expected)
        page.update()
        try:
            for name in run.names:
                with runs.untagged():
                    state: Any = attempt(name, run, page, return_state=True)
                if not state.is_completed():
                    if not outcomes or outcomes[-1].how != "failed":
                        state.result()  # not the stage's failure but an error here: raise it
                    return Failed(message=f"{name} failed: {outcomes[-1].why}")
                run.drift = newcomers.look(outcomes) or run.drift
            run.decision = _decide(outcomes)
        finally:
            page.end(run.decision, run.drift)
    return Completed(message=", ".join(f"{outcome.name} {outcome.how}" for outcome in outcomes))


def _reasons(run: PipelineRun) -> dict[str, str]:
    """Why stages will run, as far as that is known before the first does."""
    if run.force:
        return dict.fromkeys(run.names, FORCED)
    found = repository.stale() if run.reasons is None else run.reasons
    return {name: found[name] for name in run.names if name in found}


def _decide(outcomes: Sequence[StageOutcome]) -> str:
    """Enter a model that was measured now into the registry; one that is no better than the last is an event in
    Prefect -> what was decided, in words."""
    if not any(outcome.name in MEASURES and outcome.how in ("ran", "restored") for outcome in outcomes):
        return ""
    from flows.tracking import registry  # late, with what it reads figures with: most runs measure nothing

    try:
        decision = registry.publish()
    except InputError as error:  # the stages are done, and what they made is whole
        get_run_logger().warning("The model was not registered: %s", error)
        return f"not registered: {error}"
    if decision.status in ("challenger", "refused"):
        name = f"{Path.cwd().name} version {decision.version}" if decision.version else Path.cwd().name
        resource = {"prefect.resource.id": f"scriptsight.model.{Path.cwd().name}", "prefect.resource.name": name}
        emit_event(WORSE, resource, payload={"why": str(decision)})
    return str(decision)


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def _stage(name: str, run: PipelineRun, page: artifacts.RunPage) -> Any:
    """Run one stage if it is stale, or wait for the one that began early."""
    run.outcomes[:] = [outcome for outcome in run.outcomes if outcome.name != name]  # an earlier try's
    why = "it began while the server started" if name in run.early else repository.stale(name).get(name)
    if why is None and run.force:
        why = FORCED
    if why is None:
        run.outcomes.append(StageOutcome(name, "skipped", "up to date"))
        page.update()
        return Completed(name="Skipped", message=f"{name} is up to date")
    page.update(name, why)
    try:
        with runs.tagged():
            return _run_stage(name, why, run, page)(return_state=True)
    finally:
        page.update()


def _run_stage(name: str, why: str, run: PipelineRun, page: artifacts.RunPage) -> Any:
    @flow(name=name, flow_run_name=name, persist_result=False)
    def run_stage() -> Any:
        logger = get_run_logger()
        logger.info("%s starts: %s", name, why)
        early = run.early.get(name)
        since = run.began if early else time.time_ns()
        with live.stage_page(name, since, tell=page.progress, opened=page.report):
            try:
                outcome = early.result() if early else repository.reproduce(name, why, run.force)
            except BaseException as error:  # the page says so once a training has written its checkpoint
                repository.end(patience=EARS if isinstance(error, KeyboardInterrupt) else 0)
                run.outcomes.append(StageOutcome(name, "cancelled", "a training goes on from its last checkpoint"))
                raise
        run.outcomes.append(outcome)
        if outcome.how == "failed":
            logger.error("\n".join((f"{name} failed: {outcome.why}", *outcome.lines)))
            return Failed(message=outcome.why)
        return Completed(message=f"{outcome.how} {outcome.run_s:.1f} s: {outcome.why}")

    return run_stage
