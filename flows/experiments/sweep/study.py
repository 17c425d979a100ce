"""The study in Optuna: one database for any number of machines; what to try next, and what was lost."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeatThread, get_heartbeat_thread
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from flows import parameters
from flows.names import flat
from flows.running import databases
from scriptsight.errors import InputError
from scriptsight.params import reading
from scriptsight.redaction import LONGEST_VALUE, redacted
from scriptsight.segments import Segments

ADDRESS = "SCRIPTSIGHT_SWEEP_STORAGE"  # the variable that may hold a password
SILENT = 3  # heartbeats that a worker may miss
TRIES = 5  # to make the tables of a database in which other machines make them too
DIGITS = 3  # of a drawn number, so that it reads well in params.yaml
Given = parameters.IntRange | parameters.FloatRange | parameters.Choices
OF_ONE = ("reason", "seconds", "figures", "run")  # what is known of an attempt alone, and not of its repetition

# A heartbeat without Study.optimize is what this package beats itself; the other is said of every use of retries.
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)


class ByNumber(BaseSampler):
    """A sampler made anew for each trial, seeded by its number: a study that goes on, here or elsewhere, draws what
    it would have drawn and never the same twice."""

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._own = make(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._own = self._make(trial.number)
        self._own.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._own.after_trial(study, trial, state, values)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._own.sample_independent(study, trial, param_name, param_distribution)


def open_study(settings: parameters.Params, segments: Path = Path("data/segments")) -> optuna.Study:
    """The study that `settings.sweep` names, begun with the parameters of params.yaml as its first trial.

    Raises:
        InputError: the database can't be used, or the study was begun with other parameters or data.
    """
    sweep = settings.sweep
    begun_with = _fixed(settings, segments)
    try:
        study = _open(sweep, settings, begun_with)
    except InputError:
        raise
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        reason = redacted(error)[:LONGEST_VALUE].partition("\n")[0]
        raise InputError(
            f"The study's database {redacted(address(sweep))} can't be used ({reason}): correct sweep.storage, or "
            f"{ADDRESS} where it is set."
        ) from None
    before = json.loads(study.user_attrs.get("begun_with") or json.dumps(begun_with))
    if isinstance(before.get("sweep.objectives"), dict):  # as an earlier version wrote them
        before["sweep.objectives"] = [list(pair) for pair in before["sweep.objectives"].items()]
    if differing := sorted(key for key in before | begun_with if before.get(key) != begun_with.get(key)):
        raise InputError(
            f"The study {sweep.study!r} was begun with other values of {', '.join(differing[:5])}"
            f"{' and more' if len(differing) > 5 else ''}: its trials can't be compared with new ones. Name another "
            "study in sweep.study, or undo the change."
        )
    return study


def _open(sweep: parameters.SweepParams, settings: parameters.Params, begun_with: Mapping[str, Any]) -> optuna.Study:
    where = address(sweep)
    _ensure_database(where)
    storage = _storage(sweep, where)
    rest: Any = {"sampler": ByNumber(lambda number: _sampler(sweep, number)), "pruner": _pruner(sweep.prune)}
    try:
        study = optuna.create_study(
            storage=storage, study_name=sweep.study, directions=list(sweep.objectives.values()), **rest
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=sweep.study, storage=storage, **rest)
        for _ in range(TRIES):
            if "begun_with" in study.user_attrs:
                return study
            time.sleep(1)  # another machine makes it at this moment, or was killed while it did
    _begin(study, settings, begun_with)
    return study


def _begin(study: optuna.Study, settings: parameters.Params, begun_with: Mapping[str, Any]) -> None:
    """Write what a study has from its beginning; `begun_with` comes last, and says that the rest is there."""
    study.set_metric_names(list(settings.sweep.objectives))
    values = flat(settings.pretrain.model_dump(mode="json"), ".", "pretrain.")
    current = {name: values.get(name) for name in settings.sweep.space}
    if all(_holds(given, current[name]) for name, given in settings.sweep.space.items()):
        study.enqueue_trial(current, skip_if_exists=True)
    study.set_user_attr("default", current)
    study.set_user_attr("begun_with", json.dumps(begun_with))


def _storage(sweep: parameters.SweepParams, where: str) -> RDBStorage:
    """The study's database, with its tables. Of machines that begin at once with an empty database, one makes these,
    and the others fail to and find them there a moment later."""
    for more in reversed(range(TRIES)):
        try:
            return RDBStorage(
                where,
                heartbeat_interval=sweep.heartbeat_seconds,
                grace_period=SILENT * sweep.heartbeat_seconds,
                heartbeat_stale_trial_callback=lambda study, trial: repeat(study, trial, sweep),
            )
        except (IntegrityError, ProgrammingError):  # a type or table that is there after all
            if not more:
                raise
            time.sleep(1)
    raise AssertionError("unreachable")


def _ensure_database(where: str) -> None:
    """Make the study's database where it is a file that is not there yet, or bring it up to date.

    Raises:
        InputError: it is damaged, or can't be made.
    """
    path = databases.file_of(where)
    if path is not None:
        databases.ensure(path, kind())


def kind() -> databases.Kind:
    """Whose tables a study's database has."""
    tables = frozenset({"studies", "trials", "trial_params", "trial_values", "version_info"})
    versions = databases.versions_of("optuna", "storages/_rdb/alembic/versions")
    return databases.Kind("Optuna", versions, tables, ("trials", "trials"), _bring_up_to_date)


