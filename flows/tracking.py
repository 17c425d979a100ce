"""MLflow: the one place that talks to it. One trained model is one run.

pretrain opens the run; probe and retrieve find it by the digest of the weights (tag `weights_digest`). The
talking is done in a process of its own (`python -m flows.tracking`, events as JSON lines on its input): its
four seconds of imports overlap with those of the stage, no database write stops the training loop, and a
training that is killed leaves a run marked FAILED, because its events end without a word.

A figure has one name: `train/` and `val/` are curves, `probe/` and `retrieve/` what the model is worth, `speed/` what
it costs, `data/` what it learned from. Parameters that this run did not use are not among its parameters; the
artifact params.yaml has them all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, get_args

from flows import views
from flows.parameters import Params
from flows.server import answers, clean
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.reading import read_yaml
from scriptsight.reporting import ConsoleReporter

EXPERIMENT = "scriptsight"
WEIGHTS = Path("models/pretrained/model.safetensors")
DATA_PAGE = Path("plots/segment/report.html")
STORE = Path("mlruns")
SYSTEM_SECONDS = 5  # between two samples of processor, memory and GPU
FLUSH_SECONDS = 2
# Parameters of where and how fast, not of what: the same model comes out.
MACHINE = {"workers", "loader_workers", "threads", "runner", "dask_address", "timeout_seconds", "keep_checkpoints"}
FAILED_STAGE = "failed_stage"  # tag: the stage after pretrain that failed last, and has not succeeded since


class MlflowReporter(ConsoleReporter):
    """A reporter whose figures also go to an MLflow run."""

    def __init__(self, opening: Mapping[str, Any]) -> None:
        # A session of its own: ctrl-C must not end it before the stage has said how it ended.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.tracking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._opened: bool | None = None  # not known before the first figure: MLflow takes seconds to start
        self._lost = False
        self.page = ""  # of the run, below MLflow's address; known once it is open
        self._send(opening)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._open()
        self._send({"metrics": dict(values), "step": step or 0, "time": time.time_ns() // 1_000_000})

    def figure(self, path: Path) -> None:
        self._open()
        self._send({"figure": str(Path(path).resolve())})

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
        if self._opened and self._process.returncode:
            self.message("WARNING: MLflow lost figures of this run (see above); the stage's files are whole.")

    def _open(self) -> None:
        """Wait until the run is open, so that a training whose record would be lost ends before it begins.

        Raises:
            InputError: MLflow can't be used; said once.
        """
        if self._opened is not None:
            return
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or '{"error": "see the lines above"}')
        self._opened = "error" not in answer
        if not self._opened:
            raise InputError(f"MLflow at {clean(uri())} can't be used: {answer['error']}")
        self.page = answer["page"]
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
    told_if_dead(uri())
    reporter = MlflowReporter(_opening(stage, params))
    status = "FAILED"
    try:
        yield reporter
        if stage == "pretrain":
            reporter.tags({"weights_digest": files.digest(WEIGHTS)})
            if DATA_PAGE.is_file():  # what the model learned from
                reporter.figure(DATA_PAGE)
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


def _opening(stage: str, params: Params) -> dict[str, Any]:
    """The first event: what identifies and describes the run."""
    if stage != "pretrain" and not WEIGHTS.is_file():
        raise InputError(f"There is no trained model ({WEIGHTS}): run the pretrain stage first.")
    learn = params.pretrain
    return {
        "stage": stage,
        "weights_digest": None if stage == "pretrain" else files.digest(WEIGHTS),
        "name": f"{learn.objective} K={learn.k} seed {learn.seed}",  # with its weights it just fits MLflow's column
        "params": {name: clean(value) for name, value in used(params).items()},
        "all_params": _cleaned(params.model_dump(mode="json")),
        "tags": _origin(),
    }


def _cleaned(value: Any) -> Any:
    """Parameters without passwords of addresses."""
    if isinstance(value, dict):
        return {name: _cleaned(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return clean(value) if isinstance(value, str) else value


def used(params: Params) -> dict[str, Any]:
    """The parameters that a run is told apart by: not those of other objectives, of the machine, or left open."""
    kinds = set(get_args(PretrainParams.model_fields["objective"].annotation)) - {params.pretrain.objective}
    kinds -= set(params.pretrain.objectives)
    if params.pretrain.objective == "contrastive":  # whose parameters are those of tvts
        kinds.discard("tvts")
    others = ("registry.", "sweep.", *(f"pretrain.{kind}." for kind in kinds))
    values = flat(params.model_dump(mode="json"), ".")
    return {
        name: value
        for name, value in values.items()
        if value is not None
        and not name.startswith((*others, "registry."))
        and name.rpartition(".")[2] not in MACHINE
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
    """The numbers of metrics/STAGE.json under names such as `random_init/linear_top1`."""
    path = Path("metrics") / f"{stage}.json"
    if not path.is_file():
        return {}
    values = flat(json.loads(path.read_text(encoding="utf-8")), "/")
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def flat(values: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with joined names; characters that MLflow refuses in a name become `_`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + re.sub(r"[^\w .\-]", "_", str(key))
        if isinstance(value, Mapping):
            found |= flat(value, separator, name + separator)
        else:
            found[name] = value
    return found


def uri() -> str:
    """MLFLOW_TRACKING_URI, or the database in mlruns/ of the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(STORE / 'mlflow.db').resolve()}"


