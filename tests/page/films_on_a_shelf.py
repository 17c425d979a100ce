"""A workspace with films and an index that names them, as the parts of the page find it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch

from scriptsight.media import MediaError, frames_at_rate
from scriptsight.models import bundle
from scriptsight.page.shelf import Shelf, key_of
from scriptsight.retrieve import index as indexes
from scriptsight.segments import Segment
from tests import small

COLLECTION = "films"


def shelf_of(folder: Path, films: Mapping[str, float], *, stored: bool = True) -> Shelf:
    """An index that a tiny model made of films, each one moment of so many seconds; their addresses are relative to
    the folder, or absolute.

    Args:
        stored: whether the frames of the moments are stored; of films that can't be read, grey ones.
    """
    made = small.tiny_bundle(folder / "models" / "pretrained")
    encoder = bundle.load(made)
    segments = [_segment(folder, number, uri, seconds) for number, (uri, seconds) in enumerate(films.items())]
    clips = np.stack([segment.decode([0, 2, 4, 6]) for segment in segments])
    with torch.inference_mode():
        vectors = encoder.encode_video(torch.from_numpy(clips)).numpy()
    rows = [indexes.row(segment, COLLECTION, "test") for segment in segments]
    indexes.write(folder / "models" / "index", vectors, rows, bundle.weights_digest(made))
    if stored:
        small.write_segments(folder / "data" / "segments", COLLECTION, "test", segments)
    return Shelf(folder)


def key(uri: str) -> str:
    """The name of a film in addresses."""
    return key_of(COLLECTION, uri)


def _segment(folder: Path, number: int, uri: str, seconds: float) -> Segment:
    frames: list[Any] = []
    with suppress(MediaError):
        frames = [frame.image[:16, :16] for frame in frames_at_rate(folder / uri, 8 / seconds, 16)][:8]
    frames += [np.full((16, 16, 3), 128, np.uint8)] * (8 - len(frames))
    return Segment(
        segment_id=f"{COLLECTION}/v{number}/0",
        video_id=f"v{number}",
        uri=uri,
        start=0.0,
        end=seconds,
        frame_times=np.arange(8) * seconds / 8,
        frames=[simplejpeg.encode_jpeg(np.ascontiguousarray(frame)) for frame in frames],
        cues=(),
        title=None,
        captions=(),
        label=None,
    )