def _bring_up_to_date(path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{path}", skip_compatibility_check=True)
    try:
        storage.upgrade()
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _holds(given: Given, value: Any) -> bool:
    """Whether the value lies in the range."""
    if isinstance(given, parameters.Choices):
        return value in given.values
    return isinstance(value, int | float) and given.low <= value <= given.high


def address(sweep: parameters.SweepParams) -> str:
    """Where the study lies: the environment's address, which may hold a password, or that of params.yaml."""
    return os.environ.get(ADDRESS) or sweep.storage


def _fixed(settings: parameters.Params, segments: Path) -> dict[str, Any]:
    """What has to be the same for all trials of a study: parameters that aren't drawn, and the data."""
    base = with_values(settings, {})
    found = flat(
        {name: getattr(base, name).model_dump(mode="json") for name in ("pretrain", "probe", "retrieve")}, "."
    )
    found = {name: value for name, value in found.items() if not name.startswith("pretrain.engine.")}
    for name, given in settings.sweep.space.items():
        for swept in [key for key in found if key == name or key.startswith(f"{name}.")]:
            del found[swept]
        found[f"sweep.space.{name}"] = given.model_dump(mode="json")
    found["sweep.objectives"] = list(settings.sweep.objectives.items())  # the first one has a meaning
    for name, bound in settings.sweep.constraints.items():
        found[f"sweep.constraints.{name}"] = bound.model_dump(mode="json")
    found["the segments"] = segments_digest(base, ("train", "val"), segments)
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def segments_digest(
    settings: parameters.Params, splits: Sequence[str], segments: Path = Path("data/segments")
) -> str:
    """What is learned from and measured on, as one digest: of pretrain `splits`, and those that the first test of
    the probe and retrieve name."""
    wanted = [(name, split) for name in settings.pretrain.collections for split in splits]
    wanted += [(settings.retrieve.collection, settings.retrieve.split)]
    for measured in list(settings.probe.tests.values())[:1]:
        wanted += [
            (name, split) for name in measured.collections for split in (measured.train_split, measured.test_split)
        ]
    total = hashlib.sha256()
    for collection, split in wanted:
        if (segments / collection / split).is_dir() or split == "train":
            total.update(Segments(segments, collection, split).digest().encode())
    return total.hexdigest()


def default(study: optuna.Study, settings: parameters.Params) -> dict[str, Any]:
    """The values with which params.yaml began the study; of studies of earlier versions, those it has now."""
    values = flat(settings.pretrain.model_dump(mode="json"), ".", "pretrain.")
    begun: dict[str, Any] = study.user_attrs.get("default") or {
        name: values.get(name) for name in settings.sweep.space
    }
    return begun


def _sampler(sweep: parameters.SweepParams, number: int) -> BaseSampler:
    if sweep.sampler == "qmc":  # one sequence, of which the study keeps the place: its seed stays
        return QMCSampler(seed=sweep.seed, scramble=True, warn_independent_sampling=False)
    seed = sweep.seed * 1_000_003 + number
    if sweep.sampler == "random":
        return RandomSampler(seed=seed)
    if sweep.sampler == "nsga2":  # its generations are kept in the study
        return NSGAIISampler(population_size=sweep.population, seed=seed)
    return TPESampler(n_startup_trials=sweep.startup_trials, seed=seed)


def _pruner(prune: parameters.Prune | None) -> optuna.pruners.BasePruner:
    if prune is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(prune.startup_trials, prune.warmup_steps)


# ----------------------------------------------------------------------------------------------- trials


def ask(study: optuna.Study, sweep: parameters.SweepParams) -> Trial | None:
    """The next trial, running from now on: a repetition first, then a new one; None where nothing is left to begin.

    Trials of other workers may still be running, and turn out to be lost: ask again until `unfinished` is 0.
    """
    optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    if not waiting and len(originals(trials)) >= sweep.n_trials:
        return None
    trial = study.ask()
    with beating(study, trial):
        place = [other.number for other in originals(study.get_trials(deepcopy=False))]
        if trial.number in place[sweep.n_trials :]:  # machines that ask at once may draw one too many
            study.tell(trial, state=TrialState.FAIL)
            return None
        for name, given in sweep.space.items():
            _suggest(trial, name, given)
    return trial


def _suggest(trial: Trial, name: str, given: Given) -> None:
    if isinstance(given, parameters.Choices):
        trial.suggest_categorical(name, given.values)
    elif isinstance(given, parameters.IntRange):
        trial.suggest_int(name, given.low, given.high, log=given.log)
    else:
        trial.suggest_float(name, given.low, given.high, log=given.log)


def beating(study: optuna.Study, trial: Trial) -> BaseHeartbeatThread:
    """A context in which Optuna's own thread says, at once and every `sweep.heartbeat_seconds`, that the trial's
    worker is alive. Study.optimize would start it by itself, but leaves no room for a task run a trial: this is the
    one place that reaches for what Optuna keeps private."""
    return get_heartbeat_thread(trial._trial_id, study._storage)


def bounded(trial: Trial, sweep: parameters.SweepParams, figures: Mapping[str, float]) -> None:
    """Have Optuna know how far the trial is over each limit of `sweep.constraints`; 0 and less is within it."""
    for name, bound in sweep.constraints.items():
        if bound.least is not None:
            trial.set_constraint(f"{name} at least {bound.least:g}", bound.least - figures[name])
        if bound.most is not None:
            trial.set_constraint(f"{name} at most {bound.most:g}", figures[name] - bound.most)


def broken(trial: FrozenTrial) -> list[str]:
    """The limits that a complete trial is over, and by how much; none of a feasible one."""
    return [f"{limit} is missed by {over:.3g}" for limit, over in trial.constraints.items() if over > 0]


def originals(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Without those that repeat a lost one: what `n_trials` counts."""
    return [trial for trial in trials if RetryHeartbeatStaleTrialCallback.retried_trial_number(trial) is None]


def unfinished(study: optuna.Study) -> int:
    """How many trials run or wait."""
    return sum(not trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def first_number(trial: FrozenTrial) -> int:
    """The number of the trial that this one repeats, or its own: they share a folder and its checkpoints."""
    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else int(number)


def before(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial | None:
    """The attempt that this one repeats, the last if there were several."""
    history = RetryHeartbeatStaleTrialCallback.retry_history(trial)
    return study.trials[history[-1]] if history else None


def repeat(study: optuna.Study, trial: FrozenTrial, sweep: parameters.SweepParams, *, counted: bool = True) -> None:
    """Have a lost trial run again, with its values and from its last checkpoint, `sweep.retries` times at most."""
    trial.user_attrs = {name: value for name, value in trial.user_attrs.items() if name not in OF_ONE}
    if not counted:  # whoever stops a study may do so any number of times
        trial.user_attrs["stopped"] = trial.user_attrs.get("stopped", 0) + 1
    most = sweep.retries + int(trial.user_attrs.get("stopped", 0))
    RetryHeartbeatStaleTrialCallback(max_retry=most)(study, trial)


# ----------------------------------------------------------------------------------------------- values


def values_of(trial: FrozenTrial | Trial) -> dict[str, Any]:
    """What was drawn, by the names of params.yaml, as it is used: numbers have three digits."""
    drawn = {name for name, given in trial.distributions.items() if isinstance(given, FloatDistribution)}
    return {name: float(f"{value:.{DIGITS}g}") if name in drawn else value for name, value in trial.params.items()}


def with_values(settings: parameters.Params, values: Mapping[str, Any]) -> parameters.Params:
    """The parameters of a trial: those of params.yaml, `sweep.overrides` and what was drawn; measured on the
    validation splits.

    Raises:
        InputError: they don't fit together.
    """
    return _on_validation(on_test(settings, values))


def on_test(settings: parameters.Params, values: Mapping[str, Any]) -> parameters.Params:
    """As `with_values`, but measured where params.yaml measures.

    Raises:
        InputError: they don't fit together.
    """
    return _merged(settings, values, {str(section): given for section, given in settings.sweep.overrides.items()})


def to_the_end(settings: parameters.Params, values: Mapping[str, Any], seed: int) -> parameters.Params:
    """What a trial's values come to in params.yaml: trained as that says, not as short as trials are. It is measured
    as trials are, where params.yaml measures, and trained by as many threads, as trainings share the machine.

    Raises:
        InputError: they don't fit together.
    """
    overrides: dict[str, Any] = {str(section): given for section, given in settings.sweep.overrides.items()}
    trained = overrides.pop("pretrain", {})
    if "engine" in trained:
        overrides["pretrain"] = {"engine": trained["engine"]}
    whole = _merged(settings, values, overrides)
    return whole.model_copy(update={"pretrain": whole.pretrain.model_copy(update={"seed": seed})})


def _merged(
    settings: parameters.Params, values: Mapping[str, Any], overrides: Mapping[str, Any]
) -> parameters.Params:
    merged = reading.merge(settings.model_dump(mode="json"), overrides)
    for name, value in values.items():
        *path, last = name.split(".")
        section: Any = merged
        for part in path:
            section = section[part]
        section[last] = value
    return parameters.build(merged, "sweep.overrides, with what was drawn,")


def _on_validation(settings: parameters.Params) -> parameters.Params:
    """The same, with nothing measured on a split that figures are reported on.

    Raises:
        InputError: a test of the probe is reported on validation, as SSv2's is.
    """
    for name, test in settings.probe.tests.items():
        if test.test_split == "val":
            raise InputError(
                f"probe.tests.{name} reports on the validation split, which a sweep tunes on: make the dataset's "
                "validation file the collection's split `test`, and give it a val_share of its training videos."
            )
    tests = {name: test.model_copy(update={"test_split": "val"}) for name, test in settings.probe.tests.items()}
    return settings.model_copy(
        update={
            "probe": settings.probe.model_copy(update={"tests": tests}),
            "retrieve": settings.retrieve.model_copy(update={"split": "val"}),
        }
    )


def maximised(study: optuna.Study) -> list[bool]:
    """Which objectives are the better the higher."""
    return [direction == StudyDirection.MAXIMIZE for direction in study.directions]
