"""The winner's curse: by how much the figure of the trial that was chosen for it promises too much.

Of many trials that are measured on the same few items, the best is the one that was good and lucky. On items that
took no part in the choice the luck is gone. All trials fall from one split to another if that is harder; what the
chosen one falls beyond their mean is the curse. Taken by the same model, that is the luck with the items; taken by a
model that the same parameters learned from another seed, it is the luck of the training as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scriptsight.statistics import LEVEL, RESAMPLES, SEED

CHUNK = 4_000_000  # numbers drawn at a time: bounds memory


@dataclass(frozen=True)
class Hits:
    """What some models get right, bool [T, N], of items whose sources are `groups`, int [N]."""

    right: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Fall:
    """The mean of some trials: `before` where they were chosen, `after` where they were not. `beyond` is what they
    fall beyond the mean of all trials, with the limits of its interval."""

    before: float
    after: float
    of_all: float  # the mean fall of all trials
    beyond: float
    low: float
    high: float

    @property
    def fall(self) -> float:
        return self.before - self.after


def fall(chosen: Sequence[int], before: Hits, after: Hits, again: np.ndarray | None = None) -> Fall:
    """How far the trials in the rows `chosen` fall, and how much of it is theirs alone.

    The interval redraws sources of both splits, for all trials at once; which were chosen stays as it was.

    Args:
        before: of all T trials, where they were chosen.
        after: of the same, where they were not.
        again: of other models that stand for the chosen ones, bool [len(chosen), N], on the items of `after`.

    Raises:
        ValueError: nothing was chosen, or the splits are not of the same trials.
    """
    trials = len(before.right)
    if not chosen or len(after.right) != trials:
        raise ValueError(f"{len(chosen)} chosen of {trials} trials, {len(after.right)} of which are measured again")
    stand_ins = after.right[list(chosen)] if again is None else again
    both = Hits(np.concatenate([after.right, stand_ins]), after.groups)
    exact = _parts(before.right.mean(1)[None], both.right.mean(1)[None], list(chosen))
    draws = _parts(_means(before, SEED), _means(both, SEED + 1), list(chosen))
    low, high = np.quantile(draws[0] - draws[1] - draws[2], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    first, second, of_all = (float(part[0]) for part in exact)
    return Fall(first, second, of_all, first - second - of_all, float(low), float(high))


def _parts(before: np.ndarray, after: np.ndarray, chosen: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of shares [R, T] and [R, T + S]: what the chosen have before and after, and how far all fall, each [R]."""
    trials = before.shape[1]
    return before[:, chosen].mean(1), after[:, trials:].mean(1), (before - after[:, :trials]).mean(1)


def _means(hits: Hits, seed: int) -> np.ndarray:
    """The shares of all models in bootstrap samples of whole sources -> float64 [R, T]."""
    numbers = np.unique(hits.groups, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    totals = np.stack(
        [np.bincount(numbers, weights=row, minlength=len(sizes)) for row in hits.right], axis=1
    )  # [G, T]
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(sizes))
    found = []
    for start in range(0, RESAMPLES, rows):
        times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=min(rows, RESAMPLES - start))
        found.append((times @ totals) / (times @ sizes)[:, None])
    return np.concatenate(found)
