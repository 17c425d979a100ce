"""What finishing a study came to: finish.md to read, finish.csv to compute with, finish.png to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows import parameters
from flows.experiments.sweep import study as studies
from flows.experiments.sweep.finish import Finished, Luck, Standing
from scriptsight import files
from scriptsight.pictures import COLOURS, FAINT, INK, picture
from scriptsight.statistics import LEVEL

COLUMNS = ("candidate", "trial", "figure", "in_sweep", "after", "low", "high")
AGAINST = ("difference", "difference_low", "difference_high", "p", "verdict")


def write(found: Finished, settings: parameters.Params, folder: Path) -> list[Path]:
    """Write all three -> their paths."""
    paths = [folder / name for name in ("finish.md", "finish.csv", "finish.png")]
    with files.whole_file(paths[0]) as partial:
        partial.write_text(text(found, settings), encoding="utf-8")
    files.write_csv(paths[1], (*COLUMNS, *AGAINST), [_row(one) for one in found.standings])
    draw(found, paths[2])
    return paths


def _row(one: Standing) -> list[Any]:
    number = one.candidate.trial.number if one.candidate.trial else None
    row = [one.candidate.name, number, one.figure, one.in_sweep, one.after, one.low, one.high]
    if one.against is None:
        return [*row, *(None for _ in AGAINST)]
    return [*row, one.against.difference, one.against.low, one.against.high, one.p_value, verdict(one)]


def verdict(one: Standing) -> str:
    """Whether a candidate is better than the default, in a word."""
    if one.against is None or one.p_value is None:
        return ""
    if one.p_value >= 1 - LEVEL:
        return "can't tell"
    return "better" if one.against.difference > 0 else "worse"


# ------------------------------------------------------------------------------------------------ the words


def text(found: Finished, settings: parameters.Params) -> str:
    """The report in Markdown, readable as it is."""
    sweep = settings.sweep
    short, seeds = studies.with_values(settings, {}).pretrain.steps, sweep.finish_seeds
    lines = [
        f"# Study {sweep.study}: the best trials, trained to the end",
        "",
        f"Each was trained for {settings.pretrain.steps:,} steps (a trial for {short:,}), "
        f"{'once' if seeds == 1 else f'from {seeds} seeds'}, and measured on the test splits, which no trial has "
        "seen. In the sweep they were measured on the validation splits. Intervals are of 95%; p is adjusted for the "
        "number of comparisons (Holm).",
    ]
    for figure in dict.fromkeys(one.figure for one in found.standings):
        lines += [
            "",
            f"## {figure}",
            "",
            *_table(_heads(), [_cells(o) for o in found.standings if o.figure == figure]),
        ]
    lines += ["", "## What was trained", ""]
    listed = {one.candidate.name: one.candidate for one in found.standings}
    for name, one in listed.items():
        values = ", ".join(f"{key.removeprefix('pretrain.')} {value}" for key, value in one.values.items())
        lines.append(
            f"- {_named(name)}{f' (trial {one.trial.number})' if name == 'default' and one.trial else ''}: {values}"
        )
    lines += ["", "## The winner's curse", ""]
    for luck in found.luck:
        lines += [*_curse(luck), ""]
    lines += [f"{note}\n" for note in found.notes]
    return "\n".join(lines).rstrip() + "\n"


def _heads() -> tuple[str, ...]:
    return ("", "in the sweep", "after the full training", "against the default, points", "p", "better?")


def _cells(one: Standing) -> tuple[str, ...]:
    name, before = _named(one.candidate.name), _value(one.in_sweep, one.low is not None)
    after = _value(one.after, one.low is not None)
    if one.low is not None and one.high is not None:
        after += f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
    if one.against is None:
        return (name, before, after, "", "", "")
    points = f"{_points(one.against.difference)} ({_points(one.against.low)} to {_points(one.against.high)})"
    return (name, before, after, points, f"{one.p_value:.2g}", verdict(one))


def _named(name: str) -> str:
    return name.replace("-", " ")


def _value(value: float | None, share: bool) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if share else f"{value:.4g}"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # no -0.0


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (heads, tuple("-" * width for width in widths), *rows)
    ]


def _curse(luck: Luck) -> list[str]:
    """What was chosen, and how far that fell; as a table and in a sentence."""
    heads = (luck.figure, "in the sweep", "on test", "falls, points", "all trials fall", "the curse, points")
    falls = {
        f"trial {luck.chosen}, the same model": luck.same,
        f"trial {luck.chosen}, learned again from another seed": luck.again,
    }
    if luck.several:
        falls["all that were chosen, learned again"] = luck.several
    rows: list[tuple[str, ...]] = []
    for name, one in falls.items():
        curse = f"{_points(one.beyond)} ({_points(one.low)} to {_points(one.high)})"
        falling = (_points(one.fall), _points(one.of_all))
        rows.append((name, f"{one.before:.1%}", f"{one.after:.1%}", *falling, curse))
    return [
        *_table(heads, rows),
        "",
        f"At the length of a trial, from the validation split to the test split. All {len(luck.trials)} trials with "
        f"models fall by {_points(luck.same.of_all)} points on average, for the test split is another; what the "
        "chosen fall beyond that is the winner's curse: luck with the validation items (the same model), and with "
        f"the training as well (learned again). {_judged(luck)}",
    ]


def _judged(luck: Luck) -> str:
    if luck.again.low > 0:
        return f"The sweep promised {100 * luck.again.beyond:.1f} points of trial {luck.chosen} too much."
    if luck.again.high < 0:
        return f"Trial {luck.chosen} is better than the sweep promised."
    return "No such luck is established here: the interval holds zero."


# ------------------------------------------------------------------------------------------------ the picture


def draw(found: Finished, path: Path) -> None:
    """A column a figure: candidates after the full training, and below, each trial on both splits."""
    figures = list(dict.fromkeys(one.figure for one in found.standings))
    candidates = len({one.candidate.name for one in found.standings})
    lucks = {luck.figure: luck for luck in found.luck}
    upper = 1.6 + 0.42 * candidates
    with picture(path, width=5.2 * len(figures), height=upper + (4.6 if lucks else 0)) as figure:
        rows = 2 if lucks else 1
        ratios = [upper, 4.6][:rows]
        grid = figure.subplots(rows, len(figures), squeeze=False, height_ratios=ratios)
        for column, name in enumerate(figures):
            _forest(grid[0][column], [one for one in found.standings if one.figure == name], column == 0)
            if rows == 1:
                continue
            if name in lucks:
                _splits(grid[1][column], lucks[name])
            else:
                grid[1][column].axis("off")
        figure.tight_layout()


def _forest(axes: Any, standings: list[Standing], labelled: bool) -> None:
    for place, one in enumerate(standings):
        colour = COLOURS[1] if one.candidate.name == "default" else COLOURS[0]
        if one.low is not None:
            axes.plot((one.low, one.high), (place, place), color=colour, linewidth=2)
        if one.after is not None:
            label = "_" if place else "trained to the end, test"
            axes.plot(one.after, place, "o", color=colour, markersize=7, label=label)
        if one.in_sweep is not None:
            label = "_" if place else "in the sweep, validation"
            axes.plot(one.in_sweep, place, "D", color=FAINT, fillstyle="none", label=label)
    axes.set_yticks(range(len(standings)), [_named(one.candidate.name) for one in standings] if labelled else [])
    axes.set_ylim(len(standings) - 0.4, -0.6)
    axes.set_title(standings[0].figure)
    axes.margins(x=0.08)
    axes.grid(True, axis="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=8)


def _splits(axes: Any, luck: Luck) -> None:
    """Trials by both splits: the line is where they would lie if all fell alike."""
    before = [luck.before[number] for number in luck.trials]
    after = [luck.after[number] for number in luck.trials]
    ends = (min(before), max(before))
    axes.plot(ends, [end - luck.same.of_all for end in ends], color=FAINT, linewidth=1, label="if all fell alike")
    axes.plot(before, after, "o", color=COLOURS[2], label="a trial's model")
    for number, x, y in zip(luck.trials, before, after, strict=True):
        axes.annotate(str(number), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.plot(luck.before[luck.chosen], luck.after[luck.chosen], "o", color=COLOURS[0], label="the best by the sweep")
    axes.plot(luck.again.before, luck.again.after, "s", color=COLOURS[1], label="the same, learned again")
    axes.set(xlabel="validation, where it was chosen", ylabel="test")
    axes.margins(0.1)
    axes.grid(True)
    axes.legend(loc="best", fontsize=8)
