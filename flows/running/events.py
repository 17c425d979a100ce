"""What a process tells of its work while it works: lines of a file, which whoever started it follows.

A line is an object of JSON with one of these keys:

begun      when the file was begun (ns since 1970); the first line
message    a line for people
progress   the label of a part of the work; with done and total (items), seconds since that part began, and status
metrics    figures by name; with their step and their time (ms since 1970)
mlflow     the page of the run in MLflow, below its address
failure    why the work ended
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flows.running import estimate, locks
from scriptsight.reporting import ConsoleReporter

T = TypeVar("T")

PROGRESS_SECONDS = 3  # between two lines on how far a part is


def path_of(stage: str) -> Path:
    """Where a stage that runs in the current folder writes its events; those of its last run are replaced."""
    return locks.LOCKS / f"{stage}.events.jsonl"


class EventReporter(ConsoleReporter):
    """What is shown on the console, and figures, are lines of a file as well."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        self._path = path
        self._status = self._left = ""
        self._stage, self._began = path.name.partition(".")[0], time.monotonic()
        self.event({"begun": time.time_ns()})

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        shown = super().progress(items, label, total)
        known = total if total is not None or self._bar is None else int(self._bar.total or 0) or None
        return self._counted(shown, label, known)

    def _counted(self, items: Iterator[T], label: str, total: int | None) -> Iterator[T]:
        began, told, done, self._status = time.monotonic(), -math.inf, 0, ""
        for item in items:
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS:
                self._tell(label, done, total, now - began)
                told = now
            yield item
            done += 1
        self._tell(label, done, total, time.monotonic() - began)

    def _tell(self, label: str, done: int, total: int | None, seconds: float) -> None:
        counts = {"done": done, "total": total, "seconds": round(seconds, 3)}
        self.event({"progress": label, **counts, "status": self._status})
        part = seconds / done * (total - done) if done and total else 0.0
        run = estimate.left(estimate.told(), self._stage, time.monotonic() - self._began, part)
        self._left = "" if run is None else f"run: {estimate.span(run)} left"
        self._show()

    def status(self, text: str) -> None:
        self._status = text
        self._show()

    def _show(self) -> None:
        super().status(", ".join(filter(None, (self._status, self._left))))

    def message(self, text: str) -> None:
        super().message(text)
        self.event({"message": text})

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.event({"metrics": dict(values), "step": step or 0, "time": time.time_ns() // 1_000_000})

    def event(self, values: Mapping[str, Any]) -> None:
        """Write one line. What can't be written is lost: the work is worth more than who watches it."""
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(json.dumps(values).encode() + b"\n")  # at once, from whatever thread
        except OSError as error:
            super().message(f"WARNING: {self._path} can't be written, nobody can follow this: {error}")


def following(path: Path, since: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Whenever it is asked: what the growing file has got since, as far as its lines are whole.

    Args:
        since: a file that was begun before is an earlier run's, and says nothing (ns since 1970).
    """
    place = 0
    while True:
        new = _from(path, place)
        found = [event for line in new.splitlines() if (event := _read(line))]
        if place == 0 and found and found[0].get("begun", 0) < since:
            found, new = [], b""
        place += len(new)
        yield found


def _from(path: Path, place: int) -> bytes:
    """The whole lines from a place on; none before there is a file."""
    try:
        with path.open("rb") as file:
            file.seek(place)
            new = file.read()
    except OSError:
        return b""
    return new[: new.rfind(b"\n") + 1]


def _read(line: bytes) -> dict[str, Any]:
    """An event; empty where the line is none, as where a disk was full."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def mlflow_page(stage: str) -> str:
    """The page of the run in MLflow that a stage opened when it ran last, below MLflow's address; "" if none."""
    path = path_of(stage)
    if not path.is_file():
        return ""
    with path.open("rb") as lines:
        pages = (_read(line)["mlflow"] for line in lines if b'"mlflow"' in line and "mlflow" in _read(line))
        return str(next(pages, ""))
