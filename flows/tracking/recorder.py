"""What a process records in MLflow's runs, of one stage or of all trials of a study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from flows.tracking import store, unfinished
from scriptsight.redaction import LONGEST_VALUE, redacted
from scriptsight.reporting import ConsoleReporter

METRICS_AT_ONCE, OTHERS_AT_ONCE = 1000, 100  # the most that MLflow takes; others are parameters and tags
FLUSH_SECONDS = 2


class Recorder:
    """Writes to any number of runs, from any thread. Figures wait some seconds, and go in batches that MLflow takes.

    Work is worth more than its record: once MLflow refuses something, that is said, and nothing more is recorded.
    Only `create` and `reopen` raise, for a work that has not begun is not lost.
    """

    def __init__(self, client: Any, work: str) -> None:
        """`client` is that of `store.opened`, `work` what goes on without MLflow, as in "the stage"."""
        self.client = client
        unfinished.close(client)
        self.experiment = store.experiment(client)
        self.lost = False
        self._work = work
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Any]] = {}  # run -> its figures
        self._notes: dict[str, unfinished.Note] = {}  # of runs that this process has open
        self._flushed = time.monotonic()

    def create(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Make a run -> its id. Passwords in parameters are left out."""
        note = unfinished.Note()
        tags = {**tags, unfinished.RECORDER: note.name}
        run_id = str(self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id)
        self._notes[run_id] = note
        listed = [Param(key, redacted(value)[:LONGEST_VALUE]) for key, value in params.items()]
        for part in _parts(listed, OTHERS_AT_ONCE):
            self.client.log_batch(run_id, params=part)
        return run_id

    def reopen(self, run_id: str, status: str = "KILLED", end_time: int | None = None) -> None:
        """Go on with a run that has ended; `status` and `end_time` (ms since 1970) are what it has again if this
        process is killed."""
        if run_id not in self._notes:
            self._notes[run_id] = unfinished.Note(run_id, status, end_time)
        self.client.update_run(run_id, status="RUNNING")

    def metrics(self, run_id: str, values: Mapping[str, float], step: int = 0, moment: int | None = None) -> None:
        """Keep figures for the next flush; `moment` is in milliseconds since 1970, by default now."""
        when = time.time_ns() // 1_000_000 if moment is None else moment
        with self._lock:
            waiting = self._waiting.setdefault(run_id, [])
            waiting += [Metric(name, float(value), when, step) for name, value in values.items()]
            if time.monotonic() - self._flushed < FLUSH_SECONDS:
                return
        self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._flushed = time.monotonic()
        for run_id, points in waiting.items():
            for part in _parts(points, METRICS_AT_ONCE):
                self.safely(self.client.log_batch, run_id, metrics=part)

    def tags(self, run_id: str, values: Mapping[str, str]) -> None:
        """Set tags. Passwords in them are left out."""
        listed = [RunTag(name, redacted(value)[:LONGEST_VALUE]) for name, value in values.items()]
        for part in _parts(listed, OTHERS_AT_ONCE):
            self.safely(self.client.log_batch, run_id, tags=part)

    def artifact(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Store a picture or table, in a folder of the run's artifacts."""
        self.safely(self.client.log_artifact, run_id, str(path), folder)

    def end(
        self, run_id: str, status: str, tags: Mapping[str, str] | None = None, end_time: int | None = None
    ) -> None:
        """Write what is kept, and close a run as FINISHED, FAILED or KILLED; it ended at `end_time` (ms since 1970),
        by default now."""
        self.flush()
        self.tags(run_id, tags or {})
        self.safely(self.client.set_terminated, run_id, status, end_time)
        if not self.lost and run_id in self._notes:  # else a later process closes it
            self._notes.pop(run_id).remove()

    def safely(self, do: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Do something with MLflow -> what that returns; None where MLflow is lost, or is lost by it."""
        if self.lost:
            return None
        try:
            return do(*arguments, **named)
        except Exception as error:  # whatever a database, a server or a store of files provokes
            self.lost = True
            ConsoleReporter().message(
                f"WARNING: MLflow stopped taking figures; {self._work} goes on: {redacted(error)[:LONGEST_VALUE]}"
            )
            return None


def _parts(items: list[Any], most: int) -> list[list[Any]]:
    return [items[start : start + most] for start in range(0, len(items), most)]
