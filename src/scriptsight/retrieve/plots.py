"""The retrieve stage's pictures: moments beside the words that asked for them, and the curve of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from scriptsight.clips import frame_indices
from scriptsight.features import script_texts
from scriptsight.pictures import COLOURS, FAINT, GRID, INK, one_line, picture
from scriptsight.retrieve.index import span
from scriptsight.segments import Segment

FRAMES = 4  # of a moment
ROWS, COLUMNS = 40, 8  # at most: a larger sheet is no picture any more
TILE, GAP = 96, 2  # pixels: the side of a frame, and between frames
STRIP = FRAMES * TILE + (FRAMES - 1) * GAP
MARGIN, GUTTER, QUERY, CAPTION = 28, 24, 34, 46  # pixels: around, between strips, above and below a strip
OWN = "#1a9850"  # the moment whose own words were the query
DPI = 100


def contact_sheet(
    queries: Sequence[str],
    answers: Sequence[Sequence[tuple[Segment, float]]],
    owners: Sequence[str | None],
    path: Path,
) -> None:
    """One row a query: its best moments as frames in time order, with video, time, score and words.

    Args:
        answers: moments and scores of each query, best first; the first 8 are drawn.
        owners: the id of the segment whose script a query is (it gets a frame), None for a free query.
    """
    lines = list(zip(queries, answers, owners, strict=True))[:ROWS]
    columns = min(COLUMNS, max(len(answer) for answer in answers))
    pitch = QUERY + TILE + CAPTION + GUTTER
    width = 2 * MARGIN + columns * STRIP + (columns - 1) * GUTTER
    height = 2 * MARGIN + len(lines) * pitch - GUTTER
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    with picture(path, width=width / DPI, height=height / DPI, dpi=DPI) as figure:
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # in pixels, from the top
        axes.axis("off")
        for number, (query, answer, owner) in enumerate(lines):
            top = MARGIN + number * pitch
            said = one_line(query, columns * 48)
            axes.text(MARGIN, top + 10, f"“{said}”", size=12, weight="bold", va="center")
            if owner is not None:
                note = "a script of this split; its own moment has a green frame"
                axes.text(width - MARGIN, top + 10, note, size=9, color=FAINT, ha="right", va="center")
            for column, (segment, score) in enumerate(answer[:columns]):
                left, upper = MARGIN + column * (STRIP + GUTTER), top + QUERY
                if segment.segment_id == owner:
                    sheet[upper - 4 : upper + TILE + 4, left - 4 : left + STRIP + 4] = _rgb(OWN)
                sheet[upper : upper + TILE, left : left + STRIP] = _strip(segment)
                _caption(axes, segment, score, left, upper + TILE, segment.segment_id == owner)
            if number:
                axes.plot((MARGIN, width - MARGIN), (top - GUTTER / 2 - 2,) * 2, color=GRID, linewidth=1)
        axes.imshow(sheet, extent=(0, width, height, 0), interpolation="none", aspect="auto", zorder=0)


def rank_curves(ranks: Mapping[str, np.ndarray], path: Path) -> None:
    """Which share of the queries finds its answer by which rank; the dashed line is chance."""
    gallery = len(next(iter(ranks.values())))
    places = np.arange(1, gallery + 1)
    with picture(path, width=6.4, height=4.2) as figure:
        axes = figure.add_subplot()
        for (name, values), colour in zip(ranks.items(), COLOURS, strict=False):
            found = np.searchsorted(np.sort(values), places, side="right") / len(values)
            axes.step(places, found, where="post", label=f"{name}, median {np.median(values):g}", color=colour)
        axes.plot(places, places / gallery, color=FAINT, linestyle="--", label="chance")
        axes.set_xscale("log")
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**4, 10**5) if tick <= gallery]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(1, gallery)
        axes.set_ylim(0, 1.02)
        axes.grid(True)
        axes.set_xlabel("rank")
        axes.set_ylabel("share of queries found by this rank")
        axes.set_title(f"Retrieval among {gallery:,} segments", pad=28)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize=9)
        figure.tight_layout()


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
