"""Where what is played is made: untrusted videos are looked at, and pieces of them made, in processes that may hang
or crash, two at a time, the last that was asked for first. What was made is kept in a folder, up to a size.

In the folder, NAME being 16 hex digits that change with the content of a video:

- `NAME.json`, how it comes to a browser (`pieces.Plan`);
- `NAME-SECOND.mp4` and `.json`, a piece from there on (or the whole, `NAME-all`), and what it covers (`pieces.Made`);
- `NAME.original`, a copy of a video from elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scriptsight.errors import InputError
from scriptsight.files import whole_file, write_json
from scriptsight.media import Failed, isolated, local, refusal
from scriptsight.page import pieces
from scriptsight.page.kept import tidy
from scriptsight.page.pieces import Made, Order, Plan
from scriptsight.redaction import redacted

WORKERS = 2
LIMIT = 4 * 2**30  # bytes that are kept
LOOKING = 30.0  # seconds that looking at a video may take
MAKING = 60.0, 20.0  # seconds that a piece may take: at least, and so many times what is expected
COPYING = 5e6  # bytes a second at least
AGAIN = 60.0  # seconds after which what could not be done is tried again: a file may have been mended meanwhile


@dataclass(frozen=True)
class Refused:
    """A video, or a part of it, that can't be shown: a countable reason, and the detail for a person."""

    reason: str
    detail: str


Answer = Plan | Made | Refused


class Workshop:
    """Makes and keeps what is played."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        """Nothing is made yet, neither folder nor process."""
        self.folder, self.limit = folder, limit
        self._running: dict[str, Future[Any]] = {}
        self._failed: dict[str, tuple[float, Refused]] = {}  # and when, by time.monotonic
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def file(self, name: str) -> Path:
        """Where what has this name is kept."""
        return self.folder / name

    def original(self, uri: str, name: str) -> Future[Path | Refused]:
        """A file of this machine with the bytes of a video from elsewhere."""
        kept = self.file(f"{name}.original")
        if kept.is_file():
            os.utime(kept)
            return _done(kept)
        return self._asked(kept.name, lambda: self._fetch(uri, kept))

    def look(self, file: str, name: str) -> Future[Plan | Refused]:
        """How a video comes to a browser."""
        return self._remembered(f"{name}.json", Plan, lambda: _apart(_look, file, LOOKING))

    def make(self, order: Order) -> Future[Made | Refused]:
        """A piece of a video."""
        target = Path(order.target)
        name = target.with_suffix(".json").name
        try:
            os.utime(target)
        except FileNotFoundError:  # never made, or it had to go
            self.file(name).unlink(missing_ok=True)
        return self._remembered(name, Made, lambda: self._piece(order))

    def _piece(self, order: Order) -> Made | Refused:
        found = _apart(_make, order, _allowed(order))
        tidy(self.folder, self.limit, ".mp4", ".original")
        assert isinstance(found, Made | Refused)
        return found

    def _remembered(self, name: str, kind: type[Any], work: Callable[[], Answer]) -> Future[Any]:
        """What was found out before under this name, or what the work finds out now."""
        when, failed = self._failed.get(name, (0.0, None))
        if failed is not None and time.monotonic() - when < AGAIN:
            return _done(failed)
        if (known := _read(self.file(name), kind)) is not None:
            return _done(known)

        def remember() -> Answer:
            found = work()
            if isinstance(found, Refused):
                self._failed[name] = time.monotonic(), found
            else:
                write_json(self.file(name), asdict(found))
            return found

        return self._asked(name, remember)

    def _asked(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """The work under this name: that which is running or waiting, or else new work, which is done next."""
        with self._changed:
            if name not in self._running:
                future: Future[Any] = Future()
                self._running[name] = future
                future.add_done_callback(lambda _: self._running.pop(name, None))
                self._waiting.append((future, work))
                if len(self._threads) < WORKERS:
                    self._threads.append(threading.Thread(target=self._work, daemon=True))
                    self._threads[-1].start()
                self._changed.notify()
            return self._running[name]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                future, work = self._waiting.pop()
            try:
                future.set_result(work())
            except Exception as error:  # whoever asked is told
                future.set_exception(error)

    def _fetch(self, uri: str, kept: Path) -> Path | Refused:
        try:
            with local(uri) as file, whole_file(kept) as partial:
                shutil.copyfile(file, partial)
        except Exception as error:
            return _refused(error)
        tidy(self.folder, self.limit, ".mp4", ".original")
        return kept


def _allowed(order: Order) -> float:
    """Seconds that making a piece may take; a film in whose middle decoding can't begin is decoded from its start."""
    if order.plan.how == "copied":
        return MAKING[0] + Path(order.source).stat().st_size / COPYING
    return MAKING[0] + MAKING[1] * order.plan.work


def _apart(function: Callable[[Sequence[Any]], Answer], item: Any, timeout: float) -> Any:
    """What a function finds out about an item in a process of its own."""
    (_, outcomes), *_ = isolated(function, [[item]], workers=1, timeout=timeout)
    found = outcomes[0][1]
    return Refused(found.reason, found.detail) if isinstance(found, Failed) else found


def _look(files: Sequence[str]) -> Plan | Refused:
    try:
        return pieces.look(files[0])
    except Exception as error:
        return _refused(error)


def _make(orders: Sequence[Order]) -> Made | Refused:
    try:
        return pieces.make(orders[0])
    except Exception as error:
        return _refused(error)


def _refused(error: Exception) -> Refused:
    try:
        return Refused(*refusal(error))
    except (InputError, OSError) as told:  # no fault of the video
        return Refused("disk full", redacted(str(told)))


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def _read(file: Path, kind: type[Any]) -> Any:
    """What was kept in a file; None where there is nothing, or what makes no sense."""
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
