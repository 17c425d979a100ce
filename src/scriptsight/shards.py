"""Shards that lie elsewhere: put under an address (`segment.store`), fetched into a cache of this machine.

An object is named after the SHA-256 of its bytes. So nothing is ever overwritten, what is there already is not put
again, and an older version of the data stays readable for as long as its objects are kept. Credentials are the
surroundings', as fsspec and s3fs read them; no message here repeats the words of a library, which might hold them.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scriptsight.errors import InputError
from scriptsight.files import cache_folder, digest, room
from scriptsight.params.base import CACHE_GB
from scriptsight.redaction import redacted

_limit = ContextVar("shard_cache_gb", default=CACHE_GB)
_ABANDONED = 3600.0  # seconds that nothing was written to what is being fetched

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A shard under an address: its file there, bytes, and SHA-256 in hexadecimal."""

    file: str
    size: int
    sha256: str


def check_address(address: str) -> None:
    """Refuse what is no address, or may hold a secret: it goes into parameters, records and outputs.

    Raises:
        InputError: it is; the message does not repeat a secret.
    """
    if "://" not in address or "::" in address or address.endswith("/"):
        raise InputError(
            f"segment.store {redacted(address)!r} is no address such as s3://bucket/segments (without a slash at its "
            "end): correct it, or set null to keep shards in the workspace."
        )
    if redacted(address) != address or "@" in address.partition("://")[2].partition("/")[0]:
        raise InputError(
            "segment.store holds what may be a password or a token: take it out, credentials come from the "
            "environment."
        )


def put(path: Path, address: str) -> Kept:
    """Put a file below an address, unless it is there already.

    Raises:
        InputError: the address can't be written to.
    """
    checksum, size = digest(path), path.stat().st_size
    kept = Kept(f"{path.stem}-{checksum[:16]}{path.suffix}", size, checksum)

    def do() -> None:
        system, where = _at(f"{address}/{kept.file}")
        try:
            if system.info(where)["size"] == size:
                return
        except FileNotFoundError:
            pass
        if "file" in system.protocol:  # object stores have no folders, and make buckets instead
            system.makedirs(where.rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), where)

    _in_own_words(f"{address}/{kept.file} can't be written", do)
    return kept


@contextmanager
def cache_of(gigabytes: float) -> Iterator[None]:
    """A `Cache` that is made inside the block may have so much, 1e9 bytes each, unless it is told."""
    before = _limit.set(gigabytes)
    try:
        yield
    finally:
        _limit.reset(before)


class Cache:
    """Copies of shards on this machine, at most so many bytes together; the one used longest ago goes first.

    They lie in the user's cache (`files.cache_folder`), named after their SHA-256, and all processes and workspaces
    of the machine share them: each is fetched once, whoever asks first.

    Args:
        gigabytes: the limit, 1e9 bytes each; by default what `cache_of` says.
    """

    def __init__(self, gigabytes: float | None = None) -> None:
        self.folder = (cache_folder() / "shards").absolute()
        self.limit = int((_limit.get() if gigabytes is None else gigabytes) * 1e9)

    def __getstate__(self) -> tuple[Path, int]:
        return self.folder, self.limit

    def __setstate__(self, state: tuple[Path, int]) -> None:
        self.folder, self.limit = state

    def fetch(self, address: str, shard: Kept) -> Path:
        """The copy of a shard that lies below an address, fetched if it is not there. It counts as used now.

        A copy that is open when it goes stays readable; its room is free when it is closed.

        Raises:
            InputError: it is missing or can't be fetched, its bytes are not those that were written, or the disk or
                the cache is too small for it.
        """
        path = self._path(shard)
        if self._use(path):
            return path
        source = f"{address}/{shard.file}"
        if shard.size > self.limit:
            raise InputError(
                f"The shard {source} has {shard.size / 1e9:g} GB, and the cache may have {self.limit / 1e9:g}: raise "
                "shard_cache_gb."
            )
        with room(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent / ".lock"):
            if self._use(path):  # another process was faster
                return path
            partial = path.with_suffix(f".{shard.size}.part")
            self._make_room(shard.size, partial)
            try:
                self._get(source, shard, partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def _get(self, source: str, shard: Kept, partial: Path) -> None:
        system, where = _at(source)
        with room(partial):
            _in_own_words(f"{source} can't be read", lambda: system.get_file(where, str(partial)))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        if partial.stat().st_size != shard.size or digest(partial) != shard.sha256:
            raise InputError(
                f"The shard {source} is damaged: its bytes are not those that were written (SHA-256). Put it back "
                "from a copy, or remove it and run the segment stage again."
            )

    def has(self, shard: Kept) -> bool:
        """Whether there is a copy of a shard."""
        return self._path(shard).is_file()

    def _path(self, shard: Kept) -> Path:
        return self.folder / shard.sha256[:2] / shard.sha256

    def _use(self, path: Path) -> bool:
        """Whether a copy is there; it counts as used now."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, size: int, partial: Path) -> None:
        """Remove copies until `size` bytes more are within the limit, and begin the file that takes them."""
        with _locked(self.folder / ".lock"):
            partial.unlink(missing_ok=True)  # of one who was killed; who writes it holds the lock that we have
            total, copies = size, []
            for path in self.folder.glob("??/[0-9a-f]*"):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if path.suffix != ".part":
                        copies.append((status.st_mtime_ns, status.st_size, path))
                        total += status.st_size
                    elif time.time() - status.st_mtime > _ABANDONED:
                        path.unlink()
                    else:  # it takes its room from the start, and says how much
                        total += int(path.suffixes[0][1:])
            for _, bytes_, path in sorted(copies):
                if total <= self.limit:
                    break
                path.unlink(missing_ok=True)
                total -= bytes_
            with room(partial):
                partial.touch()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else, in this process or another, is inside the block with the same path."""
    import fcntl  # POSIX alone has it, and only who fetches needs it

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _at(address: str) -> tuple[Any, str]:
    def do() -> tuple[Any, str]:
        import fsspec  # whose shards lie here does without

        system, where = fsspec.core.url_to_fs(address)
        return system, str(where)

    return _in_own_words(f"{address} can't be reached", do)


def _in_own_words(problem: str, do: Callable[[], T]) -> T:
    try:
        return do()
    except ImportError as error:
        missing = f"it needs the package {error.name}: pip install 'scriptsight[s3]'"
    except FileNotFoundError:
        missing = "there is no such file or bucket. Correct the address, or run the segment stage again"
    except PermissionError:
        missing = "the server refuses: check the credentials in the environment"
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # of this machine's disk: `room` has its words
            raise
        missing = f"{type(error).__name__}: check the address and the network"
    except Exception as error:  # every file system has errors of its own
        missing = f"{type(error).__name__}: check the address, the network and the credentials in the environment"
    raise InputError(f"{problem}: {missing}.")  # out here the library's exception is not its context
