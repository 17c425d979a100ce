"""The commands as a user runs them: real processes, real temporary servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.running import repository
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
