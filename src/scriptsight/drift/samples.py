"""Two samples of recordings: do they come from one distribution?

Recordings are what is exchanged and what is redrawn: of two samples of one distribution, which recording lies in
which one is chance, so the share of all ways to part them in which a statistic is at least as large is an exact
p-value (Fisher's randomisation; of very many ways some are drawn, and the observed one is counted among them).
Intervals are percentiles of a bootstrap of whole recordings. Draws are seeded: equal samples give equal figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scriptsight.errors import needs
from scriptsight.statistics import LEVEL, RESAMPLES, SEED

PERMUTATIONS = 1999
PARTINGS = 500  # of the first sample: what the distance is where there is no difference
CHUNK = 500  # permutations at a time: bounds memory


@dataclass(frozen=True)
class Estimate:
    """A figure with the limits of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """A figure of two samples: of the first, of the second, the second less the first, and whether that is chance."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float  # two-sided


def means(first: np.ndarray, second: np.ndarray) -> Contrast:
    """The means of two samples, float64 [R] and [S], one value a recording."""
    values = np.concatenate([first, second])

    def differences(inside: np.ndarray) -> np.ndarray:
        """By which recordings are in the second sample, float64 [P, R + S] -> [P]."""
        sums = inside @ values
        return np.abs(sums / inside.sum(1) - (values.sum() - sums) / (len(values) - inside.sum(1)))

    drawn = [_redrawn(len(one), seed) @ one / len(one) for seed, one in ((SEED, first), (SEED + 1, second))]
    return Contrast(
        first=_estimate(float(first.mean()), drawn[0]),
        second=_estimate(float(second.mean()), drawn[1]),
        difference=_estimate(float(second.mean() - first.mean()), drawn[1] - drawn[0]),
        p_value=_p_value(differences, len(first), len(second)),
    )


def shares(first: Sequence[str], second: Sequence[str]) -> tuple[str, Contrast]:
    """Kinds of recordings in two samples: the kind whose share differs most, and its shares; the p-value is of the
    total variation distance between all shares."""
    kinds, numbers = np.unique([*first, *second], return_inverse=True)
    one_hot = np.eye(len(kinds))[numbers]

    def distances(inside: np.ndarray) -> np.ndarray:
        counts = inside @ one_hot
        rest = one_hot.sum(0) - counts
        return np.abs(counts / counts.sum(1, keepdims=True) - rest / rest.sum(1, keepdims=True)).sum(1) / 2

    parts = one_hot[: len(first)], one_hot[len(first) :]
    place = int(np.argmax(np.abs(parts[1].mean(0) - parts[0].mean(0))))
    found = means(parts[0][:, place], parts[1][:, place])
    p_value = _p_value(distances, len(first), len(second))
    return str(kinds[place]), Contrast(found.first, found.second, found.difference, p_value)


def distance(first: np.ndarray, second: np.ndarray, owners: tuple[np.ndarray, np.ndarray]) -> Contrast:
    """How far apart vectors of two samples lie: the energy distance (Szekely and Rizzo 2013) as a share of the mean
    distance between the samples, from 0, the same distribution, to 1. Pairs within one recording don't count, so that
    it is not biased upwards, and may be a little below 0.

    Args:
        first, second: [N, D] and [M, D].
        owners: of which recording each vector is, int64 [N] and [M], from 0.

    Returns:
        As `first` its zero: the distance between two parts of the first sample, one of them as large as the second
        sample, at most a half. The limits are those of 95% of `PARTINGS` such parts. As `second`, and as
        `difference`, that between the samples.
    """
    sizes = [int(one.max()) + 1 for one in owners]
    between = _between(np.concatenate([first, second]), np.concatenate([owners[0], owners[1] + sizes[0]]))

    def distances(inside: np.ndarray) -> np.ndarray:
        return _energy(between, 1 - inside, inside)

    inside = np.repeat([0.0, 1.0], sizes)[None]
    drawn = np.concatenate([_redrawn(sizes[0], SEED), _redrawn(sizes[1], SEED + 1)], axis=1)
    found = _estimate(float(distances(inside)[0]), _energy(between, drawn * (1 - inside), drawn * inside))
    part = min(sizes[1], sizes[0] // 2)
    within = between[: sizes[0], : sizes[0]]
    parted = _parted(sizes[0] - part, part, PARTINGS)
    apart = _energy(within, 1 - parted, parted)
    p_value = _p_value(distances, *sizes)
    return Contrast(_estimate(float(apart.mean()), apart), found, found, p_value)


def recall(
    texts: np.ndarray, videos: np.ndarray, owners: np.ndarray, is_second: np.ndarray, sizes: Sequence[int]
) -> tuple[int, Contrast] | None:
    """How often the text of a clip finds it before the clips of other recordings of its own sample: recall at 1 in a
    gallery of G, the same for both samples. It is the mean over all galleries that could be drawn, not of a few.

    Args:
        texts, videos: unit vectors [N, E]; row i of one belongs to row i of the other.
        owners: of which recording each is, int64 [N], from 0.
        is_second: which recordings are in the second sample, bool [R].
        sizes: from which G is taken, the largest first.

    Returns:
        G and the recall; None where the samples are too small for any G. The test parts the recordings anew, with
        the galleries that they make then.
    """
    each = np.bincount(owners, minlength=len(is_second))
    smallest = min(np.sort(each)[: int(count) - 1].sum() for count in (is_second.sum(), (~is_second).sum()))
    gallery = next((size for size in sizes if size - 1 <= smallest), None)
    if gallery is None:
        return None
    scores = (texts.astype(np.float64) @ videos.astype(np.float64).T).astype(np.float32)  # equal ones tie
    others = owners[:, None] != owners
    of_recordings = np.eye(len(is_second))[owners]
    wrong = ((scores >= np.diag(scores)[:, None]) & others) @ of_recordings  # [N, R]: not worse than the right one
    there = others @ of_recordings  # [N, R]: how many clips of each recording a text must be told from

    def hits(inside: np.ndarray) -> np.ndarray:
        """By which recordings are in the second sample -> [P, R], the mean over each recording's texts."""
        own = inside[:, owners]  # [P, N]
        ahead, count = (
            own * (inside @ one.T) + (1 - own) * ((1 - inside) @ one.T) for one in (wrong, there)
        )  # [P, N], of the text's own sample
        return (_first(ahead, count, gallery) @ of_recordings) / each

    def differences(inside: np.ndarray) -> np.ndarray:
        found = hits(inside)
        return np.abs((found * inside).sum(1) / inside.sum(1) - (found * (1 - inside)).sum(1) / (1 - inside).sum(1))

    found = hits(is_second[None].astype(np.float64))[0]
    same = means(found[~is_second], found[is_second])
    order = np.argsort(is_second, kind="stable")  # `_p_value` has the second sample last
    p_value = _p_value(
        lambda inside: differences(inside[:, np.argsort(order)]), int((~is_second).sum()), int(is_second.sum())
    )
    return gallery, Contrast(same.first, same.second, same.difference, p_value)


