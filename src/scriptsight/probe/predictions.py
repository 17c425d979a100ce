"""What a protocol answers, item by item: the shares of hits, their intervals and paired tests come from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scriptsight import finite


@dataclass(frozen=True)
class Predictions:
    """Scores of the classes for each test item, float64 [N, C]; larger is likelier. C counts training's classes.

    Raises:
        InputError: scores that are not finite.
    """

    scores: np.ndarray

    def __post_init__(self) -> None:
        finite.check(self.scores, "the probe's scores of test items")

    @property
    def classes(self) -> np.ndarray:
        """The likeliest class of each item, int64 [N]; of those that tie the first."""
        return self.scores.argmax(axis=1)

    def hits(self, classes: np.ndarray) -> np.ndarray:
        """Whether an item's class, int64 [N], has a higher score than any other -> bool [N]. A tie is a miss."""
        own = np.take_along_axis(self.scores, classes[:, None], axis=1)  # [N, 1]
        return (self.scores >= own).sum(axis=1) == 1

    def accuracy(self, classes: np.ndarray) -> float:
        """Share of hits."""
        return float(self.hits(classes).mean())


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the items for which two protocols (or models) predict the same class, int64 [N] each."""
    return float((first == second).mean())


def by_view(features: np.ndarray) -> np.ndarray:
    """Features [N, D] of one view or [N, V, D] of several -> [N, V, D].

    Raises:
        InputError: features that are not finite.
    """
    finite.check(features, "features")
    return features[:, None] if features.ndim == 2 else features
