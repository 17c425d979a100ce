"""`scriptsight better [A] [B]`: is model B better than model A? Answered on the same test items, in words.

A model is named by its MLflow run (its id or the beginning of it), by a version of the registered model (`3`,
`champion`), or by a folder in which stages left their outcomes (`plots`). B alone is held against the champion;
nothing named holds the newest run that was measured against the champion.

What is compared are the tables `outcomes.csv` of probe and retrieve: which items each model got right. Tables are
joined item by item, and figures whose items are not the same are refused. Items of one recording, or of one video,
are one piece of evidence.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flows import parameters
from flows.tracking import registered, store
from scriptsight import statistics
from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.pictures import COLOURS, FAINT, INK, one_line, picture
from scriptsight.statistics import PairedComparison

TABLES = ("probe/outcomes.csv", "retrieve/outcomes.csv")
RECALLS = (1, 5, 10)
PLOTS = Path("plots/better")
_PROBE = ("test", "fold", "segment_id", "label")
_RETRIEVE = ("direction", "query", "rank")
_RECORDING = "recording"  # a column behind these, which tables of older versions lack; empty where it is not known

Item = tuple[str, ...]
Hits = dict[str, dict[Item, bool]]  # figure as metrics/*.json names it -> item -> whether the model is right


@dataclass(frozen=True)
class Model:
    """What one model got right."""

    name: str
    figures: Hits
    recordings: dict[Item, str] = field(default_factory=dict)  # of the items of which it is known
    run_id: str | None = None  # None: of a folder
    started: int = 0  # milliseconds since 1970, when its run began


@dataclass(frozen=True)
class Answer:
    """Two models compared: by `metric` first of all, and by every other figure that both have."""

    first: Model
    second: Model
    metric: str
    compared: dict[str, PairedComparison]
    p_values: dict[str, float]  # adjusted by Holm (1979) for asking about several figures; the metric's own is not
    left_out: dict[str, str] = field(default_factory=dict)  # figure -> why it can't be compared

    @property
    def better(self) -> bool:
        """Whether the second model is better by the metric, and not by chance."""
        decisive = self.compared[self.metric]
        return decisive.difference > 0 and decisive.p_value < 1 - statistics.LEVEL

    def verdict(self, figure: str) -> str:
        """One word for a figure."""
        if self.p_values[figure] >= 1 - statistics.LEVEL:
            return "can't tell"
        return "better" if self.compared[figure].difference > 0 else "worse"

    def __str__(self) -> str:
        """The answer in Markdown, readable as it is."""
        decisive = self.compared[self.metric]
        short = {"better": "Yes.", "worse": "No, it is worse.", "can't tell": "No difference can be shown."}
        head = ("figure", "first", "second", "difference, 95% interval", "p", "second is")
        rows = [
            (name, *_cells(one), f"{self.p_values[name]:.2g}", self.verdict(name))
            for name, one in self.compared.items()
        ]
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = [
            f"first:  {self.first.name}",
            f"second: {self.second.name}",
            "",
            f"Is the second better, by {self.metric}? {short[self.verdict(self.metric)]}",
            f"{decisive}",
            "",
            *(
                "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
                for row in (head, tuple("-" * width for width in widths), *rows)
            ),
            "",
            f"{self.metric} decides. The others' p are adjusted for their number (Holm), as one of many figures "
            "soon differs by chance.",
            *(f"Left out: {name}: {why}" for name, why in self.left_out.items()),
        ]
        return "\n".join(lines)


def _cells(one: PairedComparison) -> tuple[str, str, str]:
    """Both shares, and the difference in percentage points with its interval."""
    points = f"{100 * one.difference:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
    return f"{one.first:.1%}", f"{one.second:.1%}", points


def compare(first: Model, second: Model, metric: str) -> Answer:
    """Compare two models by all figures that both have; `metric` must be among them.

    Raises:
        InputError: a model has no outcomes of `metric`, or they are not of the same items; the message says which.
    """
    for model in (first, second):
        if metric not in model.figures:
            has = ", ".join(model.figures) or "none at all"
            raise InputError(
                f"{model.name} has no outcomes of {metric!r} (it has: {has}). Run the stages probe and retrieve "
                "again, or choose another figure."
            )
    compared, left_out = {}, {}
    for name in [metric, *(name for name in first.figures if name != metric)]:
        if name not in second.figures:
            left_out[name] = "only the first model has it"
            continue
        one, other = first.figures[name], second.figures[name]
        if one.keys() != other.keys():
            left_out[name] = _difference(one, other)
            continue
        items = sorted(one)
        hits = [np.array([figure[item] for item in items]) for figure in (one, other)]
        sources = [source(item, first.recordings | second.recordings) for item in items]
        compared[name] = statistics.compare(hits[0], hits[1], np.unique(sources, return_inverse=True)[1])
    left_out |= {name: "only the second model has it" for name in second.figures if name not in first.figures}
    if metric in left_out:
        raise InputError(
            f"{first.name} and {second.name} were not measured on the same items by {metric}: {left_out[metric]}. "
            "Measure both with the same parameters and data of the probe, and compare again."
        )
    others = holm({name: one.p_value for name, one in compared.items() if name != metric})
    p_values = {metric: compared[metric].p_value} | others
    return Answer(first, second, metric, compared, p_values, left_out)


def source(item: Item, recordings: Mapping[Item, str]) -> str:
    """What an item was cut from: its recording, where that is not known its video.

    Several texts of one video, several segments of it, and one clip that several folds test, are no independent
    evidence.
    """
    if recording := recordings.get(item):
        return f"recording {recording}"
    segment_id = item[2] if len(item) == len(_PROBE) else item[1].partition("#")[0]
    return f"video {segment_id.rpartition('/')[0].rpartition('/')[2]}"  # COLLECTION/VIDEO/INDEX


def _difference(one: Mapping[Item, bool], other: Mapping[Item, bool]) -> str:
    """How two evaluation sets differ, in words."""
    differences = [f"{len(one):,} items against {len(other):,}"]
    for which, alone in (("first", one.keys() - other.keys()), ("second", other.keys() - one.keys())):
        if alone:
            differences.append(f"{len(alone):,} only of the {which}, such as {' '.join(min(alone))!r}")
    return "; ".join(differences)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment: the chance of any false finding among all stays under the level."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, p_value * (len(p_values) - place)))
        adjusted[name] = least
    return adjusted


# ------------------------------------------------------------------------------------------ reading outcomes


def read(folder: Path, name: str, run_id: str | None = None, started: int = 0) -> Model:
    """The outcomes below a folder: `probe/outcomes.csv`, `retrieve/outcomes.csv`, or `outcomes.csv` of either.

    Raises:
        InputError: there are none, or a table is damaged.
    """
    figures: Hits = {}
    recordings: dict[Item, str] = {}
    for path in (folder / table for table in (*TABLES, "outcomes.csv")):
        if path.is_file():
            found, of_items = _figures(path)
            figures, recordings = figures | found, recordings | of_items
    if not figures:
        raise InputError(f"{name} has no outcomes ({' or '.join(TABLES)}): run the stages probe and retrieve again.")
    return Model(name, figures, recordings, run_id, started)


def _figures(path: Path) -> tuple[Hits, dict[Item, str]]:
    """The figures of a table, and the recordings of its items that are known."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = tuple(name for name in rows[0] if name != _RECORDING) if rows else ()
    try:
        if columns == _RETRIEVE:
            return _of_retrieve(rows), _recordings(rows, lambda row: (row["direction"], row["query"]))
        if columns[: len(_PROBE)] == _PROBE:
            known = _recordings(rows, lambda row: tuple(row[name] for name in _PROBE))
            return _of_probe(rows, columns[len(_PROBE) :]), known
    except (ValueError, TypeError, AttributeError) as error:  # a cell that is no number, a line cut short
        raise InputError(f"{path} is damaged: {error}. Run the stage again that wrote it.") from error
    raise InputError(f"{path} is no table of outcomes: its columns are {', '.join(columns) or 'none'}.")


