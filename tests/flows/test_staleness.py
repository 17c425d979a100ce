"""A default that stands in code makes exactly the stages stale that use it, as the real DVC sees it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import chdir
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows import parameters
from flows.names import flat
from flows.running import repository
from scriptsight.judgements import FILE, UP, Judgement, Query, Store, Stretch
from scriptsight.params.reading import read_yaml
from tests.imports import PROJECT

# file below src/scriptsight/params, what stands there, what it becomes, the stages that use it
DEFAULTS = [
    ("collections.py", "undo: bool = True", "undo: bool = False", {"ingest"}),
    ("ingest.py", "vad: bool = True", "vad: bool = False", {"ingest"}),
    ("segment.py", "jpeg_quality: Annotated[int, Field(ge=1, le=100)]", "jpeg_quality: int = 90", {"segment"}),
    ("pretrain.py", "share: Positive = 1.0", "share: Positive = 2.0", {"pretrain"}),
    ("models.py", '"vit_s16": {"width": 384, "depth": 12', '"vit_s16": {"width": 384, "depth": 11', {"pretrain"}),
    ("objectives.py", "order_weight: Positive", "order_weight: Positive = 1.0", {"pretrain"}),
    ("probe.py", "layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75", "layer_decay: float = 0.8", {"probe"}),
    ("retrieve.py", "top: Count", "top: Count = 3", {"retrieve"}),
    (
        "spread.py",
        "workers: Annotated[Count, MACHINE]",
        "workers: Annotated[Count, MACHINE] = 2",
        {"ingest", "segment"},
    ),
    ("optimization.py", "warmup_steps: Annotated[int, Field(ge=0)]", "warmup_steps: int = 9", {"pretrain", "probe"}),
    ("base.py", "max_length=64", "max_length=65", set(repository.STAGES)),
    ("reading.py", "{section}.{hint}", "{section}. {hint}", set()),  # how errors are worded: no stage's business
]

DVC_WARNS = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")  # of its own


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose stages are up to date, as if all had run: their outputs are files of one line."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "judgements").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", "judgements/.gitignore"):
        shutil.copy(PROJECT / name, folder / name)
    pipeline = read_yaml(folder / "dvc.yaml")
    stages = pipeline["stages"].values()
    for output in (name for stage in stages for name in [*stage["outs"], *stage["metrics"][0]]):
        place = folder / output
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{output}\n")
    with chdir(folder), Repo.init(no_scm=True) as repo:
        repo.commit(force=True)
    return folder


@pytest.fixture
def project(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(finished)
    yield finished


def test_a_finished_project_is_up_to_date(project: Path) -> None:
    assert repository.stale() == {}


def test_a_thumb_makes_retrieve_stale_and_nothing_else(project: Path) -> None:
    store = Store(project / FILE)
    try:
        store.add(Judgement("ada", UP, Query("a circle"), Stretch("c", "a.mp4", 0.0, 1.0)))
        assert repository.stale() == {"retrieve": "judgements modified"}
    finally:
        store.path.unlink()
    assert repository.stale() == {}


@pytest.mark.parametrize(("name", "old", "new", "stages"), DEFAULTS, ids=[f"{d[0]}-{d[2][:24]}" for d in DEFAULTS])
def test_a_changed_default_makes_its_stages_stale_and_no_others(
    project: Path, name: str, old: str, new: str, stages: set[str]
) -> None:
    path = project / "src/scriptsight/params" / name
    before = path.read_text(encoding="utf-8")
    assert before.count(old) >= 1, f"{name} has no {old!r} any more: name another default of that file"
    path.write_text(before.replace(old, new), encoding="utf-8")
    try:
        assert set(repository.stale()) == stages
    finally:
        path.write_text(before, encoding="utf-8")


def changed(value: Any) -> Any:
    """Another value of the same type, for DVC to see."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case dict():
            return {key: changed(one) for key, one in value.items()}
        case list():
            return [changed(one) for one in value] or ["more"]
    return f"{value} changed"


def change(path: Path, keys: Iterable[str]) -> None:
    values: Any = read_yaml(path)
    for key in keys:
        *sections, name = key.split(".")
        here = reduce(getitem, sections, values)
        here[name] = changed(here[name])
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(values, file)


@pytest.fixture
def params(project: Path) -> Iterator[Path]:
    """params.yaml, which is as it was afterwards."""
    path = project / "params.yaml"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def test_settings_of_the_machine_leave_all_stages_up_to_date(params: Path) -> None:
    machine = set(parameters.of_machine(parameters.load(params)))
    assert {"ingest.workers", "segment.runner", "pretrain.keep_checkpoints", "pretrain.engine.threads"} <= machine
    assert not {key for key in machine if "timeout" in key}  # which decides what is a reject
    change(params, [*machine, "registry.name", "registry.enabled", "sweep.workers", "sweep.seed"])
    assert repository.stale() == {}


