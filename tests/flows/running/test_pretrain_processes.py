"""`python -m flows.pretrain` in several processes: one model, one run; a stopped one is gone on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from flows.tracking import store
from scriptsight.params import reading
from tests import small
from tests.flows.conftest import SURROUNDINGS
from tests.training.together import SMALL


@pytest.fixture
def prepared(workspace: Path) -> Path:
    """A workspace with segments and the parameters of a tiny training in two processes."""
    for split, count in (("train", 20), ("val", 12)):
        small.narrated(workspace / "data/segments", split, count, "narrated")
    engine = {"engine": {"processes": 2}, "steps": 600, "validate_every": 300, "checkpoint_every": 100}
    values = reading.merge(reading.read_yaml("params.yaml"), SMALL)
    YAML().dump(reading.merge(values, {"pretrain": engine}), workspace / "params.yaml")
    return workspace


def start() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    environment |= {"SCRIPTSIGHT_STAGE_REPORT": "report.json", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.pretrain"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603


def runs() -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(store.uri())
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment is not None
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


def begun(process: subprocess.Popen[str], prepared: Path, checkpoint: str) -> list[psutil.Process]:
    """The processes of a stage that has come to a checkpoint."""
    deadline = time.monotonic() + 120
    while not list(prepared.rglob(checkpoint)) and time.monotonic() < deadline:
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len([child for child in family if "flows.pretrain" in " ".join(child.cmdline())]) >= 2
    return family


def test_two_processes_make_one_model_and_one_run_and_end_with_their_parent(prepared: Path) -> None:
    process = start()
    family = begun(process, prepared, "0000000100.pt")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 143, said
    assert "run again to go on from there" in said
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert not (prepared / "models").exists()

    process = start()
    family = begun(process, prepared, "0000000200.pt")
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert not (prepared / "models").exists()

    process = start()
    said = process.communicate(timeout=150)[1]
    assert process.returncode == 0, said
    assert said.count("Resuming after step") == 1  # one process speaks for all
    assert (prepared / "models/pretrained/model.safetensors").is_file()
    assert (prepared / "models/best/model.safetensors").is_file()
    assert sorted(runs()) == ["FAILED", "FAILED", "FINISHED"]
