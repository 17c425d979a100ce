"""Weighted k-NN on cosine (DINO, Caron et al. 2021, appendix E; after Wu et al. 2018)."""

from __future__ import annotations

import numpy as np

from scriptsight import finite
from scriptsight.probe.cosine import pooled
from scriptsight.probe.predictions import Predictions

CHUNK = 256  # queries at a time: bounds the memory of the similarities


def predict(train: np.ndarray, classes: np.ndarray, test: np.ndarray, k: int, temperature: float) -> Predictions:
    """Predict by weighted vote; scores are the votes. For the arguments see `votes`."""
    return Predictions(votes(train, classes, test, k, temperature))


def votes(train: np.ndarray, classes: np.ndarray, test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """The weight of each class among the k nearest neighbours -> float64 [N, C].

    A neighbour votes with exp(similarity / temperature), up to a factor common to all of a query's
    neighbours, which keeps small temperatures finite. Of neighbours that tie for the last place those first
    in `train` vote.

    Args:
        train, test: features [N_train, D], [N, D], or of several views [N_train, V, D], [N, V, D], which are pooled.
        classes: of `train`, int64 [N_train], from 0 to C - 1.
        k: neighbours; all of `train` where it has fewer.

    Raises:
        InputError: features that are not finite.
    """
    finite.check(train, "the features that k-NN searches")
    finite.check(test, "the features that k-NN searches with")
    train, test = pooled(train), pooled(test)
    member = np.eye(classes.max() + 1)[classes]  # [N_train, C]
    k = min(k, len(train))
    found = []
    for start in range(0, len(test), CHUNK):
        # float32, so that equal neighbours tie however the product was summed: [chunk, N_train].
        similarities = (test[start : start + CHUNK] @ train.T).astype(np.float32)
        last = np.partition(similarities, -k, axis=1)[:, -k, None]  # of the k-th neighbour
        nearer, tied = similarities > last, similarities == last
        room = k - nearer.sum(axis=1, keepdims=True)
        chosen = nearer | (tied & (tied.cumsum(axis=1) <= room))
        scaled = (similarities - similarities.max(axis=1, keepdims=True)).astype(np.float64) / temperature
        found.append(np.where(chosen, np.exp(scaled), 0) @ member)
    return np.concatenate(found)


def accuracy(votes: np.ndarray, classes: np.ndarray) -> float:
    """Share of the queries whose class, int64 [N], has more votes [N, C] than any other; a tie counts as a miss."""
    return Predictions(votes).accuracy(classes)
