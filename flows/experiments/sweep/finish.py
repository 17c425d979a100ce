"""`scriptsight sweep --finish`: the best trials trained to the end, and measured on splits that no trial has seen.

Trials are short, and the best of many measured on the same validation split looks better than it is. So the best of
the front and the default are trained as params.yaml trains, and compared on the test splits; and what the sweep
promised too much is told (`curse`). Everything is an experiment with a folder of its own: interrupted, the same
command goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from flows import parameters
from flows.experiments import better, making, outcomes, runner
from flows.experiments.making import Entry
from flows.experiments.sweep import apply, curse, trial
from flows.experiments.sweep import study as studies
from flows.experiments.sweep.curse import Fall, Hits
from scriptsight import statistics
from scriptsight.errors import InputError
from scriptsight.segments import Segments

if TYPE_CHECKING:
    from flows.experiments.sweep.record import StudyRecord

MEASURED = ("probe/", "retrieve/")  # the figures that a test split can be asked for
FEWEST = 3  # trials that were not chosen, from which the mean fall of all can be told


@dataclass(frozen=True)
class Candidate:
    """What is trained to the end: a trial of the front, or the values with which the study began."""

    name: str
    values: dict[str, Any]
    trial: FrozenTrial | None  # None: the default is no trial


@dataclass(frozen=True)
class Standing:
    """A candidate by one figure: in the sweep, and on the test split after the full training."""

    candidate: Candidate
    figure: str
    in_sweep: float | None
    after: float | None
    low: float | None  # of the interval of `after`; None where the figure is no share of items
    high: float | None
    against: statistics.PairedComparison | None  # the default, None: it is the default, or no share of items
    p_value: float | None  # adjusted by Holm for all comparisons of the study


@dataclass(frozen=True)
class Luck:
    """The winner's curse by one figure, of the trial that is best and of all that were trained to the end."""

    figure: str
    trials: list[int]
    chosen: int
    before: dict[int, float]  # trial -> its share on the validation split
    after: dict[int, float]  # the same model's on the test split
    same: Fall
    again: Fall  # of the same parameters, learned from another seed
    several: Fall | None  # as `again`, of all that were trained to the end


@dataclass(frozen=True)
class Finished:
    """What came out."""

    standings: list[Standing]
    luck: list[Luck]
    notes: list[str] = field(default_factory=list)


