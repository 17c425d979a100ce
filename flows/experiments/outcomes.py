"""What models got right, item by item: the tables `outcomes.csv` that probe and retrieve leave, and two models'
answers on the same items. Of a query that people judged it is no yes or no, but a share of what was possible.

Tables are joined item by item, and figures whose items are not the same can't be compared. Items of one recording, or
of one video, are one piece of evidence.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from scriptsight import statistics
from scriptsight.errors import InputError
from scriptsight.statistics import PairedComparison

TABLES = ("probe/outcomes.csv", "retrieve/outcomes.csv")
ANYWHERE = (*TABLES, "outcomes.csv")  # of a folder: that of one stage may lie in it
RECALLS = (1, 5, 10)
CANT_TELL = "can't tell"
_PROBE = ("test", "fold", "segment_id", "label")
_RETRIEVE = ("direction", "query", "rank")
_RECORDING = "recording"  # a column behind these, which tables of older versions lack; empty where it is not known
_VALUE = "value"  # another: of queries that people judged, which have a share and no rank
JUDGED = "judged/"  # their figures begin so

K = TypeVar("K", bound=Hashable)
Item = tuple[str, ...]
Hits = dict[str, dict[Item, float]]  # figure as metrics/*.json names it -> item -> 1 if the model is right, else 0


@dataclass(frozen=True)
class Model:
    """What one model got right."""

    name: str
    figures: Hits
    recordings: dict[Item, str] = field(default_factory=dict)  # of the items of which it is known
    run_id: str | None = None  # None: of a folder or an experiment of DVC
    started: int = 0  # milliseconds since 1970, when its run began

    def interval(self, figure: str) -> tuple[float, float]:
        """The 95% interval of a figure; recordings are what is redrawn."""
        items = list(self.figures[figure])
        sources = statistics.numbered([source(item, self.recordings) for item in items])
        return statistics.interval(np.array([self.figures[figure][item] for item in items]), sources)

    def share(self, figure: str) -> float:
        """The share of its items that the model gets right."""
        return sum(self.figures[figure].values()) / len(self.figures[figure])


def paired(
    first: Model, second: Model, called: tuple[str, str] = ("the first", "the second")
) -> tuple[dict[str, PairedComparison], dict[str, str]]:
    """Two models by every figure that both have -> the comparisons, and why the other figures have none, in which
    the models have the names `called`."""
    compared, left_out = {}, {}
    for name in first.figures:
        if name not in second.figures:
            left_out[name] = f"only {called[0]} has it"
            continue
        one, other = first.figures[name], second.figures[name]
        if one.keys() != other.keys():
            left_out[name] = _difference(one, other, called)
            continue
        items = sorted(one)
        hits = [np.array([figure[item] for item in items]) for figure in (one, other)]
        sources = [source(item, first.recordings | second.recordings) for item in items]
        compared[name] = statistics.compare(hits[0], hits[1], np.unique(sources, return_inverse=True)[1])
    left_out |= {name: f"only {called[1]} has it" for name in second.figures if name not in first.figures}
    return compared, left_out


def source(item: Item, recordings: Mapping[Item, str]) -> str:
    """What an item was cut from: its recording, where that is not known its video.

    Several texts of one video, several segments of it, and one clip that several folds test, are no independent
    evidence.
    """
    if recording := recordings.get(item):
        return f"recording {recording}"
    segment_id = item[2] if len(item) == len(_PROBE) else item[1].partition("#")[0]
    return f"video {segment_id.rpartition('/')[0].rpartition('/')[2]}"  # COLLECTION/VIDEO/INDEX


def _difference(one: Mapping[Item, float], other: Mapping[Item, float], called: tuple[str, str]) -> str:
    """How two evaluation sets differ, in words."""
    differences = [f"{len(one):,} items against {len(other):,}"]
    for which, alone in zip(called, (one.keys() - other.keys(), other.keys() - one.keys()), strict=True):
        if alone:
            differences.append(f"{len(alone):,} only of {which}, such as {' '.join(min(alone))!r}")
    return "; ".join(differences)


def adjusted(p_values: Mapping[tuple[K, str], float], metric: str) -> dict[tuple[K, str], float]:
    """The p-values of comparisons, (who is compared, figure) ->, adjusted for how many are made.

    Those by `metric` are adjusted among themselves: it decides, whatever else is looked at. The others are adjusted
    among the others.
    """
    deciding = {key: p_value for key, p_value in p_values.items() if key[1] == metric}
    others = {key: p_value for key, p_value in p_values.items() if key[1] != metric}
    return statistics.holm(deciding) | statistics.holm(others)


def verdict(comparison: PairedComparison, p_value: float) -> str:
    """One word for the second model, given the adjusted p-value."""
    if p_value >= 1 - statistics.LEVEL:
        return CANT_TELL
    return "better" if comparison.difference > 0 else "worse"


def cells(one: PairedComparison) -> tuple[str, str, str]:
    """Both shares, and the difference in percentage points with its interval."""
    points = f"{100 * one.difference:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return f"{one.first:.1%}", f"{one.second:.1%}", points


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table that is readable as it is."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (cells[0], ["-" * width for width in widths], *cells[1:])
    ]


# ------------------------------------------------------------------------------------------ reading outcomes


def read(folder: Path, name: str, run_id: str | None = None, started: int = 0) -> Model:
    """The outcomes below a folder: `probe/outcomes.csv`, `retrieve/outcomes.csv`, or `outcomes.csv` of either.

    Raises:
        InputError: there are none, or a table is damaged.
    """
    model, damaged = readable(folder, name, run_id, started)
    if damaged:
        raise InputError(damaged[0])
    if not model.figures:
        raise InputError(unmeasured(name))
    return model


def readable(folder: Path, name: str, run_id: str | None = None, started: int = 0) -> tuple[Model, list[str]]:
    """As `read`, but of the tables that can be read -> the model, and what is wrong with the others."""
    figures: Hits = {}
    recordings: dict[Item, str] = {}
    damaged = []
    for table in ANYWHERE:
        if (folder / table).is_file():
            try:
                found, of_items = _figures(folder / table, f"{table} of {name}")
            except InputError as error:
                damaged.append(str(error))
                continue
            figures, recordings = figures | found, recordings | of_items
    return Model(name, figures, recordings, run_id, started), damaged


def unmeasured(name: str) -> str:
    """What is said of a model without outcomes."""
    return (
        f"{name} has no outcomes ({' or '.join(TABLES)}): run the stages probe and retrieve again. Without labelled "
        "clips, and with fewer than two items with words in retrieve.split, they measure nothing."
    )


def _figures(path: Path, called: str) -> tuple[Hits, dict[Item, str]]:
    """The figures of a table, and the recordings of its items that are known; `called` is its name in messages."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            rows, header = list(table), table.fieldnames or ()
        columns = tuple(name for name in header if name not in (_RECORDING, _VALUE))
        of_retrieve, of_probe = columns == _RETRIEVE, columns[: len(_PROBE)] == _PROBE
        if not rows and (of_retrieve or of_probe):
            raise ValueError("it has no rows")
        if of_retrieve:
            return _of_retrieve(rows), _recordings(rows, lambda row: (row["direction"], row["query"]))
        if of_probe:
            known = _recordings(rows, lambda row: tuple(row[name] for name in _PROBE))
            return _of_probe(rows, columns[len(_PROBE) :]), known
    except (OSError, csv.Error, ValueError, TypeError, AttributeError) as error:  # no number, a line cut short
        raise InputError(f"{called} is damaged: {error}. Run the stage again that wrote it.") from error
    raise InputError(f"{called} is no table of outcomes: its columns are {', '.join(columns) or 'none'}.")


