"""A default that stands in code makes exactly the stages stale that use it, as the real DVC sees it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.running import repository
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
    ("spread.py", "workers: Count", "workers: Count = 2", {"ingest", "segment"}),
    ("optimization.py", "warmup_steps: Annotated[int, Field(ge=0)]", "warmup_steps: int = 9", {"pretrain", "probe"}),
    ("base.py", "max_length=64", "max_length=65", set(repository.STAGES)),
    ("reading.py", "{section}.{hint}", "{section}. {hint}", set()),  # how errors are worded: no stage's business
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose stages are up to date, as if all had run: their outputs are files of one line."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder)
    pipeline = read_yaml(folder / "dvc.yaml")
    outputs = {
        out if isinstance(out, str) else next(iter(out)) for s in pipeline["stages"].values() for out in s["outs"]
    }
    for output in {*outputs, "metrics/pretrain.json"}:
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


def test_every_file_of_parameters_is_tried() -> None:
    files = {path.name for path in (PROJECT / "src/scriptsight/params").glob("*.py")} - {"__init__.py"}
    assert files == {name for name, *_ in DEFAULTS}
