"""Work on untrusted media in processes that may hang or crash without taking the stage with them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError
from dataclasses import dataclass
from typing import TypeVar

from pebble import ProcessFuture, ProcessPool
from pebble.common import ProcessExpired

A = TypeVar("A")
B = TypeVar("B")

_PRELOAD = [
    "av",
    "pyarrow.parquet",
    "pysubs2",
    "scriptsight.media",
    "scriptsight.params",
    "simplejpeg",
]  # imported once, not once a worker


@dataclass(frozen=True)
class Failed:
    """An item whose worker did not survive it: a countable reason, and the detail for a person."""

    reason: str  # "timed out" or "crashed"
    detail: str


def isolated(
    function: Callable[[Sequence[A]], B], chunks: Sequence[Sequence[A]], *, workers: int, timeout: float
) -> Iterator[tuple[Sequence[A], B | Failed]]:
    """Apply `function` to each chunk in `workers` processes -> (chunk, result) in the order of `chunks`.

    Chunks share the cost of handing work over. One that takes over `timeout` seconds or ends its process is
    repeated item by item, each with the whole `timeout` to itself, so only the item at fault is lost: it
    comes back alone as `Failed`. A crash of a single item is given a second chance, a time-out is not.
    An exception of `function` itself is raised here.

    `function` and the items must be picklable, and `function` safe to repeat.
    """
    context = multiprocessing.get_context(_start_method())
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(_PRELOAD)
    pool = ProcessPool(max_workers=max(1, min(workers, len(chunks))), context=context)
    try:
        futures = [pool.schedule(function, args=(chunk,), timeout=timeout) for chunk in chunks]
        for chunk, future in zip(chunks, futures, strict=True):
            result = _outcome(future, timeout)
            hopeless = isinstance(result, Failed) and result.reason == "timed out" and len(chunk) == 1
            if hopeless or not isinstance(result, Failed):
                yield chunk, result
                continue
            for item in chunk:
                yield [item], _outcome(pool.schedule(function, args=([item],), timeout=timeout), timeout)
    finally:
        pool.stop()  # also when the caller stops early: what has not started is dropped
        pool.join()


def _outcome(future: ProcessFuture[B], timeout: float) -> B | Failed:
    try:
        return future.result()
    except TimeoutError:
        return Failed("timed out", f"not done after {timeout:g} s")
    except ProcessExpired as error:
        return Failed("crashed", f"the worker process ended with exit code {error.exitcode}")


def _start_method() -> str:
    """Never plain fork: decoders, Arrow and torch start threads, whose locks a fork copies while held."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
