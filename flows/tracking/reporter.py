"""What a stage records in MLflow. One trained model is one run.

pretrain opens the run; probe and retrieve find it by the digest of the weights (tag `weights_digest`). The reporter
sends what a stage finds to a process of its own (`flows.tracking.stage_run`), which talks to MLflow.

A figure has one name: `train/` and `val/` are curves, `probe/` and `retrieve/` what the model is worth, `speed/` what
it costs, `data/` what it learned from. What of these is the model's own belongs to its logged model as well
(`models`). Parameters that this run did not use are not among its parameters; the artifact params.yaml has them all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.names import recorded
from flows.parameters import Params
from flows.running import dvc_experiment
from flows.running.events import EventReporter, path_of
from flows.tracking import origin, views
from flows.tracking.store import require_answer, uri
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.redaction import redacted

WEIGHTS = Path("models/pretrained/model.safetensors")
DATA_PAGE = Path("plots/segment/report.html")


class MlflowReporter(EventReporter):
    """A reporter whose figures go to an MLflow run."""

    def __init__(self, first: Mapping[str, Any], events: Path) -> None:
        """`first` is the event that opens the run, as `opening` makes it; `events` the file for who follows."""
        super().__init__(events)
        # A session of its own: ctrl-C must not end it before the stage has said how it ended.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.tracking.stage_run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._opened: bool | None = None  # not known before the first figure: MLflow takes seconds to start
        self._lost = False
        self._answer = ""
        self._answering = threading.Thread(target=self._wait_for_answer, daemon=True)
        self._answering.start()
        self._send(first)

    def _wait_for_answer(self) -> None:
        """Read how opening the run went, and tell its page at once: the first figures may take minutes."""
        assert self._process.stdout
        self._answer = self._process.stdout.readline()
        if self._answer and "page" in (answer := json.loads(self._answer)):
            self.event({"mlflow": answer["page"]})

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._open()
        self._send({"metrics": dict(values), "step": step or 0, "time": time.time_ns() // 1_000_000})

    def figures(self, values: Mapping[str, float], step: int | None = None) -> None:
        """As `metrics`, of the trained model itself: MLflow shows them on its page, with the data they are of."""
        self._open()
        moment = time.time_ns() // 1_000_000
        self._send({"metrics": dict(values), "step": step or 0, "time": moment, "of_model": True})

    def data(self, learned: origin.DataSet) -> None:
        """Name the segments that the model learned from, where they are others than when the run was opened."""
        self.tags({f"input/{views.SEGMENTS}": learned.digest})
        self._send({"data": learned.event()})

    def artifact(self, path: Path) -> None:
        self._open()
        self._send({"artifact": str(Path(path).resolve())})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._open()
        self._send({"tags": dict(values)})

    def end(self, status: str) -> None:
        """Close the run as FINISHED or FAILED, once everything sent is stored. It warns and never raises: the
        stage may be ending with an error of its own."""
        try:
            self._open()
            self._send({"end": status})
        except InputError as error:
            self.message(f"WARNING: {error}")
        self._process.communicate()
        if self._process.returncode < 0:  # it was killed, and could not close its run
            subprocess.run([sys.executable, "-m", "flows.tracking.unfinished"], check=False)
        if self._opened and self._process.returncode:
            self.message("WARNING: MLflow lost figures of this run (see above); the stage's files are whole.")

    def _open(self) -> None:
        """Wait until the run is open, so that a training whose record would be lost ends before it begins.

        Raises:
            InputError: MLflow can't be used; said once.
        """
        if self._opened is not None:
            return
        self._answering.join()
        nothing = {"error": f"MLflow at {redacted(uri())} can't be used: see the lines above."}
        answer = json.loads(self._answer or json.dumps(nothing))
        self._opened = "error" not in answer
        if not self._opened:
            raise InputError(answer["error"])
        if answer["message"]:
            self.message(answer["message"])

    def _send(self, event: Mapping[str, Any]) -> None:
        assert self._process.stdin
        if self._lost:
            return
        try:
            self._process.stdin.write(json.dumps(event) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # a training run is worth more than its curve
            self._lost = True
            if self._opened:
                self.message("WARNING: MLflow stopped taking figures; the stage goes on.")


@contextmanager
def tracked(stage: str, params: Params) -> Iterator[MlflowReporter]:
    """The reporter of a stage, within its MLflow run; if the block raises, pretrain's run ends FAILED, and the
    run that another stage adds to gets the tag `failed_stage`.

    Raises:
        InputError: MLflow can't be used, or the model that a run is looked up for does not exist.
    """
    require_answer(uri())
    first = opening(stage, params)
    reporter = MlflowReporter(first, path_of(stage))
    status = "FAILED"
    try:
        yield reporter
        if stage == "pretrain":
            _trained(reporter, params, first)
        else:
            if files.digest(WEIGHTS) != first["weights_digest"]:
                raise InputError(f"{WEIGHTS} was replaced while {stage} measured it: run {stage} again.")
            reporter.figures(recorded(stage, origin.figures(stage)))
        status = "FINISHED"
    finally:
        reporter.end(status)


def _trained(reporter: MlflowReporter, params: Params, first: Mapping[str, Any]) -> None:
    """Record what a training that is over came to, and what its model says of the data that it learned from."""
    reporter.tags({"weights_digest": files.digest(WEIGHTS), **origin.computed()})
    learned = origin.learned_from()
    if learned and learned.digest != (first["learned"] or {}).get("digest"):  # replaced before the stage opened them
        reporter.data(learned)
    if DATA_PAGE.is_file():
        reporter.artifact(DATA_PAGE)
    reporter.metrics({f"data/{name}": value for name, value in first["data_figures"].items()})
    # The curves of val/ and speed/ end in the figures of the whole training.
    last = recorded("pretrain", origin.figures("pretrain")) | recorded("speed", origin.figures("speed"))
    reporter.figures(last, params.pretrain.steps)


def opening(stage: str, params: Params) -> dict[str, Any]:
    """The first event: what identifies and describes the run.

    Of a model, everything but what a later stage measures it with is written when it is trained. A run that a later
    stage makes, for weights that MLflow doesn't know, takes it from params.yaml, and says so.

    Raises:
        InputError: there is no model whose run could be looked up.
    """
    trains = stage == "pretrain"
    if not trains and not WEIGHTS.is_file():
        raise InputError(f"There is no trained model ({WEIGHTS}): run the pretrain stage first.")
    made, learned = origin.made(params), origin.training(params) if trains else origin.learned_from()
    measured = origin.measured(stage, params)
    tags = {"dvc_stage": os.environ.get("DVC_STAGE", ""), "folder": dvc_experiment.folder_name(), **origin.code()}
    tags |= dvc_experiment.tags()
    tags["data_known_by"] = made.known_by
    if not trains and "DVC_STAGE" not in os.environ:
        tags["params_of"] = f"params.yaml when {stage} made this run: those of the training are not known"
    if learned:
        tags[f"input/{views.SEGMENTS}"] = learned.digest
    if made.catalogue and trains:
        tags[f"input/{origin.CATALOGUE.as_posix()}"] = made.catalogue
    learn = params.pretrain
    return {
        "stage": stage,
        "weights_digest": None if trains else files.digest(WEIGHTS),
        "name": f"{learn.objective} K={learn.k} seed {learn.seed}",  # with its weights it just fits MLflow's column
        "params": {**made.params, **origin.used(params, ["pretrain"])},
        "measured_with": {} if trains else origin.used(params, [stage]),
        "all_params": json.loads(redacted(params.model_dump(mode="json"))),
        "tags": tags,
        "learned": learned and learned.event(),
        "measured": measured and measured.event(),
        "data_figures": dict(made.figures),
    }
