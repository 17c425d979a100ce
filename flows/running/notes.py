"""Notes of what this process has opened elsewhere, held by a lock of the kernel: whoever finds one that nobody holds
knows that its process is gone, however it ended, and can close what it left open."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scriptsight import files

HELD = "inode"  # of the lock's file: in a copy of the folder, nobody holds the lock of a note


class Note:
    """A note in a folder, held by this process until it is removed or let go, or the process ends."""

    def __init__(self, folder: Path, content: dict[str, Any], name: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name or uuid.uuid4().hex
        self._path = (folder / self.name).with_suffix(".json").absolute()
        self._lock = FileLock(self._path.with_suffix(".lock"))
        self._lock.acquire(timeout=0)
        files.write_json(self._path, {**content, HELD: _inode(self._path)})

    def remove(self) -> None:
        """What it tells of is closed."""
        _remove(self._path)
        self._lock.release()

    def let_go(self) -> None:
        """What it tells of may be open still: whoever comes next is to look."""
        self._lock.release()


@contextmanager
def left(folder: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """The notes in a folder whose processes are gone, by name; they are held meanwhile, so that nobody else takes
    them up. One that can't be read tells nothing, and is taken away; so is a copy, for its process may live."""
    found: dict[str, dict[str, Any]] = {}
    held: list[FileLock] = []
    try:
        for path in sorted(folder.glob("*.json")):
            lock = FileLock(path.with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            held.append(lock)
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:  # removed before the lock was ours
                path.with_suffix(".lock").unlink(missing_ok=True)
                continue
            except (OSError, ValueError):
                content = None
            if isinstance(content, dict) and content.get(HELD) == _inode(path):
                found[path.stem] = content
            else:
                _remove(path)
        yield found
    finally:
        for lock in held:
            lock.release()


def _inode(path: Path) -> int:
    """That of the lock's file of a note; it stays the same when the folder is moved, or the machine starts again."""
    return path.with_suffix(".lock").stat().st_ino


def remove(folder: Path, name: str) -> None:
    """Take away a note that `left` gave."""
    _remove((folder / name).with_suffix(".json"))


def _remove(path: Path) -> None:
    for name in (path, path.with_suffix(".lock")):
        with suppress(FileNotFoundError):
            name.unlink()
