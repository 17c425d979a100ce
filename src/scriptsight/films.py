"""Embedding video files that are in no collection: decoded here and now, a window at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scriptsight import arithmetic, finite, windows
from scriptsight.errors import InputError
from scriptsight.media.addresses import local
from scriptsight.media.errors import MediaError
from scriptsight.models.bundle import Encoder
from scriptsight.windows import WINDOW, Window

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
    shape = encoder.preprocessing
    return embed_windows(windows.seen(path, shape.frames, shape.size, window), encoder, str(path))


def embed_windows(shown: Iterable[Window], encoder: Encoder, name: str) -> Film:
    """Embed the windows of a video, one at a time; `name` is what the video is called in messages.

    Raises:
        InputError: the model's vectors are not finite.
    """
    spans, vectors = [], []
    for one in shown:
        with arithmetic.deterministic():
            device = next(encoder.parameters()).device
            vector = encoder.encode_video(torch.from_numpy(one.clip)[None].to(device))
        spans.append((one.start, one.end))
        vectors.append(vector[0].cpu().numpy())
    film = Film(np.array(spans), np.stack(vectors))
    finite.check(film.vectors, f"the model's vectors of {name}")
    return film


def mean(vectors: np.ndarray) -> np.ndarray:
    """The mean of unit vectors [W, E] as a unit vector [E]: one video of several stretches."""
    total = vectors.astype(np.float64).mean(axis=0)
    unit: np.ndarray = (total / max(np.linalg.norm(total), 1e-12)).astype(np.float32)
    return unit
