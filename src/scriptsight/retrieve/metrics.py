"""Text-to-video and video-to-text retrieval: at which rank is the right one?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scriptsight import finite
from scriptsight.statistics import interval

CHUNK = 1024  # queries at a time: bounds the memory of the scores
RECALLS = (1, 5, 10, 50)


def ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    of_queries: np.ndarray | None = None,
    of_gallery: np.ndarray | None = None,
    *,
    dual_softmax: float | None = None,
) -> np.ndarray:
    """The rank of the right answer for each query -> int64 [Q], from 1.

    Ties are pessimistic: rank = 1 + the number of wrong items that score at least as high as the best right one.
    So a query with several right answers (a video and its captions) is a hit at k if any of them is among the
    first k, and they don't stand in each other's way.

    Args:
        queries: unit vectors [Q, E].
        gallery: unit vectors [G, E].
        of_queries, of_gallery: which video each belongs to, int [Q] and [G]; an answer is right if it is the
            query's. None: row i of one belongs to row i of the other.
        dual_softmax: temperature of the re-ranking of Cheng et al. 2021 (arXiv 2109.04290); None leaves it out.
            A score is multiplied by the softmax, over all *queries*, of the scores of its gallery item: such
            figures know the whole query set, and can't be compared with those that answer one query at a time.

    Raises:
        InputError: a vector, or a score, is not finite.
        ValueError: a query whose video has nothing in the gallery.
    """
    finite.check(queries, "the vectors of the queries")
    finite.check(gallery, "the vectors of the gallery")
    wanted = np.arange(len(queries)) if of_queries is None else of_queries
    owners = np.arange(len(gallery)) if of_gallery is None else of_gallery
    if len(missing := np.setdiff1d(wanted, owners)):
        raise ValueError(f"nothing in the gallery belongs to video {missing[0]}")
    weights = _log_sums(queries, gallery, dual_softmax) if dual_softmax else None
    found = []
    for start, scores in _scores(queries, gallery):
        if dual_softmax and weights is not None:
            scores = scores * np.exp(scores / dual_softmax - weights)
            finite.check(scores, "the scores of the dual softmax", "Raise retrieve.dual_softmax, or set it to null.")
        scores = scores.astype(np.float32)  # so that equal items tie however the product was summed: [chunk, G]
        right = wanted[start : start + len(scores), None] == owners
        own = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
        found.append(1 + ((scores >= own) & ~right).sum(axis=1))
    return np.concatenate(found)


def summary(ranks: np.ndarray, groups: np.ndarray | None = None) -> dict[str, float]:
    """Recall at 1, 5, 10 and 50, each with the limits of its 95% bootstrap interval, median and mean rank.

    Args:
        groups: which video each query belongs to, where videos have several; whole videos are then redrawn.
    """
    values: dict[str, float] = {f"r{k}": float((ranks <= k).mean()) for k in RECALLS}
    values |= {"median_rank": float(np.median(ranks)), "mean_rank": float(np.mean(ranks))}
    for k in RECALLS:
        values[f"r{k}_low"], values[f"r{k}_high"] = interval(ranks <= k, groups)
    return values


def _scores(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cosines, `CHUNK` queries at a time -> the first one's number, float64 [chunk, G]."""
    items = gallery.astype(np.float64).T
    for start in range(0, len(queries), CHUNK):
        yield start, queries[start : start + CHUNK].astype(np.float64) @ items


def _log_sums(queries: np.ndarray, gallery: np.ndarray, temperature: float) -> np.ndarray:
    """log sum over queries of exp(score / temperature), for each gallery item -> float64 [G]."""
    total = np.full(len(gallery), -np.inf)
    for _, scores in _scores(queries, gallery):
        total = np.logaddexp(total, np.logaddexp.reduce(scores / temperature, axis=0))
    return total
