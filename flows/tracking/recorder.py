"""The process that talks to MLflow while a stage works: events as JSON lines on its input, one answer.

The seconds of MLflow's imports overlap with those of the stage, no database write stops the training loop, and a
training that is killed leaves a run marked FAILED, because its events end without a word.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from flows.tracking import views
from flows.tracking.store import STORE, experiment, run_of, uri
from scriptsight.redaction import LONGEST_VALUE, redacted

SYSTEM_SECONDS = 5  # between two samples of processor, memory and GPU
FLUSH_SECONDS = 2
FAILED_STAGE = "failed_stage"  # tag: the stage after pretrain that failed last, and has not succeeded since


class Record:
    """An open MLflow run."""

    def __init__(self, opening: Mapping[str, Any]) -> None:
        address = uri()
        STORE.mkdir(exist_ok=True)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._metric, self._tag = Metric, RunTag
        self._client = MlflowClient(address)
        self._stage = opening["stage"]
        self._waiting: list[Any] = []
        self._since = time.monotonic()
        self.message = ""
        self._experiment = experiment(self._client)
        run = run_of(self._client, opening["weights_digest"]) if opening["weights_digest"] else None
        self._ended = run.info.end_time if run else None  # its duration is that of the training, not of the week
        self._run_id = run.info.run_id if run else self._create(opening, Param)
        self.page = f"#/experiments/{self._experiment}/runs/{self._run_id}"
        self._client.update_run(self._run_id, status="RUNNING")
        self._system = None
        if self._stage == "pretrain":
            self._system = SystemMetricsMonitor(self._run_id, sampling_interval=SYSTEM_SECONDS, tracking_uri=address)
            self._system.start()

    def _create(self, opening: Mapping[str, Any], param: Any) -> str:
        run = self._client.create_run(self._experiment, run_name=opening["name"], tags=opening["tags"])
        params = [param(name, value) for name, value in opening["params"].items()]
        for start in range(0, len(params), 100):  # the most that MLflow takes at once
            self._client.log_batch(run.info.run_id, params=params[start : start + 100])
        self._client.log_dict(run.info.run_id, opening["all_params"], "params.yaml")
        self._add_data(run.info.run_id, opening["tags"])
        if opening["weights_digest"]:
            self._name_weights(run.info.run_id, opening["weights_digest"])
            self.message = (
                "MLflow has no run of this model (it was trained elsewhere, or mlruns/ was removed): "
                f"made a new one, {opening['name']!r}."
            )
        return str(run.info.run_id)

    def _add_data(self, run_id: str, tags: Mapping[str, str]) -> None:
        """The column `Dataset` of MLflow's table: which segments the model learned from."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest = tags.get(f"input/{views.SEGMENTS}")
        if digest:
            data = Dataset(name=views.SEGMENTS, digest=digest.removesuffix(".dir"), source_type="dvc", source="{}")
            context = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(run_id, [DatasetInput(dataset=data, tags=[context])])

    def _name_weights(self, run_id: str, weights_digest: str) -> None:
        """The run is found by its weights, and tells them in its name."""
        self._client.set_tag(run_id, "weights_digest", weights_digest)
        name = self._client.get_run(run_id).info.run_name
        if not name.endswith(weights_digest[:8]):
            self._client.update_run(run_id, name=f"{name} {weights_digest[:8]}")

    def take(self, event: Mapping[str, Any]) -> None:
        """Store one event; figures are collected for some seconds."""
        if "metrics" in event:
            step, moment = event["step"], event["time"]
            self._waiting += [self._metric(k, v, moment, step) for k, v in event["metrics"].items()]
            if time.monotonic() - self._since > FLUSH_SECONDS:
                self.flush()
        elif "artifact" in event:
            self._client.log_artifact(self._run_id, event["artifact"], self._stage)
        elif "tags" in event:
            tags = dict(event["tags"])
            if "weights_digest" in tags:
                self._name_weights(self._run_id, tags.pop("weights_digest"))
            self._client.log_batch(self._run_id, tags=[self._tag(name, value) for name, value in tags.items()])

    def flush(self) -> None:
        """Write the collected figures."""
        for start in range(0, len(self._waiting), 1000):  # the most that MLflow takes at once
            self._client.log_batch(self._run_id, metrics=self._waiting[start : start + 1000])
        self._waiting = []
        self._since = time.monotonic()

    def close(self, status: str) -> None:
        """Write what is left and end the run; a model stays well trained when its probe fails."""
        self.flush()
        if self._system:
            self._system.finish()
        if self._stage != "pretrain":
            if status == "FAILED":
                self._client.set_tag(self._run_id, FAILED_STAGE, self._stage)
            elif self._client.get_run(self._run_id).data.tags.get(FAILED_STAGE) == self._stage:
                self._client.delete_tag(self._run_id, FAILED_STAGE)
            status = "FINISHED"
        run = self._client.get_run(self._run_id)
        note = run.data.tags.get(views.NOTE, views.RUN_NOTE)
        if note.startswith(views.RUN_NOTE):  # what a person wrote instead is theirs
            self._client.set_tag(self._run_id, views.NOTE, views.run_note(run.data.metrics))
        self._client.set_terminated(self._run_id, status, end_time=self._ended)


def main(events: IO[str], answer: IO[str]) -> None:
    """Store events until they end; a run whose end was never told has FAILED."""
    opening = json.loads(events.readline() or "{}")
    try:
        record = Record(opening)
    except Exception as error:  # told to the stage, which decides
        print(
            json.dumps({"error": redacted(f"{type(error).__name__}: {error}")[:LONGEST_VALUE]}),
            file=answer,
            flush=True,
        )
        sys.exit(1)
    print(json.dumps({"message": record.message, "page": record.page}), file=answer, flush=True)
    status = "FAILED"
    try:
        for line in events:
            event = json.loads(line)
            status = event.get("end", status)
            record.take(event)
    finally:
        record.close(status)


if __name__ == "__main__":
    # MLflow prints to standard output: that is where the one answer goes, so give it the error stream.
    told, sys.stdout = sys.stdout, sys.stderr
    main(sys.stdin, told)
