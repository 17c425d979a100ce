"""Experiments that belong together, made as the tasks of one Prefect flow; what is there already is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from flows.experiments import runner
from flows.orchestration import runs
from scriptsight.errors import InputError


@dataclass(frozen=True)
class Entry:
    """An experiment: what is done, with which settings, and where."""

    folder: Path
    work: runner.Work
    settings: dict[str, Any]


def make(title: str, waves: Iterable[list[Entry]], root: Path, workers: int) -> None:
    """Make all entries, `workers` at a time, as the tasks of the flow `title`.

    Args:
        waves: entries that may be made at the same time; a wave needs those before it to be there.
        root: the folder that all entries are in; a task's name is its entry's path below it.

    Raises:
        InputError: an entry failed (the others of its wave are finished, so that nothing is lost), or has the result
            of other parameters, which would stand beside those of these.
    """
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    runner.warm_up()
    stopping = Event()
    free = SimpleQueue[int]()  # numbers of workers
    for number in range(workers):
        free.put(number)
    named: dict[str, Entry] = {}  # Prefect records what tasks are given, so it is a name

    @task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
    def entry(name: str) -> str:
        worker = free.get()
        try:
            return _made(title, named[name], worker, stopping)
        finally:
            free.put(worker)

    threads: Any = ThreadPoolTaskRunner(max_workers=workers)

    @flow(name=title, task_runner=threads, persist_result=False)
    @runs.untagged()
    def all_entries() -> None:
        for wave in waves:
            missing = [one for one in wave if runner.found(one.folder, one.settings) is None]
            named.update((one.folder.relative_to(root).as_posix(), one) for one in missing)
            running = [entry.submit(one.folder.relative_to(root).as_posix()) for one in missing]
            try:
                failures = [failure for task_run in running if (failure := task_run.result())]
            except BaseException:  # ctrl-C, for one: trainings write their checkpoints
                stopping.set()
                for task_run in running:
                    task_run.wait()
                raise
            if failures:
                raise InputError("; ".join(failures))

    with runs.recorded():
        all_entries()


def _made(title: str, entry: Entry, worker: int, stopping: Event) -> str:
    """Make one entry -> what went wrong, if anything did."""
    if stopping.is_set():
        return f"{entry.folder} was not begun"
    print(f"{title}: {entry.folder} starts", flush=True)
    attempt = runner.run(entry.work, entry.settings, entry.folder, worker, stopping=stopping)
    if attempt.how == "complete":
        return ""
    return f"{entry.folder} {attempt.how} ({attempt.reason}): see {entry.folder / runner.LOG}"