class Finish:
    """The experiments that finish a study."""

    def __init__(self, settings: parameters.Params, study: optuna.Study, count: int, root: Path) -> None:
        """`root` is the folder of the study's trials.

        Raises:
            InputError: no trial can be chosen, or there is no split that the study has not seen.
        """
        apply.chosen(study, "best")  # or a message that says why there is none
        self.settings, self.study, self.root = settings, study, root
        self.ranked = apply.ranked(study)[:count]
        self.unseen = _unseen(settings)
        self.candidates = self._candidates()
        self.notes: list[str] = []
        self.complete = self._with_models()

    def waves(self) -> Iterator[list[Entry]]:
        """All of them: the short ones wait for no long one, and none for another."""
        yield [
            *(entry for one in self.candidates for entry in self.full(one)),
            *(self.again(one) for one in self.ranked),
            *(entry for one in self.complete for entry in (self.measured(one, "test"), self.measured(one, "val"))),
        ]

    def full(self, candidate: Candidate) -> list[Entry]:
        """The full trainings of a candidate, one a seed."""
        first = self.settings.pretrain.seed
        entries = []
        for seed in range(first, first + self.settings.sweep.finish_seeds):
            whole = studies.to_the_end(self.settings, candidate.values, seed)
            entries.append(self._entry(f"{candidate.name}-seed-{seed}", trial.work, _of(whole)))
        return entries

    def again(self, one: FrozenTrial) -> Entry:
        """A trial's parameters, learned as short as in the sweep from a seed that no trial and no candidate has."""
        short = studies.on_test(self.settings, studies.values_of(one))
        seed = short.pretrain.seed + max(1000, self.settings.sweep.finish_seeds)
        pretrain = short.pretrain.model_copy(update={"seed": seed})
        return self._entry(
            f"trial-{one.number}-again", trial.work, _of(short.model_copy(update={"pretrain": pretrain}))
        )

    def measured(self, one: FrozenTrial, split: str) -> Entry:
        """A trial's own model, on the split where it was chosen or on the test split."""
        of_trial = studies.on_test if split == "test" else studies.with_values
        chosen = _of(of_trial(self.settings, studies.values_of(one)))
        model = {"bundle": str((self._folder(one) / trial.MODEL).resolve()), "since": self._since(one)}
        return self._entry(f"trial-{one.number}-{split}", trial.measure, {**chosen, **model})

    def _entry(self, name: str, work: runner.Work, settings: dict[str, Any]) -> Entry:
        """In a folder of its own for other settings or data, so that nothing is replaced."""
        settings = {**settings, "segments": self.unseen}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return Entry(self.root / "finish" / f"{name}-{digest}", work, settings)

    def _candidates(self) -> list[Candidate]:
        """The default first."""
        begun = studies.default(self.study, self.settings)
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        own = next((one for one in done if one.params == begun), None)
        found = [Candidate("default", begun, own)]
        for one in self.ranked:
            if one.params != begun:
                found.append(Candidate(f"trial-{one.number}", studies.values_of(one), one))
        return found

    def _with_models(self) -> list[FrozenTrial]:
        """The complete trials whose models lie here."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        here = [one for one in done if self._is_here(one)]
        if len(here) < len(done):
            self.notes.append(
                f"The models of {len(done) - len(here)} of {len(done)} trials are not here (sweep.keep is "
                f"{self.settings.sweep.keep}, or another machine has them); the mean fall is that of the others."
            )
        return here

    def _is_here(self, one: FrozenTrial) -> bool:
        made = self._folder(one) / runner.SETTINGS
        there = (self._folder(one) / trial.MODEL).is_dir() and made.is_file()
        return there and runner.read(made).get("since") == self._since(one)

    def _folder(self, one: FrozenTrial) -> Path:
        return self.root / str(studies.first_number(one))

    def _since(self, one: FrozenTrial) -> str:
        return str(self.study.trials[studies.first_number(one)].datetime_start)

    # ------------------------------------------------------------------------------------ what came out

    def result(self) -> Finished:
        """Read what all experiments found."""
        luck, names = [], [name for name in self.study.metric_names or () if name.startswith(MEASURED)]
        others = [one for one in self.complete if one.number not in {chosen.number for chosen in self.ranked}]
        chosen_here = {one.number for one in self.complete} >= {one.number for one in self.ranked}
        if len(others) < FEWEST or not chosen_here:
            self.notes.append(
                f"How much of a fall is the winner's curse, and how much a harder split, takes the models of the "
                f"chosen trials and of {FEWEST} others, and here are {len(self.complete)} in all: begin a study with "
                "more trials, and with sweep.keep: all."
            )
        else:
            luck = [found for name in names if (found := self._luck(name))]
        return Finished(self._standings(), luck, self.notes)

    def _standings(self) -> list[Standing]:
        models = {one.name: self._trained(one) for one in self.candidates}
        figures = {one.name: _mean_figures(self.full(one)) for one in self.candidates}
        default = self.candidates[0]
        compared: dict[tuple[str, str], statistics.PairedComparison] = {}
        for one in self.candidates[1:]:
            for name in self.study.metric_names or ():
                if (figure := _outcome(name)) in models[default.name].figures:
                    answer = better.compare(models[default.name], models[one.name], figure)
                    compared[one.name, name] = answer.compared[figure]
        p_values = statistics.holm({" ".join(key): found.p_value for key, found in compared.items()})
        standings = []
        for place, name in enumerate(self.study.metric_names or ()):
            for one in self.candidates:
                low, high = _interval(models[one.name], _outcome(name))
                against = compared.get((one.name, name))
                in_sweep = one.trial.values[place] if one.trial else None
                p_value = p_values.get(f"{one.name} {name}")
                after = figures[one.name].get(name)
                standings.append(Standing(one, name, in_sweep, after, low, high, against, p_value))
        return standings

    def _trained(self, candidate: Candidate) -> outcomes.Model:
        """What the full trainings of a candidate get right. An item that several seeds answer is several items of one
        source, for only the seeds differ."""
        pooled = outcomes.Model(candidate.name, {})
        for entry, seed in zip(self.full(candidate), range(self.settings.sweep.finish_seeds), strict=True):
            read = _read(entry)
            for figure, hits in read.figures.items():
                pooled.figures.setdefault(figure, {}).update(
                    {(f"{item[0]}, seed {seed}", *item[1:]): hit for item, hit in hits.items()}
                )
            named = {(f"{item[0]}, seed {seed}", *item[1:]): name for item, name in read.recordings.items()}
            pooled.recordings.update(named)
        return pooled

    def _luck(self, name: str) -> Luck | None:
        """None: the figure is no share of items."""
        figure = _outcome(name)
        before = [_read(self.measured(one, "val")) for one in self.complete]
        after = [_read(self.measured(one, "test")) for one in self.complete]
        again = [_read(self.again(one)) for one in self.ranked]
        if figure not in before[0].figures:
            return None
        first, second = _hits(before, figure), _hits([*after, *again], figure)
        own, other = Hits(second.right[: len(after)], second.groups), second.right[len(after) :]
        numbers = [one.number for one in self.complete]
        rows = [numbers.index(one.number) for one in self.ranked]
        return Luck(
            figure=name,
            trials=numbers,
            chosen=self.ranked[0].number,
            before=dict(zip(numbers, first.right.mean(1).tolist(), strict=True)),
            after=dict(zip(numbers, own.right.mean(1).tolist(), strict=True)),
            same=curse.fall(rows[:1], first, own),
            again=curse.fall(rows[:1], first, own, other[:1]),
            several=curse.fall(rows, first, own, other) if len(rows) > 1 else None,
        )


def run(finish: Finish, record: StudyRecord) -> Finished:
    """Make what is missing, and say what came out."""
    making.make("finish", finish.waves(), finish.root, finish.settings.sweep.workers)
    for entry in (entry for wave in finish.waves() for entry in wave):
        trial.tidy(entry.folder, (trial.BEST, trial.CHECKPOINTS))
    _record(finish, record)
    return finish.result()


def _record(finish: Finish, record: StudyRecord) -> None:
    """A nested run of MLflow for each full training that has none yet."""
    known = finish.study.user_attrs.get("finished", {})
    for one in finish.candidates:
        for entry in finish.full(one):
            if entry.folder.name in known:
                continue
            params = {"pretrain": entry.settings["pretrain"]}
            run_id = record.begin_finish(one.name, entry.folder.name, params)
            if run_id:
                figures = runner.read(entry.folder / runner.RESULT)
                record.metrics(run_id, {name: value for name, value in figures.items() if value is not None})
                record.end(run_id, "FINISHED")
                known = {**known, entry.folder.name: run_id}
    finish.study.set_user_attr("finished", known)


def _of(params: parameters.Params) -> dict[str, Any]:
    return params.model_dump(mode="json", include={"pretrain", "probe", "retrieve"})


def _unseen(settings: parameters.Params) -> str:
    """The digest of the splits that candidates are measured on.

    Raises:
        InputError: the study was tuned on one of them, or it is not there.
    """
    measured = studies.on_test(settings, {})
    if measured.retrieve.split == "val":
        raise InputError(
            "retrieve.split is val, on which the study chose its trials: name a split that it has not seen, as test."
        )
    folder = Path("data/segments")
    Segments(folder, measured.retrieve.collection, measured.retrieve.split)
    for test in list(measured.probe.tests.values())[:1]:
        for name in test.collections:
            Segments(folder, name, test.test_split)
    return studies.segments_digest(measured, ("train", "val"))


def _outcome(name: str) -> str:
    """A figure of a trial by its name in tables of outcomes."""
    return name.partition("/")[2] if name.startswith(MEASURED) else name


def _read(entry: Entry) -> outcomes.Model:
    return outcomes.read(entry.folder / trial.OUTCOMES, entry.folder.name)


def _mean_figures(entries: list[Entry]) -> dict[str, float]:
    found = [runner.read(entry.folder / runner.RESULT) for entry in entries]
    return {
        name: float(np.mean([one[name] for one in found])) for name in found[0] if all(name in one for one in found)
    }


def _interval(model: outcomes.Model, figure: str) -> tuple[float | None, float | None]:
    if figure not in model.figures:
        return None, None
    hits = _hits([model], figure)
    return statistics.interval(hits.right[0], hits.groups)


def _hits(models: list[outcomes.Model], figure: str) -> Hits:
    """What models get right of the same items.

    Raises:
        InputError: they were not asked the same.
    """
    items = sorted(models[0].figures[figure])
    for model in models[1:]:
        if model.figures[figure].keys() != models[0].figures[figure].keys():
            raise InputError(
                f"{model.name} and {models[0].name} were not measured on the same items by {figure}: remove their "
                "folders below .sweeps, and finish the study again."
            )
    recordings: dict[outcomes.Item, str] = {}
    for model in models:
        recordings |= model.recordings
    sources = [outcomes.source(item, recordings) for item in items]
    right = np.array([[model.figures[figure][item] for item in items] for model in models])
    return Hits(right, np.unique(sources, return_inverse=True)[1])
