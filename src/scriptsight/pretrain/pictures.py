"""A training run's curves as CSV (for `dvc plots`) and as pictures, and the sorting confusion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight.files import whole_folder, write_csv
from scriptsight.pictures import COLOURS, FAINT, picture
from scriptsight.reporting import Reporter
from scriptsight.training.loop import History


def write(history: History, val: dict[str, Any], plots: Path, reporter: Reporter) -> None:
    """Write curves, the confusion of an objective that has one, and their pictures into `plots`, as one whole."""
    with whole_folder(plots) as partial:
        _write_csv(partial / "training.csv", history.training)
        _write_csv(partial / "validation.csv", history.validation)
        _draw_curves(partial / "curves.png", history, val)
        if "confusion" in val:
            confusion = np.array(val["confusion"])
            _write_csv(partial / "confusion.csv", _one_row_each(confusion))
            _draw_confusion(partial / "confusion.png", confusion, val)
    for path in sorted(plots.glob("*.png")):
        reporter.artifact(path)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    # Batches of pairs have figures of their own: what a row lacks stays empty.
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(path, names, ([row.get(name) for name in names] for row in rows))


def _one_row_each(confusion: np.ndarray) -> list[dict[str, Any]]:
    """The form that DVC's confusion template wants: one row for each transcript."""
    return [
        {"true": f"position {true + 1}", "predicted": f"position {predicted + 1}"}
        for (true, predicted), count in np.ndenumerate(confusion)
        for _ in range(count)
    ]


def _draw_curves(path: Path, history: History, val: dict[str, Any]) -> None:
    """Losses at the left; at the right every accuracy that the objective reports, with its chance level, or what
    else it reports if there is none."""
    steps = [point["step"] for point in history.training]
    held_out = [point["step"] for point in history.validation]
    named = dict.fromkeys(name for point in history.training for name in point)
    losses_of = [name for name in named if name.endswith("loss") and name != "loss"] or ["loss"]
    with picture(path, width=11, height=4) as figure:
        losses, sorting = figure.subplots(1, 2)
        for name, colour in zip(losses_of, cycle(COLOURS), strict=False):
            losses.plot(steps, [point.get(name, np.nan) for point in history.training], color=colour, label=name)
        losses.set(title="Training losses", xlabel="optimizer step", ylim=(0, None))
        for name in (name for name in named if "accuracy" in name):
            values = [point.get(name, np.nan) for point in history.training]
            sorting.plot(steps, values, color=COLOURS[0], alpha=0.35, label=f"{name}, training")
        measured = history.validation[0] if history.validation else {}
        accuracies = [name for name in measured if "accuracy" in name]
        others = [name for name in measured if name != "step" and not name.endswith("chance")]
        for name, colour in zip(accuracies or others, cycle(COLOURS), strict=False):
            values = [point[name] for point in history.validation]
            sorting.plot(held_out, values, "o-", color=colour, label=f"{name}, held out")
        if "chance" in val:
            sorting.axhline(val["chance"], color=FAINT, linestyle="--", label="chance")
        sorting.set(title="Accuracy" if accuracies else "Held out", xlabel="optimizer step", ylim=(0, 1))
        for axes in (losses, sorting):
            axes.grid(True)
            if axes.lines:
                axes.legend()
        figure.tight_layout()


def _draw_confusion(path: Path, confusion: np.ndarray, val: dict[str, Any]) -> None:
    shares = confusion / confusion.sum(1, keepdims=True)
    k = len(shares)
    with picture(path, width=4.8, height=4.4) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column,
                row,
                f"{share:.2f}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else "black",
            )
        places = [str(place + 1) for place in range(k)]
        axes.set(
            title=f"Sorting, {val['sort_accuracy']:.0%} right (chance {val['chance']:.0%})",
            xlabel="predicted position",
            ylabel="true position",
            xticks=range(k),
            yticks=range(k),
            xticklabels=places,
            yticklabels=places,
        )
        figure.tight_layout()
