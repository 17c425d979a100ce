"""A study in MLflow: one run, with a nested run for every attempt at a trial.

The process of the study records for all its trials: a process of its own for each, as stages have, would take four
seconds of a core to start, which a short trial notices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from flows import names
from flows.tracking import store
from flows.tracking.recorder import Recorder


class StudyRecord(Recorder):
    """The open run of a study."""

    def __init__(self, study: str, run_id: str | None, params: Mapping[str, Any]) -> None:
        """`run_id` is that of the study when it was begun; where this store lacks it, a new run is made.

        Raises:
            InputError: MLflow can't be used.
        """
        self.study = study
        with store.opened() as client:
            super().__init__(client, "the study")
            self.run_id = self._known(run_id) or self._create(f"sweep {study}", params, {})

    @property
    def page(self) -> str:
        """Of the study's run, below MLflow's address."""
        return f"#/experiments/{self.experiment}/runs/{self.run_id}"

    def _known(self, run_id: str | None) -> str | None:
        try:
            if run_id:
                self.reopen(run_id)
        except MlflowException:
            return None
        return run_id

    def begin(self, number: int, params: Mapping[str, Any]) -> str:
        """Open the run of a trial -> its id; empty where MLflow is lost."""
        tags = {"mlflow.parentRunId": self.run_id, "trial": str(number)}
        return self.safely(self._create, f"{self.study} trial {number}", params, tags) or ""

    def begin_finish(self, candidate: str, folder: str, params: Mapping[str, Any]) -> str:
        """Open the run of a candidate's full training -> its id; empty where MLflow is lost."""
        tags = {"mlflow.parentRunId": self.run_id, "candidate": candidate, "finish": folder}
        return self.safely(self._create, f"{self.study} {folder}", params, tags) or ""

    def _create(self, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        return self.create(name, names.flat(params, "."), {**tags, "sweep": self.study, "folder": Path.cwd().name})
