"""Small worlds of talks: each recording has a colour and sentences of its own, and noise of its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scriptsight.catalogue import Cue
from scriptsight.segments import Segment
from tests import small

ENGLISH = (
    "now the red circle moves slowly to the left",
    "and then the blue square is growing again",
    "look how the green triangle turns around",
    "the yellow cross vanishes behind a screen",
)
GERMAN = (
    "jetzt bewegt sich der rote Kreis langsam nach links",
    "und dann wird das blaue Quadrat wieder größer",
    "schau wie sich das grüne Dreieck dort dreht",
    "das gelbe Kreuz verschwindet hinter einem Schirm",
)


def talks(
    folder: Path,
    split: str,
    numbers: Iterable[int],
    *,
    collection: str = "talks",
    dark: bool = False,
    texts: tuple[str, ...] = ENGLISH,
    pace: float = 1.0,
) -> Path:
    """Segments of recordings with these numbers, three a recording, into FOLDER/COLLECTION/SPLIT.

    Args:
        dark: frames are dark and blue instead of any grey.
        pace: how many times as long each cue lasts.
    """
    rows = []
    for number in numbers:
        rng = np.random.default_rng(number)
        grey = int(rng.integers(80, 200))
        colour = (10, 10, 60) if dark else (grey,) * 3
        name = f"talk{number:04}"
        for index in range(3):
            said = rng.permutation(texts)
            lengths = pace * rng.uniform(1.5, 2.5, len(said))
            starts = 30.0 * index + np.concatenate([[0], np.cumsum(lengths + 0.5)])
            cues = tuple(Cue(s, s + d, str(t)) for s, d, t in zip(starts, lengths, said, strict=False))
            rows.append(
                Segment(
                    segment_id=f"{collection}/{name}/{index}",
                    video_id=name,
                    uri=f"{name}.mp4",
                    start=30.0 * index,
                    end=30.0 * index + 20.0,
                    frame_times=30.0 * index + np.arange(6) * 3.0,
                    frames=small.frames(colour, seed=10 * number + index),
                    cues=cues,
                    title=None,
                    captions=(),
                    label=None,
                    file_digest=hashlib.sha256(f"{collection}/{name}".encode()).hexdigest(),
                )
            )
    return small.write_segments(folder, collection, split, rows)
