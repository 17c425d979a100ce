"""The pipeline as a Prefect flow: `dvc repro` stage by stage.

The flow runs of the stages live in this process, below the pipeline's: a stage's own process then needs no
Prefect, which saves four seconds a stage, and one that is killed is seen to have failed.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.stages import STAGES, Outcome, reproduce, stale

Early = dict[str, Future[Outcome]]


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def bring_up_to_date(name: str, outcomes: list[Outcome], early: Early) -> Any:
    """Run one stage if it is stale, or wait for the one that began early; `outcomes` gets how it went."""
    why = "it began while the server started" if name in early else stale(name).get(name)
    if why is None:
        outcomes.append(Outcome(name, "skipped", "up to date"))
        return Completed(name="Skipped", message=f"{name} is up to date")

    @flow(name=name, flow_run_name=name, persist_result=False)
    def run_stage() -> Any:
        outcome = early[name].result() if name in early else reproduce(name, why)
        outcomes.append(outcome)
        told = f"{outcome.how} {outcome.run_s:.1f} s: {outcome.why}"
        return Failed(message=outcome.why) if outcome.how == "failed" else Completed(message=told)

    return run_stage(return_state=True)


@flow(name="pipeline", persist_result=False, validate_parameters=False)
def pipeline(outcomes: list[Outcome] | None = None, early: Early | None = None) -> Any:
    """All stages in order; those that are up to date are skipped, and the first failure ends it.

    Args:
        outcomes: gets how each stage went.
        early: a stage that already runs, because it need not wait for Prefect's server.
    """
    outcomes = [] if outcomes is None else outcomes
    for name in STAGES:
        state: Any = bring_up_to_date(name, outcomes, early or {}, return_state=True)
        if not state.is_completed():
            if not outcomes or outcomes[-1].how != "failed":
                state.result()  # not the stage's failure but an error here: raise it
            return Failed(message=f"{name} failed: {outcomes[-1].why}")
    return Completed(message=", ".join(f"{outcome.name} {outcome.how}" for outcome in outcomes))
