"""Models by the names that people give them: an MLflow run, a registered version, an experiment of DVC, a folder.

    3f2a91                the beginning of an MLflow run's id
    3, champion           a version of the registered model, or its alias
    wide-net              an experiment of DVC: by MLflow's run of it, else by what Git and DVC's cache have of it
    old/plots             a folder in which stages left what they found, or one with a model beside it

What lies where is told apart here, and nowhere else: what a model got right is its `model`, and what else is known of
it are its `details`.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.experiments import outcomes
from flows.names import flat, numbers, recorded
from flows.tracking import store
from flows.tracking.origin import used_of
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.params import reading
from scriptsight.redaction import LONGEST_VALUE, redacted

STAGES = ("pretrain", "probe", "retrieve")  # whose plots are of a model
MEASURED = ("ingest", "segment", *STAGES, "speed")  # whose metrics are
DATA = ("data/catalogue", "data/segments")
CURVES = {"training.csv": "train/", "validation.csv": "val/"}  # tables of pretrain -> as MLflow names their columns
EXPERIMENT = "dvc_experiment"  # tag of a run
LARGEST_PICTURE = 20 * 2**20  # bytes

Curve = list[tuple[int, float]]  # step, value


@dataclass
class Details:
    """What is known of a model beside its outcomes; figures and curves have MLflow's names."""

    params: dict[str, Any] = field(default_factory=dict)  # those it used; empty: not known
    figures: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)  # STAGE/NAME.png -> its bytes
    data: dict[str, str] = field(default_factory=dict)  # data/segments -> DVC's digest of it
    weights: set[str] = field(default_factory=set)  # digests, each with its kind; two models that share one are one
    problems: list[str] = field(default_factory=list)  # what can't be read


@dataclass(frozen=True)
class Layout:
    """Where the files of a model lie on this machine."""

    plots: Path  # STAGE/outcomes.csv, or that of one stage
    root: Path | None = None  # has metrics/, dvc.lock or params.yaml; None: only plots are known
    weights: Path | None = None


class Source(ABC):
    """A model that was found."""

    name: str  # for people
    key: str  # two names of one thing have the same
    run_id: str | None = None
    started: int = 0  # milliseconds since 1970; 0: not known

    @abstractmethod
    def tables(self) -> AbstractContextManager[Path]:
        """A folder with the tables of outcomes."""

    @abstractmethod
    def details(self) -> Details:
        """What else is known. What can't be read is a problem, and never an error."""

    def model(self) -> outcomes.Model:
        """What the model got right.

        Raises:
            InputError: it has no outcomes, or a damaged table of them.
        """
        with self.tables() as folder:
            return outcomes.read(folder, self.name, self.run_id, self.started)

    def readable(self) -> tuple[outcomes.Model, list[str]]:
        """As `model`, of the tables that can be read -> the model, and what is wrong with the others."""
        with self.tables() as folder:
            return outcomes.readable(folder, self.name, self.run_id, self.started)


def find(client: Any, named: str, registered: str) -> Source:
    """The model that a person names.

    Raises:
        InputError: nothing, or more than one, has that name.
    """
    layout = _layout(Path(named))
    if layout is not None:
        return Folder(layout, named)
    version = store.model_version(client, registered, named)
    if version is not None:
        return of_version(client, version)
    runs = list(store.runs(client, store.experiment(client)))
    begun = [run for run in runs if run.info.run_id.startswith(named.lower())]
    if len(begun) == 1:
        return Run(client, begun[0])
    if begun:
        raise InputError(f"{named!r} is the beginning of {len(begun)} runs: name more of the id.")
    of_experiment = [run for run in runs if run.data.tags.get(EXPERIMENT) == named]
    if of_experiment:
        trained = [run for run in of_experiment if "weights_digest" in run.data.tags]
        return Run(client, (trained or of_experiment)[0], f" (experiment {named})")  # the newest
    revision = _revision(named)
    if revision is not None:
        return Experiment(named, revision)
    raise InputError(
        f"{named!r} is no MLflow run, no version or alias of the registered model {registered!r}, no experiment of "
        "DVC, and no folder with outcomes.csv or a model. The MLflow page (`scriptsight ui`) lists runs and "
        "versions, `dvc exp list --all-commits` lists experiments."
    )


# ------------------------------------------------------------------------------------------------ runs of MLflow


