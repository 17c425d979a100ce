"""The whole of params.yaml, typed: the sections of the stages, and those of the flows alone (registry, sweep)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from scriptsight.errors import InputError
from scriptsight.params import reading
from scriptsight.params.base import MACHINE, Count, Name, Positive, Section, Seed
from scriptsight.params.ingest import IngestParams
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.probe import ProbeParams
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.params.segment import SegmentParams

# Keys that DVC's run-cache leaves out, at any depth: with another value below one of them it would bring back what
# was made with the old one.
UNSEEN = ("size", "nfiles")


class RegistryParams(Section):
    """MLflow's registry of models, which keeps those that learned something; the best of them is its `champion`."""

    enabled: bool
    name: Name | None  # of the registered model; null: scriptsight, in a workspace scriptsight-FOLDER
    metric: str  # the figure of the probe (`linear_top1`) or of retrieval (`t2v/r1`) that decides which is better


class IntRange(Section):
    """Whole numbers from `low` to `high`, both included."""

    kind: Literal["int"]
    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> IntRange:
        _check_range(self)
        return self


class FloatRange(Section):
    """Numbers from `low` to `high`; with `log` drawn evenly over their logarithm."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        _check_range(self)
        return self


class Choices(Section):
    """One of some values."""

    kind: Literal["choice"]
    values: tuple[str | int | float | bool | None, ...] = Field(strict=False, min_length=1)


def _check_range(given: Any) -> None:
    if given.low > given.high:
        raise ValueError(f"low {given.low} is over high {given.high}")
    if given.log and given.low <= 0:
        raise ValueError(f"log needs numbers over 0, and low is {given.low}")


Range = Annotated[IntRange | FloatRange | Choices, Field(discriminator="kind")]
Direction = Literal["maximize", "minimize"]


class Prune(Section):
    """End a trial that does worse at a validation than the median of earlier trials did at the same step."""

    figure: Annotated[str, Field(pattern="^pretrain/")]  # one of validation's; the higher the better
    startup_trials: Annotated[int, Field(ge=0)]  # complete trials before any is pruned
    warmup_steps: Annotated[int, Field(ge=0)]  # optimizer steps in which none is pruned


class Bound(Section):
    """What a figure of a trial has to keep to; a trial that does not is infeasible, and never the best."""

    least: float | None = None
    most: float | None = None

    @model_validator(mode="after")
    def _bounds(self) -> Bound:
        if self.least is None and self.most is None:
            raise ValueError("name least, most, or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least {self.least} is over most {self.most}: no trial can keep both")
        return self


Figure = Annotated[str, Field(pattern=r"^(pretrain|probe|retrieve|speed|seconds)/[\w/]+$")]


class SweepParams(Section):
    """A study: many short trainings whose parameters are drawn, each measured on validation splits."""

    study: Name  # another name is another study
    storage: str  # a database address without a password; SCRIPTSIGHT_SWEEP_STORAGE comes first
    # Figures of a trial, pretrain/..., probe/..., retrieve/..., speed/... or seconds/... (seconds/steps is what its
    # steps cost, interruptions and validation not counted); with two or three there is a Pareto front.
    objectives: dict[Figure, Direction] = Field(min_length=1, max_length=3)
    constraints: dict[Figure, Bound]  # figures of a trial that have a limit: {seconds/steps: {most: 300}}
    space: dict[Annotated[str, Field(pattern=r"^pretrain\.[\w.-]+$")], Range] = Field(min_length=1)
    overrides: dict[Literal["pretrain", "probe", "retrieve"], dict[str, Any]]  # what all trials have
    n_trials: Count  # of the study, however often it is begun
    workers: Count  # trials at a time, of this command
    seed: Seed
    sampler: Literal["tpe", "nsga2", "random", "qmc"]  # nsga2, a genetic algorithm, for hundreds of trials
    startup_trials: Annotated[int, Field(ge=0)]  # drawn at random before tpe learns from them
    population: Annotated[int, Field(ge=2)]  # trials of a generation of nsga2; the first is drawn at random
    prune: Prune | None
    trial_seconds: Positive  # a trial that takes longer has failed
    heartbeat_seconds: Count  # a trial that is silent for three of these has lost its worker
    retries: Annotated[int, Field(ge=0)]  # of a trial that lost its worker
    keep: Literal["front", "all"]  # whose models stay; --finish tells the winner's curse from all of them
    finish: Count  # trials of the front that `--finish` without a number trains to the end
    finish_seeds: Count  # full trainings of each of these, and of the default

    @model_validator(mode="after")
    def _prunable(self) -> SweepParams:
        if self.prune and len(self.objectives) > 1:
            raise ValueError(
                "prune needs one objective: of several, which trial is worse is not settled. Set it to null"
            )
        return self

    @model_validator(mode="after")
    def _no_secret(self) -> SweepParams:
        if urlsplit(self.storage).password or "password=" in self.storage:
            raise ValueError("storage holds a password: put the address into SCRIPTSIGHT_SWEEP_STORAGE instead")
        return self


class Params(Section):
    """The whole of params.yaml."""

    ingest: IngestParams
    segment: SegmentParams
    pretrain: PretrainParams
    probe: ProbeParams
    retrieve: RetrieveParams
    registry: RegistryParams
    sweep: SweepParams

    @model_validator(mode="after")
    def _collections_exist(self) -> Params:
        named = [("pretrain.collections", name) for name in self.pretrain.collections]
        named += [
            (f"probe.tests.{test}.collections", name)
            for test, labelled in self.probe.tests.items()
            for name in labelled.collections
        ]
        named += [("retrieve.collection", self.retrieve.collection)]
        named += [("retrieve.more_collections", name) for name in self.retrieve.more_collections]
        for key, name in named:
            if name not in self.ingest.collections:
                known = ", ".join(self.ingest.collections)
                raise ValueError(f"{key} names {name!r}, which ingest.collections lacks (it has: {known})")
        if self.pretrain.image_size > self.segment.short_side:
            raise ValueError(
                f"pretrain.image_size {self.pretrain.image_size} is over segment.short_side "
                f"{self.segment.short_side}: stored frames would only be blown up"
            )
        return self

    @model_validator(mode="after")
    def _swept_exist(self) -> Params:
        values = self.model_dump(include={"pretrain"})
        for name in self.sweep.space:
            here: Any = values
            for part in name.split("."):
                if not isinstance(here, dict) or part not in here:
                    new = PretrainParams.RENAMED.get(name.removeprefix("pretrain."))
                    remedy = f"it is called pretrain.{new} now" if new else "there is no such parameter"
                    raise ValueError(f"sweep.space names {name!r}: {remedy}")
                here = here[part]
        return self

    @model_validator(mode="after")
    def _seen_by_dvc(self) -> Params:
        for place, names in (
            ("ingest.collections", self.ingest.collections),
            ("pretrain.collections", self.pretrain.collections),
            ("probe.tests", self.probe.tests),
        ):
            if hidden := next((name for name in UNSEEN if name in names), None):
                raise ValueError(f"{place}.{hidden}: DVC heeds no change below this name: choose another one")
        for test, labelled in self.probe.tests.items():
            if hidden := next((label for label in UNSEEN if label in labelled.texts), None):
                raise ValueError(
                    f"probe.tests.{test}.texts.{hidden}: DVC heeds no change of this class's text: leave it out, and "
                    "its label is its text"
                )
        return self


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameters file.

    Raises:
        InputError: the file is missing or no YAML, or a key is unknown, missing or mistyped; the message
            names the key, its section and the allowed values.
    """
    return build(reading.read_yaml(path), str(path))


