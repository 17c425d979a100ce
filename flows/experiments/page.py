"""The page that shows models beside each other: one file without script or address, which opens offline and can be
sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from flows.experiments import outcomes
from flows.experiments.comparison import Comparison
from flows.experiments.named import DATA, Curve
from flows.tracking import views
from scriptsight.errors import needs
from scriptsight.files import whole_file
from scriptsight.pictures import COLOURS, INK, one_line, picture

# One a model, then again with other dashes: told apart by people who see no red or green as well.
PALETTE = (*COLOURS[:2], "#2a9d6f", "#b5468b", "#56b4e9", "#8c6d31", "#52606d", "#c0392b")
DASHES = ("-", "--", ":", "-.")
CHARTS = 24  # curves that are drawn; the page says how many more there are
POINTS = 400  # of a curve
WIDTH, QUALITY = 900, 80  # of the models' own pictures
PIXELS = 50_000_000  # of a picture that is opened
LONGEST = 200  # characters of a value of a parameter
VERDICTS = {"better": "better", "worse": "worse", outcomes.CANT_TELL: "even"}  # -> their class in the page


def write(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison to `path`, whole or not at all."""
    with needs("data", "The page that compares models"):
        from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    shown = environment.from_string(text).render(_content(comparison))
    with whole_file(path) as partial:
        partial.write_text(shown, encoding="utf-8", newline="\n")


def _content(comparison: Comparison) -> dict[str, Any]:
    """What the template shows."""
    drawn, more = _curves(comparison)
    return {
        "models": [
            {
                "letter": entry.letter,
                "name": one_line(entry.model.name, LONGEST),
                "champion": entry.champion,
                "reference": entry.letter == comparison.reference and len(comparison.entries) > 2,
                "colour": PALETTE[place % len(PALETTE)],
                "data": [f"{path} {entry.details.data[path][:8]}" for path in DATA if path in entry.details.data],
                "weights": [one[:20] for one in sorted(entry.details.weights)],
            }
            for place, entry in enumerate(comparison.entries)
        ],
        "metric": comparison.metric,
        "remarks": [one_line(remark, 1000) for remark in comparison.remarks],
        "answers": list(comparison.answers()),
        "figures": _figures(comparison),
        "how": comparison.how() if comparison.tests else "",
        "intervals": _drawn(comparison) if comparison.figures else "",
        "tests": _tests(comparison),
        "not_compared": [one_line(line, 1000) for line in comparison.not_compared()],
        "parameters": [
            (name, [one_line(value, LONGEST) for value in values]) for name, values in comparison.parameters().items()
        ],
        "curves": drawn,
        "more_curves": more,
        "pictures": _pictures(comparison),
        "others": _others(comparison),
    }


