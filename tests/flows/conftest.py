"""A workspace: a folder with the project's parameters, in which the commands run as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
# What would make a command record on a server of the user, or take itself for a part of a pipeline.
SURROUNDINGS = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DVC_STAGE", "SCRIPTSIGHT_STAGE_REPORT")
NOWHERE = "http://127.0.0.1:9/api"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(PROJECT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def command(prefect_home: Path) -> Iterator[Command]:
    """Run `python -m MODULE ARGUMENTS...` in the current folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
        own |= {"PREFECT_HOME": str(prefect_home), "SCRIPTSIGHT_UI_API_URL": NOWHERE}
        return subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-m", *arguments],
            env={**own, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    yield run
