"""The probe's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight.pictures import COLOURS, INK, one_line, picture
from scriptsight.probe.controls import Class, Reverses

NAMED = 40  # classes: with more, names can't be read
WRITTEN = 16  # classes: with more, there is no room for numbers in the cells
LISTED = 30  # rows of a list of classes
PLAIN, WITHOUT, FLOOR = COLOURS
WRONG = "#c44e52"  # taken for the reverse
LABELS = {
    "linear_top1": "linear",
    "sgd_top1": "linear\n(SGD)",
    "knn_top1": "k-NN",
    "attentive_top1": "attentive",
    "zero_shot_top1": "zero-shot",
    "finetune_top1": "fine-\ntuned",
    "v2v_r1": "v2v\nR@1",
    "v2v_r5": "v2v\nR@5",
    "v2v_r10": "v2v\nR@10",
}


def comparison(values: Mapping[str, Any], path: Path) -> None:
    """Bars of the trained and the untrained encoder with 95% intervals, and a line at what guessing gets.

    `values` are those of the metrics file for one test.
    """
    floors, untrained = values["chances"], values["random_init"]
    bars = [
        (label, _with_limits(values, key), _with_limits(untrained, key), floors.get(key, values["chance"]))
        for key, label in LABELS.items()
        if key in values
    ]
    shots, control = values.get("few_shot", {}), untrained.get("few_shot", {})
    bars += [
        (f"{key.split('_')[0]}-shot", _with_limits(shots, key), _with_limits(control, key), floors["few_shot"])
        for key in shots
        if key.endswith("_top1")
    ]
    with picture(path, width=2.2 + 0.92 * len(bars), height=4.4) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(bars))
        _bars(axes, places - 0.21, [bar[1] for bar in bars], 0.4, "trained", PLAIN)
        _bars(axes, places + 0.21, [bar[2] for bar in bars], 0.4, "random init", WITHOUT)
        floor = [bar[3] for bar in bars]
        axes.hlines(floor, places - 0.46, places + 0.46, colors=INK, linestyles=":", label="chance")
        axes.set_xticks(places, [bar[0] for bar in bars])
        axes.set_ylim(0, 1.08)
        axes.set_ylabel("share of test segments")
        axes.set_title("What the frozen features know", pad=28)
        axes.yaxis.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


def order(values: Mapping[str, Any], path: Path) -> None:
    """The linear probe on clips as they are and on clips whose order of frames is disturbed or taken away.

    `values` are those of the metrics file for one test.
    """
    found = values["order"]
    disturbed = found["disturbed"]
    bars = [
        ("as they are", _with_limits(values, "linear_top1"), PLAIN),
        ("shuffled", _with_limits(found, "shuffled_top1"), WITHOUT),
        ("first frame", _with_limits(found, "first_frame_top1"), WITHOUT),
        ("shuffled", _with_limits(disturbed, "shuffled_top1"), FLOOR),
        ("reversed", _with_limits(disturbed, "reversed_top1"), FLOOR),
        ("first frame", _with_limits(disturbed, "first_frame_top1"), FLOOR),
    ]
    names = ("clips as they are", "fitted and tested without order", "fitted on clips as they are, tested without")
    with picture(path, width=7.6, height=4.4) as figure:
        axes = figure.add_subplot()
        places = np.array([0, 1.3, 2.3, 3.6, 4.6, 5.6])
        for colour, name in zip(COLOURS, names, strict=True):
            own = [index for index, bar in enumerate(bars) if bar[2] == colour]
            _bars(axes, places[own], [bars[index][1] for index in own], 0.8, name, colour)
        axes.axhline(values["chance"], color=INK, linestyle=":", label="chance")
        axes.set_xticks(places, [bar[0] for bar in bars])
        axes.set_ylim(0, min(1.08, 1.3 * max(bar[1][2] for bar in bars) + 0.03))
        axes.set_ylabel("linear probe, top-1")
        needs = found["needs_order"]
        said = "" if needs is None else f": {needs:.0%} of what is above chance"
        axes.set_title(f"What needs the order of frames{said}", pad=44)
        axes.yaxis.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


def classes(rows: Sequence[Class], path: Path) -> None:
    """The classes that gain most from the order of frames, from their accuracy without it to that with it."""
    shown = rows[:LISTED]
    with picture(path, width=7.6, height=1.9 + 0.27 * len(shown)) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(shown))
        forward, shuffled, first = (
            [getattr(row, name) for row in shown] for name in ("forward", "shuffled", "first_frame")
        )
        axes.hlines(places, np.maximum(shuffled, first), forward, colors=PLAIN, alpha=0.35, linewidth=4)
        axes.scatter(first, places, s=34, marker="|", color=INK, label="first frame only", zorder=3)
        axes.scatter(shuffled, places, s=42, color=WITHOUT, label="shuffled frames", zorder=3)
        axes.scatter(forward, places, s=42, color=PLAIN, label="frames in order", zorder=4)
        for place, row in enumerate(shown):
            axes.text(1.04, place, f"{row.gain:+.2f}", va="center", fontsize=9)
        axes.text(1.04, -0.9, "gain", va="bottom", fontsize=9)
        axes.set_yticks(places, [f"{one_line(row.name, 40)} ({row.n})" for row in shown])
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.grid(True)
        axes.set_xlabel("linear probe, share of the class's test segments that are right")
        of_all = "" if len(shown) == len(rows) else f" (first {len(shown)} of {len(rows)})"
        axes.set_title(f"Classes by what the order of frames adds{of_all}", pad=28)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


def reverses(rows: Sequence[Reverses], path: Path) -> None:
    """What the linear probe takes each class for that has a reverse: itself, the reverse, or something else."""
    shown = rows[: 2 * (LISTED // 2)]
    with picture(path, width=7.6, height=1.9 + 0.3 * len(shown)) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(shown)) + 0.4 * (np.arange(len(shown)) // 2)  # pairs stand together
        sizes = np.array([max(row.n, 1) for row in shown])
        right, turned = (np.array([getattr(row, name) for row in shown]) / sizes for name in ("right", "reversed"))
        left = np.zeros(len(shown))
        for shares, name, colour in (
            (right, "right", PLAIN),
            (turned, "its reverse", WRONG),
            (1 - right - turned, "another class", FLOOR),
        ):
            bars = axes.barh(places, shares, 0.8, left=left, color=colour, label=name)
            written = [f"{share:.2f}" if share >= 0.06 else "" for share in shares]
            axes.bar_label(bars, written, label_type="center", color="white", fontsize=8)
            left = left + shares
        axes.set_yticks(places, [f"{one_line(row.name, 40)} ({row.n})" for row in shown])
        axes.set_xlim(0, 1)
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("share of the class's test segments")
        of_all = "" if len(shown) == len(rows) else f" (first {len(shown)} of {len(rows)} classes)"
        axes.set_title(f"Is a class taken for its reverse?{of_all}", pad=28)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


def confusion(labels: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Which class (row) the linear probe takes for which (column): shares of the row. Both are str [N]."""
    names, numbers = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (numbers[: len(labels)], numbers[len(labels) :]), 1)
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


Limits = tuple[float, float, float]  # low, share, high


def _with_limits(values: Mapping[str, float], key: str) -> Limits:
    return values[f"{key}_low"], values[key], values[f"{key}_high"]


def _bars(axes: Any, places: np.ndarray, shares: Sequence[Limits], width: float, name: str, colour: str) -> None:
    """Bars with their intervals, and the share written above these."""
    low, middle, high = np.array(shares).T
    # Of several folds the mean may, by a hair, lie outside of the interval of all segments together.
    reach = np.maximum([middle - low, high - middle], 0)
    axes.bar(places, middle, width, yerr=reach, label=name, color=colour, error_kw={"ecolor": INK, "elinewidth": 0.9})
    for place, share, top in zip(places, middle, high, strict=True):
        axes.text(place, max(share, top) + 0.012, f"{share:.3f}", ha="center", va="bottom", fontsize=8)
