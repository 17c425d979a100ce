"""Zero-shot video-to-video retrieval (TVTS, section 4): does a video find others of its class?"""

from __future__ import annotations

import numpy as np

from scriptsight import finite
from scriptsight.probe.cosine import pooled

CHUNK = 256  # queries at a time: bounds the memory of the similarities


def first_hits(features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The rank at which each video first finds its class -> float64 [N], from 1; infinite where it can't.

    Cosine on frozen features, the query itself excluded. Ties are pessimistic: videos of other classes come
    before an equally similar one of the query's class. A video alone in its class never hits.

    Args:
        features: [N, D], or of several views [N, V, D], which are pooled.
        classes: [N].

    Raises:
        InputError: features that are not finite.
    """
    finite.check(features, "the features that videos find each other by")
    features = pooled(features)
    ranks = []
    for start in range(0, len(features), CHUNK):
        queries = np.arange(start, min(start + CHUNK, len(features)))
        # float32, so that equal videos tie however the product was summed: [chunk, N].
        similarities = (features[queries] @ features.T).astype(np.float32)
        same = classes[queries, None] == classes[None]
        candidates = same.copy()
        candidates[np.arange(len(queries)), queries] = False
        best = np.where(candidates, similarities, -np.inf).max(axis=1, keepdims=True)
        rank = 1.0 + (~same & (similarities >= best)).sum(axis=1)
        ranks.append(np.where(candidates.any(axis=1), rank, np.inf))
    return np.concatenate(ranks)


def chance(classes: np.ndarray, k: int) -> float:
    """The expected recall at k of a random order: 1 - P(k draws without replacement miss the class)."""
    others = len(classes) - 1
    same = np.unique(classes, return_inverse=True, return_counts=True)
    mates = same[2][same[1]] - 1  # of each query [N]
    draws = np.arange(min(k, others))
    misses = np.maximum(others - mates[:, None] - draws, 0) / (others - draws)  # [N, k]
    return float((1 - misses.prod(axis=1)).mean())


def recall(ranks: np.ndarray, k: int) -> float:
    """Share of the queries with a hit among their k nearest."""
    return float((ranks <= k).mean())
