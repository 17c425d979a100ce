"""What a study found: a table, the front, importance, slices and contours, which Optuna draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as plots

from flows.experiments.sweep import study as studies
from scriptsight import files
from scriptsight.pictures import COLOURS, borrowed

FEWEST = 4  # complete trials for importance, which is fitted, and for contours
FRONT = {  # what Optuna calls the kinds of trials, and how they are shown
    "Best Trial": ("Pareto front", COLOURS[0]),
    "Trial": ("beaten by another", COLOURS[2]),
    "Feasible Trial": ("beaten by another", COLOURS[2]),
    "Infeasible Trial": ("misses a constraint", "#f3c9a0"),
}


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
                "state": state(trial),
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


def state(trial: FrozenTrial) -> str:
    """How a trial went; a complete one that misses a constraint is infeasible."""
    return "infeasible" if studies.broken(trial) else trial.state.name.lower()


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed or is infeasible; empty where it is neither."""
    if missed := studies.broken(trial):
        return "; ".join(missed)
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
    if len(study.directions) > 1:
        paths.append(folder / "front.png")
        draw_front(study, paths[-1], chosen)
    paths.append(folder / "slice.png")
    draw_slices(study, paths[-1])
    varying = [name for name in _space(study) if _varies(study, name)]
    if len(done) < FEWEST or not varying:
        return paths
    paths.append(folder / "importance.png")
    draw_importance(study, paths[-1])
    if len(varying) > 1:
        paths.append(folder / "contour.png")
        draw_contours(study, varying, paths[-1])
    return paths


# -------------------------------------------------------------------------------------------- pictures


def draw_front(study: optuna.Study, path: Path, chosen: int | None) -> None:
    """Each pair of objectives; the front is that of all objectives together."""
    pairs = list(combinations(range(len(study.directions)), 2))
    borrowed([partial(_front, study, pair, chosen) for pair in pairs], path, width=7.5, height=5)


def _front(study: optuna.Study, pair: tuple[int, int], chosen: int | None) -> Any:
    names = study.metric_names or ()
    first, second = pair
    axes = plots.plot_pareto_front(
        study,
        target_names=[names[second], names[first]],
        targets=lambda trial: (trial.values[second], trial.values[first]),
    )
    for some in axes.collections:
        label, colour = FRONT[str(some.get_label())]
        some.set(label=label, color=colour)
    for trial in complete(study):
        place = (trial.values[second], trial.values[first])
        axes.annotate(str(trial.number), place, xytext=(6, 5), textcoords="offset points", fontsize=8)
        if trial.number == chosen:
            ring: Any = {"fillstyle": "none", "markersize": 14, "markeredgewidth": 2, "linestyle": ""}
            axes.plot(*place, "o", color=COLOURS[1], label="what --apply takes", **ring)
    axes.set_title(f"Study {study.study_name!r}: {len(complete(study))} trials", loc="left", fontsize=12)
    axes.margins(0.1)
    axes.legend(loc="best")
    return axes


def draw_slices(study: optuna.Study, path: Path) -> None:
    """Each objective over each parameter; later trials are darker."""
    space = _space(study)
    of_each = _of_each(study, plots.plot_slice, params=[name for name in space if _varies(study, name)] or space[:1])
    borrowed(of_each, path, width=3.3 * len(space) + 1.2, height=3.2)


def draw_importance(study: optuna.Study, path: Path) -> None:
    """How much each parameter has to do with whether a trial is among the best, by each objective (PED-ANOVA)."""
    of_each = _of_each(study, plots.plot_param_importances, signed=True)
    borrowed(of_each, path, width=7, height=1.6 + 0.45 * len(_space(study)))


def draw_contours(study: optuna.Study, params: list[str], path: Path) -> None:
    """Each objective over each pair of parameters, interpolated between the trials."""
    side = len(params) if len(params) > 2 else 1
    borrowed(_of_each(study, plots.plot_contour, params=params), path, width=3.6 * side + 3, height=2.7 * side + 1.5)


def _of_each(
    study: optuna.Study, plot: Callable[..., Any], *, signed: bool = False, **options: Any
) -> list[Callable[[], Any]]:
    """Draw a picture of each objective that is not the same in all trials, or of the first."""
    several = [index for index in range(len(study.directions)) if len({t.values[index] for t in complete(study)}) > 1]
    names, down = study.metric_names or (), [not up for up in studies.maximised(study)]

    def draw(index: int) -> Any:
        sign = 1.0 if down[index] or not signed else -1.0  # PED-ANOVA looks at trials of low values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of parameters that hardly vary, and of low values
            axes = plot(study, target=partial(_figure, index=index, sign=sign), target_name=names[index], **options)
        of_first = np.ravel(axes)[0]
        of_first.figure.suptitle("")
        of_first.set_title(names[index], loc="left", fontsize=12)
        return axes

    return [partial(draw, index) for index in several or [0]]


def _figure(trial: FrozenTrial, index: int, sign: float) -> float:
    return sign * float(trial.values[index])


def _space(study: optuna.Study) -> list[str]:
    """The parameters that were drawn, in order."""
    return list(dict.fromkeys(name for trial in study.get_trials(deepcopy=False) for name in trial.params))


def _varies(study: optuna.Study, name: str) -> bool:
    return len({trial.params.get(name) for trial in complete(study)}) > 1
