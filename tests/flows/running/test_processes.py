"""Processes that end with their parents."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent ends")
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


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="a parent that nobody asks after is seen on Linux only")
def test_a_killed_parent_of_many_threads_is_heard_of_once(tmp_path: Path) -> None:
    """Also while nobody has asked after it, as when whoever started it reads what its children still write."""
    heard = tmp_path / "heard"
    child = (
        "import signal, time; from flows.running.processes import die_with_parent\n"
        f"def hear(*_): open({str(heard)!r}, 'a').write('x')\n"
        "signal.signal(signal.SIGTERM, hear); die_with_parent(); print(1, flush=True)\n"
        "end = time.monotonic() + 3\n"
        "while time.monotonic() < end: time.sleep(0.1)"
    )
    parent = (
        "import subprocess, sys, threading, time\n"
        "for _ in range(8): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "threading.Thread(target=subprocess.Popen, args=([sys.executable, '-c', sys.argv[1]],)).start()\n"
        "time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", parent, child], stdout=subprocess.PIPE)  # noqa: S603
    assert starter.stdout and starter.stdout.readline() == b"1\n"
    starter.kill()
    assert starter.stdout.read() == b""  # to the end of the child, which holds the other end
    starter.wait()
    starter.stdout.close()
    assert heard.read_text() == "x"


@pytest.mark.parametrize(
    "error", ["OSError(28, 'No space left on device')", "sqlite3.OperationalError('database or disk is full')"]
)
def test_a_full_disk_that_a_library_finds_is_one_message(error: str) -> None:
    """DVC, say, which writes before it does anything."""
    words = (
        f"import sqlite3; from flows.running.processes import exit_on_error\nwith exit_on_error('x'): raise {error}"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1 and done.stderr.startswith("x: the disk is full") and done.stderr.count("\n") == 1
