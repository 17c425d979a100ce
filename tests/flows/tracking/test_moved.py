"""A project whose folder is moved, copied or linked, with the real MLflow."""

from __future__ import annotations

import argparse
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import commands
from flows.tracking import addresses, store
from flows.tracking.recorder import Recorder
from scriptsight.errors import InputError

NAMES = ("50% off #1", "für%20alle")


def record(name: str = "a run") -> str:
    """A run with a picture, a version of a model with files, and an experiment that MLflow places."""
    with store.opened() as client:
        recorder = Recorder(client, "the stage")
        run = recorder.create(name, {"path": str(Path.cwd() / "mlruns/artifacts")}, {})
        picture = Path("curves.txt")
        picture.write_text(name)
        recorder.artifact(run, picture, "pretrain")
        recorder.end(run, "FINISHED")
        assert not recorder.lost
        logged = client.create_logged_model(recorder.experiment, name="m", source_run_id=run)
        Path("m").mkdir(exist_ok=True)
        Path("m/weights").write_text(name)
        client.log_model_artifacts(logged.model_id, "m")
        client.finalize_logged_model(logged.model_id, "READY")
        if not client.search_registered_models("name = 'm'"):
            client.create_registered_model("m")
        client.create_model_version("m", logged.artifact_location, run_id=run, model_id=logged.model_id)
        return run


def text_of(run: str) -> str:
    with store.opened() as client:
        return Path(client.download_artifacts(run, "pretrain/curves.txt")).read_text()


def move(*words: str) -> None:
    parser = argparse.ArgumentParser()
    commands.mlflow(parser)
    options = parser.parse_args(["move", *words])
    options.run(options)


def everything() -> str:
    with sqlite3.connect(store.home()) as database:
        return "\n".join(database.iterdump())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Make a folder the current one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def enter(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folder)
        return folder

    return enter


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_project_finds_its_files_again(
    name: str, project: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old = project(f"old {name}/mlruns/p")  # a folder of that name above it, too
    run = record()
    new = old.parents[2] / f"new {name}"
    shutil.move(old, new)
    project(f"new {name}")
    with pytest.raises(InputError, match=r"moved.*`scriptsight mlflow move`"), store.opened():
        raise AssertionError("it would write to the old place")
    before = store.home().read_bytes()
    move("--dry-run")
    assert store.home().read_bytes() == before and "runs.artifact_uri: 1" in capsys.readouterr().out
    move()
    said = capsys.readouterr().out
    for column in ("experiments.artifact_location: 2", "runs.artifact_uri: 1", "logged_models.artifact_location: 1"):
        assert column in said
    assert "runs with files here: 1 of 1" in said and f"{old.parent.parent.name}/mlruns/p/mlruns (gone)" in said
    assert store.home().with_name("mlflow.db.before-move").read_bytes() == before
    assert text_of(run) == "a run"
    with store.opened() as client:
        (version,) = client.search_model_versions("name = 'm'")
        address = client.get_model_version_download_uri("m", version.version)
        (logged,) = client.search_logged_models([client.get_run(run).info.experiment_id])
        for one in (version.source, address, logged.artifact_location):
            folder = addresses.path_of(one)
            assert folder and (folder / "weights").read_text() == "a run"
        assert client.get_run(run).data.params["path"] == f"{old}/mlruns/artifacts"  # a fact of its time
    assert text_of(record("another")) == "another"
    assert not old.exists()
    move()
    assert "nothing to do" in capsys.readouterr().out
    assert len(list(Path("mlruns").glob("mlflow.db.before-move*"))) == 1


def test_a_copy_writes_no_more_to_the_place_it_was_copied_from(
    project: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old = project("old")
    run = record()
    new = old.with_name("new")
    shutil.copytree(old, new)
    files = sorted(path for path in old.rglob("*"))
    project("new")
    with pytest.raises(InputError, match="copied"), store.opened():
        raise AssertionError
    move()
    assert "still there" in capsys.readouterr().out
    assert text_of(run) == "a run"
    record("of the copy")
    assert sorted(path for path in old.rglob("*")) == files
    assert str(old) not in "\n".join(line for line in everything().splitlines() if '"params"' not in line)
    project("old")
    assert text_of(run) == "a run"  # it goes on as before


def test_files_that_were_left_behind_are_named_before_anything_is_changed(project: Callable[[str], Path]) -> None:
    old = project("old place")
    run = record()
    new = project("new place")
    Path("mlruns").mkdir()
    shutil.copy(old / "mlruns/mlflow.db", "mlruns")
    before = store.home().read_bytes()
    with pytest.raises(SystemExit, match=r"files of 2 runs or models are in the old place only.*cp -rn") as refused:
        move()
    assert store.home().read_bytes() == before and str(new / "mlruns") in str(refused.value)
    shutil.copytree(old / "mlruns/artifacts", "mlruns/artifacts")
    move()
    assert text_of(run) == "a run"


def test_a_link_to_the_project_is_no_other_place(project: Callable[[str], Path], monkeypatch: Any) -> None:
    folder = project("b")
    record()
    folder.with_name("a").symlink_to(folder)
    monkeypatch.chdir(folder.with_name("a"))
    assert text_of(record("through the link"))
    shutil.move(folder, folder.with_name("c"))
    folder.symlink_to(folder.with_name("c"))  # who knows the old place still gets there
    project("c")
    assert text_of(record("behind a link"))


def test_an_experiment_in_a_place_of_its_own_stays_there(project: Callable[[str], Path], tmp_path: Path) -> None:
    old = project("old")
    record()
    with store.opened() as client:
        own = client.create_experiment("mine", artifact_location=(tmp_path / "elsewhere").as_uri())
        far = client.create_experiment("far", artifact_location="s3://bucket/mlruns/artifacts")
    shutil.move(old, old.with_name("new"))
    project("new")
    move()
    with store.opened() as client:
        assert client.get_experiment(own).artifact_location == (tmp_path / "elsewhere").as_uri()
        assert client.get_experiment(far).artifact_location == "s3://bucket/mlruns/artifacts"
    shutil.rmtree("mlruns")
    with pytest.raises(SystemExit, match=r"There is no mlruns/mlflow\.db here"):
        move()
