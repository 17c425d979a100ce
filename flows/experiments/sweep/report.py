"""What a study found: a table, the front, importance, slices and contours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from flows.experiments.sweep import study as studies
from scriptsight import files
from scriptsight.pictures import COLOURS, INK, picture

FEWEST = 4  # complete trials for importance, which is fitted, and for contours
LEVELS = 12


def rows(study: optuna.Study) -> list[dict[str, Any]]:
    """A row for each trial: number, how it went, what it repeats, its values, objectives, figures and seconds."""
    front = {trial.number for trial in study.best_trials} if complete(study) else set()
    found = []
    for trial in study.get_trials(deepcopy=False):
        first = studies.first_number(trial)
        objectives = trial.values if trial.state == TrialState.COMPLETE else [None] * len(study.directions)
        found.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "front": "*" if trial.number in front else "",
                "repeats": first if first != trial.number else None,
                **studies.values_of(trial),
                **dict(zip(study.metric_names or (), objectives, strict=False)),
                **{
                    name: value
                    for name, value in trial.user_attrs.get("figures", {}).items()
                    if name not in (study.metric_names or ())
                },
                "seconds": trial.user_attrs.get("seconds"),
                "reason": reason(trial),
            }
        )
    return found


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed; empty where it did not."""
    if trial.state != TrialState.FAIL:
        return str(trial.user_attrs.get("reason", ""))
    return str(trial.user_attrs.get("reason", "its worker fell silent"))


def listed(values: Mapping[str, Any]) -> str:
    """Figures or parameters on one line."""
    named = {name.removeprefix("pretrain."): value for name, value in values.items()}
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in named.items()
    )


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """Those that have figures."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def table(study: optuna.Study) -> str:
    """The trials as text, for the terminal."""
    shown = ["trial", "state", "front"]
    shown += [*_space(study), *(study.metric_names or ()), "seconds", "reason"]
    found = [[_short(row.get(name)) for name in shown] for row in rows(study)]
    heads = [name.removeprefix("pretrain.").removeprefix("tvts.") for name in shown]
    widths = [max(len(line[i]) for line in [heads, *found]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [heads, *found]
    )


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).partition("\n")[0][:60]


def write(study: optuna.Study, folder: Path, chosen: int | None) -> list[Path]:
    """Write the table and the pictures that the trials are enough for -> their paths."""
    found = rows(study)
    names = list(dict.fromkeys(name for row in found for name in row))
    paths = [folder / "trials.csv"]
    files.write_csv(paths[0], names, ([row.get(name) for name in names] for row in found))
    done = complete(study)
    if not done:
        return paths
    if len(study.directions) == 2:
        paths.append(folder / "front.png")
        draw_front(study, paths[-1], chosen)
    paths.append(folder / "slice.png")
    draw_slices(study, paths[-1])
    if len(done) < FEWEST:
        return paths
    if weights := importance(study):
        paths.append(folder / "importance.png")
        draw_importance(weights, paths[-1])
    if pairs := [pair for pair in combinations(_space(study), 2) if all(_varies(study, name) for name in pair)]:
        paths.append(folder / "contour.png")
        draw_contours(study, pairs, paths[-1])
    return paths


def importance(study: optuna.Study) -> dict[str, dict[str, float]]:
    """Objective -> parameter -> its share of the figure's variance (fANOVA, over random forests of fixed seed); an
    objective that is the same in all trials has none."""
    found = {}
    for index, name in enumerate(study.metric_names or ()):
        if len({trial.values[index] for trial in complete(study)}) < 2:
            continue
        found[name] = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
            target=partial(_figure, index=index),
        )
    return found


def _figure(trial: FrozenTrial, index: int) -> float:
    return float(trial.values[index])


# -------------------------------------------------------------------------------------------- pictures


def draw_front(study: optuna.Study, path: Path, chosen: int | None) -> None:
    """Both objectives of every trial; those that no other beats in both are joined, and their values listed."""
    first, second = study.metric_names or ("", "")
    front = {trial.number for trial in study.best_trials}
    done = complete(study)
    with picture(path, width=10, height=5) as figure:
        axes, beside = figure.subplots(1, 2, width_ratios=(2, 1))
        beaten = [trial for trial in done if trial.number not in front]
        best = sorted((trial for trial in done if trial.number in front), key=lambda trial: trial.values[1])
        for some, style, colour, label in (
            (beaten, "o", COLOURS[2], "beaten by another"),
            (best, "o-", COLOURS[0], "Pareto front"),
        ):
            axes.plot([t.values[1] for t in some], [t.values[0] for t in some], style, color=colour, label=label)
        for trial in done:
            place = (trial.values[1], trial.values[0])
            axes.annotate(str(trial.number), place, xytext=(6, 5), textcoords="offset points", fontsize=8)
            if trial.number == chosen:
                axes.plot(*place, "o", color=COLOURS[1], fillstyle="none", markersize=14, markeredgewidth=2)
        axes.set(title=f"Study {study.study_name!r}: {len(done)} trials", xlabel=second, ylabel=first)
        axes.margins(0.1)
        axes.grid(True)
        axes.legend(loc="best")
        beside.axis("off")
        listed = ["The front"] + [_listed(trial, study, chosen) for trial in reversed(best)]
        beside.text(0, 1, "\n\n".join(listed), va="top", fontsize=8.5, transform=beside.transAxes)
        figure.tight_layout()


def _listed(trial: FrozenTrial, study: optuna.Study, chosen: int | None) -> str:
    values = studies.values_of(trial)
    parts = [f"{name.rpartition('.')[2]} {_short(values[name])}" for name in _space(study) if name in values]
    line = f"{trial.number}: " + "\n     ".join([", ".join(parts[i : i + 2]) for i in range(0, len(parts), 2)])
    return line + ("\n     (what --apply takes)" if trial.number == chosen else "")


def draw_slices(study: optuna.Study, path: Path) -> None:
    """Each objective over each parameter; the trials of the front stand out."""
    space, objectives, done = _space(study), study.metric_names or (), complete(study)
    front = {trial.number for trial in study.best_trials}
    colours = [COLOURS[0] if trial.number in front else COLOURS[2] for trial in done]
    with picture(path, width=3.3 * len(space) + 0.6, height=2.8 * len(objectives)) as figure:
        grid = figure.subplots(len(objectives), len(space), squeeze=False, sharey="row")
        for row, objective in enumerate(objectives):
            for column, name in enumerate(space):
                axes = grid[row][column]
                places = [_place(trial, name) for trial in done]
                axes.scatter(places, [trial.values[row] for trial in done], c=colours, s=36)
                axes.set(xlabel=_label(name), ylabel=objective if not column else "")
                _ticks(axes.xaxis, _given(study, name))
                axes.grid(True)
        figure.tight_layout()


def draw_importance(weights: dict[str, dict[str, float]], path: Path) -> None:
    """The share of each objective's variance that each parameter explains."""
    names = list(dict.fromkeys(name for shares in weights.values() for name in shares))
    height = 0.8 / len(weights)
    with picture(path, width=7, height=1.4 + 0.55 * len(names)) as figure:
        axes = figure.subplots()
        for index, (objective, shares) in enumerate(weights.items()):
            places = [place - 0.4 + height * (index + 0.5) for place in range(len(names))]
            axes.barh(
                places, [shares.get(name, 0.0) for name in names], height, color=COLOURS[index], label=objective
            )
        axes.set(title="Importance (fANOVA)", xlabel="share of the variance", xlim=(0, 1))
        axes.set_yticks(range(len(names)), [_label(name) for name in names])
        axes.invert_yaxis()
        axes.legend(loc="lower right")
        figure.tight_layout()


