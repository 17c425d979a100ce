"""One picture: what language alone puts in order, beside chance and a model that sees, and which words tell."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes

from scriptsight.pictures import COLOURS, FAINT, INK, one_line, picture


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw what `language.run` found."""
    with picture(path, width=11, height=5.2) as figure:
        sorting, words = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_sorting(sorting, found)
        _draw_words(words, found["words"])
        figure.text(0.01, 0.985, fill(found["verdict"], 150), va="top", fontsize=9, color=INK)
        figure.tight_layout(rect=(0, 0, 1, 0.87))


def _draw_sorting(axes: Axes, found: dict[str, Any]) -> None:
    ks = [int(k) for k in found["by_k"]]
    figures = list(found["by_k"].values())
    shares = [each["accuracy"] for each in figures]
    errors = [
        [max(0.0, each["accuracy"] - each["low"]) for each in figures],
        [max(0.0, each["high"] - each["accuracy"]) for each in figures],
    ]
    axes.plot(ks, [each["chance"] for each in figures], "_--", color=FAINT, markersize=14, label="chance")
    axes.errorbar(
        ks, shares, yerr=errors, fmt="o-", color=COLOURS[0], capsize=4, label="language alone, 95% interval"
    )
    for k, share in zip(ks, shares, strict=True):
        axes.annotate(f"{share:.0%}", (k, share), (8, 7), textcoords="offset points", color=COLOURS[0])
    if video := found["video_model"]:
        axes.plot(
            video["k"], video["accuracy"], "D", color=COLOURS[1], markersize=8, label="model that sees the video"
        )
        axes.plot(
            video["k"], video["blank"], "D", color=COLOURS[1], markersize=8, fillstyle="none", label="video blanked"
        )
        ks = [*ks, video["k"]]
    axes.set(
        title=f"Transcripts of {one_line(found['collection'], 24)} in place",
        xlabel="K, transcripts of a script",
        ylabel="share, held out",
        ylim=(0, 1.02),
        xlim=(min(ks) - 0.5, max(ks) + 0.5),
        xticks=sorted(set(ks)),
    )
    axes.grid(True, axis="y")
    axes.legend(fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))  # never on a point


def _draw_words(axes: Axes, words: dict[str, list[dict[str, Any]]]) -> None:
    axes.set_title("Words that tell first from last")
    rows = [*words["first"], *reversed(words["last"])]
    if not rows:
        axes.axis("off")
        axes.text(0.5, 0.5, "no word tells the first transcript\nfrom the last", ha="center", color=FAINT)
        return
    places = range(len(rows), 0, -1)
    colours = [COLOURS[0] if row["log_odds"] > 0 else COLOURS[1] for row in rows]
    axes.barh(places, [row["log_odds"] for row in rows], color=colours)
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.set_yticks(list(places), [one_line(row["word"], 20) for row in rows])
    axes.set_xlabel("log odds: in the last transcript (left) or in the first (right)")
