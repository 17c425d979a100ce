"""Few-shot classification by the nearest mean: episodes of n ways and k shots.

Episodes as in Snell et al. (2017), after Vinyals et al. (2016); cosine on frozen features, as in SimpleShot (Wang et
al. 2019, L2N).
"""

from __future__ import annotations

import numpy as np

from scriptsight.errors import InputError
from scriptsight.probe.cosine import pooled, unit
from scriptsight.probe.predictions import Predictions


def episodes(
    features: np.ndarray, classes: np.ndarray, *, ways: int, shots: int, queries: int, episodes: int, seed: int
) -> np.ndarray:
    """The accuracy of each episode, float64 [episodes].

    An episode draws `ways` classes, and of each `shots` items whose mean is its prototype, and `queries` others. A
    query hits if its own prototype is closer than any other; a tie is a miss. What is drawn depends on `classes`
    and `seed` alone, so the episodes of two encoders are the same ones.

    Args:
        features: [N, D], or of several views [N, V, D], which are pooled.
        classes: int64 [N]. Those with fewer than `shots` + `queries` items are never drawn.

    Raises:
        InputError: fewer than `ways` classes have so many items.
    """
    features = pooled(features)
    members = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    large = [rows for rows in members if len(rows) >= shots + queries]
    if len(large) < ways:
        raise InputError(
            f"Few-shot episodes of {ways} ways need {ways} classes with {shots} + {queries} items (shots + queries), "
            f"and {len(large)} of {len(members)} classes have them: lower one of the three, or add labelled items."
        )
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(ways), queries)
    accuracies = np.empty(episodes)
    for number in range(episodes):
        drawn = rng.choice(len(large), ways, replace=False)
        rows = np.stack([rng.choice(large[way], shots + queries, replace=False) for way in drawn])  # [ways, items]
        prototypes = unit(features[rows[:, :shots]].mean(axis=1))  # [ways, D]
        # float32, so that equal prototypes tie however the product was summed: [ways * queries, ways].
        similarities = (features[rows[:, shots:].ravel()] @ prototypes.T).astype(np.float32)
        accuracies[number] = Predictions(similarities).accuracy(truth)
    return accuracies


def interval(accuracies: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean over episodes [E] as the field states it: mean -+ 1.96 standard errors."""
    mean, error = accuracies.mean(), accuracies.std(ddof=1) / np.sqrt(len(accuracies))
    return float(mean - 1.96 * error), float(mean + 1.96 * error)
