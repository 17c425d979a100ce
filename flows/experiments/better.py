"""`scriptsight better [A] [B]`: is model B better than model A? Answered on the same test items, in words.

`named` says how models are named. B alone is held against the champion; nothing named holds the newest run that was
measured against the champion. What is compared are the tables of `outcomes`; figures whose items are not the same
are refused.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import parameters
from flows.experiments import named, outcomes
from flows.experiments.outcomes import Model
from flows.tracking import registered, store
from scriptsight import statistics
from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.pictures import COLOURS, FAINT, INK, one_line, picture
from scriptsight.statistics import PairedComparison

PLOTS = Path("plots/better")


@dataclass(frozen=True)
class Answer:
    """Two models compared: by `metric` first of all, and by every other figure that both have."""

    first: Model
    second: Model
    metric: str
    compared: dict[str, PairedComparison]
    p_values: dict[str, float]  # adjusted for asking about several figures; the metric's own is not
    left_out: dict[str, str] = field(default_factory=dict)  # figure -> why it can't be compared

    @property
    def better(self) -> bool:
        """Whether the second model is better by the metric, and not by chance."""
        decisive = self.compared[self.metric]
        return decisive.difference > 0 and decisive.p_value < 1 - statistics.LEVEL

    def verdict(self, figure: str) -> str:
        """One word for a figure."""
        return outcomes.verdict(self.compared[figure], self.p_values[figure])

    def __str__(self) -> str:
        """The answer in Markdown, readable as it is."""
        decisive = self.compared[self.metric]
        short = {"better": "Yes.", "worse": "No, it is worse.", "can't tell": "No difference can be shown."}
        head = ("figure", "first", "second", "difference, 95% interval", "p", "second is")
        rows = [
            (name, *outcomes.cells(one), f"{self.p_values[name]:.2g}", self.verdict(name))
            for name, one in self.compared.items()
        ]
        lines = [
            f"first:  {self.first.name}",
            f"second: {self.second.name}",
            "",
            f"Is the second better, by {self.metric}? {short[self.verdict(self.metric)]}",
            f"{decisive}",
            "",
            *outcomes.table(head, rows),
            "",
            f"{self.metric} decides. The others' p are adjusted for their number (Holm), as one of many figures "
            "soon differs by chance.",
            *(f"Left out: {name}: {why}" for name, why in self.left_out.items()),
        ]
        return "\n".join(lines)


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
    compared, left_out = outcomes.paired(first, second)
    if metric in left_out:
        raise InputError(
            f"{first.name} and {second.name} were not measured on the same items by {metric}: {left_out[metric]}. "
            f"{_remedy(metric)}, and compare again."
        )
    compared = {metric: compared[metric], **compared}  # it comes first
    p_values = outcomes.adjusted({("second", name): one.p_value for name, one in compared.items()}, metric)
    return Answer(first, second, metric, compared, {name: p for (_, name), p in p_values.items()}, left_out)


def _remedy(metric: str) -> str:
    if metric.startswith(outcomes.JUDGED):
        return "Measure both by the same judgements (scriptsight judgements --measure NAME=DIR)"
    return "Measure both with the same parameters and data of the probe"


def _newest(client: Any, registered: str) -> str:
    """The id of the newest run that was measured."""
    for run in store.runs(client, store.experiment(client), "tags.weights_digest != ''"):
        folders = {str(Path(table).parent) for table in outcomes.TABLES}
        files = [file.path for folder in sorted(folders) for file in client.list_artifacts(run.info.run_id, folder)]
        if set(files) & set(outcomes.TABLES):
            return str(run.info.run_id)
    raise InputError("No MLflow run has outcomes yet: run the pipeline, or name two folders.")


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
        names = options.models or [_newest(client, registry)]
        if len(names) == 1:
            if store.model_version(client, registry, "champion") is None:
                raise InputError(
                    f"There is no champion of the registered model {registry!r} yet: name two models, or register "
                    "one with `scriptsight register`."
                )
            names = ["champion", *names]
        sources = [named.find(client, name, registry) for name in names]
        if sources[0].key == sources[1].key:
            raise InputError(f"Both are {sources[0].name}: there is nothing to compare. Name two models.")
        first, second = (source.model() for source in sources)
        answer = compare(first, second, options.metric or chosen.metric)
        run_id = publish(client, answer)
        print(answer)
        print(
            f"\n{PLOTS}/better.png" + (f", and with the run {run_id[:8]} in MLflow under better/" if run_id else "")
        )