def build(values: Mapping[str, Any], source: str = "params") -> Params:
    """Build the typed parameters from plain values; `source` is named in errors.

    What is written in which order counts for nothing: DVC does not see it, and would take other results for the same.
    """
    return reading.validate(Params, _in_order(values, source), source)


# How models are told apart where there are no labelled clips.
UNLABELLED: dict[str, Any] = {
    "registry": {"metric": "t2v/r1"},
    "sweep": {"objectives": {"retrieve/t2v/r1": "maximize"}},
}


def laid_over(defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a workspace: the project's, with its overrides laid over them.

    What the project's say of collections that the workspace lacks is not expected of it. Unless the overrides say
    otherwise, what has transcripts is learned from then, the first of it is searched, and there is no labelled test.
    """
    fitting = reading.merge(defaults, _fitting(defaults, overrides))
    if not _within(reading.merge(fitting, overrides), "probe", "tests"):
        fitting = reading.merge(fitting, UNLABELLED)
    return reading.merge(fitting, overrides)


def _fitting(defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What takes the place of the defaults that name collections which the overrides have not."""
    here = _within(overrides, "ingest", "collections")
    if not isinstance(here, Mapping):
        return {}
    tests = defaults["probe"]["tests"].items()
    kept = {name: test for name, test in tests if all(one in here for one in test["collections"])}
    found: dict[str, Any] = {"probe": {"tests": kept}}
    named = _within(overrides, "pretrain", "collections")
    spoken = [name for name, one in here.items() if _has_transcripts(one)]
    learned = sorted(named if isinstance(named, Mapping) else spoken, key=str)
    if learned and not all(name in here for name in defaults["pretrain"]["collections"]):
        found["pretrain"] = {"collections": {name: {} for name in learned}}
    if defaults["retrieve"]["collection"] not in here:
        found["retrieve"] = {"queries": [], **({"collection": learned[0]} if learned else {})}
    return found


def _has_transcripts(collection: Any) -> bool:
    """Whether a collection, as it is written, has words with times; of labelled clips that is not expected."""
    if not isinstance(collection, Mapping):
        return False
    kind = collection.get("kind")
    if kind == "world":
        return collection.get("content") == "narrated"
    spoken = ("folder", "webdataset", "yt_dlp", "howto100m", "yt_temporal")
    return kind in spoken and not collection.get("labels")


def _in_order(values: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The same, with the tables whose first entry has a meaning in the order of their names, and patterns of files
    from the narrowest to the widest.

    Raises:
        InputError: a pattern stands behind a wider one, which a person who wrote it may mean to come first.
    """
    ordered = dict(values)
    for section, key in (("pretrain", "collections"), ("probe", "tests")):
        if isinstance(table := _within(values, section, key), Mapping):
            ordered[section] = {**values[section], key: dict(sorted(table.items(), key=lambda one: str(one[0])))}
    collections = _within(values, "ingest", "collections")
    for name, collection in collections.items() if isinstance(collections, Mapping) else ():
        patterns = _within({"": collection}, "", "splits")
        if isinstance(patterns, Mapping):
            named = [str(pattern) for pattern in patterns]
            narrow = sorted(named, key=lambda pattern: (-_letters(pattern), pattern))
            if [_letters(one) for one in named] != [_letters(one) for one in narrow]:
                raise InputError(
                    f"{source}: the patterns of ingest.collections.{name}.splits must go from the narrowest to the "
                    f"widest, for DVC does not see their order: {', '.join(narrow)}."
                )
            own = {**collection, "splits": {pattern: patterns[pattern] for pattern in narrow if pattern in patterns}}
            collections = {**collections, name: own}
            ordered["ingest"] = {**values["ingest"], "collections": collections}
    return ordered


def _within(values: Mapping[str, Any], section: str, key: str) -> Any:
    inner = values.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


def _letters(pattern: str) -> int:
    """How narrow a pattern of file names is: its characters that stand for themselves."""
    return len(re.sub(r"\[[^]]*\]|[*?]", "", pattern))


def of_results(section: type[Section], prefix: str) -> list[str]:
    """The keys of a section that change what comes out, as dvc.yaml names them: a section without settings of the
    machine as a whole, else one by one.

    What may be null or is chosen by its `kind` is named as a whole all the same: DVC stops where a key that it is to
    watch is missing, and such a section has these keys now and others tomorrow.
    """
    fields = {f"{prefix}.{name}": field for name, field in section.model_fields.items()}
    named: list[str] = []
    for key, field in fields.items():
        if MACHINE not in field.metadata:
            named += of_results(field.annotation, key) if _plain(field.annotation) else [key]
    return [prefix] if named == list(fields) else named


def _plain(annotation: Any) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def of_machine(values: Section, prefix: str = "") -> Iterator[str]:
    """The keys that are settings of the machine in a section as it was loaded, sections within it included:
    `pretrain.engine.threads`."""
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if MACHINE in field.metadata:
            yield f"{prefix}{name}"
        elif isinstance(value, Section):
            yield from of_machine(value, f"{prefix}{name}.")