@contextmanager
def opened() -> Iterator[Any]:
    """An `MlflowClient` of `uri()`.

    Raises:
        InputError: MLflow can't be used, or refused something within the block.
    """
    address = uri()
    told_if_dead(address)
    STORE.mkdir(exist_ok=True)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield MlflowClient(address)
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"MLflow at {clean(address)} can't be used: {clean(str(error))}") from None


def told_if_dead(address: str) -> None:
    """Raise an InputError where a server of MLflow does not answer."""
    if address.startswith(("http://", "https://")) and not answers(address):
        raise InputError(f"MLflow at {clean(address)} does not answer: start it, or unset MLFLOW_TRACKING_URI.")


def experiment(client: Any, name: str = EXPERIMENT) -> str:
    """The id of an experiment, by default the one of all models; it is made, and told how to look, if need be."""
    found = client.get_experiment_by_name(name)
    if found is None:
        at_home = "MLFLOW_TRACKING_URI" not in os.environ
        location = (STORE / "artifacts").resolve().as_uri() if at_home else None
        client.create_experiment(name, artifact_location=location)
        found = client.get_experiment_by_name(name)
    for tag, value in views.experiment_tags(found.experiment_id).items() if name == EXPERIMENT else ():
        if tag not in found.tags:  # what a person has written there since is theirs
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def runs(client: Any, experiment_id: str, condition: str = "") -> Iterator[Any]:
    """The runs that meet a condition in MLflow's words, the newest first."""
    page = None
    while True:
        found = client.search_runs(
            [experiment_id], condition, order_by=["attributes.start_time DESC"], max_results=500, page_token=page
        )
        yield from found
        page = found.token
        if not page:
            return


def run_of(client: Any, weights_digest: str) -> Any:
    """The newest run of these weights, or None."""
    return next(runs(client, experiment(client), f"tags.weights_digest = '{weights_digest}'"), None)


def model_version(client: Any, registered: str, named: str) -> Any:
    """The version of a registered model with this number or alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        if re.fullmatch(r"[0-9]{1,6}", named):  # longer ones are beginnings of runs
            return client.get_model_version(registered, named)
        if re.fullmatch(r"[A-Za-z0-9_-]+", named):
            return client.get_model_version_by_alias(registered, named)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    return None


# ------------------------------------------------------------------------- the process that talks to MLflow


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
        elif "figure" in event:
            self._client.log_artifact(self._run_id, event["figure"], self._stage)
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
        print(json.dumps({"error": clean(f"{type(error).__name__}: {error}")}), file=answer, flush=True)
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
