"""`scriptsight ui`, which `make ui` starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import reachable
from flows.orchestration import ui
from tests.flows.conftest import SURROUNDINGS, stop

PATIENCE = 240


def test_both_pages_are_served_until_ctrl_c(workspace: Path, tmp_path: Path) -> None:
    if any(reachable.taken(port) for port in (ui.PREFECT, ui.MLFLOW)):
        pytest.skip(f"port {ui.PREFECT} or {ui.MLFLOW} is in use here")
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own["PREFECT_HOME"] = str(tmp_path / "prefect")
    program = [sys.executable, "-m", "scriptsight", "ui"]
    with subprocess.Popen(  # noqa: S603 - our own words
        program, env=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as pages:
        try:
            deadline = time.monotonic() + PATIENCE
            assert pages.stdout and f"Prefect  http://127.0.0.1:{ui.PREFECT}\n" in pages.stdout  # and lines before
            assert reachable.shows(f"http://127.0.0.1:{ui.PREFECT}/runs")
            assert reachable.shows(f"http://127.0.0.1:{ui.MLFLOW}/")
            pages.send_signal(signal.SIGINT)
            while pages.poll() is None or any(reachable.taken(port) for port in (ui.PREFECT, ui.MLFLOW)):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            stop(pages)
    assert (workspace / "mlruns/mlflow.db").is_file()
