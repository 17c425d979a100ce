"""Videos, strips and curves of the page: what is played comes with range requests, and only what an index names.

No path comes from an address: a video has a key (`shelf.Video.key`), and a piece of it a name that was made here.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import Future
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from scriptsight.errors import InputError
from scriptsight.media import MediaError
from scriptsight.page.curve import Curves
from scriptsight.page.pieces import Made, Order, Plan, progress
from scriptsight.page.shelf import INDEX, Missing, Opened, Shelf, Video
from scriptsight.page.sources import Source, Sources, found
from scriptsight.page.strips import Strips
from scriptsight.page.workshop import Refused, Workshop

WHOLE = 8.0  # seconds: what takes no longer to encode is encoded whole
GRID, PIECE = 60.0, 90.0  # seconds from the start of a piece to that of the next, and that it lasts
WAIT = 1.0  # seconds that an answer waits for what is being made

_IMPOSSIBLE = {
    "missing video": ("The video is no longer where it was.", "Put it back, or run again: scriptsight run"),
    "no access": ("The video may not be read.", "Give the user who runs the page the right to read it."),
    "unreachable": ("The video can't be reached.", "Try again when its server answers."),
    "no video stream": ("The file has no pictures.", ""),
    "empty file": ("The file is empty.", ""),
    "timed out": ("Making this video playable took too long.", "Convert it with FFmpeg."),
    "crashed": ("The decoder crashed on this video.", "Convert it with FFmpeg."),
    "disk full": ("The disk is full.", "Free some space."),
}


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""
    sources, workshop = Sources(), Workshop(shelf.work / "videos")
    delivery = _Delivery(shelf, sources, workshop)
    return [
        *Strips(shelf, sources, workshop).routes(),
        *Curves(shelf).routes(),
        Route("/api/player/{key}", delivery.player),
        Route("/video/{key}", delivery.video, methods=["GET", "HEAD"]),
        Route("/video/{key}/{piece}", delivery.piece, methods=["GET", "HEAD"]),
    ]


class _Delivery:
    def __init__(self, shelf: Shelf, sources: Sources, workshop: Workshop) -> None:
        self._shelf, self._sources, self._workshop = shelf, sources, workshop

    def player(self, request: Request) -> Response:
        """What plays a second of a video, or how far it is with making it."""
        at = _seconds(request.query_params.get("at", "0"))
        opened, video = found(self._shelf, request.path_params["key"])
        try:
            source = self._sources.of(video, opened.folder)
        except MediaError as error:
            return JSONResponse(_impossible(error.reason, error.detail))
        waiting = _Waiting()
        answer = self._played(video, source, at, "failed" in request.query_params, waiting)
        answer["message"] = answer["message"] or _changed(opened, source)
        return JSONResponse(answer)

    def _played(self, video: Video, source: Source, at: float, encode: bool, waiting: _Waiting) -> dict[str, Any]:
        """The answer of the player; `encode` where the browser could not play what it was given."""
        file = source.uri
        if not source.here:
            fetched = waiting(self._workshop.original(source.uri, source.name))
            if fetched is None:
                return _preparing(0.0, "The video is fetched from where it lies.")
            if isinstance(fetched, Refused):
                return _impossible(fetched.reason, fetched.detail)
            file = str(fetched)
        plan = waiting(self._workshop.look(file, source.name))
        if plan is None:
            return _preparing(0.0, "The video is looked at.")
        if isinstance(plan, Refused):
            return _impossible(plan.reason, plan.detail)
        if plan.how == "served" and not encode:
            return _ready(f"/video/{video.key}", Made(0.0, plan.duration, ""), plan.duration)
        order = _order(plan, file, source.name, at, encode, self._workshop)
        made = waiting(self._workshop.make(order))
        if made is None:
            return _preparing(progress(order.target), "The video is made playable.")
        if isinstance(made, Refused):
            return _impossible(made.reason, made.detail)
        return _ready(f"/video/{video.key}/{Path(order.target).name}", made, plan.duration)

    def video(self, request: Request) -> Response:
        """A file as it is, if browsers play it."""
        opened, video = found(self._shelf, request.path_params["key"])
        try:
            source = self._sources.of(video, opened.folder)
        except MediaError as error:
            raise Missing(_words(error.reason, error.detail)[0]) from error
        kept = self._workshop.file(f"{source.name}.original")
        file = source.uri if source.here else str(kept)
        plan = self._workshop.look(file, source.name).result() if Path(file).is_file() else None
        if not isinstance(plan, Plan) or plan.how != "served":
            raise Missing("This video is not played as it is: ask /api/player for what is.")
        return _file(Path(file), plan.type)

    def piece(self, request: Request) -> Response:
        """A piece that was made."""
        opened, video = found(self._shelf, request.path_params["key"])
        name = request.path_params["piece"]
        try:
            source = self._sources.of(video, opened.folder)
        except MediaError as error:
            raise Missing(_words(error.reason, error.detail)[0]) from error
        file = self._workshop.file(name)
        if not re.fullmatch(rf"{source.name}(-all|-\d{{1,9}})\.mp4", name, re.ASCII) or not file.is_file():
            raise Missing("There is no such piece of this video: ask /api/player for it.")
        return _file(file, "video/mp4")


class _Waiting:
    """Waits for several things in turn, not longer than one answer may take in all."""

    def __init__(self) -> None:
        self._until = time.monotonic() + WAIT

    def __call__(self, future: Future[Any]) -> Any:
        """What comes of it; None if that takes longer."""
        try:
            return future.result(max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            if future.done():  # it came of the work itself
                raise
            return None


def _order(plan: Plan, file: str, name: str, at: float, encode: bool, workshop: Workshop) -> Order:
    """The piece in which a second of a video is: the whole if that does not take long."""
    if plan.how == "served" or encode or Path(file).stat().st_size > workshop.limit / 2:
        plan = replace(plan, how="encoded")
    if plan.how == "copied" or plan.work <= WHOLE:
        return Order(file, str(workshop.file(f"{name}-all.mp4")), plan)
    number = floor(max(0.0, min(at, plan.duration - 1.0)) / GRID)
    start = number * GRID
    return Order(file, str(workshop.file(f"{name}-{round(start)}.mp4")), plan, start, start + PIECE)


def _ready(src: str, made: Made, duration: float) -> dict[str, Any]:
    return {
        **_preparing(1.0, made.message),
        "status": "ready",
        "src": src,
        "offset": made.start,
        "from": made.start,
        "to": made.end,
        "duration": duration,
    }


def _preparing(share: float, message: str) -> dict[str, Any]:
    empty = {"src": "", "offset": 0.0, "from": 0.0, "to": 0.0, "duration": 0.0}
    return {"status": "preparing", "progress": share, "message": message, "remedy": "", **empty}


def _impossible(reason: str, detail: str) -> dict[str, Any]:
    message, remedy = _words(reason, detail)
    return {**_preparing(0.0, message), "status": "impossible", "remedy": remedy}


def _words(reason: str, detail: str) -> tuple[str, str]:
    """What a person is told, and the remedy."""
    if reason in _IMPOSSIBLE:
        return _IMPOSSIBLE[reason]
    return (
        f"The video can't be shown: {reason} ({detail}).",
        "Convert it with FFmpeg, or put another copy in its place.",
    )


def _changed(opened: Opened, source: Source) -> str:
    """What is said of a file that is newer than the index."""
    if not source.changed or source.changed <= (opened.folder / INDEX / "config.json").stat().st_mtime:
        return ""
    return "The file changed after the index was made: what it shows may lie elsewhere. Run again: scriptsight run"


def _seconds(text: str) -> float:
    """Raises: InputError: a text is no number of seconds."""
    if not re.fullmatch(r"\d{1,7}(\.\d{1,9})?", text, re.ASCII):
        raise InputError(f"{text[:40]!r} is no number of seconds: say at=12.5, for example.")
    return float(text)


def _file(file: Path, kind: str) -> Response:
    """A file with ranges, its entity tag, and what goes with these."""
    return FileResponse(file, media_type=kind, headers={"Cache-Control": "private, no-cache"})