def _recordings(rows: Sequence[Mapping[str, str]], item_of: Callable[[Mapping[str, str]], Item]) -> dict[Item, str]:
    return {item_of(row): row[_RECORDING] for row in rows if row.get(_RECORDING)}


def _of_retrieve(rows: Sequence[Mapping[str, str]]) -> Hits:
    figures: Hits = {}
    for row in rows:
        if int(row["rank"]) < 1:
            raise ValueError(f"the rank {row['rank']} of {row['query']!r} is none: ranks begin with 1")
        for recall in RECALLS:
            hits = figures.setdefault(f"{row['direction']}/r{recall}", {})
            hits[row["direction"], row["query"]] = int(row["rank"]) <= recall
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


# ------------------------------------------------------------------------------------------- finding models


def find(client: Any, named: str, registered: str) -> Model:
    """The model that a person names: a folder, a version or alias of the registered model, a run.

    Raises:
        InputError: nothing, or more than one, has that name, or it has no outcomes.
    """
    folder = Path(named)
    if folder.is_dir() and any((folder / table).is_file() for table in (*TABLES, "outcomes.csv")):
        return read(folder, str(folder))
    version = store.model_version(client, registered, named)
    if version is not None:
        return of_run(client, client.get_run(version.run_id), f" (version {version.version})")
    experiment = store.experiment(client)
    runs = [run for run in store.runs(client, experiment) if run.info.run_id.startswith(named.lower())]
    if len(runs) == 1:
        return of_run(client, runs[0])
    if runs:
        raise InputError(f"{named!r} is the beginning of {len(runs)} runs: name more of the id.")
    raise InputError(
        f"{named!r} is no MLflow run, no version or alias of the registered model {registered!r}, and no folder with "
        "outcomes.csv. The MLflow page (`scriptsight ui`) lists runs and versions."
    )


