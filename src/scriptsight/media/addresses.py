"""Media by address: what lies on this machine as it is, what lies elsewhere as a temporary copy.

Credentials are the surroundings' (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`, `FSSPEC_S3_KEY`, ...),
as fsspec and s3fs read them. No message here repeats an address uncleaned, or the words of a library, which do.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from fsspec import filesystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_compression

from scriptsight.media.errors import MediaError
from scriptsight.redaction import redacted

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

# What an address may name: it often comes from a file that somebody else wrote, and fsspec knows protocols
# that run commands, log in to other machines or read templates.
_PROTOCOLS = frozenset({"abfs", "az", "file", "gcs", "gs", "http", "https", "s3", "s3a", "tar", "zip"})
LISTABLE = frozenset({"abfs", "az", "gcs", "gs", "s3", "s3a"})  # where a listing says what is asked of a file
LEFT_FREE = 256 * 2**20  # bytes of the temporary folder's disk that a copy leaves to others
SILENT_SECONDS = 60  # without a byte from a web server
_COPY = "scriptsight-copy-"


@contextmanager
def local(uri: str | Path) -> Iterator[Path]:
    """A file of this machine with the bytes of `uri`, for as long as the block lasts.

    `uri` is a path, or an fsspec address: `file://`, `http(s)://`, `s3://`, `gs://`, `abfs://`, or a member of an
    archive as `tar://MEMBER::ARCHIVE` or `zip://MEMBER::ARCHIVE`. What is not local is copied whole into the
    temporary folder (`TMPDIR`), under a name with its suffix, and removed after.

    Raises:
        MediaError: "missing video", "no access", "unreachable", "unreadable archive", "unknown address",
            or "disk full", before the copy begins where the size is known.
    """
    system, path = _in_own_words(uri, lambda: _located(uri))
    if system is None:
        _in_own_words(uri, lambda: _info(None, path))
        yield Path(path)
        return
    with _temporary(path) as copy:
        _in_own_words(uri, lambda: _fetch(uri, system, path, copy))
        yield copy


def fingerprint(uri: str | Path) -> tuple[int, str]:
    """Size in bytes (0 where a server does not say), and a mark that changes with the content, without reading it.

    The mark is the time of the last change for files and archive members, the entity tag for objects and web
    pages that have one, else "".

    Raises:
        MediaError: as `local` does, but for the disk.
    """
    system, path = _in_own_words(uri, lambda: _located(uri))
    return _in_own_words(uri, lambda: _info(system, path))


def listed(folder: str) -> dict[str, tuple[int, str]]:
    """The `fingerprint` of each file of a folder of an object store by its name there, with one request a thousand
    files; those in folders below are not among them.

    Args:
        folder: an address whose protocol is one of `LISTABLE`.

    Raises:
        MediaError: as `fingerprint` does; a folder that nothing is in is a "missing video".
    """
    system, path = _in_own_words(folder, lambda: _located(folder))

    def ask() -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = system.ls(path, detail=True, refresh=True)
        finally:
            system.invalidate_cache(path)  # whoever asks for one of these later asks the server
        return found

    infos = _in_own_words(folder, ask)
    return {info["name"].rpartition("/")[2]: _marked(info) for info in infos if info.get("type") == "file"}


def _located(uri: str | Path) -> tuple[Any, str]:
    """(file system, path in it); no file system for a path of this machine."""
    text = str(uri)
    if "://" not in text:
        return None, text
    # As fsspec reads them: what is no address is a path, unless it consists of letters only.
    protocols = [
        part.partition("://")[0] if "://" in part or re.fullmatch("[a-z]*", part) else "file"
        for part in text.split("::")
    ]
    if unknown := [protocol for protocol in protocols if protocol not in _PROTOCOLS]:
        detail = f"{unknown[0][:20]!r} is none of {', '.join(sorted(_PROTOCOLS))}"
        raise MediaError(redacted(uri), "unknown address", detail)
    if protocols[0] == "file":
        return None, url_to_fs(text)[1]
    if protocols[0] in ("tar", "zip"):
        member, _, archive = text.partition("::")
        system = _archive(protocols[0], archive, fingerprint(archive), threading.get_ident())
        return system, member.partition("://")[2]
    system, path = url_to_fs(text, **_web(protocols[0]))
    return system, path


@lru_cache(maxsize=8)
def _archive(kind: str, archive: str, _mark: tuple[int, str], _thread: int) -> Any:
    """The opened archive, its table of contents read once: many members are asked for one after the other.

    It is opened again when it changes, and for each thread: reading moves its place.
    """
    system, path = _located(archive)
    file = LocalFileSystem().open(path) if system is None else system.open(path)
    if kind == "zip":
        return filesystem(kind, fo=file)
    # Bare of its name, for fsspec logs it as it is; what the suffix says of a compression is stated instead.
    compression = infer_compression(path.partition("?")[0])
    return filesystem(kind, fo=io.BufferedReader(file), compression=compression)


def _web(protocol: str) -> dict[str, Any]:
    """Options for a web server: no limit in all, as aiohttp has by default, for a long video takes its time; one
    for a server that falls silent."""
    if protocol not in ("http", "https"):
        return {}
    import aiohttp  # takes a while, and few need it

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS)
    return {"client_kwargs": {"timeout": timeout}}


def _info(system: Any, path: str) -> tuple[int, str]:
    if system is None:
        status = Path(path).stat()
        if Path(path).is_dir():
            raise IsADirectoryError
        return status.st_size, str(status.st_mtime_ns)
    info = system.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError
    return _marked(info)


def _marked(info: dict[str, Any]) -> tuple[int, str]:
    marks = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "date_time", "created")
    mark = next((info[name] for name in marks if info.get(name)), "")
    return info.get("size") or 0, str(mark).strip('"')


def _fetch(uri: str | Path, system: Any, path: str, copy: Path) -> None:
    size, _ = _info(system, path)
    free = shutil.disk_usage(copy.parent).free
    if size + LEFT_FREE > free:
        detail = f"its {size / 1e6:,.0f} MB don't fit into {copy.parent}, where {free / 1e6:,.0f} MB are free"
        raise MediaError(redacted(uri), "disk full", f"{detail}: set TMPDIR to a folder on a larger disk")
    system.get_file(path, str(copy))
    if size and copy.stat().st_size != size:
        detail = f"the copy has {copy.stat().st_size:,} bytes instead of {size:,}"
        raise MediaError(redacted(uri), "unreachable", detail)


@contextmanager
def _temporary(path: str) -> Iterator[Path]:
    """An empty file with the suffix of `path`, removed after; those of processes that were killed go, too."""
    suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", path.partition("?")[0])
    _sweep(Path(tempfile.gettempdir()))
    while True:
        number, name = tempfile.mkstemp(prefix=_COPY, suffix=suffix[0] if suffix else "")
        if fcntl is None:
            break
        fcntl.flock(number, fcntl.LOCK_EX)
        if os.fstat(number).st_nlink:  # else another process swept it before it was locked
            break
        os.close(number)
    copy = Path(name)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        os.close(number)


def _sweep(folder: Path) -> None:
    """Remove the copies that no process holds: one that was killed had no time to."""
    if fcntl is None:
        return
    for stale in folder.glob(f"{_COPY}*"):
        try:
            with stale.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink(missing_ok=True)
        except OSError:  # in use, another user's, or gone
            continue


def _in_own_words(uri: str | Path, do: Callable[[], T]) -> T:
    try:
        return do()
    except MediaError:
        raise
    except Exception as error:
        failure = _failure(uri, error)
    raise failure  # out here the library's exception, which may hold the address, is not its context


def _failure(uri: str | Path, error: BaseException) -> MediaError:
    """What went wrong in words of our own; libraries wrap one error into another, of another kind."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    statuses = [getattr(one, "status", None) for one in chain]
    status = next((status for status in statuses if isinstance(status, int)), None)
    codes = {one.errno for one in chain if isinstance(one, OSError)}

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    name = redacted(uri)
    if codes & {errno.ENOSPC, errno.EDQUOT}:
        detail = f"while copying into {tempfile.gettempdir()}: set TMPDIR to a folder on a larger disk"
        return MediaError(name, "disk full", detail)
    if has(ImportError):
        missing = {getattr(one, "name", None) for one in chain}
        extras = {"aiohttp": "data", "s3fs": "s3", "botocore": "s3", "aiobotocore": "s3"}
        extra = next((extra for module, extra in extras.items() if module in missing), None)
        needed = f": pip install 'scriptsight[{extra}]'" if extra else ""
        module = next(filter(None, missing), "of its protocol for fsspec")
        return MediaError(name, "unknown address", f"it needs the package {module}{needed}")
    if status in (401, 403, 407) or type(chain[-1]).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return MediaError(name, "no access", "the server refuses: check the credentials in the environment")
    if status in (404, 410):
        return MediaError(name, "missing video", "there is no such file")
    offline = has(ConnectionError, TimeoutError) or type(chain[-1]).__module__.startswith("aiohttp")
    if status is None and not offline:
        if has(PermissionError):
            return MediaError(name, "no access", "reading it is refused: check rights, or credentials")
        if has(tarfile.TarError, zipfile.BadZipFile, EOFError):
            return MediaError(name, "unreadable archive", "it is damaged, or none")
        # s3fs says which kind a ClientError is; fsspec's web client calls anything that went wrong not found.
        boto = type(chain[-1]).__name__ == "ClientError" and has(FileNotFoundError)
        if boto or isinstance(chain[-1], (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError)):
            return MediaError(name, "missing video", "there is no such file")
    detail = f"answer {status}" if status else type(chain[-1]).__name__
    return MediaError(name, "unreachable", detail)
