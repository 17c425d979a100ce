"""Files and folders that appear whole or not at all: temporary name, flush, ``os.replace``."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from scriptsight.errors import InputError

# Folders are shared by machines, on which process numbers repeat.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def partial_path(path: Path) -> Path:
    """A name beside `path`, hidden and with its suffix, that nobody else uses, on this machine or another."""
    # The suffix is kept: writers such as matplotlib choose the format by it.
    return path.with_name(f".partial-{_MACHINE}-{os.getpid()}-{uuid4().hex[:8]}-{path.name}")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block succeeds and vanishes if not.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    with _cleaned_up(partial, path):
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it replaces `path` if the block succeeds.

    What processes of this machine left of it when they were killed is removed.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f".partial-{_MACHINE}-*"):
        found = re.fullmatch(rf"\.partial-{_MACHINE}-(\d+)-[0-9a-f]{{8}}(-old)?-{re.escape(path.name)}", other.name)
        if found and not _at_work(int(found[1])):
            shutil.rmtree(other, ignore_errors=True)
    partial = partial_path(path)
    with _cleaned_up(partial, path):
        partial.mkdir()
        yield partial
        old = partial.with_name(partial.name.removesuffix(path.name) + f"old-{path.name}")
        if path.exists():
            path.replace(old)  # a kill from here to the next line leaves no folder, never half of one
        partial.replace(path)
        shutil.rmtree(old, ignore_errors=True)


def _at_work(process: int) -> bool:
    """Whether another process of this machine may have that number; none of our own writes a folder twice at once,
    but in a container the next run often has the number of the last."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # where a signal of 0 is not harmless
        return True
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _cleaned_up(partial: Path, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"The disk is full while writing {path}: nothing half-written was left. "
                "Free some space, or move the output folder to a larger disk, and run again."
            ) from error
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV in UTF-8 with line feeds, whole or not at all; None becomes an empty cell."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
