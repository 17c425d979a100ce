"""What a stage records in MLflow. One trained model is one run.

pretrain opens the run; probe and retrieve find it by the digest of the weights (tag `weights_digest`). The reporter
sends what a stage finds to a process of its own (`flows.tracking.stage_run`), which talks to MLflow.

A figure has one name: `train/` and `val/` are curves, `probe/` and `retrieve/` what the model is worth, `speed/` what
it costs, `data/` what it learned from. Parameters that this run did not use are not among its parameters; the
artifact params.yaml has them all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from flows.names import flat, numbers
from flows.parameters import Params
from flows.running.events import EventReporter, path_of
from flows.tracking.store import require_answer, uri
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.reading import read_yaml
from scriptsight.redaction import redacted

WEIGHTS = Path("models/pretrained/model.safetensors")
DATA_PAGE = Path("plots/segment/report.html")
# Parameters of where and how fast, not of what: the same model comes out.
MACHINE = {"workers", "loader_workers", "threads", "runner", "dask_address", "timeout_seconds", "keep_checkpoints"}


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
    reporter = MlflowReporter(opening(stage, params), path_of(stage))
    status = "FAILED"
    try:
        yield reporter
        if stage == "pretrain":
            reporter.tags({"weights_digest": files.digest(WEIGHTS)})
            if DATA_PAGE.is_file():  # what the model learned from
                reporter.artifact(DATA_PAGE)
            for earlier in ("ingest", "segment"):
                reporter.metrics({f"data/{earlier}/{name}": value for name, value in _figures(earlier).items()})
            # The curves of val/ and speed/ end in the figures of the whole training.
            last = {name if name.startswith("val/") else f"speed/{name}": v for name, v in _figures(stage).items()}
            reporter.metrics(last, params.pretrain.steps)
        else:
            reporter.metrics({f"{stage}/{name}": value for name, value in _figures(stage).items()})
        status = "FINISHED"
    finally:
        reporter.end(status)


def opening(stage: str, params: Params) -> dict[str, Any]:
    """The first event: what identifies and describes the run.

    Raises:
        InputError: there is no model whose run could be looked up.
    """
    if stage != "pretrain" and not WEIGHTS.is_file():
        raise InputError(f"There is no trained model ({WEIGHTS}): run the pretrain stage first.")
    learn = params.pretrain
    return {
        "stage": stage,
        "weights_digest": None if stage == "pretrain" else files.digest(WEIGHTS),
        "name": f"{learn.objective} K={learn.k} seed {learn.seed}",  # with its weights it just fits MLflow's column
        "params": used(params),
        "all_params": json.loads(redacted(params.model_dump(mode="json"))),
        "tags": _origin(),
    }


def used(params: Params) -> dict[str, Any]:
    """The parameters that distinguish runs: not those of other objectives, of the machine, or left open."""
    kinds = set(get_args(PretrainParams.model_fields["objective"].annotation)) - {params.pretrain.objective}
    kinds -= set(params.pretrain.objectives)
    if params.pretrain.objective == "contrastive":  # whose parameters are those of tvts
        kinds.discard("tvts")
    others = ("registry.", "sweep.", *(f"pretrain.{kind}." for kind in kinds))
    values = flat(params.model_dump(mode="json"), ".")
    return {
        name: value
        for name, value in values.items()
        if value is not None and not name.startswith(others) and name.rpartition(".")[2] not in MACHINE
    }


def _origin() -> dict[str, str]:
    """Where the code and the data of this run come from."""
    tags = {"dvc_stage": os.environ.get("DVC_STAGE", ""), "folder": Path.cwd().name}
    commit = _git("rev-parse", "HEAD")
    if commit:  # none in a copy without git
        tags |= {"mlflow.source.git.commit": commit[0], "git_commit": commit[0]}
        tags["git_changed_files"] = str(len(_git("status", "--porcelain")))
    if Path("dvc.lock").is_file():
        stages = read_yaml("dvc.lock").get("stages", {})
        for earlier in ("ingest", "segment"):
            for out in stages.get(earlier, {}).get("outs", ()):
                tags[f"input/{out['path']}"] = out["md5"]
    return tags


def _git(*arguments: str) -> list[str]:
    """Lines that git prints in the project's folder; none where there is no repository or no git."""
    git = shutil.which("git")
    if not git:
        return []
    command = [git, "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.splitlines() if done.returncode == 0 else []


def _figures(stage: str) -> dict[str, float]:
    """The numbers of metrics/STAGE.json under names such as `random_init/linear_top1`; none before it ran."""
    path = Path("metrics") / f"{stage}.json"
    return numbers(path) if path.is_file() else {}
