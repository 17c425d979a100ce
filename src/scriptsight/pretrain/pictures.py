"""The figures of a training run: curves as CSV (for `dvc plots`) and pictures, and the sorting confusion."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight.files import whole_folder, write_json
from scriptsight.pictures import COLOURS, FAINT, picture
from scriptsight.reporting import Reporter
from scriptsight.training.loop import History


def write(history: History, val: dict[str, Any], plots: Path, reporter: Reporter) -> None:
    """Write `training.csv`, `validation.csv`, `confusion.csv` and two pictures into `plots`, as one whole."""
    confusion = np.array(val["confusion"])
    with whole_folder(plots) as partial:
        _write_csv(partial / "training.csv", history.training)
        _write_csv(partial / "validation.csv", history.validation)
        _write_csv(partial / "confusion.csv", _one_row_each(confusion))
        write_json(partial / "val.json", val)  # what metrics/pretrain.json holds but for the speed
        _draw_curves(partial / "curves.png", history, val)
        _draw_confusion(partial / "confusion.png", confusion, val)
    for name in ("curves.png", "confusion.png"):
        reporter.figure(plots / name)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def _one_row_each(confusion: np.ndarray) -> list[dict[str, Any]]:
    """The form that DVC's confusion template wants: one row for each transcript."""
    return [
        {"true": f"position {true + 1}", "predicted": f"position {predicted + 1}"}
        for (true, predicted), count in np.ndenumerate(confusion)
        for _ in range(count)
    ]


def _draw_curves(path: Path, history: History, val: dict[str, Any]) -> None:
    steps = [point["step"] for point in history.training]
    held_out = [point["step"] for point in history.validation]
    with picture(path, width=11, height=4) as figure:
        losses, sorting = figure.subplots(1, 2)
        for name, colour in zip(("sort_loss", "align_loss"), COLOURS, strict=False):
            losses.plot(steps, [point[name] for point in history.training], color=colour, label=name)
        losses.set(title="Training losses", xlabel="optimizer step", ylabel="cross-entropy", ylim=(0, None))
        losses.legend()
        sorting.plot(
            steps,
            [point["sort_accuracy"] for point in history.training],
            color=COLOURS[0],
            alpha=0.35,
            label="training",
        )
        for name, colour, label in (
            ("sort_accuracy", COLOURS[0], "held out"),
            ("sort_accuracy_blank", COLOURS[1], "held out, video blanked"),
        ):
            sorting.plot(held_out, [point[name] for point in history.validation], "o-", color=colour, label=label)
        sorting.axhline(val["chance"], color=FAINT, linestyle="--", label="chance")
        sorting.set(title="Transcripts put in their place", xlabel="optimizer step", ylabel="share", ylim=(0, 1))
        sorting.legend()
        for axes in (losses, sorting):
            axes.grid(True)
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
