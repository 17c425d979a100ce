"""Files and folders that appear whole or not at all: temporary name, flush, ``os.replace``; and how damage that they
take later is seen."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from scriptsight.errors import InputError

# Folders are shared by machines, on which process numbers repeat.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
CHECKSUMS = "checksums"  # the key of a sealed JSON file, and the name of one that has nothing else to say
BLOCK = 2**20  # bytes that are read at a time
# Why the system lets no more bytes be written, and what the person reads. SQLite, safetensors, faiss and Arrow have
# exceptions of their own, which may say no more than the system's words.
_NO_ROOM = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EFBIG: "A file may not become so large here (ulimit -f, or the file system)",
}
_SAID = re.compile(
    r"no space left|disk is full|file too large|quota exceeded|\d requested and \d+ written|"
    r"\(os error (?:27|28|122)\)|errno (?:27|28|122)\b",
    re.I,
)


def cache_folder() -> Path:
    """Where is kept what any workspace of this user may need again: SCRIPTSIGHT_CACHE, else scriptsight/ below
    XDG_CACHE_HOME or ~/.cache. It may not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SCRIPTSIGHT_CACHE") or Path(base) / "scriptsight")


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
    partial = partial_path(path)
    with _cleaned_up(partial, path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    with room(path):
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


def linked(path: Path, place: Path) -> None:
    """Have a file, which is never changed, in a second place: as a link, which takes no room, or as a copy where the
    file system has none.

    Raises:
        InputError: the disk is full.
    """
    with room(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(path)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(path, place)


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
        if (reason := _no_room(error)) is not None:
            raise InputError(
                f"{reason} while writing {path}: nothing half-written was left. "
                "Free some space, or move the output folder to a larger disk, and run again."
            ) from error
        raise


@contextmanager
def room(path: str | Path) -> Iterator[None]:
    """What is written inside the block, at or below `path`, is no output that appears whole.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if (reason := _no_room(error)) is not None:
            raise InputError(
                f"{reason} while writing {path}. Free some space, or move the folder to a larger disk, and run again."
            ) from error
        raise


def _no_room(error: BaseException) -> str | None:
    """What is said where an error, or what it came from, means that no more can be written; else None."""
    if isinstance(error, InputError) or not isinstance(error, Exception):
        return None  # an InputError has said it
    here: BaseException | None = error
    while here is not None:
        if isinstance(here, OSError) and here.errno in _NO_ROOM:
            return _NO_ROOM[here.errno]
        if isinstance(here, sqlite3.OperationalError) and getattr(here, "sqlite_errorname", "") in (
            "SQLITE_FULL",
            "SQLITE_IOERR_WRITE",
        ):
            return _NO_ROOM[errno.ENOSPC]
        if not isinstance(here, ValueError | TypeError) and _SAID.search(str(here)):
            return _NO_ROOM[errno.EFBIG if "large" in str(here) or "27" in str(here) else errno.ENOSPC]
        here = here.__cause__ or here.__context__
    return None


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all.

    Raises:
        InputError: a number in it is NaN or infinite, or the disk is full.
    """
    if broken := [name for name, number in _numbers(value, "") if not math.isfinite(number)]:
        raise InputError(_not_finite(path, broken))
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV in UTF-8 with line feeds, whole or not at all; None becomes an empty cell.

    Raises:
        InputError: a number in it is NaN or infinite, or the disk is full.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for row in rows:
            # NumPy's scalars are no floats, but for float64.
            if broken := [name for name, cell in zip(header, row, strict=False) if _is_broken(cell)]:
                raise InputError(_not_finite(path, broken))
            table.writerow(row)


def _is_broken(cell: object) -> bool:
    return hasattr(cell, "__float__") and not isinstance(cell, int) and not math.isfinite(float(cell))


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """The floats in a value that becomes JSON, each with its key as one finds it in the file."""
    if isinstance(value, float):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}/{key}".lstrip("/"))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _numbers(inner, f"{name}/{place}".lstrip("/"))


def _not_finite(path: str | Path, names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{path} is not written: {', '.join(names[:3])}{more} would be NaN or infinite, which neither JSON "
        "nor any result can be. Look at the model or the input that it comes from; training again with a smaller lr "
        "often helps."
    )


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -------------------------------------------------------------------------------------------- damage, seen later


def crc32(path: str | Path) -> str:
    """CRC-32 of a file's bytes, in hexadecimal: sees damage, at some GB a second, but no forgery."""
    total = 0
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            total = zlib.crc32(block, total)
    return f"{total:08x}"


def seal(path: str | Path, names: Sequence[str] | None = None) -> None:
    """Add to a JSON file, which is made if it isn't there, under "checksums" what `check_sealed` looks at: the size
    and the CRC-32 of other files in its folder, of all unless `names` says which, and the CRC-32 of what else it
    holds itself."""
    path = Path(path)
    value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    value.pop(CHECKSUMS, None)
    if names is None:
        others = sorted(other for other in path.parent.rglob("*") if other.is_file() and other != path)
    else:
        others = [path.parent / name for name in names]
    sealed = {one.relative_to(path.parent).as_posix(): [one.stat().st_size, crc32(one)] for one in others}
    write_json(path, {**value, CHECKSUMS: {path.name: _content(value), **sealed}})


def check_sealed(path: str | Path, names: Sequence[str], remedy: str) -> bool:
    """Whether a JSON file was sealed; if it was, it and the files `names` (or those below folders of these names)
    beside it are as they were then.

    Args:
        remedy: what the person is told to do about damage.

    Raises:
        InputError: one of them is damaged or missing.
    """
    path = Path(path)
    if not path.is_file():
        return False
    sealed = _sealed(path, remedy)
    if sealed is None:
        return False
    for name in names:
        wanted = [one for one in sealed if one == name or one.startswith(f"{name}/")]
        if not wanted:
            raise InputError(f"{path} is damaged: its checksums lack {name}. {remedy}")
        for one in wanted:
            size, checksum = sealed[one]
            file = path.parent / one
            if not file.is_file():
                raise InputError(f"{file} is missing. {remedy}")
            if (found := file.stat().st_size) != size:
                raise InputError(f"{file} is damaged: it has {found:,} bytes instead of {size:,}. {remedy}")
            if crc32(file) != checksum:
                raise InputError(f"{file} is damaged: its bytes are not those that were written. {remedy}")
    return True


def _content(value: dict[str, Any]) -> str:
    """CRC-32 of a JSON mapping, however it is laid out."""
    return f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"


def _sealed(path: Path, remedy: str) -> dict[str, tuple[int, str]] | None:
    """The checksums in a JSON file, file -> size and CRC-32, after its own content was held to them; None if it has
    none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if CHECKSUMS not in value:
            return None
        listed = value.pop(CHECKSUMS)
        if listed.pop(path.name) != _content(value):
            raise ValueError("its content is not what was written")
        sealed = {name: (int(size), str(checksum)) for name, (size, checksum) in listed.items()}
        if strange := [name for name in sealed if ".." in name.split("/") or name.startswith("/")]:
            raise ValueError(f"it has a checksum of {strange[0]!r}")
    except Exception as error:  # whatever damage makes of JSON and its types
        raise InputError(f"{path} is damaged: {str(error) or type(error).__name__}. {remedy}") from error
    return sealed
