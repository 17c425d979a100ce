"""Work on untrusted media in processes that may hang or crash without taking the stage with them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, TimeoutError, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from scriptsight.errors import needs

with needs("data", "Reading videos in processes of their own"):
    from pebble import ProcessFuture, ProcessPool
    from pebble.common import ProcessExpired

A = TypeVar("A")
B = TypeVar("B")

_PRELOAD = [
    "av",
    "pyarrow.parquet",
    "scriptsight.media.subtitles",
    "scriptsight.params.ingest",
    "simplejpeg",
]  # imported once, not once a worker
_AHEAD = 4  # chunks handed over a worker: enough to keep it busy, few enough to hold in memory


@dataclass(frozen=True)
class Failed:
    """An item whose worker did not survive it: a countable reason, and the detail for a person."""

    reason: str  # "timed out" or "crashed"
    detail: str


@dataclass
class _Begun(Generic[A, B]):
    number: int
    items: Sequence[A]
    alone: dict[int, B | Failed] = field(default_factory=dict)  # by item, once they are repeated one by one


def isolated(
    function: Callable[[Sequence[A]], B],
    chunks: Iterable[Sequence[A]],
    *,
    workers: int,
    timeout: float,
    home: Path | None = None,
) -> Iterator[tuple[int, list[tuple[Sequence[A], B | Failed]]]]:
    """Apply `function` to each chunk in `workers` processes -> (number of the chunk, its outcomes), as they come.

    The outcomes are one (items, result) for the whole chunk; chunks share the cost of handing work over. A
    chunk that takes over twice `timeout` seconds or ends its process is repeated item by item, each with `timeout`
    seconds, and has an outcome for each: only the item at fault is `Failed`. A crash of a single
    item is given a second chance, a time-out is not. An exception of `function` itself is raised here.

    Only a few chunks a worker are taken from `chunks` at a time. `function` and the items must be picklable,
    and `function` safe to repeat. The processes work in the folder `home`, by default the current one.

    Raises:
        RuntimeError: this process may have no children.
    """
    if multiprocessing.current_process().daemon:
        raise RuntimeError(
            "media is decoded in child processes, which a daemonic process may not have: start Dask's workers with "
            "DASK_DISTRIBUTED__WORKER__DAEMON=False or --no-nanny"
        )
    context = multiprocessing.get_context(_start_method())
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([*_PRELOAD, getattr(function, "func", function).__module__])
    pool = ProcessPool(workers, context=context, initializer=os.chdir, initargs=(home or Path.cwd(),))
    running: dict[ProcessFuture[B], tuple[_Begun[A, B], int | None]] = {}  # and which item, if not the whole chunk

    def start(begun: _Begun[A, B], item: int | None) -> None:
        items = begun.items if item is None else [begun.items[item]]
        running[pool.schedule(_answer, args=(function, items), timeout=timeout * min(2, len(items)))] = begun, item

    coming = (_Begun[A, B](number, items) for number, items in enumerate(chunks))
    try:
        while True:
            for begun in islice(coming, max(0, _AHEAD * workers - len(running))):
                start(begun, None)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                begun, item = running.pop(future)
                result = _outcome(future, timeout)
                if item is not None:
                    begun.alone[item] = result
                    if len(begun.alone) == len(begun.items):
                        yield begun.number, [([one], begun.alone[i]) for i, one in enumerate(begun.items)]
                elif _is_final(result, begun.items):
                    yield begun.number, [(begun.items, result)]
                else:
                    for i in range(len(begun.items)):
                        start(begun, i)
    finally:
        pool.stop()  # also when the caller stops early: what has not started is dropped
        pool.join()


def _answer(function: Callable[[Sequence[A]], B], items: Sequence[A]) -> B:
    """What the function gives, in a worker; an exception that can't travel back, for which the parent would wait for
    ever, goes in words."""
    try:
        return function(items)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - it was pickled here and now
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
        raise


def _is_final(result: Any, items: Sequence[Any]) -> bool:
    return not isinstance(result, Failed) or (len(items) == 1 and result.reason == "timed out")


def _outcome(future: ProcessFuture[B], timeout: float) -> B | Failed:
    try:
        result: B = future.result()
        return result
    except TimeoutError as error:
        if isinstance(error.errno, int):  # not pebble's, but ETIMEDOUT, which a file system raised in the work
            raise
        return Failed("timed out", f"not done after {timeout:g} s")
    except ProcessExpired as error:
        return Failed("crashed", f"the worker process ended with exit code {error.exitcode}")


def _start_method() -> str:
    """Never plain fork: decoders, Arrow and torch start threads, whose locks a fork copies while held."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
