"""The commands as a user runs them: real processes, real temporary servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.running import locks, repository
from tests.flows.conftest import FOLDER, NOWHERE, SURROUNDINGS, Command, stop

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


@pytest.mark.parametrize("name", repository.STAGES)
def test_help_of_the_stages(command: Command, name: str) -> None:
    done = command(f"flows.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"python -m flows.{name}" in done.stdout


@pytest.mark.parametrize("typed", [("flows.ingest",), ("flows.pipeline",), ("scriptsight", "run")])
def test_an_unknown_key_is_reported_once_without_a_trace(
    command: Command, workspace: Path, typed: tuple[str, ...]
) -> None:
    text = (workspace / "params.yaml").read_text().replace("max_reject_share", "max_reject_shares", 1)
    (workspace / "params.yaml").write_text(text)
    done = command(*typed)
    assert done.returncode == 1
    assert done.stderr.count("unknown key 'max_reject_shares' in section ingest") == 1
    assert "Traceback" not in done.stderr


def test_a_dead_prefect_server_is_reported_and_done_without(command: Command, workspace: Path) -> None:
    """The stage then runs under a temporary server; here it has no catalogue, which is said once."""
    done = command("flows.segment", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in done.stderr
    assert done.returncode == 1
    assert done.stderr.count("There is no catalogue") == 1
    assert "Traceback" not in done.stderr


def test_a_failing_stage_ends_the_pipeline(command: Command, workspace: Path) -> None:
    (workspace / "videos").mkdir()
    (workspace / "videos/one.mp4").write_text("no video")
    (workspace / "overrides.yaml").write_text(FOLDER % "videos")
    done = command("scriptsight", "run", "--workspace", ".")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ingest     run         ?        it has not run here before" in done.stdout
    failed, left, said, way_on = done.stderr.splitlines()[-4:]
    assert failed.startswith("pipeline: stage ingest failed: Collection 'talks': no video is left.")
    assert left.split(":")[1].strip() == "segment, pretrain, probe, retrieve."
    assert Path(said.split(":")[1].strip()).is_file()
    assert way_on.endswith("scriptsight run   (once that is mended)")


def test_two_workspaces_are_one_too_many(command: Command, workspace: Path) -> None:
    done = command("scriptsight", "run", "one", "--workspace", "two")
    assert done.returncode == 1
    assert "Two workspaces are named, one and two: name one." in done.stderr


def test_ctrl_c_ends_the_stage_and_tells_the_way_on(workspace: Path, prefect_home: Path) -> None:
    """Also before DVC has started the stage: nothing works on in the background."""
    (workspace / "overrides.yaml").write_text(TINY)
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own |= {"PREFECT_HOME": str(prefect_home), "SCRIPTSIGHT_UI_API_URL": NOWHERE}
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start = heed + "from scriptsight import cli; sys.exit(cli.main(['run']))"
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", start], env=own, start_new_session=True, stdout=-1, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("pipeline: ingest starts"):
                break
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=300)
    finally:
        stop(process)
    assert process.returncode == 130
    assert "pipeline: interrupted in ingest; " in said
    assert "scriptsight run   (whenever you like)" in said
    with locks.lock("ingest", patience=0):  # no stage works on; one that was all but done may have ended by itself
        pass


def test_the_pipeline_of_a_workspace(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full run makes everything and prints its figures, a search finds, and a second run does nothing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "overrides.yaml").write_text(TINY)
    first = command("scriptsight", "run", "tiny")
    assert first.returncode == 0, first.stderr
    assert (folder / "models/index").is_dir()
    assert set(json.loads((folder / ".locks/pipeline.json").read_text())["stages"]) == set(repository.STAGES)
    figures = headlines(folder)
    assert len(figures) == 4 and all(line in first.stdout for line in figures)

    monkeypatch.chdir(folder)
    asked = command("scriptsight", "search", "the red circle moves to the left", "--top", "1")
    assert asked.returncode == 0, asked.stderr
    assert "data/world/narrated/" in asked.stdout
    monkeypatch.chdir(tmp_path)

    second = command("scriptsight", "run", "--workspace", "tiny")
    assert second.returncode == 0, second.stderr
    assert "everything is up to date; nothing to do" in second.stdout
    assert all(line in second.stdout for line in figures)
    assert "scriptsight search 'the red circle moves to the left'" in second.stdout


@pytest.mark.long
def test_a_changed_pipeline_goes_back(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full run makes everything, a second one does nothing and says so, a changed key runs what it must. Back with
    the first key, DVC's run-cache brings back the model with all that was measured of it; MLflow and the registry
    know it. Settings of the machine change nothing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "overrides.yaml").write_text(TINY)
    first = command("scriptsight", "run", "tiny")
    assert first.returncode == 0, first.stderr
    assert (folder / "models/pretrained/model.safetensors").is_file()
    assert (folder / "models/index").is_dir()
    assert set(json.loads((folder / ".locks/pipeline.json").read_text())["stages"]) == set(repository.STAGES)
    lock, metrics, files = (folder / "dvc.lock").read_bytes(), val_metrics(folder), made(folder)
    figures = headlines(folder)
    assert len(figures) == 4 and all(line in first.stdout for line in figures)

    monkeypatch.chdir(folder)
    asked = command("scriptsight", "search", "the red circle moves to the left", "--top", "1")
    assert asked.returncode == 0, asked.stderr
    assert "data/world/narrated/" in asked.stdout
    monkeypatch.chdir(tmp_path)

    second = command("scriptsight", "run", "--workspace", "tiny")
    assert second.returncode == 0, second.stderr
    assert "everything is up to date; nothing to do" in second.stdout
    assert all(line in second.stdout for line in figures)
    assert "scriptsight search 'the red circle moves to the left'" in second.stdout

    (folder / "overrides.yaml").write_text(TINY + "  k: 3\n")
    third = command("scriptsight", "run", "--workspace", "tiny")
    assert third.returncode == 0, third.stderr
    assert plan_of(third.stdout) == {
        **dict.fromkeys(("ingest", "segment"), "up to date"),
        "pretrain": "run",
        **dict.fromkeys(("probe", "retrieve"), "perhaps"),
    }
    assert "more than" in third.stdout  # a training with another K is not like the first; the others are known
    ran = json.loads((folder / ".locks/pipeline.json").read_text())["stages"]
    assert {name: how["how"] for name, how in ran.items()} == {
        **dict.fromkeys(("ingest", "segment"), "skipped"),
        **dict.fromkeys(("pretrain", "probe", "retrieve"), "ran"),
    }
    assert val_metrics(folder) != metrics

    (folder / "overrides.yaml").write_text(TINY)
    fourth = command("scriptsight", "run", "--workspace", "tiny")
    assert fourth.returncode == 0, fourth.stderr
    assert plan_of(fourth.stdout)["pretrain"] == "restore"
    back = json.loads((folder / ".locks/pipeline.json").read_text())["stages"]
    assert [back[name]["how"] for name in repository.STAGES] == ["skipped"] * 2 + ["restored"] * 3
    assert (folder / "dvc.lock").read_bytes() == lock
    assert val_metrics(folder) == metrics
    assert made(folder) == files
    said = [line for line in first.stdout.splitlines() if line.startswith("pipeline: ") and "linear_top1" in line]
    assert len(said) == 1 and said[0] in fourth.stdout  # decided by the figures of its run in MLflow

    machine = "  keep_checkpoints: 1\n  engine: {threads: 1, loader_workers: 1}\nsegment: {workers: 1}\n"
    (folder / "overrides.yaml").write_text(TINY + machine)
    fifth = command("scriptsight", "run", "--workspace", "tiny")
    assert "everything is up to date; nothing to do" in fifth.stdout, fifth.stderr


def plan_of(said: str) -> dict[str, str]:
    """What a run says that it will do with each stage."""
    lines = [line for line in said.splitlines() if line.startswith("  ") and line.split()[0] in repository.STAGES]
    return {line.split()[0]: line[13:25].strip() for line in lines}


def made(folder: Path) -> dict[str, bytes]:
    """What the stages from training on wrote."""
    tops = [folder / name for name in ("models", "plots/pretrain", "plots/probe", "plots/retrieve")]
    paths = [path for top in tops for path in top.rglob("*") if path.is_file()]
    paths += [folder / f"metrics/{name}.json" for name in ("pretrain", "probe", "retrieve")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def headlines(folder: Path) -> list[str]:
    """The figures that a run prints at its end, from the files that the stages wrote."""
    pretrain, probe, retrieve = (
        json.loads((folder / f"metrics/{name}.json").read_text()) for name in ("pretrain", "probe", "retrieve")
    )
    untrained = probe["random_init"]
    return [
        f"{pretrain['val']['sort_accuracy']:.3f}   (chance: {pretrain['val']['chance']:.3f})",
        f"{probe['linear_top1']:.3f}   (untrained encoder: {untrained['linear_top1']:.3f})",
        f"{probe['knn_top1']:.3f}   (untrained encoder: {untrained['knn_top1']:.3f})",
        f"{retrieve['t2v']['r1']:.3f}   (chance: {retrieve['chance_r1']:.3f})",
    ]


def val_metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics/pretrain.json").read_text())["val"]
