"""Text-to-video and video-to-text retrieval: at which rank is the right one?"""

from __future__ import annotations

import numpy as np

CHUNK = 1024  # queries at a time: bounds the memory of the scores


def ranks(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The rank of gallery item i for query i -> int64 [N], from 1.

    Ties are pessimistic: rank = 1 + the number of other items that score at least as high.

    Args:
        queries, gallery: unit vectors [N, E]; row i of one belongs to row i of the other.
    """
    queries, gallery = queries.astype(np.float64), gallery.astype(np.float64)
    found = []
    for start in range(0, len(queries), CHUNK):
        # float32, so that equal items tie however the product was summed: [chunk, N].
        scores = (queries[start : start + CHUNK] @ gallery.T).astype(np.float32)
        own = scores[np.arange(len(scores)), np.arange(start, start + len(scores))]
        found.append((scores >= own[:, None]).sum(axis=1))  # an item is at least as high as itself: the 1
    return np.concatenate(found)


def summary(ranks: np.ndarray) -> dict[str, float]:
    """Recall at 1, 5 and 10, and the median rank."""
    recalls = {f"r{k}": float((ranks <= k).mean()) for k in (1, 5, 10)}
    return {**recalls, "median_rank": float(np.median(ranks))}