def _first(ahead: np.ndarray, count: np.ndarray, gallery: int) -> np.ndarray:
    """The chance that, of `count` items, `gallery` - 1 are drawn without one of those that are `ahead`."""
    with needs("learn", "Measuring how sure a figure is"):
        from scipy.special import gammaln

    drawn = gallery - 1
    left = count - ahead
    possible = left >= drawn
    kept = np.where(possible, left, drawn)
    log = gammaln(kept + 1) - gammaln(kept - drawn + 1) - gammaln(count + 1) + gammaln(count - drawn + 1)
    found: np.ndarray = np.where(possible, np.exp(log), 0.0)
    return found


def _between(vectors: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The mean Euclidean distance between the vectors of each two recordings -> float64 [R, R], 0 on the diagonal."""
    values = vectors.astype(np.float64)
    squares = (values**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * values @ values.T, 0))
    members = np.eye(int(owners.max()) + 1)[:, owners]
    members /= members.sum(1, keepdims=True)
    found: np.ndarray = members @ apart @ members.T
    np.fill_diagonal(found, 0)
    return found


def _energy(between: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The energy distance as a share of the mean distance, of samples in which recordings come so often [P, R].

    A recording that was drawn twice is not held against itself.
    """

    def mean(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        pairs = one.sum(1) * other.sum(1) - (one * other).sum(1)
        total = ((one @ between) * other).sum(1)
        return np.divide(total, pairs, out=np.zeros(len(one)), where=pairs > 0)

    across = 2 * mean(first, second)
    found: np.ndarray = np.divide(
        across - mean(first, first) - mean(second, second), across, out=np.zeros(len(first)), where=across > 0
    )
    return found


def _p_value(statistic: Callable[[np.ndarray], np.ndarray], first: int, second: int) -> float:
    """The share of the ways to part the recordings, the observed one among them, that give so large a statistic."""
    observed = statistic(np.repeat([0.0, 1.0], (first, second))[None])[0]
    parted = _parted(first, second, PERMUTATIONS)
    found = np.concatenate([statistic(parted[start : start + CHUNK]) for start in range(0, PERMUTATIONS, CHUNK)])
    # Sums of equal numbers in another order differ by rounding, and are as large.
    return float((1 + (found >= observed - 1e-12 * max(1.0, abs(observed))).sum()) / (1 + PERMUTATIONS))


def _parted(first: int, second: int, times: int) -> np.ndarray:
    """Which recordings are in the second sample when all are parted at random -> float64 [times, first + second]."""
    inside = np.tile(np.repeat([0.0, 1.0], (first, second)), (times, 1))
    return np.random.default_rng(SEED).permuted(inside, axis=1)


def _redrawn(count: int, seed: int) -> np.ndarray:
    """How often each recording comes in bootstrap samples -> float64 [RESAMPLES, count]."""
    found = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return found.astype(np.float64)


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
