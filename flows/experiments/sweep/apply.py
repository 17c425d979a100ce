"""Which trial wins, and its values into params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from flows import parameters
from flows.experiments.sweep import study as studies
from scriptsight import files
from scriptsight.errors import InputError

ENOUGH = 0.95  # of the best second, or third, objective


class _Representer(RoundTripRepresenter):
    """Writes null as this project does."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def chosen(study: Study, which: str) -> FrozenTrial:
    """The trial `which`: a number, or "best", the first of `ranked`.

    Raises:
        InputError: there is no such trial, it is not complete, or none keeps the constraints.
    """
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    numbers = ", ".join(str(trial.number) for trial in complete) or "none"
    if which != "best":
        if found := [trial for trial in complete if str(trial.number) == which]:
            return found[0]
        raise InputError(
            f"There is no complete trial {which} in the study {study.study_name!r}. Complete: {numbers}."
        )
    if not complete:
        raise InputError(f"No trial of the study {study.study_name!r} is complete: run `scriptsight sweep`.")
    if not (front := ranked(study)):
        nearest = min(complete, key=lambda trial: sum(over for over in trial.constraints.values() if over > 0))
        raise InputError(
            f"No trial of the study {study.study_name!r} keeps sweep.constraints; the nearest is {nearest.number} "
            f"({'; '.join(studies.broken(nearest))}). Take that by its number, or begin a study with other limits."
        )
    return front[0]


def ranked(study: Study) -> list[FrozenTrial]:
    """The front, the best first, of one objective all complete trials; without those that miss a constraint.

    The best has the best first figure among those whose others are good enough: of the front, those stay whose second
    figure is no worse than 95% of its best (maximised; of a minimised one no more than the best divided by 0.95),
    and of these those whose third is. Then the rest of the front follows, by the same rule.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    alone = len(study.directions) == 1  # whose front is the best trial, and nothing beside it
    rest = [trial for trial in done if not studies.broken(trial)] if alone else list(study.best_trials)
    found = []
    signs = [1 if up else -1 for up in studies.maximised(study)]
    while rest:
        good = rest
        for place in range(1, len(signs)):
            best = max(signs[place] * trial.values[place] for trial in good)
            limit = best * ENOUGH if best > 0 else best / ENOUGH
            good = [trial for trial in good if signs[place] * trial.values[place] >= limit]
        found.append(max(good, key=lambda trial: (signs[0] * trial.values[0], -trial.number)))
        rest.remove(found[-1])
    return found


def write(path: Path, values: Mapping[str, Any], *, add: bool = False) -> list[str]:
    """Set `values`, by names such as pretrain.tvts.align_weight, in the YAML file; all else stays as it is.

    With `add`, what the file lacks is added. Returns a line for each value that changes.

    Raises:
        InputError: the file lacks a name, or can't be used with these values.
    """
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 4096  # no line is broken that was not
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(path)
    changes = []
    for name, value in values.items():
        *parents, last = name.split(".")
        section: Any = document
        for parent in parents:
            if add:
                section.setdefault(parent, {})
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or (last not in section and not add):
            raise InputError(f"{path} has no {name}: it is no file of this study's parameters.")
        before: Any = section.get(last)
        if before != value or last not in section:
            changes.append(f"{name}: {before} -> {value}")
            section[last] = value
    if not changes:
        return []
    text = StringIO()
    yaml.dump(document, text)
    with files.whole_file(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
        if not add:
            parameters.load(partial)  # nothing is replaced by what can't be used
    return changes
