"""Embedding video files that are in no collection: decoded here and now, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch

from scriptsight import arithmetic, clips, finite
from scriptsight.errors import InputError
from scriptsight.media.addresses import local
from scriptsight.media.errors import MediaError
from scriptsight.media.reader import Frame, frames_at_rate, probe
from scriptsight.models.bundle import Encoder

WINDOW = 60.0  # seconds: as long as a segment of the default parameters
RATE = 2.0  # frames a second at least, as they are stored by the default parameters
DAMAGED = ("broken stretch", "ends early", "unreadable video", "empty file", "odd shape", "no video stream")


@dataclass(frozen=True)
class Film:
    """A video file as W windows: start and end in seconds [W, 2], and unit vectors float32 [W, E]."""

    spans: np.ndarray
    vectors: np.ndarray


def embed(path: str | Path, encoder: Encoder, window: float = WINDOW) -> Film:
    """Embed a video file, or one at an address (as `media.local` takes), in equal windows of at most `window`
    seconds, each seen as a segment is.

    Raises:
        InputError: the file is not there, can't be decoded to its end, or `window` is not over 0.
    """
    if not window > 0:
        raise InputError(f"A window of {window:g} seconds holds no video: name a length over 0.")
    try:
        with local(path) as file:
            return _embed(file, encoder, window)
    except MediaError as error:
        remedy = "Only whole videos are embedded: repair the file or cut off its end."
        raise InputError(f"{error}. {remedy}" if error.reason in DAMAGED else f"{error}.") from error


def _embed(path: Path, encoder: Encoder, window: float) -> Film:
    frames, size = encoder.preprocessing.frames, encoder.preprocessing.size
    spans, vectors = [], []
    duration = max(probe(path).duration, 1e-3)  # a single picture has none
    count = max(1, ceil(duration / window - 1e-9))
    rate = max(RATE, frames * count / duration)  # each of a window's M parts has a frame of its own
    for start, end, shown in windows(frames_at_rate(path, rate, size), duration, count):
        times = np.array([frame.time for frame in shown])
        indices = clips.frame_indices(times, start, end, frames)
        clip = clips.fit(np.stack([shown[i].image for i in indices]), size)  # [M, size, size, 3]
        with arithmetic.deterministic():
            device = next(encoder.parameters()).device
            vector = encoder.encode_video(torch.from_numpy(np.ascontiguousarray(clip))[None].to(device))
        spans.append((start, end))
        vectors.append(vector[0].cpu().numpy())
    film = Film(np.array(spans), np.stack(vectors))
    finite.check(film.vectors, f"the model's vectors of {path}")
    return film


def mean(vectors: np.ndarray) -> np.ndarray:
    """The mean of unit vectors [W, E] as a unit vector [E]: one video of several stretches."""
    total = vectors.astype(np.float64).mean(axis=0)
    unit: np.ndarray = (total / max(np.linalg.norm(total), 1e-12)).astype(np.float32)
    return unit


def windows(source: Iterator[Frame], duration: float, count: int) -> Iterator[tuple[float, float, Sequence[Frame]]]:
    """Start, end and frames of `count` equal windows; what is on screen when a window begins belongs to it."""
    edges = np.linspace(0, duration, count + 1).tolist()
    number = 0
    shown: list[Frame] = []
    for frame in source:
        while number < count - 1 and frame.time >= edges[number + 1]:
            yield edges[number], edges[number + 1], shown or [frame]  # a picture that starts late
            number, shown = number + 1, shown[-1:]
        shown.append(frame)
    for last in range(number, count):
        yield edges[last], edges[last + 1], shown
        shown = shown[-1:]
