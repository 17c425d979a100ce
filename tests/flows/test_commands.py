"""The commands as a user runs them: real processes, real temporary servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import PROJECT, parameters
from flows.running import locks, repository
from flows.running.workspace import prepare
from scriptsight.errors import InputError
from scriptsight.params import reading
from tests.conftest import MakeVideo
from tests.flows.conftest import FOLDER, Command

TINY = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 4, val: 2, test: 2}, scenes: 4, seed: 1}
    actions: {kind: world, content: loop, videos: {train: 60, val: 0, test: 30}, seed: 2}
pretrain:
  video: {width: 32, depth: 2, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 32, vocabulary: 500}
  steps: 20
  batch: 8
  schedule: {warmup_steps: 2}
  validate_every: 10
  validation_samples: 16
  checkpoint_every: 10
"""


@pytest.mark.parametrize("name", [*repository.STAGES, "pipeline"])
def test_help(command: Command, name: str) -> None:
    done = command(f"flows.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"python -m flows.{name}" in done.stdout


@pytest.mark.parametrize("name", ["ingest", "pipeline"])
def test_an_unknown_key_is_told_once_without_a_trace(command: Command, workspace: Path, name: str) -> None:
    text = (workspace / "params.yaml").read_text().replace("max_reject_share", "max_reject_shares", 1)
    (workspace / "params.yaml").write_text(text)
    done = command(f"flows.{name}")
    assert done.returncode == 1
    assert done.stderr.count("unknown key 'max_reject_shares' in section ingest") == 1
    assert "Traceback" not in done.stderr


def test_a_dead_prefect_server_is_told_and_done_without(command: Command, workspace: Path) -> None:
    """The stage then runs under a temporary server; here it has no catalogue, which is told once."""
    done = command("flows.segment", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in done.stderr
    assert done.returncode == 1
    assert done.stderr.count("There is no catalogue") == 1
    assert "Traceback" not in done.stderr


def test_a_second_writer_is_told_who_holds_the_stage(workspace: Path) -> None:
    holding = "from flows.running import locks\nwith locks.lock('segment'): print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1)  # noqa: S603
    try:
        assert other.stdout and other.stdout.readline()
        told = pytest.raises(InputError, match=f"segment is already running .* process {other.pid} ")
        with told, locks.lock("segment", patience=0.2):
            pass
    finally:
        other.kill()
        other.communicate()
    with locks.lock("segment", patience=5):  # a killed holder holds nothing
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent ended")
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_stage_dies_with_dvc(shell: str) -> None:
    """As DVC starts it: through a shell, which the stage must outlive as little as dvc itself."""
    if not Path(shell).exists():
        pytest.skip(f"no {shell}")
    child = (
        "from flows.running.processes import die_with_parent; import time; die_with_parent();"
        " print(1, flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys; p = subprocess.Popen([sys.argv[1], '-c', sys.argv[2]]);"
        "print(p.pid, flush=True); p.wait()"
    )
    command = f'{sys.executable} -c "{child}"'
    dvc = subprocess.Popen([sys.executable, "-c", parent, shell, command], stdout=subprocess.PIPE)  # noqa: S603
    assert dvc.stdout
    pid = int(dvc.stdout.readline())
    assert dvc.stdout.readline() == b"1\n"
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    dvc.stdout.close()


def test_a_workspace_is_the_project_with_overrides(workspace: Path) -> None:
    (workspace / "overrides.yaml").write_text("pretrain:\n  seed: 7\n")
    prepare(workspace)
    assert parameters.load(workspace / "params.yaml").pretrain.seed == 7
    pipeline = reading.read_yaml(workspace / "dvc.yaml")
    code = [dep for dep in pipeline["stages"]["pretrain"]["deps"] if dep.endswith(".py")]
    assert code and all((workspace / dep).is_file() for dep in code)
    assert "data/segments" in pipeline["stages"]["pretrain"]["deps"]
    (workspace / "overrides.yaml").write_text("pretrain:\n  sed: 7\n")
    with pytest.raises(InputError, match="Did you mean 'seed'"):
        prepare(workspace)


def test_files_that_a_workspace_names_are_dependencies(workspace: Path) -> None:
    """Videos, annotation files beside them, and the weights that training starts from; nothing that is not there."""
    for name in ("clips/labels.json", "lists/train.json", "first/model.safetensors"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).touch()
    annotations = "{train: lists/train.json, val: clips/labels.json, test: lists/none.json}"
    (workspace / "overrides.yaml").write_text(
        f"ingest: {{collections: {{some: {{kind: ssv2, path: clips, annotations: {annotations}}}}}}}\n"
        "pretrain: {collections: {some: {text: caption}}, start_from: first}\n"
        "probe: {tests: {some: {collections: [some]}}}\nretrieve: {collection: some}\n"
    )
    prepare(workspace)
    stages_of = reading.read_yaml(workspace / "dvc.yaml")["stages"]
    assert stages_of["ingest"]["deps"][-2:] == ["clips", "lists/train.json"]
    assert stages_of["pretrain"]["deps"][-1] == "first"


@pytest.mark.parametrize("relative", [True, False])
def test_an_edited_caption_makes_ingest_stale(
    workspace: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    """Videos outside of the workspace, in a folder that can't be written, are a dependency like any other."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    talks = workspace.parent / "talks"
    make_video(talks / "one.mp4")
    script = talks / "one.vtt"
    script.write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nthe red circle moves\n")
    talks.chmod(0o555)
    (workspace / "overrides.yaml").write_text(FOLDER % ("../talks" if relative else talks))
    prepare(workspace)
    why = repository.stale("ingest")["ingest"]
    assert repository.reproduce("ingest", why).how == "ran"
    assert repository.stale("ingest") == {}
    script.write_text(script.read_text().replace("red", "blue"))
    assert "talks" in repository.stale("ingest")["ingest"]
    (workspace / "overrides.yaml").write_text(FOLDER % "..")
    with pytest.raises(InputError, match="lies in the videos"):
        prepare(workspace)


def test_without_git_the_remedy_is_told(workspace: Path) -> None:
    shutil.copytree(
        PROJECT / ".dvc", workspace / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local")
    )
    shutil.copy(PROJECT / "dvc.yaml", workspace)
    with pytest.raises(InputError, match="git init"):
        repository.stale()


def test_a_failing_stage_ends_the_pipeline(command: Command, workspace: Path) -> None:
    (workspace / "videos").mkdir()
    (workspace / "videos/one.mp4").write_text("no video")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    done = command("flows.pipeline", "--workspace", ".")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("no video is left") == 1
    assert "Not run: segment, pretrain, probe, retrieve." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_pipeline_of_a_workspace(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full run makes everything, a second one does nothing and says so, a changed key runs what it must; back
    with the first key, training is done again and ends with the same bytes."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "overrides.yaml").write_text(TINY)
    first = command("flows.pipeline", "--workspace", "tiny")
    assert first.returncode == 0, first.stderr
    assert (folder / "models/pretrained/model.safetensors").is_file()
    assert (folder / "models/index").is_dir()
    assert set(json.loads((folder / ".locks/pipeline.json").read_text())["stages"]) == set(repository.STAGES)
    lock, metrics = (folder / "dvc.lock").read_bytes(), val_metrics(folder)

    monkeypatch.chdir(folder)
    asked = command("flows.retrieve", "--query", "the red circle moves to the left", "--top", "1")
    assert asked.returncode == 0, asked.stderr
    assert "data/world/narrated/" in asked.stdout
    monkeypatch.chdir(tmp_path)

    second = command("flows.pipeline", "--workspace", "tiny")
    assert second.returncode == 0, second.stderr
    assert "everything is up to date; nothing to do" in second.stdout

    (folder / "overrides.yaml").write_text(TINY + "  k: 3\n")
    third = command("flows.pipeline", "--workspace", "tiny")
    assert third.returncode == 0, third.stderr
    ran = json.loads((folder / ".locks/pipeline.json").read_text())["stages"]
    assert {name: how["how"] for name, how in ran.items()} == {
        **dict.fromkeys(("ingest", "segment"), "skipped"),
        **dict.fromkeys(("pretrain", "probe", "retrieve"), "ran"),
    }
    assert val_metrics(folder) != metrics

    (folder / "overrides.yaml").write_text(TINY)
    fourth = command("flows.pipeline", "--workspace", "tiny")
    assert fourth.returncode == 0, fourth.stderr
    assert (folder / "dvc.lock").read_bytes() == lock
    assert val_metrics(folder) == metrics


def val_metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics/pretrain.json").read_text())["val"]
