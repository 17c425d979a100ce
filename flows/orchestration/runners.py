"""How the chunks of ingest and segment are spread: as Prefect tasks, over threads here or over a Dask cluster.

The library does a chunk in a process that may die (`scriptsight.parts.processes`); a task here only calls that, on
whatever machine the task runner puts it. What tasks exchange is paths: all machines must see the same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil
from queue import SimpleQueue
from typing import Any

from flows.orchestration import runs, server
from scriptsight import parts
from scriptsight.errors import InputError
from scriptsight.params.spread import Spread
from scriptsight.parts import Chunk, Mapper, Work

MOST_TASKS = 1000  # a stage; each is some rows in Prefect's database and some requests to its server
AHEAD = 2  # tasks handed over for each that can run


def mapper(name: str, params: Spread) -> Mapper:
    """What spreads the chunks of stage `name` as its parameters say, for `runner` other than `processes`.

    Raises:
        InputError: prefect-dask is not installed, or the Dask scheduler does not answer.
    """
    if not server.from_environment():
        server.temporary()
    from prefect import flow

    runner = _task_runner(params)

    def spread(work: Work[Any], chunks: Iterable[Chunk], total: int) -> Iterator[int]:
        todo = _Here(iter(chunks))

        @flow(name=f"{name} chunks", flow_run_name=f"{name} chunks", task_runner=runner, persist_result=False)
        def tasks() -> Iterator[int]:  # without parameters, which Prefect would put on the record item by item
            running: dict[Any, int] = {}  # future -> its chunks
            done: SimpleQueue[Any] = SimpleQueue()  # futures, whichever is first: a long one holds up no other
            while bundle := list(islice(todo.value, ceil(total / MOST_TASKS))):
                if len(running) == AHEAD * params.workers:
                    yield _finished(running, done.get())
                with runs.untagged():
                    future = _task().submit(work, bundle)
                running[future] = len(bundle)
                future.add_done_callback(done.put)
            while running:
                yield _finished(running, done.get())

        with runs.recorded():
            yield from tasks()

    return spread


class _Here:
    """What stays in this process: with every task Prefect sends its flow to Dask, and a generator can't travel."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return type(self), (None,)


def _finished(running: dict[Any, int], future: Any) -> int:
    future.result()
    return running.pop(future)


def _task() -> Any:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    return task(
        name="chunks",
        cache_policy=NO_CACHE,  # DVC knows what is stale, and the parts on disk what is done
        persist_result=False,
        retries=2,
        retry_delay_seconds=5,
        retry_condition_fn=may_pass,
    )(do)


def do(work: Work[Any], chunks: list[Chunk]) -> None:
    """One task: finish chunks here, one after the other, less those that a lost worker had finished."""
    missing = [chunk for chunk in chunks if not work.summary(chunk).is_file()]
    for _ in parts.processes(work, missing, 1, workers=1):
        pass


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Shared file systems and networks fail for moments, so an OSError is tried again. A broken video raises nothing
    (it is a reject), and what a user must mend (InputError) or we (all others) does not pass by itself."""
    return isinstance(state.result(raise_on_failure=False), OSError)


def _task_runner(params: Spread) -> Any:
    if params.runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=params.workers)
    try:
        import dask
        from distributed import Client
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise InputError(
            f"runner: dask needs prefect-dask ({error}): pip install 'scriptsight[pipeline]', or choose "
            "another runner."
        ) from None
    if params.dask_address is None:
        # Daemonic workers, Dask's default, may have no children, and media are decoded in children.
        dask.config.set({"distributed.worker.daemon": False})
        here = {"n_workers": params.workers, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": None}
        return DaskTaskRunner(cluster_kwargs=here)
    try:
        Client(params.dask_address, timeout=10, set_as_default=False).close()
    except OSError as error:
        raise InputError(
            f"The Dask scheduler {params.dask_address} does not answer ({error}): start it (`dask scheduler`), "
            "correct `dask_address`, or leave it null for a cluster on this machine."
        ) from None
    return DaskTaskRunner(address=params.dask_address)
