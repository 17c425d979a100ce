"""Locks of a folder: one process at a time writes a stage's outputs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from scriptsight import files
from scriptsight.errors import InputError

LOCKS = Path(".locks")


class Busy(InputError):
    """Another process holds a lock."""


@contextmanager
def lock(name: str, patience: float = 10) -> Iterator[None]:
    """Hold `.locks/NAME.lock`: nobody else writes the outputs of this stage meanwhile.

    Raises:
        Busy: another process held it for `patience` seconds (negative: wait as long as it takes); the message names
            that process.
    """
    LOCKS.mkdir(exist_ok=True)
    holder = LOCKS / f"{name}.holder"
    held = FileLock(LOCKS / f"{name}.lock")
    try:
        held.acquire(timeout=patience)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise Busy(
            f"{name} is already running in {Path.cwd()}: {who}. Wait for it, or end it, and run again."
        ) from None
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with files.whole_file(holder) as partial:
            partial.write_text(f"process {os.getpid()} on {platform.node()}, since {since}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        held.release()
