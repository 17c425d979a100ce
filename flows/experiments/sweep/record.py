"""A study in MLflow: one run, with a nested run for every attempt at a trial.

The process of the study records for all its trials: a recorder of its own for each would take four seconds of a
core to start, which a short trial notices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flows import names
from flows.tracking import store
from scriptsight.errors import InputError
from scriptsight.redaction import LONGEST_VALUE, redacted
from scriptsight.reporting import ConsoleReporter

AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # the most that MLflow takes
FLUSH_SECONDS = 5


class StudyRecord:
    """The open run of a study."""

    def __init__(self, study: str, run_id: str | None, params: Mapping[str, Any]) -> None:
        """`run_id` is that of the study when it was begun; where this store lacks it, a new run is made.

        Raises:
            InputError: MLflow can't be used.
        """
        address = store.uri()
        store.require_answer(address)
        store.STORE.mkdir(exist_ok=True)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.study = study
        self._lock = threading.Lock()  # trials report from threads of their own
        self._waiting: dict[str, list[Any]] = {}
        self._flushed = time.monotonic()
        self._lost = False
        try:
            self._client = MlflowClient(address)
            self._experiment = store.experiment(self._client)
            self.run_id = self._opened(run_id) or self._create(f"sweep {study}", params, {})
        except Exception as error:  # whatever a database or a server provokes
            words = redacted(error)[:LONGEST_VALUE]
            raise InputError(f"MLflow at {redacted(address)} can't be used: {words}") from error
        self._errors = (MlflowException, OSError)

    def _opened(self, run_id: str | None) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            if run_id:
                self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return None
        return run_id

    def begin(self, number: int, params: Mapping[str, Any]) -> str:
        """Open the run of a trial -> its id; empty where MLflow is lost."""
        name = f"{self.study} trial {number}"
        tags = {"mlflow.parentRunId": self.run_id, "trial": str(number)}
        return self._safely(self._create, name, params, tags) or ""

    def _create(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        from mlflow.entities import Param

        tags = {**tags, "sweep": self.study, "folder": Path.cwd().name}
        run = self._client.create_run(self._experiment, run_name=name, tags=tags)
        told = [Param(name, redacted(value)[:LONGEST_VALUE]) for name, value in names.flat(params, ".").items()]
        for start in range(0, len(told), PARAMS_AT_ONCE):
            self._client.log_batch(run.info.run_id, params=told[start : start + PARAMS_AT_ONCE])
        return str(run.info.run_id)

    def metrics(self, run_id: str, values: Mapping[str, float], step: int = 0, moment: int | None = None) -> None:
        """Keep figures for the next flush; `moment` is in milliseconds since 1970."""
        from mlflow.entities import Metric

        now = moment or time.time_ns() // 1_000_000
        with self._lock:
            waiting = self._waiting.setdefault(run_id, [])
            waiting += [Metric(name, float(value), now, step) for name, value in values.items()]
            if time.monotonic() - self._flushed < FLUSH_SECONDS:
                return
        self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._flushed = time.monotonic()
        for run_id, points in waiting.items():
            for start in range(0, len(points), AT_ONCE):
                part = points[start : start + AT_ONCE]
                self._safely(self._client.log_batch, run_id, metrics=part)

    def artifact(self, run_id: str, path: Path) -> None:
        """Store a picture or table."""
        self._safely(self._client.log_artifact, run_id, str(path))

    def end(self, run_id: str, status: str, tags: Mapping[str, str] | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED."""
        self.flush()
        for name, value in (tags or {}).items():
            self._safely(self._client.set_tag, run_id, name, redacted(value)[:LONGEST_VALUE])
        self._safely(self._client.set_terminated, run_id, status)

    def _safely(self, do: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """A study is worth more than its record: what fails is said once, and nothing more is recorded."""
        if self._lost:
            return None
        try:
            return do(*arguments, **named)
        except self._errors as error:
            self._lost = True
            ConsoleReporter().message(
                f"WARNING: MLflow stopped taking figures; the study goes on: {redacted(error)[:LONGEST_VALUE]}"
            )
            return None
