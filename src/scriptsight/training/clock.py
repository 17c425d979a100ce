"""Where the time of a step goes."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds by part of a step, since the last `lap`. GPU work is timed on the GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str, *, host: bool = False) -> Iterator[None]:
        """Time the block as `part`; `host` says that the processor's time is meant."""
        if self._cuda and not host:
            events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[0].record()
            yield
            events[1].record()
            self._events.append((part, *events))
            return
        started = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - started

    def lap(self) -> dict[str, float]:
        """Seconds by part since the last call."""
        if self._events:
            torch.cuda.synchronize()
        for part, begin, end in self._events:
            self._seconds[part] += begin.elapsed_time(end) / 1000
        lap, self._seconds, self._events = dict(self._seconds), defaultdict(float), []
        return lap


def peak_mb(device: torch.device) -> float:
    """The most memory that was held so far, of the GPU or else of this process, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)
