"""Measuring one encoder on one split: texts look for their items, and items for their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scriptsight import finite
from scriptsight.errors import InputError
from scriptsight.models.bundle import Encoder
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import Reporter
from scriptsight.retrieve.metrics import ranks, summary
from scriptsight.retrieve.protocols import RetrievalPairs, pairs
from scriptsight.segments import Segment, Segments
from scriptsight.statistics import numbered


class TooFew(InputError):
    """A split has not the two items with text that measuring retrieval takes."""


@dataclass(frozen=True)
class Measured:
    """The figures, and what they were made of."""

    figures: dict[str, Any]
    segments: Segments
    pairs: RetrievalPairs
    texts: np.ndarray  # unit vectors [Q, E]
    gallery: np.ndarray  # unit vectors [G, E]
    of_texts: np.ndarray  # ranks [Q]
    of_videos: np.ndarray  # ranks [G]

    def item(self, number: int) -> list[Segment]:
        """The segments of an item of the gallery."""
        return [self.segments[row] for row in self.pairs.items[number]]


def measured(
    encoder: Encoder, params: RetrieveParams, segments: Segments, vectors: np.ndarray, reporter: Reporter
) -> Measured:
    """Measure retrieval on `segments`, those of `params.split`.

    Args:
        vectors: of the segments, unit vectors float32 [N, E].

    Raises:
        TooFew: fewer than two items have text.
    """
    found = pairs(segments, params.protocol)
    where = f"{params.collection}/{params.split}"
    items = "segments" if params.protocol == "segments" else "videos"
    if len(found.items) < 2:
        raise TooFew(
            f"{where} has {len(found.items)} {items} with text for the protocol {params.protocol!r}, and measuring "
            "retrieval takes two or more: choose another retrieve.split, retrieve.collection or "
            "retrieve.protocol, or add videos with transcripts or captions."
        )
    if found.without_text:
        reporter.message(f"{where}: {found.without_text} {items} without text are not measured")
    texts = encode(encoder, found.texts, params.batch, reporter, "encode texts")
    gallery = found.gallery(vectors)
    numbers = np.arange(len(gallery))

    def both(dual_softmax: float | None) -> tuple[np.ndarray, np.ndarray]:
        return (
            ranks(texts, gallery, found.owners, numbers, dual_softmax=dual_softmax),
            ranks(gallery, texts, numbers, found.owners, dual_softmax=dual_softmax),
        )

    of_texts, of_videos = both(None)
    sources = _sources(segments, found)
    of_texts_groups, of_videos_groups = (
        numbered([sources[item] for item in items_of]) for items_of in (found.owners.tolist(), numbers.tolist())
    )
    figures: dict[str, Any] = {
        "t2v": summary(of_texts, of_texts_groups),
        "v2t": summary(of_videos, of_videos_groups),
        "protocol": params.protocol,
        "gallery": len(gallery),
        "texts": len(texts),
        "recordings": len(set(sources)),
        "chance_r1": 1 / len(gallery),
    }
    if params.dual_softmax:
        again = both(params.dual_softmax)
        figures["dual_softmax"] = {
            "temperature": params.dual_softmax,
            "t2v": summary(again[0], of_texts_groups),
            "v2t": summary(again[1], of_videos_groups),
        }
    return Measured(figures, segments, found, texts, gallery, of_texts, of_videos)


def _sources(segments: Segments, found: RetrievalPairs) -> list[str]:
    """What the items [G] were cut from: their recording, where it is not known their video."""
    recordings, videos = segments.column("recording"), segments.column("video_id")
    first = [rows[0] for rows in found.items]
    return [f"recording {recordings[row]}" if recordings[row] else f"video {videos[row]}" for row in first]


def encode(
    encoder: Encoder, scripts: Sequence[Sequence[str]], batch: int, reporter: Reporter, label: str
) -> np.ndarray:
    """Scripts -> unit vectors float32 [N, E].

    Raises:
        InputError: the model's vectors are not finite.
    """
    starts = range(0, len(scripts), batch)
    vectors = np.concatenate(
        [
            encoder.encode_scripts(scripts[start : start + batch]).cpu().numpy()
            for start in reporter.progress(starts, label, total=len(starts))
        ]
    )
    finite.check(vectors, f"the model's vectors ({label})")
    return vectors
