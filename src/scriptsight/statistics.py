"""How sure a figure is: intervals for shares of hits, and two models compared on the same items.

Outcomes are 0 or 1, one an item: a clip classified rightly, a query whose answer is among the first k; or shares
between them, as the nDCG of a query. Items of one
recording (clips that were cut from one video, captions of one clip) are alike, so they are no independent evidence:
what is redrawn, and what a test counts, are then recordings.
The bootstrap is Efron's (1979) with percentile limits; resampling is seeded, so equal inputs give equal figures.
An interval of outcomes that are all alike has no width: a bootstrap knows of no other outcome.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from scriptsight.errors import needs

K = TypeVar("K", bound=Hashable)

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0
LEAST_GROUPS = 5  # fewer say nothing of how groups differ
LONGEST_CONVOLUTION = 200_000_000  # products; a second
CHUNK = 4_000_000  # numbers drawn at a time: bounds memory


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same items. `difference` is second - first, with its paired bootstrap interval; `groups` is
    how many pieces of independent evidence the items are."""

    first: float  # share of hits, or mean of the shares
    second: float
    difference: float
    low: float
    high: float
    only_first: int  # items that the first alone gets right, or gets more of
    only_second: int
    p_value: float  # McNemar's exact test, two-sided, or its form for groups: see `compare`
    items: int
    groups: int
    shares: bool = False  # whether outcomes are more than 0 and 1

    def __str__(self) -> str:
        alone = self.groups == self.items
        test = "McNemar's exact" if alone else "exact, by flipping the signs of recordings,"
        if self.shares:
            test = "by flipping signs,"
        figures = (
            f"{self.second:.1%} against {self.first:.1%} of {self.items:,} items"
            f"{'' if alone else f' of {self.groups:,} recordings'}: "
            f"{100 * self.difference:+.1f} points (95% interval {100 * self.low:+.1f} to {100 * self.high:+.1f}; "
            f"{test} p = {self.p_value:.2g})"
        )
        if self.p_value >= 1 - LEVEL:
            return f"No difference is established: {figures}."
        return f"The second model is {'better' if self.difference > 0 else 'worse'}: {figures}."


def numbered(names: Sequence[Hashable]) -> np.ndarray | None:
    """Which items belong together, int64 [N], of the name of each one's recording; None where each stands alone.

    None as well where there are fewer than `LEAST_GROUPS` recordings, or fewer than two items: from so few nothing
    can be learned of how they differ, and the interval is that of the items.
    """
    places: dict[Hashable, int] = {}
    numbers = np.array([places.setdefault(name, len(places)) for name in names], dtype=np.int64)
    return numbers if LEAST_GROUPS <= len(places) < len(numbers) else None


def interval(outcomes: np.ndarray, groups: np.ndarray | None = None, level: float = LEVEL) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `outcomes`.

    Of zeros and ones without groups nothing need be drawn: the mean of n outcomes drawn with replacement, k of which
    are hits, is Binomial(n, k / n) / n, so its quantiles are exact.

    Args:
        outcomes: 0 or 1 (or bool), or shares between them, [N].
        groups: whose outcomes belong together, such as the captions of one video, int [N]: whole groups are
            drawn, because their members are no independent evidence. None: each item stands alone.

    Raises:
        ValueError: no outcomes, or some that are not from 0 to 1.
    """
    hits = _checked(outcomes)
    groups = _several(groups)
    if groups is None and not _are_hits(hits):
        groups = np.arange(len(hits))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if groups is None:
        low, high = _scipy_stats().binom.ppf(tails, len(hits), hits.mean()) / len(hits)
        return float(low), float(high)
    low, high = np.quantile(_means_of_groups(hits, groups), tails)
    return float(low), float(high)


def compare(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, level: float = LEVEL
) -> PairedComparison:
    """Two models' outcomes on the same items, in the same order: is one of them better?

    Only the items on which they disagree tell. McNemar's test (1947) asks how likely so uneven a split of
    them is for a fair coin, exactly; the interval of the difference redraws items, both outcomes together.

    Of items in groups it asks the same of groups: if neither model is better, the sum of a group's differences is as
    likely to be of one sign as of the other. Of all ways to flip these signs (Fisher's randomisation), what share
    gives so large a difference? With one item a group that is McNemar's test. Of shares, whose differences are of any
    size, these ways are drawn and not counted (Smucker, Allan and Carterette, CIKM 2007).

    Args:
        first, second: 0 or 1 (or bool), or shares between them, [N].
        groups: as in `interval`, of which whole ones are redrawn and flipped.

    Raises:
        ValueError: no outcomes, some that are not from 0 to 1, or not of the same items.
    """
    one, other = _checked(first), _checked(second)
    if one.shape != other.shape:
        raise ValueError(f"{len(one)} and {len(other)} outcomes: both models need the same items")
    n = len(one)
    groups = _several(groups)
    shares = not (_are_hits(one) and _are_hits(other))
    only_first, only_second = int((one > other).sum()), int((other > one).sum())
    if groups is None and not shares:
        # Items fall into three kinds, first alone, second alone and alike: how often each is drawn is multinomial.
        kinds = np.array([only_first, only_second, n - only_first - only_second])
        drawn = np.random.default_rng(SEED).multinomial(n, kinds / n, size=10 * RESAMPLES)
        draws = (drawn[:, 1] - drawn[:, 0]) / n
        unlike = only_first + only_second
        p_value = float(_scipy_stats().binomtest(only_second, unlike).pvalue) if unlike else 1.0
    else:
        numbers = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        draws = _means_of_groups(other - one, numbers)
        sums = np.bincount(numbers, weights=other - one)
        p_value = _drawn_signs(sums) if shares else _flipped_signs(sums.round().astype(np.int64))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return PairedComparison(
        first=float(one.mean()),
        second=float(other.mean()),
        difference=float((other - one).mean()),
        low=float(low),
        high=float(high),
        only_first=only_first,
        only_second=only_second,
        p_value=p_value,
        items=n,
        groups=n if groups is None else len(np.unique(groups)),
        shares=shares,
    )


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Holm's step-down adjustment (1979): the chance of any false finding among all stays under the level."""
    adjusted: dict[K, float] = {}
    least = 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, p_value * (len(p_values) - place)))
        adjusted[name] = least
    return adjusted