def _recordings(rows: Sequence[Mapping[str, str]], item_of: Callable[[Mapping[str, str]], Item]) -> dict[Item, str]:
    return {item_of(row): row[_RECORDING] for row in rows if row.get(_RECORDING)}


def _of_retrieve(rows: Sequence[Mapping[str, str]]) -> Hits:
    figures: Hits = {}
    for row in rows:
        item = (row["direction"], row["query"])
        if row["direction"].startswith(JUDGED):
            value = float(row.get(_VALUE) or "nan")
            if not 0 <= value <= 1:
                raise ValueError(f"the value {row.get(_VALUE)} of {row['query']!r} is no share from 0 to 1")
            figures.setdefault(row["direction"], {})[item] = value
            continue
        if int(row["rank"]) < 1:
            raise ValueError(f"the rank {row['rank']} of {row['query']!r} is none: ranks begin with 1")
        for recall in RECALLS:
            figures.setdefault(f"{row['direction']}/r{recall}", {})[item] = int(row["rank"]) <= recall
    return figures


def _of_probe(rows: Sequence[Mapping[str, str]], protocols: Sequence[str]) -> Hits:
    """Figures of the first test have no prefix, those of others `TEST/`. An empty cell is an item not measured."""
    figures: Hits = {}
    for row in rows:
        prefix = "" if row["test"] == rows[0]["test"] else f"{row['test']}/"
        item = tuple(row[name] for name in _PROBE)
        for protocol in protocols:
            if row[protocol] not in ("0", "1", ""):
                raise ValueError(f"{protocol} of {row['segment_id']} is {row[protocol]!r}, neither 0 nor 1")
            if row[protocol]:
                figures.setdefault(prefix + protocol, {})[item] = row[protocol] == "1"
    return figures
