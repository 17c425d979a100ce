"""The process that talks to MLflow while a stage works: events as JSON lines on its input, one answer.

The seconds of MLflow's imports overlap with those of the stage, no database write stops the training loop, and a
training that is killed leaves a run marked FAILED, because its events end without a word.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from flows.tracking import store, views
from flows.tracking.recorder import Recorder
from scriptsight.errors import InputError
from scriptsight.redaction import LONGEST_VALUE, redacted

SYSTEM_SECONDS = 5  # between two samples of processor, memory and GPU
FAILED_STAGE = "failed_stage"  # tag: the stage after pretrain that failed last, and has not succeeded since


class StageRun:
    """The open run of a model that a stage trains or measures."""

    def __init__(self, opening: Mapping[str, Any]) -> None:
        """`opening` is what `reporter.opening` says of the run.

        Raises:
            InputError: MLflow can't be used.
        """
        self._stage = opening["stage"]
        self.message = ""
        with store.opened() as client:
            self._recorder, self._client = Recorder(client, "the stage"), client
            found = store.run_of(client, opening["weights_digest"]) if opening["weights_digest"] else None
            self._ended = found.info.end_time if found else None  # its duration is the training's, not the week's
            self._run_id = found.info.run_id if found else self._create(opening)
            if found:  # killed while it measures, the model is as well trained as before
                self._recorder.reopen(self._run_id, "FINISHED", self._ended)
            else:
                self._recorder.reopen(self._run_id)
        self.page = f"#/experiments/{self._recorder.experiment}/runs/{self._run_id}"
        self._system = None
        if self._stage == "pretrain":
            self._system = SystemMetricsMonitor(
                self._run_id, sampling_interval=SYSTEM_SECONDS, tracking_uri=store.uri()
            )
            self._system.start()

    @property
    def lost(self) -> bool:
        """Whether MLflow stopped taking figures."""
        return self._recorder.lost

    def _create(self, opening: Mapping[str, Any]) -> str:
        run_id = self._recorder.create(opening["name"], opening["params"], opening["tags"])
        self._client.log_dict(run_id, opening["all_params"], "params.yaml")
        self._add_data(run_id, opening["tags"])
        if opening["weights_digest"]:
            self._name_weights(run_id, opening["weights_digest"])
            self.message = (
                "MLflow has no run of this model (it was trained elsewhere, or mlruns/ was removed): "
                f"made a new one, {opening['name']!r}."
            )
        return run_id

    def _add_data(self, run_id: str, tags: Mapping[str, str]) -> None:
        """The column `Dataset` of MLflow's table: which segments the model learned from."""
        digest = tags.get(f"input/{views.SEGMENTS}")
        if digest:
            data = Dataset(name=views.SEGMENTS, digest=digest.removesuffix(".dir"), source_type="dvc", source="{}")
            context = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(run_id, [DatasetInput(dataset=data, tags=[context])])

    def _name_weights(self, run_id: str, weights_digest: str) -> None:
        """The run is found by its weights, and its name ends with the beginning of their digest."""
        self._client.set_tag(run_id, "weights_digest", weights_digest)
        name = self._client.get_run(run_id).info.run_name
        if not name.endswith(weights_digest[:8]):
            self._client.update_run(run_id, name=f"{name} {weights_digest[:8]}")

    def take(self, event: Mapping[str, Any]) -> None:
        """Store one event of the stage."""
        if "metrics" in event:
            self._recorder.metrics(self._run_id, event["metrics"], event["step"], event["time"])
        elif "artifact" in event:
            self._recorder.artifact(self._run_id, Path(event["artifact"]), self._stage)
        elif "tags" in event:
            tags = dict(event["tags"])
            if "weights_digest" in tags:
                self._recorder.safely(self._name_weights, self._run_id, tags.pop("weights_digest"))
            self._recorder.tags(self._run_id, tags)

    def close(self, status: str) -> None:
        """Write what is left and end the run; a model stays well trained when its probe fails."""
        self._recorder.flush()
        if self._system:
            self._system.finish()
        if self._stage != "pretrain":
            self._recorder.safely(self._mark, status == "FAILED")
            status = "FINISHED"
        self._recorder.safely(self._describe)
        self._recorder.end(self._run_id, status, end_time=self._ended)

    def _mark(self, failed: bool) -> None:
        """Write on the run that this stage failed, or take back that it did."""
        if failed:
            self._client.set_tag(self._run_id, FAILED_STAGE, self._stage)
        elif self._client.get_run(self._run_id).data.tags.get(FAILED_STAGE) == self._stage:
            self._client.delete_tag(self._run_id, FAILED_STAGE)

    def _describe(self) -> None:
        """Write the run's headline figures into its description."""
        run = self._client.get_run(self._run_id)
        note = run.data.tags.get(views.NOTE, views.RUN_NOTE)
        if note.startswith(views.RUN_NOTE):  # what a person wrote instead is theirs
            self._client.set_tag(self._run_id, views.NOTE, views.run_note(run.data.metrics))


def main(events: IO[str], answer: IO[str]) -> None:
    """Store events until they end; a run whose end was never reported has FAILED. Status 1 if figures were lost."""
    try:
        run = StageRun(json.loads(events.readline() or "{}"))
    except Exception as error:  # the stage, which gets it as an answer, decides
        words = f"{type(error).__name__}: {redacted(error)[:LONGEST_VALUE]}"
        unforeseen = f"MLflow at {redacted(store.uri())} can't be used: {words}"
        words = str(error) if isinstance(error, InputError) else unforeseen
        print(json.dumps({"error": words}), file=answer, flush=True)
        sys.exit(1)
    print(json.dumps({"message": run.message, "page": run.page}), file=answer, flush=True)
    status = "FAILED"
    try:
        for line in events:
            event = json.loads(line)
            status = event.get("end", status)
            run.take(event)
    finally:
        run.close(status)
    sys.exit(run.lost)


if __name__ == "__main__":
    # MLflow prints to standard output: that is where the one answer goes, so give it the error stream.
    answers, sys.stdout = sys.stdout, sys.stderr
    main(sys.stdin, answers)
