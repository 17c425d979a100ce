"""One process at a time writes a stage's outputs, and none while others read them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.running import locks
from scriptsight.errors import InputError


@contextmanager
def elsewhere(held: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds a lock, and is killed in the end."""
    holding = f"from flows.running import locks\nwith locks.{held}: print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1)  # noqa: S603
    try:
        assert other.stdout and other.stdout.readline()
        yield other
    finally:
        other.kill()
        other.communicate()


def test_a_second_writer_hears_who_holds_the_stage(workspace: Path) -> None:
    with elsewhere("lock('segment')") as other:
        refused = pytest.raises(InputError, match=f"segment is already running .* process {other.pid} ")
        with refused, locks.lock("segment", patience=0.2):
            pass
        with pytest.raises(InputError, match=f"process {other.pid} "), locks.reading("segment", "x", patience=0.2):
            pass
    with locks.lock("segment", patience=5):  # a killed holder holds nothing
        pass


def test_readers_share_and_keep_a_writer_out(workspace: Path) -> None:
    with elsewhere("reading('pipeline', 'scriptsight sweep')") as other:
        with locks.reading("pipeline", "me", patience=0):
            pass
        refused = pytest.raises(InputError, match=rf"are read: process {other.pid} \(scriptsight sweep\) on ")
        with refused, locks.lock("pipeline", patience=0.2):
            pass
    with locks.lock("pipeline", patience=5):
        assert [path.name for path in sorted(locks.LOCKS.glob("pipeline.*"))] == ["pipeline.holder", "pipeline.lock"]


def test_a_writer_that_was_killed_is_not_named(workspace: Path) -> None:
    with elsewhere("lock('pipeline')"):
        pass
    with locks.reading("pipeline", "me", patience=5):
        refused = pytest.raises(InputError, match=rf"are read: process {os.getpid()} \(me\)")
        with refused, locks.lock("pipeline", patience=0):
            pass
