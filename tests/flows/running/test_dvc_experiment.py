"""Experiments of the real DVC on a small copy of the project: which code runs, where the record is, what is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from ruamel.yaml import YAML

from flows.running import dvc_experiment, git
from scriptsight import files
from scriptsight.params import reading
from tests.flows.conftest import SURROUNDINGS

PROJECT = Path(__file__).resolve().parents[3]
TINY = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 4, val: 2, test: 2}, scenes: 4, seed: 1}
    actions: {kind: world, content: loop, videos: {train: 12, val: 0, test: 12}, seed: 2}
pretrain:
  video: {width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 32, vocabulary: 500}
  steps: 2
  batch: 4
  schedule: {warmup_steps: 1}
  validate_every: 2
  validation_samples: 4
  engine: {threads: 1}
"""
METRICS = PROJECT / "src/scriptsight/pretrain/__init__.py"
Dvc = Callable[..., str]


def started(*words: str, folder: Path, report: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, where this checkout is the one that is installed."""
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own["PYTHONPATH"] = f"{PROJECT / 'src'}{os.pathsep}{PROJECT}"
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    own["SCRIPTSIGHT_STAGE_REPORT"] = str(report)  # stages need no server of Prefect then
    return subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603


def program(*words: str, folder: Path, report: Path) -> str:
    """What such a program prints; it must succeed."""
    done = started(*words, folder=folder, report=report)
    assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a tiny world and a tiny model, as git has it after a clone; nothing has run.

    What measures the model is left out, for it takes longest, and `dvc exp apply` wants all stages to have run."""
    folder: Path = tmp_path_factory.mktemp("experiments") / "project"
    for name in ("src", "flows", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, folder / name)
    merged = reading.merge(reading.read_yaml(PROJECT / "params.yaml"), YAML(typ="safe").load(TINY))
    YAML().dump(merged, folder / "params.yaml")
    pipeline = reading.read_yaml(folder / "dvc.yaml")
    for name in ("probe", "retrieve"):
        del pipeline["stages"][name]
    YAML().dump(pipeline, folder / "dvc.yaml")
    git.init(folder)
    git.commit(folder, ["."], "the project")
    return folder


@pytest.fixture
def dvc(project: Path) -> Dvc:
    return lambda *words: program("dvc", *words, folder=project, report=project.parent / "report.json")


def mark(project: Path, number: int) -> None:
    """Have the code of pretrain write a number among its figures."""
    path = project / METRICS.relative_to(PROJECT)
    text = METRICS.read_text(encoding="utf-8")
    assert text.count("write_json(path, {") == 1
    path.write_text(text.replace("write_json(path, {", f'write_json(path, {{"code": {number}, '), "utf-8")


def shown(project: Path, name: str) -> str:
    """A file as git has it, COMMIT:PATH."""
    return program("git", "show", name, folder=project, report=project.parent / "report.json")


def finished(project: Path, dvc: Dvc, names: set[str]) -> dict[str, str]:
    """Wait for experiments of the queue -> their commits."""
    deadline = time.monotonic() + 500
    while True:
        refs = (project / ".git").joinpath("refs/exps").glob("[0-9a-f][0-9a-f]/*/*")
        found = {ref.name: ref.read_text(encoding="utf-8").strip() for ref in refs}
        if names <= found.keys():
            return {name: found[name] for name in names}
        status = dvc("queue", "status")
        assert "Failed" not in status and time.monotonic() < deadline, status
        time.sleep(1)


def runs(project: Path) -> dict[str, Run]:
    """The runs of the project's own record, by experiment."""
    client = mlflow.MlflowClient(f"sqlite:///{project / 'mlruns/mlflow.db'}")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return {run.data.tags.get("dvc_experiment", ""): run for run in found}


@pytest.mark.long
def test_experiments_run_the_code_that_they_record_and_leave_their_runs(project: Path, dvc: Dvc) -> None:
    """One here; two at a time from the queue, whose code is edited while they wait."""
    dvc("exp", "run", "--name", "here", "pretrain")
    git.commit(project, ["dvc.lock", "metrics"], "the first")
    baseline = shown(project, "HEAD").split()[1]
    mark(project, 1)
    for number, name in enumerate(("one", "two"), 1):
        dvc("exp", "run", "--queue", "--name", name, "--set-param", f"pretrain.seed={number}", "pretrain")
    mark(project, 2)
    dvc("queue", "start", "--jobs", "2")
    commits = finished(project, dvc, {"one", "two"})
    for commit in commits.values():
        assert json.loads(shown(project, f"{commit}:metrics/pretrain.json"))["code"] == 1
    recorded = runs(project)
    assert recorded.keys() == {"here", "one", "two"}
    for name, run in recorded.items():
        assert run.info.status == "FINISHED" and run.data.tags["folder"] == "project"
        files_of_run = Path(run.info.artifact_uri.removeprefix("file://"))
        assert files_of_run.is_relative_to(project / "mlruns") and any(files_of_run.iterdir())
        assert (run.data.tags["dvc_baseline"] == baseline) == (name != "here")
    assert not list((project / "mlruns/.open").iterdir())

    assert '"seed": 1' in dvc("exp", "show", "--json")
    dvc("exp", "apply", "one")
    model = project / "models/pretrained/model.safetensors"
    assert files.digest(model) == recorded["one"].data.tags["weights_digest"]
    assert "pretrain.seed" in dvc("params", "diff")
    dvc("exp", "branch", "one", "kept")
    assert shown(project, "kept:metrics/pretrain.json") == shown(project, f"{commits['one']}:metrics/pretrain.json")
    dvc("exp", "remove", "two")
    assert "two" not in dvc("exp", "list", "--name-only").split()


def test_a_worktree_runs_its_own_code_and_records_in_the_main_checkout(project: Path) -> None:
    other = project.parent / "other"
    report = project.parent / "report.json"
    program("git", "worktree", "add", "--quiet", "--detach", str(other), folder=project, report=report)
    text = (other / "src/scriptsight/cli.py").read_text(encoding="utf-8")
    (other / "src/scriptsight/cli.py").write_text(
        text.replace('ABOUT = """', 'ABOUT = """OF THE WORKTREE: '), "utf-8"
    )
    (other / "workspace").mkdir()
    for folder in (other, other / "workspace"):
        asked = "import flows, scriptsight; print(flows.__path__[0], scriptsight.__file__)"
        for command in ((sys.executable, "-c", asked), (sys.executable, "-c", f"import flows.names; {asked}")):
            ran = program(*command, folder=folder, report=report)
            assert ran.split() == [str(other / "flows"), str(other / "src/scriptsight/__init__.py")]
        typed = "import sys; from scriptsight.cli import main; sys.exit(main())"
        done = started(sys.executable, "-c", typed, "--help", folder=folder, report=report)
        assert "OF THE WORKTREE" in done.stdout
        assert f"runs the code of {other}, where you are" in done.stderr
    where = (sys.executable, "-c", "from flows.tracking import store; print(store.uri())")
    recorded = program(*where, folder=other, report=report)
    assert recorded.strip() == f"sqlite:///{project / 'mlruns/mlflow.db'}"
    (other / "mlruns").mkdir(exist_ok=True)
    (other / "mlruns/mlflow.db").touch()  # a record of its own from before
    assert program(*where, folder=other, report=report).strip() == f"sqlite:///{other / 'mlruns/mlflow.db'}"


def test_scriptsight_of_another_checkout_is_not_mixed_with_flows(project: Path) -> None:
    mixed = f"import sys; sys.path.insert(0, {str(PROJECT / 'src')!r}); import scriptsight; import flows"
    done = started(sys.executable, "-c", mixed, folder=project, report=project.parent / "report.json")
    assert done.returncode == 1 and "or import flows first." in done.stderr


@pytest.fixture
def copy_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder as DVC makes it for an experiment of a home in `tmp_path`, with videos at home."""
    folder = tmp_path / ".dvc/tmp/exps/tmpabc"
    (folder / ".git").mkdir(parents=True)
    (tmp_path / "clips").mkdir()
    merged = reading.read_yaml(PROJECT / "params.yaml")
    merged["ingest"]["collections"]["own"] = {"kind": "folder", "path": "clips"}
    YAML().dump(merged, folder / "params.yaml")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mine.db")
    return folder


def test_what_a_killed_experiment_goes_on_from_outlives_its_folder(copy_of_home: Path, tmp_path: Path) -> None:
    with dvc_experiment.settled():
        Path(".transcripts/heard.json").touch()
        Path(".checkpoints/12").touch()
        assert Path("clips").is_dir()
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path / 'mlruns/mine.db'}"
    assert (tmp_path / ".transcripts/heard.json").is_file()
    (kept,) = (tmp_path / ".checkpoints/.experiments").glob("*/12")
    for name in (".checkpoints", ".work", ".features", ".transcripts", "clips"):
        assert f"/{name}\n" in (copy_of_home / ".git/info/exclude").read_text()
        (copy_of_home / name).unlink()
    with dvc_experiment.settled():  # the same experiment again, in what could be another folder
        assert Path(".checkpoints/12").is_file()
        for name in (".checkpoints", ".work"):
            Path(name).unlink()
        with dvc_experiment.settled():  # and a third time meanwhile
            assert not Path(".checkpoints").exists()
    kept.unlink()
    with dvc_experiment.settled():
        pass
    assert not kept.parent.exists() and not list((tmp_path / ".locks").iterdir())


def test_outside_of_experiments_nothing_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with dvc_experiment.settled():
        assert not list(tmp_path.iterdir())
    assert dvc_experiment.home() is None and dvc_experiment.record() == Path()
