"""The probe's two pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scriptsight.pictures import COLOURS, INK, one_line, picture

NAMED = 40  # classes: with more, names can't be read
WRITTEN = 16  # classes: with more, there is no room for numbers in the cells
LABELS = {
    "linear_top1": "linear\ntop-1",
    "knn_top1": "k-NN\ntop-1",
    "v2v_r1": "v2v\nR@1",
    "v2v_r5": "v2v\nR@5",
    "v2v_r10": "v2v\nR@10",
}


def comparison(
    trained: Mapping[str, float], untrained: Mapping[str, float], chance: Mapping[str, float], path: Path
) -> None:
    """Bars of the trained and the untrained encoder, and a line at what guessing gets."""
    with picture(path, width=7.5, height=4.2) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(LABELS))
        for values, name, colour, shift in (
            (trained, "trained", COLOURS[0], -0.2),
            (untrained, "random init", COLOURS[1], 0.2),
        ):
            bars = axes.bar(places + shift, [values[key] for key in LABELS], 0.38, label=name, color=colour)
            axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=8)
        floors = [chance[key] for key in LABELS]
        axes.hlines(floors, places - 0.46, places + 0.46, colors=INK, linestyles=":", label="chance")
        axes.set_xticks(places, LABELS.values())
        axes.set_ylim(0, 1.08)
        axes.set_ylabel("share of test segments")
        axes.set_title("What the frozen features know", pad=28)
        axes.yaxis.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


def confusion(classes: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Which class (row) the linear probe takes for which (column): shares of the row."""
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (classes, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.2 + 0.42 * len(names))
    with picture(path, width=side + 0.9, height=side) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        if len(names) <= NAMED:
            short = [one_line(name, 24) for name in names]
            axes.set_xticks(range(len(names)), short, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), short)
        if len(names) <= WRITTEN:
            for (row, column), share in np.ndenumerate(shares):
                if share >= 0.005:
                    colour = "white" if share > 0.5 else "black"
                    axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("class")
        axes.set_title("Linear probe, test split", pad=10)
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the class")
        bar.outline.set_visible(False)
        figure.tight_layout()