def draw_contours(study: optuna.Study, pairs: Sequence[tuple[str, str]], path: Path) -> None:
    """Each objective over each pair of parameters, interpolated between the trials."""
    objectives, done = study.metric_names or (), complete(study)
    with picture(path, width=4.2 * len(pairs), height=3.3 * len(objectives)) as figure:
        grid = figure.subplots(len(objectives), len(pairs), squeeze=False)
        for row, objective in enumerate(objectives):
            values = np.array([trial.values[row] for trial in done])
            for column, (first, second) in enumerate(pairs):
                axes = grid[row][column]
                x, y = (np.array([_place(trial, name) for trial in done]) for name in (first, second))
                if _spans_a_plane(x, y) and np.ptp(values):
                    shades = axes.tricontourf(x, y, values, levels=LEVELS, cmap="Blues", alpha=0.8)
                    figure.colorbar(shades, ax=axes)
                axes.scatter(x, y, c=values, cmap="Blues", edgecolors=INK, linewidths=0.7)
                axes.set(title=objective, xlabel=_label(first), ylabel=_label(second))
                axes.margins(0.06)
                _ticks(axes.xaxis, _given(study, first))
                _ticks(axes.yaxis, _given(study, second))
        figure.tight_layout()


def _spans_a_plane(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether triangles can be drawn between points [N]."""
    points = np.unique(np.stack([x, y], axis=1), axis=0)
    return bool(np.linalg.matrix_rank(points - points.mean(0)) == 2)


def _space(study: optuna.Study) -> list[str]:
    """The parameters that were drawn, in order."""
    return list(dict.fromkeys(name for trial in study.get_trials(deepcopy=False) for name in trial.params))


def _varies(study: optuna.Study, name: str) -> bool:
    return len({trial.params.get(name) for trial in complete(study)}) > 1


def _given(study: optuna.Study, name: str) -> Any:
    return next(t.distributions[name] for t in study.get_trials(deepcopy=False) if name in t.distributions)


def _place(trial: FrozenTrial, name: str) -> float:
    """Where a value lies on its axis: one of some choices by its number, one of a wide range by its logarithm."""
    given: Any = trial.distributions[name]
    if isinstance(given, CategoricalDistribution):
        return float(given.choices.index(trial.params[name]))
    value = float(studies.values_of(trial)[name])
    return math.log10(value) if given.log else value


def _ticks(axis: Any, given: Any) -> None:
    """Marks on an axis of `_place`."""
    if isinstance(given, CategoricalDistribution):
        axis.set_ticks(range(len(given.choices)), [str(value) for value in given.choices])
    elif given.log:
        powers = range(math.floor(math.log10(given.low)), math.ceil(math.log10(given.high)) + 1)
        marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        marks = [mark for mark in marks if given.low <= mark <= given.high]
        axis.set_ticks([math.log10(mark) for mark in marks], [f"{mark:g}" for mark in marks])
    elif isinstance(given, IntDistribution) and given.high - given.low <= 10:
        axis.set_ticks(range(given.low, given.high + 1))


def _label(name: str) -> str:
    return name.removeprefix("pretrain.")
