"""The pipeline and the sweep as Prefect's workers run them (prefect.yaml); parameters are a form on its page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from flows import parameters
from flows.orchestration import runs
from flows.orchestration.pipeline import PipelineRun, bring_up_to_date
from flows.running import locks, processes
from flows.running.repository import RemoteFailed, pull, push, require_remote
from flows.running.workspace import prepare, require
from scriptsight.errors import InputError

StageName = Literal["ingest", "segment", "pretrain", "probe", "retrieve"]  # choices of a form, which are fixed
WhenBusy = Literal["wait", "cancel"]
ALL: list[StageName] = list(get_args(StageName))
NETWORK_SECONDS = [10.0, 60.0, 300.0]  # before a remote that failed is tried again


@flow(name="pipeline", persist_result=False, on_running=[cast(Any, runs.begun)])
def pipeline(
    stages: list[StageName] = ALL,
    workspace: str | None = None,
    force: bool = False,
    when_busy: WhenBusy = "wait",
    pull_from: str | None = None,
    push_to: str | None = None,
    retries: int = 2,
) -> Any:
    """Bring stages up to date; what is up to date already is skipped.

    Args:
        stages: which, in the order of the pipeline.
        workspace: a folder with an overrides.yaml whose pipeline is meant; empty for the project's own.
        force: run them although DVC sees no change, as when a collection is at an address elsewhere.
        when_busy: what to do while another run works on the same files: wait for it, or cancel this one.
        pull_from: a DVC remote to take finished outputs from before the run.
        push_to: a DVC remote that gets the outputs after a successful run.
        retries: how often a stage is tried again after a failure that may pass by itself (a network, a shared file
            system, a process killed for lack of memory); a training goes on from its last checkpoint.
    """
    with _as_state() as states:
        _enter(workspace)
        for remote in filter(None, (pull_from, push_to)):
            require_remote(remote)  # now, not after hours of training
        with _alone(when_busy), runs.recorded():
            run = PipelineRun([name for name in ALL if name in stages], force=force, retries=retries)
            return _carry_out(run, pull_from, push_to)
    return states[0]


@flow(name="sweep", persist_result=False, on_running=[cast(Any, runs.begun)])
def sweep(workspace: str | None = None, when_busy: WhenBusy = "wait") -> Any:
    """Go on with the study that `sweep` in params.yaml describes, until it has all its trials.

    Args:
        workspace: a folder with an overrides.yaml whose study is meant; empty for the project's own.
        when_busy: what to do while another run works on the same files: wait for it, or cancel this one.
    """
    with _as_state() as states:
        _enter(workspace)
        with _alone(when_busy), runs.recorded():
            from flows.experiments.sweep.command import run
            from flows.experiments.sweep.study import open_study

            settings = parameters.load()
            run(settings, open_study(settings))
            return None
    return states[0]


@contextmanager
def _as_state() -> Iterator[list[Any]]:
    """Turn what a user can mend into a state with its message: Prefect would log the traceback of what is raised.
    The list gets the state."""
    os.environ[processes.DEPLOYED] = "1"
    states: list[Any] = []
    try:
        yield states
    except locks.Busy as error:
        states.append(Cancelled(message=str(error)))
    except InputError as error:
        get_run_logger().error(str(error))
        states.append(Failed(message=str(error)))


def _carry_out(run: PipelineRun, pull_from: str | None, push_to: str | None) -> Any:
    if pull_from:
        with runs.untagged():
            state: Any = _pull(pull_from, return_state=True)
        if not state.is_completed():
            return state
    state = bring_up_to_date(run)
    if push_to and state.is_completed():
        with runs.untagged():
            pushed: Any = _push(push_to, return_state=True)
        if not pushed.is_completed():
            return pushed
    return state


def _enter(workspace: str | None) -> None:
    runs.close_unbegun(flow_run.id)
    if workspace:
        prepare(Path(workspace))
        os.chdir(workspace)
    parameters.load()
    require()


@contextmanager
def _alone(when_busy: str) -> Iterator[None]:
    """Hold the lock of the pipeline, which the kernel gives back however its holder ends.

    Raises:
        locks.Busy: another run holds it, and this one is not to wait.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locks.lock("pipeline", patience=0))
        except locks.Busy as busy:
            if when_busy == "cancel":
                raise
            get_run_logger().info("Waiting: %s", busy)
            held.enter_context(locks.lock("pipeline", patience=-1))
        yield


def _remote_task(name: str) -> Callable[[Callable[[str], Any]], Task[[str], Any]]:
    return task(
        name=name,
        task_run_name=name + " {remote}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(NETWORK_SECONDS),
        retry_delay_seconds=NETWORK_SECONDS,
    )


@_remote_task("pull")
def _pull(remote: str) -> Any:
    return _exchanged(pull, remote)


@_remote_task("push")
def _push(remote: str) -> Any:
    return _exchanged(push, remote)


def _exchanged(exchange: Any, remote: str) -> Any:
    try:
        return Completed(message=f"{exchange(remote)} files")
    except RemoteFailed as error:
        return Failed(message=str(error))
