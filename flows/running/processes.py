"""The manners of a process: it ends with its parent, and reports an error in one message."""

from __future__ import annotations

import ctypes
import errno
import os
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

DEPLOYED = "SCRIPTSIGHT_DEPLOYED"  # set under a Prefect worker, which signals all processes of a flow at once


@contextmanager
def exit_on_error(name: str) -> Iterator[None]:
    """End the process with one message and status 1 on an InputError, and where a library finds the disk full; other
    errors keep their traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` and `with` are heeded
    try:
        yield
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_full(error):
            raise
        sys.exit(f"{name}: the disk is full ({error}) in {Path.cwd()}: free some space, and run again.")
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)


def _is_full(error: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "disk is full" in str(error)


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
