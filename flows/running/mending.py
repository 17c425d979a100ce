"""What a killed DVC leaves: files that it writes in place are half-written then, and it refuses them for ever."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from flows.running import locks
from scriptsight import files
from scriptsight.errors import InputError

READERS = Path(".dvc/tmp/rwlock")  # DVC's list of who reads and writes what
LOCK = Path("dvc.lock")
KEPT = locks.LOCKS / "dvc.lock"  # as it was before the last stage
CLOCK_SECONDS = 5  # by which a file's time and a process's may be apart


def drop_dead_readers() -> None:
    """Remove DVC's list of who reads and writes if it is half-written, or if none of those lives: DVC takes a process
    for a reader that got the number of a killed one since. (One that writes the list now has done so a moment
    later.)"""
    for seconds in (0, 1):
        time.sleep(seconds)
        try:
            written, text = READERS.stat().st_mtime, READERS.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        if not _is_of_the_dead(text, written):
            return
    READERS.unlink(missing_ok=True)


def _is_of_the_dead(text: str, written: float) -> bool:
    try:
        numbers = list(_numbers(json.loads(text)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return True
    return bool(numbers) and not any(_lived(number, written) for number in numbers)


def _numbers(listed: dict[str, Any]) -> Iterator[int]:
    for infos in (*listed.get("read", {}).values(), *listed.get("write", {}).values()):
        yield from (int(info["pid"]) for info in (infos if isinstance(infos, list) else [infos]))


def _lived(number: int, when: float) -> bool:
    """Whether the process of this number ran at that time already."""
    try:
        return psutil.Process(number).create_time() <= when + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def keep_lock() -> None:
    """Keep a copy of dvc.lock, which DVC can read now."""
    if LOCK.is_file():
        with files.whole_file(KEPT) as partial:
            partial.write_bytes(LOCK.read_bytes())


def lock_is_cut_off() -> bool:
    """Whether dvc.lock ends within a line, as DVC never leaves it: what DVC reads there may be wrong."""
    return KEPT.is_file() and LOCK.is_file() and not LOCK.read_bytes().endswith(b"\n")


def bring_back_lock() -> None:
    """Put the copy in place of a dvc.lock that DVC can't read.

    Raises:
        InputError: there is no copy, or a person wrote what DVC can't read, as git does where two branches meet.
    """
    content = LOCK.read_bytes()
    if not KEPT.is_file() or b"<<<<<<<" in content or KEPT.read_bytes() == content:
        raise InputError(
            f"{LOCK.resolve()} can't be read: mend it, take it from git (`git checkout dvc.lock`), or move it away; "
            "what it knew of runs again then."
        )
    damaged = LOCK.with_name(f"{LOCK.name}.damaged")
    with files.whole_file(damaged) as partial:
        partial.write_bytes(content)
    with files.whole_file(LOCK) as partial:
        partial.write_bytes(KEPT.read_bytes())
    print(
        f"pipeline: {LOCK} was left half-written by a run that was killed: it is as before that run's last stage "
        f"again (the damaged one is {damaged}).",
        file=sys.stderr,
    )
