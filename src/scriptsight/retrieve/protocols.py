"""What looks for what when retrieval is measured: the datasets' protocols.

- `segments`: the whole script of a segment looks for its segment.
- `videos`: the whole script of a video looks for its video.
- `captions`: each caption looks for its video (MSR-VTT 1k-A and LSMDC have one a video, MSVD has many); from video
  to text, any of its captions is right.
- `paragraphs`: the captions of a video, joined to one text, look for it (DiDeMo). A model reads no more of it than
  the tokens it was trained with.

Captions are of whole videos, so all but the first measure videos; one that was cut into several segments is the mean
of its segments' vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scriptsight.features import script_texts
from scriptsight.films import mean
from scriptsight.segments import Segment, Segments

Protocol = Literal["segments", "videos", "captions", "paragraphs"]


@dataclass(frozen=True)
class RetrievalPairs:
    """Q texts and the G items that they look for."""

    texts: list[list[str]]  # [Q] scripts; several sentences of one are averaged
    owners: np.ndarray  # int64 [Q]: the right item of each text
    items: list[list[int]]  # [G] the rows of segments that are one item, in order of time
    without_text: int  # items that nothing looks for, and that are left out

    def gallery(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of segments [N, E] -> unit vectors of items, float32 [G, E]."""
        return np.stack([vectors[rows[0]] if len(rows) == 1 else mean(vectors[rows]) for rows in self.items])


def pairs(segments: Segments, protocol: Protocol) -> RetrievalPairs:
    """Texts and items of a split by a protocol."""
    groups: dict[object, list[int]] = {}
    videos, starts = segments.column("video_id"), segments.column("start")
    for row in range(len(segments)):
        groups.setdefault(row if protocol == "segments" else videos[row], []).append(row)
    texts: list[list[str]] = []
    owners: list[int] = []
    items: list[list[int]] = []
    for rows in groups.values():
        rows.sort(key=lambda row: (starts[row], row))
        found = _texts([segments[row] for row in rows], protocol)
        if not found:
            continue
        texts += found
        owners += [len(items)] * len(found)
        items.append(rows)
    return RetrievalPairs(texts, np.array(owners, dtype=np.int64), items, len(groups) - len(items))


def _texts(parts: list[Segment], protocol: Protocol) -> list[list[str]]:
    """The queries of one item."""
    if protocol in ("segments", "videos"):
        script = [text for part in parts for text in script_texts(part)]
        return [script] if script else []
    captions = list(dict.fromkeys(text for text in parts[0].captions if text.strip()))
    if protocol == "captions":
        return [[caption] for caption in captions]
    return [[" ".join(captions)]] if captions else []
