"""A workspace: a folder with the project's parameters, in which commands run as a user runs them; real servers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows import reachable

PROJECT = Path(__file__).resolve().parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
# What would make a command record on a server of the user, or take itself for a part of a pipeline.
SURROUNDINGS = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DVC_STAGE", "SCRIPTSIGHT_STAGE_REPORT")
FOLDER = """
ingest:
  collections:
    talks: {kind: folder, path: %s, splits: {"*": train}}
pretrain: {collections: {talks: {}}}
probe: {tests: {talks: {collections: [talks]}}}
retrieve: {collection: talks}
"""
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
            timeout=900,
            check=False,
        )

    yield run


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A whole server of Prefect, with its page and its automations -> the address of its API."""
    home = tmp_path_factory.mktemp("prefect-server")
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port")
    page = {"PREFECT_UI_API_URL": "http://127.0.0.1:{port}/api"}  # where the page asks
    with serving(command, "/api", {"PREFECT_HOME": str(home), **page}) as address:
        yield address


@pytest.fixture
def new_events() -> None:
    """Prefect's one sender of events in this process is made anew: the last one still sends to the server that an
    earlier test used, which may be gone."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=10, at_exit=False)


@contextmanager
def serving(command: tuple[str, ...], path: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Start a server whose last argument is a free port, `{port}` in `environment`; wait until it answers -> its
    address, with `path`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    program = [str(Path(sys.executable).parent / command[0]), *command[1:], str(port)]
    own |= {name: value.format(port=port) for name, value in environment.items()}
    process = subprocess.Popen(  # noqa: S603 - our own words
        program, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}{path}"
    try:
        deadline = time.monotonic() + 180
        while not reachable.answers(address, 1):
            assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} does not start"
            time.sleep(0.2)
        yield address
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any]) -> None:
    """End what runs in the session of a process that was started in one of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
