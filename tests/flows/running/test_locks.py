"""One process at a time writes a stage's outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.running import locks
from scriptsight.errors import InputError


def test_a_second_writer_hears_who_holds_the_stage(workspace: Path) -> None:
    holding = "from flows.running import locks\nwith locks.lock('segment'): print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1)  # noqa: S603
    try:
        assert other.stdout and other.stdout.readline()
        refused = pytest.raises(InputError, match=f"segment is already running .* process {other.pid} ")
        with refused, locks.lock("segment", patience=0.2):
            pass
    finally:
        other.kill()
        other.communicate()
    with locks.lock("segment", patience=5):  # a killed holder holds nothing
        pass
