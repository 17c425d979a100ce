"""Reading what comes next while the last is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(
    read: Callable[[A], B], items: Iterable[A], *, ahead: int, threads: int = 1
) -> Generator[B, None, None]:
    """`read` of each item, in their order; `threads` read up to `ahead` items before they are asked for.

    An error of `read` is raised in its item's turn.
    """
    upcoming = iter(items)
    with ThreadPoolExecutor(threads) as readers:
        waiting: deque[Future[B]] = deque(readers.submit(read, item) for item in islice(upcoming, ahead))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(readers.submit(read, item) for item in islice(upcoming, 1))
                yield found
        finally:
            for future in waiting:  # whoever stops early waits for what runs, not for all that is queued
                future.cancel()
