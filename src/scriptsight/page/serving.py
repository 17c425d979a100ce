"""The command `scriptsight page`: where the page is served, with which models, and what is said of it."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
import uvicorn

from scriptsight.errors import InputError
from scriptsight.page import access, app
from scriptsight.page.access import Access
from scriptsight.page.shelf import DEFAULT, INDEX, MODEL, Empty, Shelf

PORTS = 100  # after a port that is taken, among which a free one is looked for
WAITING = 128  # connections that wait to be taken


def serve(workspace: Path, models: Sequence[str], host: str, port: int, browser: bool) -> None:
    """Serve the page until it is interrupted.

    Args:
        models: further ones, as NAME=DIR.
        browser: open the page in one.

    Raises:
        InputError: there is no such folder, a model is not named so, the port is taken, or the page could be reached
            from elsewhere without a password.
    """
    if not workspace.is_dir():
        raise InputError(f"There is no folder {workspace}: name a workspace, or make one.")
    # Threads that wait for each other's parts of a scan cost more than they bring while videos and other people want
    # the processor too.
    torch.set_num_threads(max(1, ((os.cpu_count() or 1) - 1) // 2))
    shelf = Shelf(workspace, _named(models))
    access_ = Access(host, port, os.environ.get(access.PASSWORD) or None)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    with _listening(host, port) as listening:
        # No log of requests: it would tell who looked for what.
        config = uvicorn.Config(
            app.build(shelf, access_), log_config=None, access_log=False, server_header=False, proxy_headers=False
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        print(f"{summary(shelf)}\n{address}  (Ctrl-C ends it)", flush=True)
        if browser:
            threading.Timer(0.5, webbrowser.open, (address,)).start()
        with suppress(KeyboardInterrupt):  # how one ends it
            uvicorn.Server(config).run(sockets=[listening])


def summary(shelf: Shelf) -> str:
    """What there is to search, a line a model."""
    lines = []
    for name in shelf.names:
        try:
            opened = shelf.open(name)
        except Empty as error:
            lines.append(f"{name}: {error.message} {error.remedy}")
            continue
        size = f"{len(opened.searcher.index):,} moments of {len(opened.videos):,} videos"
        lines.append(f"{name}: {size}, by the model {opened.weights[:8]} in {opened.folder}")
    return "\n".join(lines)


def _named(models: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in models:
        name, equals, folder = text.partition("=")
        if not (equals and folder and re.fullmatch(r"[\w.-]{1,50}", name)):
            raise InputError(f"--model {text}: say NAME=DIR, such as other=../other-videos; a NAME is one word.")
        if name == DEFAULT or name in found:
            raise InputError(f"--model {text}: there is a model called {name} already, take another name.")
        if not (Path(folder) / MODEL).is_dir():
            raise InputError(f"--model {text}: {folder} has no {MODEL}; name a folder with {MODEL} and {INDEX}.")
        found[name] = Path(folder)
    return found


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the port is taken, or the host is none of this machine's.
    """
    try:
        return socket.create_server((host, port), family=_family(host), backlog=WAITING)
    except OverflowError as error:
        raise InputError(f"--port {port}: a port is a number up to 65535.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = next((other for other in range(port + 1, min(port + PORTS, 65536)) if _is_free(host, other)), 0)
            raise InputError(f"Port {port} is taken by another program: try --port {free}.") from error
        raise InputError(f"It can't listen on {host}, port {port}: {error.strerror or error}.") from error


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError:
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