class Run(Source):
    """A run of MLflow."""

    def __init__(self, client: Any, run: Any, remark: str = "") -> None:
        """`remark` stands behind its name."""
        self._client, self._run = client, run
        self.key = self.run_id = run.info.run_id
        self.started = run.info.start_time
        self.name = f"{run.info.run_name} (run {run.info.run_id[:8]}){remark}"

    @contextmanager
    def tables(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            for table in outcomes.TABLES:
                of_stage = table.partition("/")[0]
                if table in self._artifacts(of_stage):
                    self._download(table, Path(folder, of_stage)).replace(Path(folder, table))
            yield Path(folder)

    def details(self) -> Details:
        found, data = Details(), self._run.data
        found.figures = {name: value for name, value in data.metrics.items() if math.isfinite(value)}
        found.data = {path: data.tags[f"input/{path}"] for path in DATA if f"input/{path}" in data.tags}
        if "weights_digest" in data.tags:
            found.weights.add(f"sha256 {data.tags['weights_digest']}")
        found.params = dict(data.params)
        for name in data.metrics:
            if name.startswith(tuple(CURVES.values())):
                points = {point.step: point.value for point in self._client.get_metric_history(self.run_id, name)}
                found.curves[name] = sorted(point for point in points.items() if math.isfinite(point[1]))
        with tempfile.TemporaryDirectory() as folder:
            _try(found, self._read_params, found, Path(folder))
            for stage in STAGES:
                _try(found, self._read_pictures, found, stage, Path(folder))
        return found

    def _read_params(self, found: Details, folder: Path) -> None:
        """All of them: what a run of a study has as parameters is only what was drawn."""
        if "params.yaml" in self._artifacts(""):
            found.params = used_of(reading.read_yaml(self._download("params.yaml", folder / "params")))

    def _read_pictures(self, found: Details, stage: str, folder: Path) -> None:
        for path in self._artifacts(stage):
            if path.endswith(".png"):
                _add_picture(found, path, self._download(path, folder / "pictures" / path))

    def _artifacts(self, folder: str) -> list[str]:
        return sorted(file.path for file in self._client.list_artifacts(self.run_id, folder or None))

    def _download(self, path: str, into: Path) -> Path:
        into.mkdir(parents=True)  # one each: some stores keep a single file's folder, others don't
        return Path(self._client.download_artifacts(self.run_id, path, str(into)))


def of_version(client: Any, version: Any) -> Run:
    """The run that a version of the registered model comes from."""
    return Run(client, client.get_run(version.run_id), f" (version {version.version})")


# ------------------------------------------------------------------------------------------------------- folders


class Folder(Source):
    """A folder of this machine."""

    def __init__(self, layout: Layout, name: str) -> None:
        self._layout, self.name, self.key = layout, name, str(layout.plots)

    def tables(self) -> AbstractContextManager[Path]:
        return nullcontext(self._layout.plots)

    def details(self) -> Details:
        return _details(self._layout)


def _layout(folder: Path) -> Layout | None:
    """Where the files of a model lie that a folder is named of: its plots, the folder of a pipeline, or the model's
    own; None if it is none of these."""
    here = folder.resolve()
    if not here.is_dir():
        return None
    if here.name == "pretrained" and here.parent.name == "models":  # of a pipeline
        root: Path | None = here.parent.parent
    elif (here / "plots").is_dir():
        root = here
    else:
        root = here.parent if here.name == "plots" else None
    plots = root / "plots" if root else here
    weights = [one / "model.safetensors" for one in (here, root / "models" / "pretrained" if root else here)]
    found = next((path for path in weights if path.is_file()), None)
    if found or any((plots / table).is_file() for table in outcomes.ANYWHERE):
        return Layout(plots, root, found)
    return None


# --------------------------------------------------------------------------------------------- experiments of DVC


class Experiment(Source):
    """An experiment of DVC of which MLflow has no run: what Git has of it, and DVC's cache."""

    def __init__(self, name: str, revision: str) -> None:
        self._revision = self.key = revision
        self.name = f"{name} (experiment {revision[:8]})"

    @contextmanager
    def tables(self) -> Iterator[Path]:
        with self._copied([f"plots/{table}" for table in outcomes.TABLES]) as (folder, _):
            yield folder / "plots"

    def model(self) -> outcomes.Model:
        with self._copied([f"plots/{table}" for table in outcomes.TABLES]) as (folder, problems):
            if problems:
                raise InputError(f"{self.name}: {problems[0]}.")
            return outcomes.read(folder / "plots", self.name)

    def details(self) -> Details:
        metrics = [f"metrics/{stage}.json" for stage in MEASURED]
        plots = [f"plots/{stage}" for stage in STAGES]
        with self._copied(["params.yaml", "dvc.lock", *metrics, *plots]) as (folder, problems):
            found = _details(Layout(folder / "plots", folder))
        return Details(**{**vars(found), "problems": [*problems, *found.problems]})

    @contextmanager
    def _copied(self, paths: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
        """Copies of files of the experiment, and of those in its folders, as far as they are there -> where they are,
        and what DVC knows of but can't get."""
        from dvc.api import DVCFileSystem

        there = DVCFileSystem(rev=self._revision)
        problems = []
        with tempfile.TemporaryDirectory() as folder:
            for path in paths:
                try:
                    for file in _files(there, path):
                        own = Path(folder, file)
                        own.parent.mkdir(parents=True, exist_ok=True)
                        with there.open(file, "rb") as source, whole_file(own) as partial, partial.open("wb") as copy:
                            shutil.copyfileobj(source, copy)
                except Exception as error:  # of every kind of remote
                    words = redacted(error)[:LONGEST_VALUE]
                    problems.append(
                        f"{path} is neither in DVC's cache nor in its remote ({words}): `dvc exp apply`, and run its "
                        "stage again"
                    )
            yield Path(folder), problems


def _files(there: Any, path: str) -> list[str]:
    """A file of a file system of DVC, or the files in a folder of it; none where there is neither."""
    try:
        kind = there.info(path)["type"]
    except FileNotFoundError:
        return []
    return [path] if kind == "file" else sorted(one for one in there.ls(path, detail=False) if there.isfile(one))


def _revision(named: str) -> str | None:
    """The commit of an experiment of the current folder's repository, or None.

    Raises:
        InputError: several have that name.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(_wait_for_lock=True) as repo:
            listed = repo.experiments.ls(all_commits=True)
    except DvcException:  # no repository, or one without Git, which has no experiments
        return None
    found = [str(revision) for pairs in listed.values() for name, revision in pairs if name == named]
    if len(found) > 1:
        raise InputError(
            f"{len(found)} experiments of DVC have the name {named!r}, each from another commit "
            f"({', '.join(one[:8] for one in found)}): `dvc exp rename` gives one another name."
        )
    return found[0] if found else None


# ------------------------------------------------------------------------------------------------- reading files


def _details(layout: Layout) -> Details:
    """What the files of a pipeline say of its model."""
    found = Details()
    if layout.weights:
        found.weights.add(f"sha256 {files.digest(layout.weights)}")
    if layout.root:
        _try(found, _read_parameters, found, layout.root)
        for stage in MEASURED:
            path = layout.root / "metrics" / f"{stage}.json"
            if path.is_file():
                _try(found, _read_figures, found, stage, path)
    for table, prefix in CURVES.items():
        path = layout.plots / "pretrain" / table
        if path.is_file():
            _try(found, _read_curves, found, path, prefix)
    for stage in STAGES:
        for path in sorted((layout.plots / stage).glob("*.png")):
            _try(found, _add_picture, found, f"{stage}/{path.name}", path)
    return found


def _read_parameters(found: Details, root: Path) -> None:
    """From dvc.lock those that the stages ran with, else those of params.yaml; and what the data was then."""
    lock = reading.read_yaml(root / "dvc.lock") if (root / "dvc.lock").is_file() else {}
    stages = {name: stage for name, stage in (lock.get("stages") or {}).items() if isinstance(stage, Mapping)}
    values: dict[str, Any] = {}  # of all stages: a lock names sections, or single keys as `pretrain.k`
    for part in (part for stage in stages.values() for part in (stage.get("params") or {}).values()):
        values |= flat(part, ".")
    if not values and (root / "params.yaml").is_file():
        values = reading.read_yaml(root / "params.yaml")
    found.params = used_of(json.loads(redacted(values)))
    made = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs") or () if "md5" in out}
    found.data = {path: str(made[path]) for path in DATA if path in made}
    if "models/pretrained" in made:
        found.weights.add(f"md5 {made['models/pretrained']}")
    for stage in ("probe", "retrieve"):
        for dep in stages.get(stage, {}).get("deps") or ():
            if dep["path"] == "models/pretrained" and dep.get("md5") != made.get("models/pretrained"):
                found.problems.append(
                    f"its figures of {stage} are of an earlier model than the one that lies beside them: run the "
                    f"stage {stage} again"
                )


def _read_figures(found: Details, stage: str, path: Path) -> None:
    figures = recorded(stage, numbers(path))
    found.figures |= {name: value for name, value in figures.items() if math.isfinite(value)}


def _read_curves(found: Details, path: Path, prefix: str) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name != "step" and value and math.isfinite(float(value)):
                    found.curves.setdefault(prefix + name, []).append((int(row["step"]), float(value)))


def _add_picture(found: Details, name: str, path: Path) -> None:
    if path.stat().st_size > LARGEST_PICTURE:
        raise ValueError(f"it is over {LARGEST_PICTURE // 2**20} MB")
    found.pictures[name] = path.read_bytes()


def _try(found: Details, read: Any, *arguments: Any) -> None:
    """Read something; if that fails, it is a problem of the model and the rest is read all the same."""
    try:
        read(*arguments)
    except Exception as error:  # damage has many
        words = redacted(error)[:LONGEST_VALUE] or type(error).__name__
        what = next((str(one) for one in reversed(arguments) if isinstance(one, Path)), "")
        found.problems.append(words if isinstance(error, InputError) else f"{what} can't be read: {words}")
