"""Strips: eight small pictures of a moment, from the video itself, or else from the stored frames.

A page asks for a hundred pictures at once. Those of one video are read in one pass, in a process that may hang or
crash; a strip is asked for once and kept in a file, of which the oldest go.
"""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.media import Failed, MediaError, isolated
from scriptsight.page.kept import tidy
from scriptsight.page.pictures import PICTURES, Stretch, Strip, read, times_of
from scriptsight.page.shelf import Missing, Opened, Shelf, Video
from scriptsight.page.sources import Source, Sources, found
from scriptsight.page.stored import Stored
from scriptsight.page.workshop import Workshop

AT_ONCE = 6  # videos that one process reads one after the other
READERS = 2
PATIENCE = 15.0  # seconds that the strips of a video may take; then stored frames stand for them
GATHERED = 0.02  # seconds in which more requests are waited for
LIMIT = 512 * 2**20  # bytes that are kept
TIDIED = 200  # strips after which it is looked whether they are too many

_HEAD = struct.Struct(f"<{PICTURES}I")  # how long the pictures in a file are
_STRETCH = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)-(\d{1,7}(?:\.\d{1,3})?)", re.ASCII)


@dataclass(frozen=True)
class _Wish:
    """A strip that is wanted, of a file, and who waits for it; None is given where the file can't be read."""

    file: str
    stretch: Stretch
    future: Future[Strip | None]


class Strips:
    """Reads strips and keeps them."""

    def __init__(self, shelf: Shelf, sources: Sources, workshop: Workshop) -> None:
        self._shelf, self._sources, self._workshop = shelf, sources, workshop
        self._stored, self._folder = Stored(), shelf.work / "strips"
        self._running: dict[str, Future[Strip | None]] = {}
        self._unreadable: set[str] = set()  # names of sources
        self._waiting: list[_Wish] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._written = 0

    def routes(self) -> list[Route]:
        """The addresses of this part."""
        return [Route("/strip/{key}/{stretch}/{picture}", self.picture)]

    async def picture(self, request: Request) -> Response:
        """One picture of a strip. Nothing of the server is held while it is waited for."""
        stretch, number = _read_address(request.path_params["stretch"], request.path_params["picture"])
        strip = await asyncio.to_thread(self._kept_or_asked, request.path_params["key"], stretch)
        if isinstance(strip, Future):
            await asyncio.shield(asyncio.wrap_future(strip))  # others may wait for it, too
            strip = await asyncio.to_thread(self._kept_or_stored, request.path_params["key"], stretch, strip.result())
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(strip[number], media_type="image/jpeg", headers=headers)

    def _kept_or_asked(self, key: str, stretch: Stretch) -> Strip | Future[Strip | None]:
        opened, video = found(self._shelf, key)
        source = self._source(opened, video)
        if source is None or source.name in self._unreadable:
            return self._from_stored(opened, video, stretch)
        kept = _read(self._file(source, stretch))
        return kept if kept is not None else self._ask(source, stretch)

    def _kept_or_stored(self, key: str, stretch: Stretch, strip: Strip | None) -> Strip:
        if strip is not None:
            return strip
        opened, video = found(self._shelf, key)
        return self._from_stored(opened, video, stretch)

    def _source(self, opened: Opened, video: Video) -> Source | None:
        """The file of a video; of one that lies elsewhere, its copy, if it was played. None where there is none."""
        try:
            source = self._sources.of(video, opened.folder)
        except MediaError:
            return None
        copy = self._workshop.file(f"{source.name}.original")
        if not source.here:
            return Source(str(copy), source.name, 0.0) if copy.is_file() else None
        return source

    def _file(self, source: Source, stretch: Stretch) -> Path:
        return self._folder / f"{source.name}-{stretch[0]:.3f}-{stretch[1]:.3f}.strip"

    def _ask(self, source: Source, stretch: Stretch) -> Future[Strip | None]:
        """The strip that is read already, or will be."""
        name = self._file(source, stretch).name
        with self._changed:
            if name not in self._running:
                future: Future[Strip | None] = Future()
                self._running[name] = future
                future.add_done_callback(lambda done: self._finished(source, stretch, done))
                self._waiting.append(_Wish(source.uri, stretch, future))
                if len(self._threads) < READERS:
                    self._threads.append(threading.Thread(target=self._work, daemon=True))
                    self._threads[-1].start()
                self._changed.notify()
            return self._running[name]

    def _finished(self, source: Source, stretch: Stretch, done: Future[Strip | None]) -> None:
        """Keep what was read."""
        file = self._file(source, stretch)
        strip = done.result() if done.exception() is None else None
        try:
            if strip is None:
                self._unreadable.add(source.name)
            else:
                with whole_file(file) as partial:
                    partial.write_bytes(_HEAD.pack(*map(len, strip)) + b"".join(strip))
                self._written += 1
                if self._written % TIDIED == 0:
                    tidy(self._folder, LIMIT, ".strip")
        except InputError:  # the disk is full: it is read again next time
            pass
        finally:
            with self._changed:
                self._running.pop(file.name, None)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                self._changed.wait(GATHERED)
                chosen = self._choose()
            jobs = [[(file, tuple(wish.stretch for wish in wishes))] for file, wishes in chosen.items()]
            try:
                for number, outcomes in isolated(read, jobs, workers=1, timeout=PATIENCE):
                    result = outcomes[0][1]
                    for place, wish in enumerate(list(chosen.values())[number]):
                        wish.future.set_result(
                            None if result is None or isinstance(result, Failed) else result[place]
                        )
            except Exception as error:  # whoever asked is told
                for wish in (wish for wishes in chosen.values() for wish in wishes if not wish.future.done()):
                    wish.future.set_exception(error)

    def _choose(self) -> dict[str, list[_Wish]]:
        """What is read next: the wishes for a few videos, by their files, the newest ones."""
        chosen: dict[str, list[_Wish]] = {}
        for wish in reversed(self._waiting):
            if wish.file in chosen or len(chosen) < AT_ONCE:
                chosen.setdefault(wish.file, []).append(wish)
        self._waiting = [wish for wish in self._waiting if wish.file not in chosen]
        return chosen

    def _from_stored(self, opened: Opened, video: Video, stretch: Stretch) -> Strip:
        """The stored frames that are on screen then.

        Raises:
            Missing: none are stored.
        """
        segments = self._stored.of(opened, video)
        if not segments:
            raise Missing("The video can't be read, and no frames of it are stored.")
        starts = np.array([segment.start for segment in segments])
        strip = []
        for time in times_of(stretch):
            segment = segments[max(0, int(np.searchsorted(starts, time, side="right")) - 1)]
            place = max(0, int(np.searchsorted(segment.frame_times, time, side="right")) - 1)
            strip.append(bytes(segment.frames[place]))
        return strip


def _read(file: Path) -> Strip | None:
    """What was kept; None where there is nothing that makes sense."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if len(data) < _HEAD.size:
        return None
    sizes = _HEAD.unpack_from(data)
    if _HEAD.size + sum(sizes) != len(data):
        return None
    ends = (_HEAD.size + np.cumsum(sizes)).tolist()
    file.touch()
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _read_address(stretch: str, picture: str) -> tuple[Stretch, int]:
    """Raises: InputError: it is no stretch or no picture."""
    times, number = _STRETCH.fullmatch(stretch), re.fullmatch(r"([0-7])\.jpg", picture)
    if times is None or number is None or float(times[2]) < float(times[1]):
        raise InputError("A strip is asked for as /strip/KEY/START-END/N.jpg, with N from 0 to 7.")
    return (float(times[1]), float(times[2])), int(number[1])
