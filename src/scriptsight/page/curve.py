"""The score of a query over a whole video: its stored frames in windows of some seconds, which the model sees as it
sees segments. They are embedded once for all queries, and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from pathlib import Path

import numpy as np
import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scriptsight import clips
from scriptsight.files import whole_file
from scriptsight.models.bundle import Encoder
from scriptsight.page.asked import asked, model_of
from scriptsight.page.kept import tidy
from scriptsight.page.shelf import Opened, Shelf, Video
from scriptsight.page.stored import Stored
from scriptsight.segments import Segment

WINDOW = 4.0  # seconds, and half of them from one window to the next
GAP = 0.5  # seconds without a segment that are shown as a gap
WAIT = 15.0  # seconds that an answer waits for windows that are being embedded
BATCH = 16  # clips a forward pass
IN_MEMORY = 64 * 2**20  # bytes of vectors
ON_DISK = 512 * 2**20
SAMPLE = 20_000  # moments of the index that tell what scores are usual
FORMAT = 1  # of what is kept; raised when newer code makes it differently


@dataclass(frozen=True)
class Windows:
    """Stretches of a video in order: start and end in seconds float64 [W, 2], and unit vectors float32 [W, E]."""

    spans: np.ndarray
    vectors: np.ndarray


class Curves:
    """Answers what a query scores in a video, window by window."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._stored, self._folder = shelf, Stored(), shelf.work / "curves"
        self._kept: OrderedDict[str, Windows] = OrderedDict()
        self._running: dict[str, Future[Windows | None]] = {}
        self._lock = threading.Lock()
        self._embedding = threading.Lock()  # one video at a time has the processor

    def routes(self) -> list[Route]:
        """The addresses of this part."""
        return [Route("/api/curve/{key}", self.curve)]

    def curve(self, request: Request) -> Response:
        """The score of a query over a whole video."""
        opened = self._shelf.open(model_of(request.query_params))
        video = opened.video(request.path_params["key"])
        query = asked(request.query_params).vector(self._shelf, opened)
        windows = self.windows(opened, video)
        scores = windows.vectors @ query
        usual = opened.searcher.index.embeddings
        usual = usual[:: max(1, len(usual) // SAMPLE)] @ query
        rows = list(_with_gaps(windows.spans, scores))
        return JSONResponse(
            {
                "times": [(start + end) / 2 for start, end, _ in rows],
                "scores": [score for _, _, score in rows],
                "start": [start for start, _, _ in rows],
                "end": [end for _, end, _ in rows],
                "window": float(np.median(windows.spans[:, 1] - windows.spans[:, 0])),
                "floor": float(np.median(usual)),
                "ceiling": float(max(usual.max(), scores.max())),
            }
        )

    def windows(self, opened: Opened, video: Video) -> Windows:
        """The windows of a video as the model sees them.

        Where no frames are stored, and as long as a large model is at work, these are the moments of the index.
        """
        name = self._name(opened, video)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            if name not in self._running:
                future: Future[Windows | None] = Future()
                self._running[name] = future
                threading.Thread(target=self._embed, args=(name, opened, video, future), daemon=True).start()
            running = self._running[name]
        try:
            found = running.result(WAIT)
        except TimeoutError:
            if running.done():
                raise
            found = None
        return found if found is not None else _moments(opened, video)

    def _embed(self, name: str, opened: Opened, video: Video, future: Future[Windows | None]) -> None:
        """Find the windows of a video, or None where no frames are stored, and keep them."""
        try:
            with self._embedding:
                windows = self._found(name, opened, video)
            with self._lock:
                if windows is not None:
                    self._kept[name] = windows
                while sum(one.vectors.nbytes for one in self._kept.values()) > IN_MEMORY and len(self._kept) > 1:
                    self._kept.popitem(last=False)
            future.set_result(windows)
        except Exception as error:  # whoever asked is told
            future.set_exception(error)
        finally:
            with self._lock:
                self._running.pop(name)

    def _found(self, name: str, opened: Opened, video: Video) -> Windows | None:
        file = self._folder / f"{name}.npy"
        windows = _read(file, opened.searcher.encoder.embed_dim)
        if windows is None and (segments := self._stored.of(opened, video)):
            windows = embedded(opened.searcher.encoder, segments)
            _write(file, windows)
        return windows

    def _name(self, opened: Opened, video: Video) -> str:
        """What the vectors depend on: the model, what the index says of the video, and what is stored."""
        contents = [one["content"] for one in opened.searcher.index.described(video.rows, ["content"])]
        stamp = self._stored.stamp(opened, video)
        return blake2b(
            repr((FORMAT, opened.weights, video.key, contents, stamp)).encode(), digest_size=16
        ).hexdigest()


def embedded(encoder: Encoder, segments: list[Segment]) -> Windows:
    """Segments in order of time as windows of about `WINDOW` seconds, each seen as a segment is."""
    spans = [spans_of(segment.start, segment.end) for segment in segments]
    clip = (one for segment, own in zip(segments, spans, strict=True) for one in _clips(encoder, segment, own))
    vectors: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    for one in clip:
        batch.append(one)
        if len(batch) == BATCH:
            vectors.append(_encoded(encoder, batch))
            batch = []
    if batch:
        vectors.append(_encoded(encoder, batch))
    return Windows(np.concatenate(spans), np.concatenate(vectors))


def spans_of(start: float, end: float) -> np.ndarray:
    """Windows over a stretch from its first second to its last, at most half a window apart, float64 [W, 2]."""
    count = max(1, ceil((end - start - WINDOW) / (WINDOW / 2)) + 1)
    starts = np.linspace(start, max(start, end - WINDOW), count)
    return np.stack([starts, np.minimum(starts + WINDOW, end)], axis=1)


def _clips(encoder: Encoder, segment: Segment, spans: np.ndarray) -> Iterator[np.ndarray]:
    """What the model sees of each window, uint8 [M, size, size, 3]."""
    frames, size = encoder.preprocessing.frames, encoder.preprocessing.size
    for start, end in spans.tolist():
        yield clips.read(segment, clips.frame_indices(segment.frame_times, start, end, frames), size)


def _encoded(encoder: Encoder, batch: list[np.ndarray]) -> np.ndarray:
    """float32 [B, E]."""
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        vectors: np.ndarray = encoder.encode_video(torch.from_numpy(np.stack(batch)).to(device)).float().cpu().numpy()
    return vectors


def _moments(opened: Opened, video: Video) -> Windows:
    """The moments of a video as the index has them."""
    index = opened.searcher.index
    spans = [(one["start"], one["end"]) for one in index.described(video.rows, ["start", "end"])]
    return Windows(np.array(spans), np.array(index.embeddings[video.rows]))


def _with_gaps(spans: np.ndarray, scores: np.ndarray) -> Iterator[tuple[float, float, float | None]]:
    """(start, end, score) of each window, and of the stretches between them of which nothing is known, with None."""
    reached = 0.0
    for (start, end), score in zip(spans.tolist(), scores.tolist(), strict=True):
        if start - reached > GAP:
            yield reached, start, None
        yield start, end, score
        reached = max(reached, end)


def _write(file: Path, windows: Windows) -> None:
    with whole_file(file) as partial, partial.open("wb") as target:
        np.save(target, np.hstack([windows.spans, windows.vectors.astype(np.float64)]), allow_pickle=False)
    tidy(file.parent, ON_DISK, ".npy")


def _read(file: Path, width: int) -> Windows | None:
    """What was kept; None where there is nothing that makes sense."""
    try:
        table = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if table.ndim != 2 or table.shape[1] != 2 + width or not len(table):
        return None
    file.touch()
    return Windows(table[:, :2], table[:, 2:].astype(np.float32))