def of_run(client: Any, run: Any, remark: str = "") -> Model:
    """The outcomes that an MLflow run holds.

    Raises:
        InputError: it has none.
    """
    run_id = run.info.run_id
    name = f"{run.info.run_name} (run {run_id[:8]}){remark}"
    with tempfile.TemporaryDirectory() as folder:
        for table in TABLES:
            of_stage = table.partition("/")[0]
            if any(file.path == table for file in client.list_artifacts(run_id, of_stage)):
                own = Path(folder, of_stage)  # one each: some stores keep a single file's folder, others don't
                own.mkdir()
                Path(client.download_artifacts(run_id, table, str(own))).replace(own / "outcomes.csv")
        return read(Path(folder), name, run_id, run.info.start_time)


def _newest(client: Any, registered: str) -> str:
    """The id of the newest run that was measured."""
    for run in store.runs(client, store.experiment(client), "tags.weights_digest != ''"):
        if any(file.path in TABLES for file in client.list_artifacts(run.info.run_id, "probe")):
            return str(run.info.run_id)
    raise InputError("No MLflow run has outcomes of a probe yet: run the pipeline, or name two folders.")


# ---------------------------------------------------------------------------------------------- the command


def forest(answer: Answer, path: Path) -> None:
    """Each figure's difference with its interval: what lies right of zero speaks for the second model."""
    names = list(answer.compared)
    colours = {"better": COLOURS[0], "worse": COLOURS[1], "can't tell": FAINT}
    with picture(path, width=10, height=1.9 + 0.34 * len(names)) as figure:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            one, colour = answer.compared[name], colours[answer.verdict(name)]
            axes.plot((100 * one.low, 100 * one.high), (place, place), color=colour, linewidth=2)
            axes.plot(100 * one.difference, place, "o", color=colour, markersize=8 if name == answer.metric else 6)
            shares = f"{one.first:.1%} → {one.second:.1%}   {answer.verdict(name)}"
            axes.annotate(
                shares, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour
            )
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.get_yticklabels()[0].set_fontweight("bold")
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.grid(True)
        decisive = answer.compared[answer.metric]
        of = "" if decisive.groups == decisive.items else f" of {decisive.groups:,} recordings"
        axes.set_xlabel(
            f"second - first, percentage points, with 95% interval ({decisive.items:,} items{of} by {answer.metric})"
        )
        axes.set_title(
            f"first:   {one_line(answer.first.name, 90)}\nsecond: {one_line(answer.second.name, 90)}",
            fontsize=10,
            fontweight="normal",
            loc="left",
            x=-0.12,
        )
        figure.tight_layout()


def publish(client: Any, answer: Answer, folder: Path = PLOTS) -> str | None:
    """Leave picture and words in `folder`, and with the newer run in MLflow -> that run's id, if there is one."""
    forest(answer, folder / "better.png")
    with whole_file(folder / "better.md") as partial:
        partial.write_text(f"{answer}\n", encoding="utf-8")
    runs = [model for model in (answer.first, answer.second) if model.run_id]
    if not runs:
        return None
    newer = max(runs, key=lambda model: model.started)
    other = answer.first if newer is answer.second else answer.second
    where = f"better/{other.run_id[:8] if other.run_id else 'a_folder'}"
    for path in (folder / "better.png", folder / "better.md"):
        client.log_artifact(newer.run_id, str(path), where)
    return newer.run_id


def command(options: argparse.Namespace) -> None:
    """Print the answer; the picture and the words also go to plots/better and to the newer run in MLflow."""
    if len(options.models) > 2:
        raise InputError("Name two models at most.")
    with store.opened() as client:
        chosen = parameters.load(options.params).registry
        registry = registered.name_of(client, chosen.name)
        named = options.models or [_newest(client, registry)]
        if len(named) == 1:
            if store.model_version(client, registry, "champion") is None:
                raise InputError(
                    f"There is no champion of the registered model {registry!r} yet: name two models, or register "
                    "one with `scriptsight register`."
                )
            named = ["champion", *named]
        first, second = (find(client, name, registry) for name in named)
        if first.run_id and first.run_id == second.run_id:
            raise InputError(f"Both are {first.name}: there is nothing to compare. Name two models.")
        answer = compare(first, second, options.metric or chosen.metric)
        run_id = publish(client, answer)
        print(answer)
        print(
            f"\n{PLOTS}/better.png" + (f", and with the run {run_id[:8]} in MLflow under better/" if run_id else "")
        )
