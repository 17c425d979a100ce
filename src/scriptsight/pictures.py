"""Pictures that a stage writes: one look, the same bytes from the same figures, and data's text as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scriptsight.errors import needs
from scriptsight.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = ("#2563a8", "#e08b3c", "#9aa5b1")  # what is measured, what it is compared with, the floor
_LOOK: Any = {
    "text.parse_math": False,  # a label or a transcript with dollar signs is text, never a formula
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def drawable() -> None:
    """Raises: MissingExtra: matplotlib is not installed. A stage asks before it works for hours."""
    with needs("learn", "Drawing pictures"):
        import matplotlib  # noqa: F401 - half a second, and searching needs none of it


@contextmanager
def picture(path: Path, *, width: float, height: float, dpi: int = 120) -> Iterator[Figure]:
    """Yield a figure of `width` x `height` inches that becomes the PNG `path`, whole or not at all."""
    drawable()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
        yield figure
        with whole_file(path) as partial:
            # Neither matplotlib's version nor a date: the same figures are the same bytes.
            figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})


def borrowed(draws: Iterable[Callable[[], Any]], path: Path, *, width: float, height: float, dpi: int = 120) -> None:
    """Write pictures of a library that draws by pyplot, below one another, as the PNG `path`: in this look, as far as
    it can be put on afterwards.

    Args:
        draws: each draws one picture, and returns its axes, or an array of them.
        width, height: of each, in inches.
    """
    drawable()
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib import image, pyplot

    rows = []
    for draw in draws:
        with matplotlib.rc_context(_LOOK):
            figure = np.ravel(draw())[0].figure
            for axes in figure.axes:
                _restyle(axes)
            figure.set(size_inches=(width, height), dpi=dpi, facecolor="white")
            in_grid = all(axes.get_subplotspec() for axes in figure.axes)  # a colour bar of several axes is not
            figure.set_layout_engine("tight" if in_grid else "constrained")
            figure.canvas.draw()
            rows.append(np.array(figure.canvas.buffer_rgba()))
            pyplot.close(figure)
    no_version: Any = {"Software": None}
    with whole_file(path) as partial:
        image.imsave(partial, np.concatenate(rows), format="png", dpi=dpi, metadata=no_version)


def _restyle(axes: Any) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_facecolor("white")
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":  # powers would be formulas
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
    axes.tick_params(colors=INK, which="both")
    for name, spine in axes.spines.items():
        spine.set(visible=name in ("left", "bottom"), edgecolor=FAINT)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
    if axes.get_label() != "<colorbar>":
        axes.set_axisbelow(True)
        axes.grid(True, color=GRID)
    if legend := axes.get_legend():
        legend.set_frame_on(False)


def one_line(text: str, length: int) -> str:
    """Text of the data as one printable line of at most `length` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
