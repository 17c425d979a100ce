"""Files and folders that appear whole or not at all: temporary name, flush, ``os.replace``."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scriptsight.errors import InputError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block succeeds and vanishes if not.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: writers such as matplotlib choose the format by it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with _cleaned_up(partial, path):
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it replaces `path` if the block succeeds.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(".partial-*"):  # left by a killed process
        if re.fullmatch(rf"\.partial-\d+-(old-)?{re.escape(path.name)}", stale.name):
            shutil.rmtree(stale, ignore_errors=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with _cleaned_up(partial, path):
        partial.mkdir()
        yield partial
        old = path.with_name(f".partial-{os.getpid()}-old-{path.name}")
        if path.exists():
            path.replace(old)  # a kill from here to the next line leaves no folder, never half of one
        partial.replace(path)
        shutil.rmtree(old, ignore_errors=True)


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


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
