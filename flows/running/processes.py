"""The manners of a process: it ends with its parent, and reports an error, or too little memory, in one message."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from scriptsight.errors import InputError

LEAST_MEMORY = 3 * 2**30  # bytes of addresses for a stage with its libraries; with fewer, some of them hang or abort
# What libraries say that have no exception for it: threads that can't be started, torch on processor and GPU, the
# loader of shared libraries.
NO_MEMORY = re.compile(
    r"can't start new thread|DefaultCPUAllocator|out of memory|cannot allocate memory|failed to map segment|"
    r"bad_alloc|unable to allocate|resource temporarily unavailable",
    re.I,
)
DEPLOYED = "SCRIPTSIGHT_DEPLOYED"  # set under a Prefect worker, which signals all processes of a flow at once


@contextmanager
def exit_on_error(name: str) -> Iterator[None]:
    """End the process with one message and status 1 on an InputError, where memory ran out, and where a library finds
    the disk full; other errors keep their traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` and `with` are heeded
    try:
        _check_memory()
        yield
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except Exception as error:
        if _is_full(error):
            sys.exit(f"{name}: the disk is full ({error}) in {Path.cwd()}: free some space, and run again.")
        if not _is_memory(error):
            raise
        cause = (str(error) or type(error).__name__).partition("\n")[0][:300]
        sys.exit(
            f"{name}: memory or threads ran out ({cause}). Lower `workers` (ingest, segment), `batch` (pretrain, "
            "probe, retrieve) or pretrain.engine.loader_workers, end other programs, or raise the limits (ulimit -v "
            "and -u)."
        )
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)


def _check_memory() -> None:
    """Raises: InputError: the process may not have the memory that its libraries take."""
    if sys.platform == "win32":
        return
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if allowed != resource.RLIM_INFINITY and allowed < LEAST_MEMORY:
        raise InputError(
            f"Processes may have {allowed / 2**30:.1f} GiB of memory here (ulimit -v), and a stage with its "
            f"libraries needs {LEAST_MEMORY / 2**30:.0f}: raise the limit (`ulimit -v unlimited`), and run again."
        )


def _is_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that there was too little memory, or no more threads."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError | ImportError | OSError) and NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error)


def die_with_parent() -> None:
    """Get SIGTERM once when the parent ends: killing dvc would otherwise leave its stage running.

    The kernel's own signal (`killed_with_parent`) comes again for every thread of the parent that ends, and a
    training that hears twice writes no checkpoint. So a thread watches here. Some shells (dash) stay between dvc and
    the stage and outlive dvc: then the shell's parent is watched as well.
    """
    parent = psutil.Process().parent()
    above = parent.parent() if parent and parent.name() in ("sh", "dash", "bash", "zsh") else None
    once = threading.Lock()
    for process in filter(None, (parent, above)):
        threading.Thread(target=_end_with, args=(process, once), daemon=True).start()


def _end_with(process: psutil.Process, once: threading.Lock) -> None:
    try:
        ended = select.poll()
        ended.register(os.pidfd_open(process.pid), select.POLLIN)  # also of a parent that nobody asks after
        ended.poll()
    except ProcessLookupError:  # it has ended already
        pass
    except (AttributeError, OSError):  # no such descriptors here
        process.wait()
    if once.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGTERM)


def killed_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent ends (Linux): for a process without threads, which forks."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG in sys/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
