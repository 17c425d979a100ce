"""Locks of a folder: one process at a time writes a stage's outputs, and none while others read them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from scriptsight import files
from scriptsight.errors import InputError

LOCKS = Path(".locks")
POLL_SECONDS = 0.1


class Busy(InputError):
    """Another process holds a lock."""


@contextmanager
def lock(name: str, patience: float = 10) -> Iterator[None]:
    """Hold `.locks/NAME.lock`: nobody else writes the outputs of this stage, or reads them with `reading`, meanwhile.

    Raises:
        Busy: another process held it for `patience` seconds (negative: wait as long as it takes); the message names
            that process.
    """
    LOCKS.mkdir(exist_ok=True)
    held = FileLock(LOCKS / f"{name}.lock")
    try:
        held.acquire(timeout=patience)
    except Timeout:
        raise Busy(_busy(name)) from None
    for reader in _readers(name):  # that were killed
        reader.unlink(missing_ok=True)
    try:
        with _told(_holder(name), ""):
            yield
    finally:
        held.release()


@contextmanager
def reading(name: str, what: str, patience: float = 10) -> Iterator[None]:
    """Hold `.locks/NAME.lock` together with others that read: nobody gets it by `lock` meanwhile.

    Args:
        what: reads, for the message of who is kept from writing, such as `scriptsight sweep`.

    Raises:
        Busy: another process wrote for `patience` seconds (negative: wait as long as it takes).
    """
    LOCKS.mkdir(exist_ok=True)
    held = os.open(LOCKS / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _in_time(lambda: _shared(held), patience):
            raise Busy(_busy(name))
        _holder(name).unlink(missing_ok=True)  # of one that was killed
        with _told(LOCKS / f"{name}.reader-{os.getpid()}", f" ({what})"):
            yield
    finally:
        os.close(held)  # which gives it back


def _shared(held: int) -> bool:
    """Whether this process has it for reading. The lock of the kernel that FileLock takes too, which has no such."""
    try:
        import fcntl
    except ImportError:  # Windows: there, nothing keeps a pipeline from what a sweep reads
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def held() -> dict[str, str]:
    """The locks of the current folder that processes hold now -> who does, as they say it themselves."""
    return {path.stem: _who(path.stem) for path in sorted(LOCKS.glob("*.lock")) if is_held(path)}


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file. It is asked for and given back at once, and never made."""
    try:
        import fcntl

        file = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):  # Windows, or there is no such file
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system that asks for more than reading
        return False
    finally:
        os.close(file)
    return False


def _in_time(done: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not done():
        if patience >= 0 and time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Have others find out who holds a lock."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with files.whole_file(path) as partial:
        partial.write_text(f"process {os.getpid()}{what} on {platform.node()}, since {since}", encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _holder(name: str) -> Path:
    return LOCKS / f"{name}.holder"


def _readers(name: str) -> list[Path]:
    return sorted(LOCKS.glob(f"{name}.reader-*"))


def _busy(name: str) -> str:
    """Who holds it; a reader that was killed may be among them."""
    if _readers(name) and not _holder(name).is_file():
        state = f"{name} can't run in {Path.cwd()}, for its outputs are read: {_who(name)}"
    else:
        state = f"{name} is already running in {Path.cwd()}: {_who(name)}"
    return f"{state}. Wait for it, or end it, and run again."


def _who(name: str) -> str:
    writer, readers = _holder(name), _readers(name)
    told = [writer] if writer.is_file() or not readers else readers
    return "; ".join(path.read_text(encoding="utf-8") for path in told if path.is_file()) or "another process"
