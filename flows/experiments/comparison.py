"""Any models beside each other: what each is worth, which are better than which, and what differs between them.

What can't be said of a model, or not of two of them, is told among the remarks, and the rest is there.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from flows.experiments import named, outcomes
from flows.tracking import views
from scriptsight.pictures import one_line
from scriptsight.statistics import PairedComparison

LETTERS = string.ascii_uppercase
LIMITS = ("_low", "_high")  # what the limits of a figure's interval are called

Pair = tuple[str, str]  # letters of two models; the second is held against the first


@dataclass(frozen=True)
class Entry:
    """A model on the page."""

    letter: str
    model: outcomes.Model
    details: named.Details
    shares: dict[str, tuple[float, float, float]]  # figure -> the share that it gets right, and its 95% interval
    champion: bool = False


@dataclass(frozen=True)
class Comparison:
    """Models beside each other. `tests` are by the figures that two of them have on the same items; `p_values` are
    adjusted (`outcomes.adjusted`)."""

    entries: list[Entry]
    metric: str  # the figure that decides
    reference: str  # the letter of the model that each is held against
    tests: dict[Pair, dict[str, PairedComparison]] = field(default_factory=dict)
    p_values: dict[tuple[Pair, str], float] = field(default_factory=dict)
    left_out: dict[Pair, dict[str, str]] = field(default_factory=dict)  # figure -> why there is no test of it
    remarks: list[str] = field(default_factory=list)  # what one must know before the figures are read

    @property
    def figures(self) -> list[str]:
        """Those that any model has item by item; the one that decides comes first."""
        found = dict.fromkeys(name for entry in self.entries for name in entry.model.figures)
        return sorted(found, key=lambda name: name != self.metric)

    def verdict(self, pair: Pair, figure: str) -> str:
        """One word for the second model of a pair."""
        return outcomes.verdict(self.tests[pair][figure], self.p_values[pair, figure])

    def answers(self) -> Iterator[str]:
        """What the figure that decides says of each pair, in words."""
        words = {"better": "is better than", "worse": "is worse than", outcomes.CANT_TELL: "can't be told apart from"}
        for (first, second), compared in self.tests.items():
            if self.metric in compared:
                one = compared[self.metric]
                points = outcomes.cells(one)[2].replace("(", "points (95% interval ")
                of = "" if one.groups == one.items else f" of {one.groups:,} recordings"
                p_value = self.p_values[(first, second), self.metric]
                yield (
                    f"{second} {words[self.verdict((first, second), self.metric)]} {first} by {self.metric}: "
                    f"{one.second:.1%} against {one.first:.1%} of {one.items:,} items{of}, {points}, "
                    f"p = {p_value:.2g}."
                )

    def parameters(self) -> dict[str, list[str]]:
        """The parameters that differ between models that say what theirs are -> their values; "" where one has
        none."""
        known = [entry.details.params for entry in self.entries if entry.details.params]
        names = sorted({name for params in known for name in params})
        shown = {name: [str(params.get(name, "")) for params in known] for name in names}
        differ = [name for name, values in shown.items() if len(set(values)) > 1]
        return {name: [str(entry.details.params.get(name, "")) for entry in self.entries] for name in differ}

    def others(self) -> dict[str, list[str]]:
        """The figures that a model has no items of -> their values, with the interval that is known; "" where a model
        has none. Those of single steps of the training are curves."""
        names: dict[str, None] = {}
        for entry in self.entries:
            by_items = {f"{stage}/{name}" for name in entry.shares for stage in ("probe", "retrieve")}
            figures = entry.details.figures
            limits = {name + end for name in figures for end in LIMITS}
            left_out = by_items | limits
            names |= {n: None for n in figures if n not in left_out and not n.startswith(("train/", "system/"))}
        return {name: [_number(name, entry.details.figures) for entry in self.entries] for name in names}

    def not_compared(self) -> Iterator[str]:
        """Why some figures of some pairs have no test, those of one reason together."""
        for (first, second), left_out in self.left_out.items():
            for why in dict.fromkeys(left_out.values()):
                names = ", ".join(name for name, reason in left_out.items() if reason == why)
                yield f"{second} against {first}: {names}: {why}."

    def __str__(self) -> str:
        """The comparison in Markdown, readable as it is."""
        letters = [entry.letter for entry in self.entries]
        shown = [figure.name for figure in views.FIGURES]
        others = {name: values for name, values in self.others().items() if name in shown}
        parts = [
            [
                f"{one.letter}: {one_line(one.model.name, 200)}{', the champion' * one.champion}"
                for one in self.entries
            ],
            [f"WARNING: {one_line(remark, 1000)}" for remark in self.remarks],
            list(self.answers()),
            outcomes.table(("figure", *letters), [(name, *self._cells(name)) for name in self.figures]),
            [f"In brackets the 95% interval. {self.how()}"] if self.tests else [],
            [f"Not compared: {line}" for line in self.not_compared()],
            _values("parameter that differs", letters, self.parameters()),
            _values("other figure", letters, others),
        ]
        return "\n\n".join("\n".join(part) for part in parts if part)

    def said(self, letter: str, figure: str) -> list[str]:
        """The verdicts on a model by a figure, one a test: `better`, or `better than A` where pairs have not all the
        same first model."""
        pairs = [pair for pair, compared in self.tests.items() if pair[1] == letter and figure in compared]
        verdicts = [(self.verdict(pair, figure), pair[0]) for pair in pairs]
        if len({first for first, _ in self.tests}) == 1:
            return [one for one, _ in verdicts]
        return [f"{one} {'from' if one == outcomes.CANT_TELL else 'than'} {other}" for one, other in verdicts]

    def _cells(self, figure: str) -> Iterator[str]:
        for entry in self.entries:
            if figure not in entry.shares:
                yield ""
                continue
            share, low, high = entry.shares[figure]
            yield ", ".join([f"{share:.1%} ({low:.1%} to {high:.1%})", *self.said(entry.letter, figure)])

    def how(self) -> str:
        """How the tests are to be read."""
        firsts = {first for first, _ in self.tests}
        against = f"Verdicts are against {self.reference}. " if len(firsts) == 1 else ""
        deciding = sum(self.metric in compared for compared in self.tests.values())
        return (
            f"{against}{self.metric} decides. The p of its tests ({deciding}) are adjusted for their number (Holm), "
            "and so are those of the other figures: one of many soon differs by chance."
        )

    def as_json(self) -> dict[str, Any]:
        """All of it for a program."""
        return {
            "metric": self.metric,
            "reference": self.reference,
            "remarks": self.remarks,
            "models": [
                {
                    "letter": entry.letter,
                    "name": entry.model.name,
                    "run_id": entry.model.run_id,
                    "champion": entry.champion,
                    "data": entry.details.data,
                    "params": entry.details.params,
                    "figures": {
                        name: dict(zip(("share", "low", "high"), share, strict=True))
                        for name, share in entry.shares.items()
                    },
                    "other_figures": entry.details.figures,
                }
                for entry in self.entries
            ],
            "tests": [
                {
                    "models": list(pair),  # their letters; `first` and `second` are their shares
                    "figure": figure,
                    **asdict(one),
                    "adjusted_p_value": self.p_values[pair, figure],
                    "verdict": self.verdict(pair, figure),
                }
                for pair, compared in self.tests.items()
                for figure, one in compared.items()
            ],
            "not_compared": [
                {"models": list(pair), "figure": figure, "why": why}
                for pair, left_out in self.left_out.items()
                for figure, why in left_out.items()
            ],
            "parameters_that_differ": self.parameters(),
        }


def _values(what: str, letters: Sequence[str], rows: dict[str, list[str]]) -> list[str]:
    return outcomes.table((what, *letters), [(name, *values) for name, values in rows.items()]) if rows else []


def _number(name: str, figures: Mapping[str, float]) -> str:
    if name not in figures:
        return ""
    low, high = (figures.get(name + end) for end in LIMITS)
    return f"{figures[name]:.4g}" + ("" if low is None or high is None else f" ({low:.4g} to {high:.4g})")


# ----------------------------------------------------------------------------------------------------- comparing


def compare(
    sources: Sequence[named.Source],
    metric: str,
    *,
    champion: str | None = None,
    all_pairs: bool = False,
    remarks: Sequence[str] = (),
) -> Comparison:
    """Put models beside each other; each is held against the champion, if it is one of them, else against the first.

    Args:
        metric: the figure that decides.
        champion: the id of the champion's run.
        all_pairs: hold each against each.
        remarks: what is told before all else.
    """
    entries, told = [], list(remarks)
    for letter, source in zip(LETTERS, sources, strict=False):
        model, damaged = source.readable()
        details = source.details()
        shares = {name: (model.share(name), *model.interval(name)) for name in model.figures}
        is_champion = champion is not None and model.run_id == champion
        entries.append(Entry(letter, model, details, shares, is_champion))
        problems = [*damaged, *details.problems]
        if not model.figures and not damaged:
            problems.append(outcomes.unmeasured("it"))
        told += [f"{letter}: {problem}" for problem in problems]
    reference = next((entry for entry in entries if entry.champion), entries[0])
    pairs = list(combinations(entries, 2)) if all_pairs else [(reference, one) for one in entries if one != reference]
    tests, left_out = {}, {}
    for first, second in pairs:
        if first.model.figures and second.model.figures:
            pair = (first.letter, second.letter)
            tests[pair], left_out[pair] = outcomes.paired(first.model, second.model, pair)
    raw = {(pair, name): one.p_value for pair, found in tests.items() for name, one in found.items()}
    told += [*_same_weights(entries), *_overlaps(entries), *_other_data(entries), *_undecided(entries, metric)]
    if any(not entry.details.params for entry in entries):
        unknown = ", ".join(entry.letter for entry in entries if not entry.details.params)
        told.append(f"{unknown}: parameters are not known: name the run in MLflow, or the folder with its dvc.lock.")
    return Comparison(entries, metric, reference.letter, tests, outcomes.adjusted(raw, metric), left_out, told)


def _same_weights(entries: Sequence[Entry]) -> Iterator[str]:
    seen: set[str] = set()
    for entry in entries:
        same = [other.letter for other in entries if entry.details.weights & other.details.weights]
        if len(same) > 1 and entry.letter not in seen:
            yield f"{', '.join(same)} are one model under several names: their weights are the same."
        seen.update(same)


def _overlaps(entries: Sequence[Entry]) -> Iterator[str]:
    """Measured videos that a model learned from."""
    for entry in entries:
        for name, count in entry.details.figures.items():
            what, _, sign = name.rpartition("overlap/")
            if sign == "learned_from" and count:
                measured = entry.details.figures.get(f"{what}overlap/measured")
                of = "" if measured is None else f" of the {measured:,.0f}"
                where = {"speed/val_": "validation"}.get(what, what.rstrip("/"))
                yield (
                    f"{entry.letter} learned from {count:,.0f}{of} videos that it is measured on ({where}): its "
                    "figures say less than they seem."
                )


def _other_data(entries: Sequence[Entry]) -> Iterator[str]:
    for path in named.DATA:
        known = {entry.letter: entry.details.data[path] for entry in entries if path in entry.details.data}
        if len(set(known.values())) > 1:
            listed = ", ".join(f"{letter} {digest[:8]}" for letter, digest in known.items())
            yield f"The models learned from other data: {path} has the digests {listed}."
        unknown = [entry.letter for entry in entries if path not in entry.details.data]
        if known and unknown:
            yield f"{', '.join(unknown)}: it is not known which {path} it learned from."


def _undecided(entries: Sequence[Entry], metric: str) -> Iterator[str]:
    measured = [entry for entry in entries if entry.model.figures]
    lacking = [entry for entry in measured if metric not in entry.model.figures]
    if lacking:
        has = ", ".join(dict.fromkeys(name for entry in lacking for name in entry.model.figures))
        yield (
            f"{', '.join(entry.letter for entry in lacking)}: no outcomes of {metric}, which decides (there are: "
            f"{has}). Run the stages probe and retrieve again, or choose another figure by --metric."
        )
