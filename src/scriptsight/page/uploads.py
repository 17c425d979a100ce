"""A clip that somebody drops on the page: decoded apart, embedded, and deleted; what is kept are its vectors."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight import films, windows
from scriptsight.errors import InputError
from scriptsight.files import BLOCK
from scriptsight.media import Failed, MediaError, isolated
from scriptsight.models.bundle import Encoder
from scriptsight.page.shelf import Clip, Empty, Opened, Shelf
from scriptsight.windows import WINDOW, Order, Window

MOST = 20  # windows of a clip that are looked at; beyond 20 minutes they are longer
TIMEOUT = 60.0  # seconds for decoding a clip
AT_ONCE = 2  # clips that are decoded at a time
LONGEST_NAME = 200  # characters


def routes(shelf: Shelf) -> list[Route]:
    """The addresses of this part."""
    turns = threading.BoundedSemaphore(AT_ONCE)

    async def clip(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=0) as given:
            file = given.get("clip")
            if not isinstance(file, UploadFile):
                raise InputError("There is no clip in what was sent: its field is called clip.")
            kept = await run_in_threadpool(_clip, shelf, file.file, _name(file.filename or ""), turns)
        shown = {"clip": shelf.clips.add(kept), "seconds": round(kept.seconds, 3), "name": kept.name}
        return JSONResponse(shown)

    return [Route("/api/clip", clip, methods=["POST"])]


def _name(given: str) -> str:
    """What a clip is called, for display: no folders, no signs that do something to the text around them."""
    name = PureWindowsPath(given).name  # splits at both kinds of slashes
    return "".join(sign for sign in name if sign.isprintable())[:LONGEST_NAME] or "clip"


def _clip(shelf: Shelf, source: BinaryIO, name: str, turns: threading.BoundedSemaphore) -> Clip:
    """Embed a clip with every model that is there."""
    opened = _models(shelf)
    with turns, TemporaryDirectory(prefix="scriptsight-clip-") as folder:
        path = Path(folder) / "clip"
        digest = _copy(source, path)
        shapes = {
            (one.searcher.encoder.preprocessing.frames, one.searcher.encoder.preprocessing.size) for one in opened
        }
        decoded = {shape: _decoded(Order(str(path), *shape, WINDOW, MOST)) for shape in sorted(shapes)}
    vectors = {one.weights: _vector(decoded, one.searcher.encoder, name) for one in opened}
    return Clip(name, digest, next(iter(decoded.values()))[-1].end, vectors)


def _models(shelf: Shelf) -> list[Opened]:
    """All models that can be searched with.

    Raises:
        Empty: the workspace has none of its own.
    """
    found = [shelf.open()]
    for name in shelf.names[1:]:
        try:
            found.append(shelf.open(name))
        except Empty:
            continue  # who chooses it is told
    return found


def _copy(source: BinaryIO, path: Path) -> str:
    """Write a clip to a file; returns its SHA-256."""
    total = hashlib.sha256()
    with path.open("wb") as file:
        while block := source.read(BLOCK):
            total.update(block)
            file.write(block)
    return total.hexdigest()


def _decoded(order: Order) -> list[Window]:
    """The windows of a clip, decoded in a process that may crash or hang.

    Raises:
        InputError: it can't be decoded; the message names no file.
    """
    try:
        ((_, ((_, found),)),) = isolated(windows.decoded, [[order]], workers=1, timeout=TIMEOUT)
    except MediaError as error:
        raise InputError(f"This clip can't be searched for: {error.reason}. Try another, or convert it.") from error
    if isinstance(found, Failed):
        raise InputError(f"This clip can't be searched for: decoding it {found.reason}. Cut out a shorter part.")
    return found


def _shape(encoder: Encoder) -> tuple[int, int]:
    """Frames of a clip, and their size."""
    return encoder.preprocessing.frames, encoder.preprocessing.size


def _vector(decoded: Mapping[tuple[int, int], Sequence[Window]], encoder: Encoder, name: str) -> np.ndarray:
    return films.mean(films.embed_windows(decoded[_shape(encoder)], encoder, name).vectors)