def _several(groups: np.ndarray | None) -> np.ndarray | None:
    """Groups, None where each item is one of its own."""
    return None if groups is None or len(np.unique(groups)) == len(groups) else groups


def _flipped_signs(sums: np.ndarray) -> float:
    """The share of all 2^G ways to give signs to the absolute values of `sums`, int64 [G], in which their total is at
    least as far from zero as that of `sums`; counted exactly, size by size, and not by drawing."""
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    chances = np.ones(1)  # of the totals -T, -T + 2, ..., T, where T is the largest one so far
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        flips = np.zeros(size * count + 1)
        flips[::size] = _scipy_stats().binom.pmf(np.arange(count + 1), count, 0.5)
        chances = _convolved(chances, flips)
    largest = len(chances) - 1
    totals = np.abs(2 * np.arange(largest + 1) - largest)
    return float(min(1.0, chances[totals >= abs(int(sums.sum()))].sum()))


def _drawn_signs(sums: np.ndarray) -> float:
    """As `_flipped_signs`, of sums of any size, float64 [G]: of ways that are drawn, and of the one that was seen."""
    seen = abs(sums.sum()) * (1 - 1e-9)  # equal sums in another order differ by their rounding
    rng, ways, rows = np.random.default_rng(SEED), 10 * RESAMPLES, max(1, CHUNK // len(sums))
    far = 0
    for start in range(0, ways, rows):
        signs = rng.integers(0, 2, (min(rows, ways - start), len(sums)), dtype=np.int8) * 2 - 1
        far += int((np.abs(signs @ sums) >= seen).sum())
    return (far + 1) / (ways + 1)


def _convolved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Their convolution; of long ones by a Fourier transform, which is exact to 1e-16 or so and not relative to each
    value."""
    if len(one) * len(other) <= LONGEST_CONVOLUTION:
        return np.convolve(one, other)
    with needs("learn", "Measuring how sure a figure is"):
        from scipy.signal import fftconvolve
    found: np.ndarray = np.clip(fftconvolve(one, other), 0.0, 1.0)
    return found


def _means_of_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The mean of `values` [N] in each bootstrap sample of whole groups -> float64 [R]."""
    numbers = np.unique(groups, return_inverse=True)[1]
    total, size = np.bincount(numbers, weights=values), np.bincount(numbers)
    return np.concatenate([(times @ total) / (times @ size) for times in _resampled(len(size))])


def _resampled(items: int) -> Iterator[np.ndarray]:
    """How often each item is drawn in `RESAMPLES` bootstrap samples R -> int64 [some R, items] at a time."""
    rng = np.random.default_rng(SEED)
    rows = max(1, CHUNK // items)
    for start in range(0, RESAMPLES, rows):
        yield rng.multinomial(items, np.full(items, 1 / items), size=min(rows, RESAMPLES - start))


def _checked(outcomes: np.ndarray) -> np.ndarray:
    values = np.asarray(outcomes, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("outcomes must be a list of zeros and ones, or of shares between them, and at least one")
    return values


def _are_hits(values: np.ndarray) -> bool:
    """Whether checked outcomes are zeros and ones alone."""
    return bool(np.isin(values, (0, 1)).all())


def _scipy_stats() -> Any:
    with needs("learn", "Measuring how sure a figure is"):
        from scipy import stats  # a second, and searching needs none of it

    return stats
