"""What of an accuracy needs the order of frames, and which classes are taken for their reverse.

A clip whose frames are shuffled still shows the same scene, objects and poses. A linear probe fitted and tested on
shuffled clips, or on clips of the first frame alone, shows what can be known without order; the better of the two is
what the gain is measured against. A probe that was fitted on clips as they are and is shown shuffled ones lacks
order, too, but it is also out of its depth: that is reported as well, and no gain is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scriptsight.statistics import compare, interval

WITHOUT = ("shuffled", "first_frame")
DISTURBED = ("shuffled", "reversed", "first_frame")


def share(name: str, folds: Sequence[np.ndarray], groups: np.ndarray | None) -> dict[str, float]:
    """A share of hits as `name`, the mean over the folds, with the limits of its 95% interval.

    The interval is that of all folds' segments together.

    Args:
        folds: of each fold whether its segments are hits, bool [N].
        groups: for all folds together, which segments are of one recording, int64 [sum of N]; None: each of its own.
    """
    low, high = interval(np.concatenate(folds), groups)
    return {name: float(np.mean([hits.mean() for hits in folds])), f"{name}_low": low, f"{name}_high": high}


def order(right: Mapping[str, Sequence[np.ndarray]], chance: float, groups: np.ndarray | None) -> dict[str, Any]:
    """The figures of the frames' order.

    `shuffled_top1` and `first_frame_top1` are of linear probes that were fitted and tested on such clips. `gain` is
    forward - the better of the two, with its paired interval; `needs_order` the share of the accuracy above chance
    that goes with the order, gain / (forward - chance), null where the probe is not above chance. `disturbed` has the
    accuracies of the probe fitted on clips as they are, on clips that are not.

    Args:
        right: a name of `protocols.Answers.predicted` -> of each fold whether the prediction is right, bool [N].
        chance: the accuracy of guessing.
    """
    means = {name: float(np.mean([hits.mean() for hits in folds])) for name, folds in right.items()}
    forward, without = means["forward"], max(WITHOUT, key=means.__getitem__)
    paired = compare(np.concatenate(right[without]), np.concatenate(right["forward"]), groups)
    gain = forward - means[without]
    return {
        **share("shuffled_top1", right["shuffled"], groups),
        **share("first_frame_top1", right["first_frame"], groups),
        "gain": gain,
        "gain_low": paired.low,
        "gain_high": paired.high,
        "needs_order": gain / (forward - chance) if forward > chance else None,
        "disturbed": {
            name: value
            for one in DISTURBED
            for name, value in share(f"{one}_top1", right[f"on_{one}"], groups).items()
        },
    }


@dataclass(frozen=True)
class Class:
    """A row of the table of classes: accuracies of the linear probe on its `n` test segments."""

    name: str
    n: int
    forward: float
    shuffled: float
    first_frame: float

    @property
    def gain(self) -> float:
        """What the order of frames adds: the accuracy with it - the better one without."""
        return self.forward - max(self.shuffled, self.first_frame)


def by_class(labels: np.ndarray, predicted: Mapping[str, np.ndarray]) -> list[Class]:
    """The classes, first those that gain most from the order of frames.

    Args:
        labels: str [N].
        predicted: labels that the probe gives, under the names of `protocols.Answers.predicted`, each str [N].
    """
    rows = []
    for name in np.unique(labels):
        own = labels == name
        shares = {key: float((predicted[key][own] == name).mean()) for key in ("forward", "shuffled", "first_frame")}
        rows.append(Class(str(name), int(own.sum()), **shares))
    return sorted(rows, key=lambda row: (-row.gain, row.name))


@dataclass(frozen=True)
class Reverses:
    """A class and its reverse: what the linear probe takes the `n` test segments of `name` for.

    `backwards` counts the segments that, played backwards, are taken for the reverse.
    """

    name: str
    reverse: str
    n: int
    right: int
    reversed: int
    backwards: int

    @property
    def direction(self) -> float | None:
        """How often the direction is right where the pair is; 0.5 is guessing. None: the pair never is."""
        known = self.right + self.reversed
        return self.right / known if known else None


def reverses(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]]
) -> list[Reverses]:
    """Each class of the pairs and its reverse, in the order of `pairs`; arguments as in `by_class`."""
    rows = []
    for pair in pairs:
        for name, reverse in (pair, pair[::-1]):
            own = labels == name
            taken = predicted["forward"][own]
            rows.append(
                Reverses(
                    name=name,
                    reverse=reverse,
                    n=int(own.sum()),
                    right=int((taken == name).sum()),
                    reversed=int((taken == reverse).sum()),
                    backwards=int((predicted["on_reversed"][own] == reverse).sum()),
                )
            )
    return rows


def directions(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """The test segments that are taken for their class or for its reverse, and whether for the former: row numbers
    int64 [n] and bool [n]; arguments as in `by_class`."""
    taken = predicted["forward"]
    both = [way for pair in pairs for way in (pair, pair[::-1])]  # as `reverses` goes through them
    rows = [np.flatnonzero((labels == name) & np.isin(taken, (name, reverse))) for name, reverse in both]
    told = np.concatenate([np.zeros(0, np.int64), *rows])
    return told, taken[told] == labels[told]


def of_pairs(
    rows: Sequence[Reverses], told: tuple[np.ndarray, np.ndarray], groups: np.ndarray | None = None
) -> dict[str, Any]:
    """The figures of all pairs together, of their test segments.

    `taken_for_reverse` is the share of segments taken for the reverse of their class; `direction_top1` how often
    the direction is right of segments that are taken for one of their pair (0.5 is guessing), null if there are none;
    `played_backwards` the share of segments that, played backwards, are taken for the reverse of their class.

    Args:
        told: what `directions` gives, for the interval.
        groups: as in `share`, of all test segments.
    """
    n, right, turned = (sum(getattr(row, name) for row in rows) for name in ("n", "right", "reversed"))
    if not n:
        return {}
    direction: dict[str, Any] = {"direction_top1": None}
    if right + turned:
        direction = share("direction_top1", [told[1]], None if groups is None else groups[told[0]])
    return {
        "taken_for_reverse": turned / n,
        **direction,
        "played_backwards": sum(row.backwards for row in rows) / n,
    }
