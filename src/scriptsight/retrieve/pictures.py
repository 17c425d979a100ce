"""The retrieve stage's pictures: moments beside the words that asked for them, ranks, failures, a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from scriptsight.clips import frame_indices
from scriptsight.features import script_texts
from scriptsight.files import write_csv
from scriptsight.pictures import COLOURS, FAINT, GRID, INK, one_line, picture
from scriptsight.segments import Segment
from scriptsight.times import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRAMES = 4  # of a moment
ROWS, COLUMNS = 40, 8  # at most: a larger sheet is no picture any more
DRAWN, WRONG = 8, 5  # failures on their sheet, and moments in each
KINDS = 20  # colours of the map; the rest is grey
TILE, GAP = 96, 2  # pixels: the side of a frame, and between frames
STRIP = FRAMES * TILE + (FRAMES - 1) * GAP
MARGIN, GUTTER, QUERY, CAPTION = 28, 24, 34, 46  # pixels: around, between strips, above and below a strip
OWN = "#1a9850"  # the moment whose own words were the query
DPI = 100


@dataclass(frozen=True)
class Row:
    """A line of the contact sheet: a query, the moments shown for it with their scores, the ids of those that are
    right (they get a frame), and a note."""

    query: str
    answers: Sequence[tuple[Segment, float]]
    right: frozenset[str]
    note: str


@dataclass(frozen=True)
class Failure:
    """A text, the rank of its own moment, and moments with their scores: its own, then the best of the others."""

    text: str
    rank: int
    answers: Sequence[tuple[Segment, float]]


def contact_sheet(rows: Sequence[Row], path: Path) -> None:
    """One row a query: its moments as frames in time order, with video, time, score and words; 8 moments at most."""
    lines = rows[:ROWS]
    columns = min(COLUMNS, max(len(line.answers) for line in lines))
    pitch = QUERY + TILE + CAPTION + GUTTER
    width = 2 * MARGIN + columns * STRIP + (columns - 1) * GUTTER
    height = 2 * MARGIN + len(lines) * pitch - GUTTER
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    with picture(path, width=width / DPI, height=height / DPI, dpi=DPI) as figure:
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # in pixels, from the top
        axes.axis("off")
        for number, line in enumerate(lines):
            top = MARGIN + number * pitch
            said = one_line(line.query, columns * 48 - len(line.note) // 2)
            axes.text(MARGIN, top + 10, f"“{said}”", size=12, weight="bold", va="center")
            axes.text(width - MARGIN, top + 10, line.note, size=9, color=FAINT, ha="right", va="center")
            for column, (segment, score) in enumerate(line.answers[:columns]):
                left, upper = MARGIN + column * (STRIP + GUTTER), top + QUERY
                right = segment.segment_id in line.right
                if right:
                    sheet[upper - 4 : upper + TILE + 4, left - 4 : left + STRIP + 4] = _rgb(OWN)
                sheet[upper : upper + TILE, left : left + STRIP] = _strip(segment)
                _caption(axes, segment, score, left, upper + TILE, right)
            if number:
                axes.plot((MARGIN, width - MARGIN), (top - GUTTER / 2 - 2,) * 2, color=GRID, linewidth=1)
        axes.imshow(sheet, extent=(0, width, height, 0), interpolation="none", aspect="auto", zorder=0)


def failure_sheet(failures: Sequence[Failure], path: Path) -> None:
    """The worst failures: what was asked for, in a green frame, and what was found instead."""
    rows = [
        Row(
            failure.text,
            failure.answers[:WRONG],
            frozenset({failure.answers[0][0].segment_id}),
            f"its own moment, in green, has rank {failure.rank:,}; beside it what came first",
        )
        for failure in failures[:DRAWN]
    ]
    contact_sheet(rows, path)


def failure_table(failures: Sequence[Failure], path: Path) -> None:
    """The failures as a table: the text, its rank and score, where it is, and the first thing found instead."""
    where = ("segment", "uri", "start", "end", "score")
    rows: list[list[object]] = []
    for failure in failures:
        cells = [
            cell
            for segment, score in failure.answers[:2]
            for cell in (segment.segment_id, segment.uri, segment.start, segment.end, round(score, 6))
        ]
        instead = " / ".join(script_texts(failure.answers[1][0]))
        rows.append([failure.rank, failure.text, *cells, instead])
    write_csv(path, ["rank", "text", *where, *(f"found_{name}" for name in where), "found_text"], rows)


def rank_curves(ranks: Mapping[str, np.ndarray], gallery: int, path: Path) -> None:
    """Which share of the queries finds its answer by which rank, and at which; the dashed line is chance."""
    with picture(path, width=10.4, height=4.2) as figure:
        curves, bars = figure.subplots(1, 2)
        highest = max(gallery, *(int(values.max()) for values in ranks.values()))  # captions outnumber videos
        places = np.arange(1, highest + 1)
        for (name, values), colour in zip(ranks.items(), COLOURS, strict=False):
            found = np.searchsorted(np.sort(values), places, side="right") / len(values)
            curves.step(places, found, where="post", label=f"{name}, median {np.median(values):g}", color=colour)
        curves.plot(places[:gallery], places[:gallery] / gallery, color=FAINT, linestyle="--", label="chance")
        curves.set_xscale("log")
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**4, 10**5) if tick <= highest]
        curves.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        curves.minorticks_off()
        curves.set_xlim(1, highest)
        curves.set_ylim(0, 1.02)
        curves.grid(True)
        curves.set_xlabel("rank")
        curves.set_ylabel("share of queries found by this rank")
        curves.set_title(f"Retrieval among {gallery:,}", pad=28)
        curves.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=8)
        _histogram(bars, ranks, highest)
        figure.tight_layout()


def corpus_map(points: np.ndarray, moments: Sequence[Mapping[str, Any]], total: int, path: Path) -> None:
    """Moments in two dimensions, coloured by what tells them apart: label, else collection, else split.

    Args:
        points: float32 [N, 2].
        moments: N rows of the index.
        total: of which the points are a sample.
    """
    options = ("label", "collection", "split")
    key = next((name for name in options if len({moment[name] for moment in moments}) > 1), "split")
    names = [moment[key] if moment[key] is not None else "none" for moment in moments]
    common = [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))][:KINDS]
    import matplotlib  # half a second, and searching needs none of it

    palette = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    with picture(path, width=8.2, height=6.4) as figure:
        axes = figure.add_subplot()
        size = float(np.clip(6000 / len(points), 2, 18))
        for name in ("others", *common):
            chosen = [(one not in common) if name == "others" else one == name for one in names]
            if any(chosen):
                colour = GRID if name == "others" else palette[common.index(name)]
                axes.scatter(
                    points[chosen, 0], points[chosen, 1], s=size, color=colour, linewidths=0, label=one_line(name, 28)
                )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        shown = f"{len(points):,} moments" if len(points) == total else f"{len(points):,} of {total:,} moments"
        axes.set_title(f"{shown} by {key}: what looks alike to the model is near (UMAP)")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, markerscale=2)
        figure.tight_layout()


def _histogram(axes: Axes, ranks: Mapping[str, np.ndarray], highest: int) -> None:
    """The share of the queries whose rank is 1, 2 to 5, 6 to 10, and so on."""
    edges = [edge for edge in (1, 2, 6, 11, 51, 101, 501, 1001, 10001) if edge <= highest] + [highest + 1]
    places = np.arange(len(edges) - 1)
    for (name, values), colour, shift in zip(ranks.items(), COLOURS, (-0.2, 0.2), strict=False):
        shares = np.histogram(values, edges)[0] / len(values)
        bars = axes.bar(places + shift, shares, 0.38, label=name, color=colour)
        axes.bar_label(bars, [f"{share:.0%}" for share in shares], padding=1, fontsize=7)
    names = [f"{low:,}" if high - low == 1 else f"{low:,}-{high - 1:,}" for low, high in pairwise(edges)]
    axes.set_xticks(places, names, fontsize=8)
    axes.set_xlabel("rank")
    axes.set_ylabel("share of queries")
    axes.yaxis.grid(True)
    axes.set_title("Where the answers are", pad=28)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=8)


def _caption(axes: Axes, segment: Segment, score: float, left: int, top: int, own: bool) -> None:
    colour = OWN if own else INK
    video = one_line(PurePosixPath(segment.uri).name, 34)
    words = one_line(" / ".join(script_texts(segment)), 76)
    time = span(segment.start, segment.end)
    axes.text(left, top + 15, f"{video}   {time}", size=9.5, va="center", color=INK)
    axes.text(left + STRIP, top + 15, f"{score:.3f}", size=9.5, va="center", ha="right", weight="bold", color=colour)
    axes.text(left, top + 33, words, size=7.5, va="center", color=FAINT)


def _strip(segment: Segment) -> np.ndarray:
    """Frames in time order, side by side on white -> uint8 [TILE, STRIP, 3]."""
    strip = np.full((TILE, STRIP, 3), 255, dtype=np.uint8)
    indices = frame_indices(segment.frame_times, segment.start, segment.end, FRAMES)
    for place, frame in enumerate(segment.decode(indices.tolist())):
        left = place * (TILE + GAP)
        strip[:, left : left + TILE] = _tile(frame)
    return strip


def _tile(frame: np.ndarray) -> np.ndarray:
    """The centre square of uint8 [H, W, 3] -> uint8 [TILE, TILE, 3]."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(frame[top : top + side, left : left + side])
    return np.asarray(square.resize((TILE, TILE), Image.Resampling.LANCZOS))


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