def test_every_other_parameter_makes_its_stage_stale_and_no_other(params: Path) -> None:
    values = read_yaml(params)
    machine = set(parameters.of_machine(parameters.load(params)))
    for stage in repository.STAGES:
        before = params.read_bytes()
        results = [key for key in flat({stage: values[stage]}, ".") if key not in machine]
        change(params, results)
        with Repo() as repo:
            (status,) = repo.status().items()
        assert status[0] == stage
        (seen,) = [entry["changed deps"]["params.yaml"] for entry in status[1]]
        named = set(read_yaml(Path("dvc.yaml"))["stages"][stage]["params"])
        assert set(seen) == named and set(seen.values()) == {"modified"}
        assert all(any(f"{key}.".startswith(f"{name}.") for name in named) for key in results)
        params.write_bytes(before)


@pytest.fixture
def changing(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@DVC_WARNS
def test_every_stage_comes_back_from_the_run_cache(changing: Path) -> None:
    """Each stage as dvc.yaml has it, but for its command, which writes what its parameters are. With other parameters
    it is done, with the first ones again it is brought back, figures in git included."""
    values: Any = read_yaml(changing / "dvc.yaml")
    for name, stage in values["stages"].items():
        wrote = [*stage["outs"], *stage["metrics"][0]]
        stage["cmd"] = f"echo {name} >> done.txt; cat params.yaml | tee {' '.join(wrote)} > seen.txt"
    with (changing / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    first = (changing / "params.yaml").read_bytes()
    seeds = ["ingest.max_reject_share", "segment.fps", "pretrain.seed", "probe.seed", "retrieve.top"]

    def repro() -> list[str]:
        """The stages that were done now, and not brought back."""
        (changing / "done.txt").write_text("")
        with Repo() as repo:
            repo.reproduce()
        return (changing / "done.txt").read_text().split()

    assert repro() == list(repository.STAGES)
    change(changing / "params.yaml", seeds)
    assert repro() == list(repository.STAGES)
    (changing / "params.yaml").write_bytes(first)
    assert repro() == []
    for stage in values["stages"].values():
        for name in (*stage["outs"], *stage["metrics"][0]):
            assert (changing / name).read_bytes() == first
    assert repository.stale() == {}


@DVC_WARNS
def test_a_lock_of_an_earlier_version_is_no_crash_and_the_reason_is_told(changing: Path) -> None:
    """That version had DVC watch whole sections, and kept the figures of a training beside DVC."""
    values: Any = read_yaml(changing / "params.yaml")
    lock: Any = read_yaml(changing / "dvc.lock")
    for name, stage in lock["stages"].items():
        stage["params"]["params.yaml"] = {name: values[name]}
    (kept,) = [out for out in lock["stages"]["pretrain"]["outs"] if out["path"] == "metrics/pretrain.json"]
    lock["stages"]["pretrain"]["outs"].remove(kept)
    with (changing / "dvc.lock").open("w", encoding="utf-8") as file:
        YAML().dump(lock, file)
    told = "dvc.lock is of an earlier version of scriptsight, which had DVC watch other keys"
    assert repository.stale() == dict.fromkeys(repository.STAGES, told)
    (changing / "src/scriptsight/retrieve/scan.py").write_text("# changed\n")
    assert repository.stale()["retrieve"] == f"{told}; src/scriptsight/retrieve modified"
    with Repo() as repo:
        assert [stage.addressing for stage in repo.reproduce(dry=True)] == list(repository.STAGES)


def test_a_training_by_hand_is_entered_as_the_documentation_says(changing: Path) -> None:
    page = (PROJECT / "docs/how-to/training-at-scale.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("dvc commit")]
    change(changing / "params.yaml", ["pretrain.k"])
    for name in ("models/pretrained", "metrics/pretrain.json"):  # as torchrun's processes leave them
        (changing / name).write_text("trained by hand\n")
    assert "pretrain.k modified" in repository.stale()["pretrain"]
    command = [str(Path(sys.executable).parent / "dvc"), *line.split()[1:]]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own words
    assert repository.stale() == dict.fromkeys(("probe", "retrieve"), "models/pretrained modified")


def test_every_file_of_parameters_is_tried() -> None:
    files = {path.name for path in (PROJECT / "src/scriptsight/params").glob("*.py")} - {"__init__.py"}
    assert files == {name for name, *_ in DEFAULTS}
