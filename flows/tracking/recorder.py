"""What a process records in MLflow's runs: the one way in which runs are opened, written to and closed.

A stage's run (`stage_run.StageRun`), a study with its trials (`experiments.sweep.record.StudyRecord`) and the
trainings of a comparison (`experiments.compare`) are all recorded by this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from flows.running import notes
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

    def __init__(self, client: Any, work: str, experiment: str = store.EXPERIMENT) -> None:
        """`client` is that of `store.opened`, `work` what goes on without MLflow, as in "the stage"; `experiment` is
        the name of the one that gets the runs."""
        self.client = client
        unfinished.close(client)
        self.experiment = store.experiment(client, experiment)
        self.lost = False
        self._work = work
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Any]] = {}  # run -> its figures
        self._notes: dict[str, notes.Note] = {}  # of runs that this process has open
        self._flushed = time.monotonic()

    def create(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Make a run -> its id. Passwords in parameters are left out."""
        note = unfinished.note()
        tags = {**tags, unfinished.RECORDER: note.name}
        run_id = str(self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id)
        self._notes[run_id] = note
        self.params(run_id, params)
        return run_id

    def params(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Write parameters, which MLflow never changes again. Passwords in them are left out."""
        listed = [Param(key, said_of(value)) for key, value in values.items()]
        for part in _parts(listed, OTHERS_AT_ONCE):
            self.client.log_batch(run_id, params=part)

    def reopen(self, run_id: str, status: str = "KILLED", end_time: int | None = None) -> None:
        """Go on with a run that has ended; `status` and `end_time` (ms since 1970) are what it has again if this
        process is killed."""
        if run_id not in self._notes:
            self._notes[run_id] = unfinished.note(run_id, status, end_time)
        self.client.update_run(run_id, status="RUNNING")

    def metrics(
        self,
        run_id: str,
        values: Mapping[str, float],
        step: int = 0,
        moment: int | None = None,
        *,
        model: str | None = None,
        data: tuple[str, str] | None = None,
    ) -> None:
        """Keep figures for the next flush.

        Args:
            moment: in milliseconds since 1970, by default now.
            model: the logged model (its id) that they are figures of.
            data: name and digest of the data set that they were measured on.
        """
        when = time.time_ns() // 1_000_000 if moment is None else moment
        name, digest = data or (None, None)
        of = {"model_id": model, "dataset_name": name, "dataset_digest": digest}
        with self._lock:
            waiting = self._waiting.setdefault(run_id, [])
            waiting += [Metric(figure, float(value), when, step, **of) for figure, value in values.items()]
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
        listed = [RunTag(name, said_of(value)) for name, value in values.items()]
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


def said_of(value: Any) -> str:
    """As much of a value as MLflow takes, without what may be secret."""
    return redacted(value)[:LONGEST_VALUE]


def _parts(items: list[Any], most: int) -> list[list[Any]]:
    return [items[start : start + most] for start in range(0, len(items), most)]