def _figures(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a figure, and in it a cell a model."""
    rows = []
    for figure in comparison.figures:
        counts = dict.fromkeys(len(entry.model.figures.get(figure, ())) for entry in comparison.entries)
        cells: list[dict[str, Any]] = []
        for entry in comparison.entries:
            if figure not in entry.shares:
                cells.append({})
                continue
            share, low, high = entry.shares[figure]
            said = comparison.said(entry.letter, figure)
            verdicts = [(next(VERDICTS[word] for word in VERDICTS if one.startswith(word)), one) for one in said]
            cells.append({"share": f"{share:.1%}", "limits": f"{low:.1%} to {high:.1%}", "verdicts": verdicts})
        items = " / ".join(f"{count:,}" for count in counts if count)
        rows.append({"name": one_line(figure, 80), "items": items, "cells": cells})
    return rows


def _tests(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a test, those of the figure that decides first."""
    return [
        {
            "figure": one_line(figure, 80),
            "pair": f"{pair[1]} against {pair[0]}",
            "difference": outcomes.cells(one)[2],
            "alone": f"{pair[1]} {one.only_second:,}, {pair[0]} {one.only_first:,}",
            "evidence": f"{one.items:,}" + ("" if one.groups == one.items else f" of {one.groups:,} recordings"),
            "p": f"{comparison.p_values[pair, figure]:.2g}",
            "verdict": comparison.verdict(pair, figure),
            "kind": VERDICTS[comparison.verdict(pair, figure)],
        }
        for figure in comparison.figures
        for pair, compared in comparison.tests.items()
        for one in ([compared[figure]] if figure in compared else [])
    ]


def _others(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What is worth a look first, then the rest."""
    first = [figure.name for figure in views.FIGURES]
    rows = comparison.others()
    names = sorted(rows, key=lambda name: first.index(name) if name in first else len(first))
    return [(one_line(name, 100), rows[name]) for name in names]


def _pictures(comparison: Comparison) -> list[tuple[str, list[tuple[str, str]]]]:
    """The models' own, by name -> letters and data of each; equal ones once, and what most models have first."""
    names = dict.fromkeys(name for entry in comparison.entries for name in entry.details.pictures)
    rows = []
    for name in names:
        having: dict[bytes, list[str]] = {}
        for entry in comparison.entries:
            if name in entry.details.pictures:
                having.setdefault(entry.details.pictures[name], []).append(entry.letter)
        rows.append((name, [(", ".join(letters), _smaller(data)) for data, letters in having.items()]))
    rows.sort(key=lambda row: -len(row[1]))
    return [(one_line(name, 100), shown) for name, shown in rows]


def _smaller(data: bytes) -> str:
    """A model's picture for the page; "" if it is none. The page is to be light: the whole one is with the model."""
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as opened:
            if opened.width * opened.height > PIXELS:
                return ""
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # as Pillow says that a file is damaged
        return ""
    image.thumbnail((WIDTH, 4 * WIDTH))
    buffer = BytesIO()
    image.save(buffer, format="WEBP", quality=QUALITY)
    return _data_uri(buffer.getvalue(), "image/webp")


def _png(path: Path) -> str:
    return _data_uri(path.read_bytes(), "image/png")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


# ----------------------------------------------------------------------------------------------------- pictures


def _drawn(comparison: Comparison) -> str:
    """Every figure of every model with its interval."""
    names, models = comparison.figures, comparison.entries
    height = 1.0 + len(names) * (0.11 * len(models) + 0.17)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "intervals.png"
        with picture(path, width=6, height=height) as figure:
            axes = figure.add_subplot()
            for number, entry in enumerate(models):
                for place, name in enumerate(names):
                    if name not in entry.shares:
                        continue
                    share, low, high = (100 * value for value in entry.shares[name])
                    y = place + (number - (len(models) - 1) / 2) * 0.66 / len(models)
                    axes.plot((low, high), (y, y), color=_colour(number), linewidth=1.6)
                    axes.plot(share, y, "o", color=_colour(number), markersize=4, label=entry.letter)
            axes.set_yticks(range(len(names)), [one_line(name, 40) for name in names])
            axes.get_yticklabels()[0].set_fontweight("bold")
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.xaxis.grid(True)
            axes.set_xlabel("share right, percent, with its 95% interval")
            _legend(axes)
            figure.tight_layout()
        return _png(path)


def _curves(comparison: Comparison) -> tuple[list[tuple[str, str]], int]:
    """The curves that tell something, those of validation first -> their names and pictures, and how many more there
    are."""
    names = dict.fromkeys(name for entry in comparison.entries for name in entry.details.curves)
    telling = [name for name in names if _tells([entry.details.curves.get(name, []) for entry in comparison.entries])]
    telling.sort(key=lambda name: (name not in views.CURVES, not name.startswith("val/")))
    drawn = [
        (one_line(name, 60), _curve(name, {e.letter: e.details.curves.get(name, []) for e in comparison.entries}))
        for name in telling[:CHARTS]
    ]
    return drawn, len(telling[CHARTS:])


def _tells(curves: Sequence[Curve]) -> bool:
    """Whether there is anything to see: not a chance level, and not a single point."""
    return any(len({value for _, value in curve}) > 1 for curve in curves)


def _curve(name: str, curves: Mapping[str, Curve]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "curve.png"
        with picture(path, width=4.4, height=2.9) as figure:
            axes = figure.add_subplot()
            for number, (letter, curve) in enumerate(curves.items()):
                if curve:
                    points = curve[:: -(-len(curve) // POINTS)]
                    points = points if points[-1] == curve[-1] else [*points, curve[-1]]
                    style = DASHES[number // len(PALETTE) % len(DASHES)]
                    marker = "o" if len(points) < 20 else None
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, style, color=_colour(number), label=letter, marker=marker, markersize=3)
            axes.set_title(one_line(name, 50), fontsize=10)
            axes.set_xlabel("optimizer step", fontsize=9, color=INK)
            axes.tick_params(labelsize=8)
            axes.yaxis.grid(True)
            _legend(axes)
            figure.tight_layout()
        return _png(path)


def _colour(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def _legend(axes: Any) -> None:
    """Each model once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
    axes.legend(handles.values(), handles.keys(), fontsize=8, ncols=min(8, max(1, len(handles))), **above)
