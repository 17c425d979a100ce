"""Our flow runs on Prefect's server: marked as ours, and closed by the next run if their process is killed.

A process that is killed can't tell the server how its runs ended. So each process that makes flow runs has a token:
a tag on all of them, and the name of a note in `.locks/runs` of the folder it works on. The kernel gives the note's
lock back however the process ends; whoever comes next in this folder closes what has the note's token.
"""

from __future__ import annotations

import atexit
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.orchestration import server
from flows.running import locks, notes
from scriptsight.errors import InputError

NOTES = locks.LOCKS / "runs"
OURS = "scriptsight"  # a tag of every run of ours, as of the deployments in prefect.yaml
BEATING = f"beats-{server.HEARTBEAT_SECONDS}s"  # begins the token of runs that send heartbeats at our rate
CLAIMED_SECONDS = 120  # for a process that a worker starts to begin its run; one that is later runs all the same
KEPT_DAYS = 14  # a note whose runs are not on the server; they may be on another
MOST = 200  # runs that the server tells of at once
GONE = "Its process is gone: it was killed, or the power was cut. The next run goes on from there."
UNBEGUN = "It was to be started, but its worker is gone."

_own: dict[int, str] = {}  # this process -> its token; one that was forked makes its own


def token() -> str:
    """The tag on the flow runs of this process; it begins with BEATING if they send heartbeats at our rate."""
    if os.getpid() not in _own:
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

        seconds = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
        beats = seconds is not None and seconds <= server.HEARTBEAT_SECONDS
        _own[os.getpid()] = f"{BEATING if beats else 'run'}-{uuid.uuid4().hex[:10]}"
    return _own[os.getpid()]


@contextmanager
def recorded() -> Iterator[None]:
    """Flow runs that are made within are ours, and are closed by the next process in this folder if this one is
    killed. It closes those that earlier ones left."""
    close_left()
    note = _note(Path())
    try:
        with tagged():
            yield
    except BaseException:
        if note:
            note.let_go()  # a server that could not be told may take the run for running
        raise
    if note:
        note.remove()


def tagged() -> AbstractContextManager[Any]:
    """Flow runs that are made within get our tag and this process's token."""
    from prefect import tags

    return tags(OURS, token())


@contextmanager
def untagged() -> Iterator[None]:
    """Task runs that are made within get no tags: before a task with tags Prefect asks its server for a slot of each,
    and a server that is away for that moment would fail the run."""
    from prefect.context import TagsContext

    with TagsContext():
        yield


def begun(_flow: Any, run: Any, _state: Any) -> None:
    """A hook for `on_running` of a flow that a worker starts in a process of its own, and that has a parameter
    `workspace`: what `recorded` does, for that flow's run itself."""
    from prefect.client.orchestration import get_client

    folder = Path(run.parameters.get("workspace") or ".")
    note = _note(folder if folder.is_dir() else Path())
    if note:
        atexit.register(note.remove)  # once the run's last state is told
    with get_client(sync_client=True) as client:
        others = {tag for tag in run.tags if not _is_token(tag)}  # that of an earlier try
        client.update_flow_run(run.id, tags=sorted({*others, OURS, token()}))


def _note(folder: Path) -> notes.Note | None:
    """The note of this process in a folder; None if it has one there."""
    if (folder / NOTES / token()).with_suffix(".json").exists():
        return None
    return notes.Note(folder / NOTES, {"own_server": server.is_own(), "since": time.time()}, token())


# --------------------------------------------------------------------------------------------- what others left


def close_left() -> None:
    """Close the runs of killed processes in this folder, on the server that is in use. It never raises: the record is
    worth less than the work."""
    try:
        with notes.left(NOTES) as left:
            if left:
                _close(left)
    except Exception as error:  # of a server, a network, a file system
        print(f"WARNING: runs of killed processes stay open on Prefect's page: {type(error).__name__}: {error}")


def close_left_anywhere() -> None:
    """The same where no server is in use yet: with the one that is there, or one of our own for what was left on
    such a one."""
    with notes.left(NOTES) as left:
        own = any(note.get("own_server") for note in left.values())
        if not left:
            return
    try:
        if server.find() is None:
            if not own:
                return
            server.temporary()
    except InputError as error:
        print(f"WARNING: runs of killed processes stay open on Prefect's page: {error}")
        return
    close_left()


def _close(left: dict[str, dict[str, Any]]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    old = time.time() - KEPT_DAYS * 86400
    with get_client(sync_client=True) as client:
        for name, note in left.items():
            of_note = FlowRunFilter(tags=FlowRunFilterTags(all_=[name]))
            is_here = _close_runs(client, of_note)
            if is_here or (note.get("own_server") and server.is_own()) or float(note.get("since", 0)) < old:
                notes.remove(NOTES, name)


def _close_runs(client: Any, which: Any) -> bool:
    """Close those of these flow runs that are open, and their task runs -> whether there are any on this server."""
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterState, TaskRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    open_types = [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
    found = _all(client.read_flow_runs, flow_run_filter=which)
    for run in found:
        if run.state_type in open_types:  # not one that somebody had scheduled again
            _end(client, run, GONE)
    are_open = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=open_types)))
    for task in _all(client.read_task_runs, flow_run_filter=which, task_run_filter=are_open) if found else ():
        client.set_task_run_state(task.id, Crashed(message=GONE), force=True)
    return bool(found)


def _all(read: Any, **filters: Any) -> list[Any]:
    """What a server tells page by page."""
    found: list[Any] = []
    while page := read(**filters, limit=MOST, offset=len(found)):
        found += page
        if len(page) < MOST:
            break
    return found


def _end(client: Any, run: Any, why: str) -> None:
    from prefect.states import Cancelled, Crashed

    wanted = run.state is not None and run.state.is_cancelling()  # somebody asked for that, and has it now
    client.set_flow_run_state(run.id, Cancelled(message=why) if wanted else Crashed(message=why), force=True)


def close_unbegun(run_id: Any) -> None:
    """Within a run that a worker started: close the runs that a worker of the same pool took long ago and that never
    began, for it is gone. One that begins all the same is running then. It never raises."""
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            pool = client.read_flow_run(run_id).work_pool_name
            for run in _unbegun(client, pool) if pool else ():
                if str(run.id) != str(run_id):
                    _end(client, run, UNBEGUN)
    except Exception as error:  # as above
        print(f"WARNING: runs that never began stay open on Prefect's page: {type(error).__name__}: {error}")


def _unbegun(client: Any, pool: str) -> list[Any]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    which = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[OURS]), state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
    )
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    long_ago = datetime.now(UTC) - timedelta(seconds=CLAIMED_SECONDS)
    return [
        run
        for run in _all(client.read_flow_runs, flow_run_filter=which, work_pool_filter=in_pool)
        if run.state and run.state.timestamp < long_ago and not _has_begun(run)
    ]


def _has_begun(run: Any) -> bool:
    """Whether its process has put its token on it."""
    return any(_is_token(tag) for tag in run.tags)


def _is_token(tag: str) -> bool:
    return tag.startswith((f"{BEATING}-", "run-"))
