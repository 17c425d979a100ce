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

from flows.running import dvc_experiment
from flows.tracking import models, store, views
from flows.tracking.origin import SEGMENTS
from flows.tracking.recorder import Recorder, said_of
from scriptsight.errors import InputError
from scriptsight.redaction import LONGEST_VALUE, redacted

SYSTEM_SECONDS = 5  # between two samples of processor, memory and GPU
CHANGED = "changed"  # tag, after the stage's name: parameters that are others than when it first measured the model
FAILED_STAGE = "failed_stage"  # tag: the stage after pretrain that failed last, and has not succeeded since


class StageRun(Recorder):
    """The open run of a model that a stage trains or measures."""

    def __init__(self, opening: Mapping[str, Any]) -> None:
        """`opening` is what `reporter.opening` says of the run.

        Raises:
            InputError: MLflow can't be used.
        """
        self._stage = opening["stage"]
        self._measured = opening["measured"]
        self._model: str | None = None  # the logged model; None: there are no weights yet
        self.message = ""
        with store.opened() as client:
            super().__init__(client, "the stage")
            found = store.run_of(client, opening["weights_digest"]) if opening["weights_digest"] else None
            self._ended = found.info.end_time if found else None  # its duration is the training's, not the week's
            self._run_id = found.info.run_id if found else self._create(opening)
            if found:  # killed while it measures, the model is as well trained as before
                self.reopen(self._run_id, "FINISHED", self._ended)
            else:
                self.reopen(self._run_id)
            if self._stage != "pretrain":
                self._note_params(opening)
                self._model = models.ensure(client, self._run_id).model_id
            self._add_data(self._measured)
        self.page = f"#/experiments/{self.experiment}/runs/{self._run_id}"
        self._system = None
        if self._stage == "pretrain":
            self._system = SystemMetricsMonitor(
                self._run_id, sampling_interval=SYSTEM_SECONDS, tracking_uri=store.uri()
            )
            self._system.start()

    def _create(self, opening: Mapping[str, Any]) -> str:
        run_id = self.create(opening["name"], opening["params"], opening["tags"])
        self.client.log_dict(run_id, opening["all_params"], "params.yaml")
        self._run_id = run_id
        self._add_data(opening["learned"])
        if opening["weights_digest"]:
            self._name_weights(opening["weights_digest"])
            self.message = (
                "MLflow has no run of this model (it was trained elsewhere, or mlruns/ was removed): "
                f"made a new one, {opening['name']!r}."
            )
        return run_id

    def _note_params(self, opening: Mapping[str, Any]) -> None:
        """Write with which parameters the model is measured. MLflow keeps the first ones of a run: a tag says what
        is otherwise now, and the stage's own params.yaml has all."""
        known = self.client.get_run(self._run_id).data.params
        said = {name: said_of(value) for name, value in opening["measured_with"].items()}
        self.params(self._run_id, {name: value for name, value in said.items() if name not in known})
        changed = [
            f"{name}: {known[name]} -> {value}" for name, value in said.items() if known.get(name, value) != value
        ]
        changed += [
            f"{name}: {known[name]} -> none"
            for name in known
            if name.startswith(f"{self._stage}.") and name not in said
        ]
        self._mark(f"{self._stage}.{CHANGED}", "; ".join(changed)[:LONGEST_VALUE])
        section = {self._stage: opening["all_params"][self._stage]}
        self.client.log_dict(self._run_id, section, f"{self._stage}/params.yaml")

    def _add_data(self, described: Mapping[str, Any] | None) -> None:
        """The column `Dataset` of MLflow's table: which segments the model learned from or was measured on."""
        if described is None:
            return
        data = Dataset(
            name=described["name"],
            digest=described["digest"],
            source_type="local",
            source=json.dumps({"uri": ((dvc_experiment.home() or Path()) / SEGMENTS).resolve().as_uri()}),
            profile=None if described["rows"] is None else json.dumps({"segments": described["rows"]}),
        )
        context = InputTag("mlflow.data.context", described["context"])
        self.client.log_inputs(self._run_id, [DatasetInput(dataset=data, tags=[context])])

    def _name_weights(self, weights_digest: str) -> None:
        """The run is found by its weights, and its name ends with the beginning of their digest; they are a model."""
        self.client.set_tag(self._run_id, "weights_digest", weights_digest)
        name = self.client.get_run(self._run_id).info.run_name
        if not name.endswith(weights_digest[:8]):
            self.client.update_run(self._run_id, name=f"{name} {weights_digest[:8]}")
        self._model = models.ensure(self.client, self._run_id).model_id

    def take(self, event: Mapping[str, Any]) -> None:
        """Store one event of the stage."""
        if "metrics" in event:
            of: dict[str, Any] = {}
            if event.get("of_model"):
                data = self._measured
                of = {"model": self._model, "data": data and (data["name"], data["digest"])}
            self.metrics(self._run_id, event["metrics"], event["step"], event["time"], **of)
        elif "artifact" in event:
            self.artifact(self._run_id, Path(event["artifact"]), self._stage)
        elif "data" in event:
            self.safely(self._add_data, event["data"])
        elif "tags" in event:
            tags = dict(event["tags"])
            if "weights_digest" in tags:
                self.safely(self._name_weights, tags.pop("weights_digest"))
            self.tags(self._run_id, tags)

    def close(self, status: str) -> None:
        """Write what is left and end the run; a model stays well trained when its probe fails."""
        self.flush()
        if self._system:
            self._system.finish()
        if self._stage != "pretrain":
            self.safely(self._mark, FAILED_STAGE, self._stage if status == "FAILED" else "", self._stage)
            status = "FINISHED"
        self.safely(self._describe)
        self.end(self._run_id, status, end_time=self._ended)

    def _mark(self, tag: str, value: str, ours: str | None = None) -> None:
        """Set a tag; without a value take it back, if need be only where it is `ours`."""
        if value:
            self.client.set_tag(self._run_id, tag, value)
            return
        known = self.client.get_run(self._run_id).data.tags.get(tag)
        if known is not None and ours in (None, known):
            self.client.delete_tag(self._run_id, tag)

    def _describe(self) -> None:
        """Write the run's headline figures into its description."""
        run = self.client.get_run(self._run_id)
        note = run.data.tags.get(views.NOTE, views.RUN_NOTE)
        if note.startswith(views.RUN_NOTE):  # what a person wrote instead is theirs
            self.client.set_tag(self._run_id, views.NOTE, views.run_note(run.data.metrics))


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
