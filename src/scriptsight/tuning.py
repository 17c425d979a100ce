"""Which of several ways is fastest on this machine: measured once, and kept.

What a processor says that it can do does not tell what it is fast at: there are some with bfloat16 that multiply
faster in float32. So the ways are timed, in turns, and the answer is kept in the user's cache, in a file for this
processor and these versions. From then on it stays: two runs on one machine compute alike.

Ways work in one thread, and it is its processor time that counts: other processes at work here hardly change that,
where several threads that wait for one another would be slowed by them a hundredfold.

No torch is imported here: `scriptsight doctor` shows what is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from math import inf
from pathlib import Path
from typing import Any

from scriptsight.files import cache_folder, whole_file

MARGIN = 0.05  # share by which a way must be faster than those before it: less is what a busy moment does
ROUNDS = 5, 20  # how often each way is timed, at least and at most
ENOUGH = 1.0  # seconds of timing after which the fewest rounds are enough
HOPELESS = 3.0  # times the best one's time, after which a way is timed no more from the third round on
PATIENCE = 8.0  # seconds after which two are
KEPT = 500  # questions of a machine at most; the oldest goes
PACKAGES = ("torch", "numpy", "faiss-cpu")  # what computes


@dataclass(frozen=True)
class Answer:
    """The way to take, and the fewest seconds of a processor that each way took."""

    way: str
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        return ", ".join(f"{way} {_short(seconds)}" for way, seconds in sorted(self.seconds.items(), key=_second))


def fastest(question: str, ways: Callable[[], Mapping[str, Callable[[], object]]]) -> Answer:
    """The fastest way: what is kept of this question, else measured now and kept.

    Of ways that differ by less than MARGIN the first is taken. Of several processes on this
    machine that ask at once, one measures and the others wait for its answer. Where the cache can't be written, each
    process measures for itself.

    Args:
        question: what is asked, with all that the answer depends on but the machine.
        ways: makes the ways if they must be measured: name -> what is timed, in one thread.
    """
    path = place()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            known = read(path)
            if question in known:
                return known[question]
            answer = _measured(ways())
            latest = list(known.items())[-(KEPT - 1) :]
            _write(path, {**dict(latest), question: answer})
            return answer
    except OSError:
        return _measured(ways())


def place() -> Path:
    """The file of this machine in the user's cache."""
    name = hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "fastest" / f"{name}.json"


def machine() -> dict[str, str]:
    """What an answer holds for: processor, cores, and versions of what computes."""
    about = Path("/proc/cpuinfo")
    text = about.read_text(encoding="utf-8") if about.is_file() else ""
    said = {
        name: found[1].strip() if (found := re.search(rf"^{name}\s*:(.*)$", text, re.M)) else "" for name in _SAID
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = {package: _version(package) for package in PACKAGES}
    limits = {name: os.environ[name] for name in _LIMITS if name in os.environ}
    return {**said, "platform": platform.machine(), "cores": str(cores), **versions, **limits}


_SAID = ("model name", "stepping", "flags", "Features")  # of /proc/cpuinfo; an ARM processor has Features
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # which instructions may be used


def read(path: Path) -> dict[str, Answer]:
    """What is kept in a file; of one that is damaged or older, nothing."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["answers"]
        return {
            str(question): Answer(str(one["way"]), {str(way): float(took) for way, took in one["seconds"].items()})
            for question, one in kept.items()
            if one["way"] in one["seconds"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(path: Path, answers: Mapping[str, Answer]) -> None:
    kept = {question: {"way": one.way, "seconds": dict(one.seconds)} for question, one in answers.items()}
    with whole_file(path) as partial:
        partial.write_text(json.dumps({"machine": machine(), "answers": kept}, indent=1) + "\n", encoding="utf-8")


def _measured(ways: Mapping[str, Callable[[], object]]) -> Answer:
    """Time the ways in turns, so that a busy moment slows all of them."""
    seconds = dict.fromkeys(ways, inf)
    for work in ways.values():
        work()  # memory is taken, kernels are made
    began = time.perf_counter()
    for number in range(ROUNDS[1]):
        if time.perf_counter() - began > (ENOUGH if number >= ROUNDS[0] else PATIENCE) and number > 1:
            break
        for way, work in ways.items():
            if number > 1 and seconds[way] > HOPELESS * min(seconds.values()):
                continue
            started = time.thread_time()
            work()
            seconds[way] = min(seconds[way], time.thread_time() - started)
    least = min(seconds.values())
    return Answer(next(way for way in ways if (1 - MARGIN) * seconds[way] <= least), seconds)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def _short(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
