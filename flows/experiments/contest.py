"""Who takes part in a comparison: worlds, objectives, budgets and seeds, and the experiments that they take."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.experiments import entries, runner
from flows.experiments.making import Entry
from scriptsight.params import reading

REFERENCE, UNTRAINED = "tvts", "untrained"
STEPS, SECONDS = "steps", "seconds"  # the two budgets
CLIPS = ("slow", "loop")  # see scriptsight.ingest.world
# docs/compare.md was made with it, for every objective alike.
OPTIMIZER: dict[str, Any] = {
    "kind": "adamw",
    "lr": 1e-3,
    "text_lr": None,
    "weight_decay": 0.05,
    "betas": [0.9, 0.98],
    "clip_norm": 1.0,
}
# What makes no difference to the figures of retrieval must make none to whether they are there.
NO_INDEX: dict[str, Any] = {"index_splits": ["test"], "more_collections": [], "map_points": 0, "queries": []}


@dataclass(frozen=True)
class Preset:
    """How much is compared. `worlds` have the steps of a training; `films` are the narrated world's of train, val and
    test, `clips` those of each probe's train and test."""

    worlds: Mapping[str, int]
    objectives: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    films: tuple[int, int, int]
    clips: tuple[int, int]

    @property
    def trainings(self) -> int:
        """How many there are; those of the reference serve in both budgets."""
        return len(self.worlds) * len(self.seeds) * (1 + len(self.budgets) * (len(self.objectives) - 1))


PRESETS = {
    "quick": Preset(
        worlds={"undo": 1000},
        objectives=(REFERENCE, "contrastive", "cpd", "masked_pixels"),
        budgets=(STEPS,),
        seeds=(0,),
        films=(104, 6, 12),
        clips=(1000, 500),
    ),
    "full": Preset(
        worlds={"undo": 2400, "independent": 800},
        objectives=(REFERENCE, "contrastive", "cpd", "masked_pixels", "frame_order", "joint"),
        budgets=(STEPS, SECONDS),
        seeds=(0, 1, 2),
        films=(208, 12, 12),
        clips=(1500, 750),
    ),
}


@dataclass(frozen=True)
class Run:
    """One training."""

    world: str
    seed: int
    objective: str
    budget: str

    def folder(self, root: Path) -> Path:
        """Where it lies, beside the films that it is trained on."""
        return root / f"{self.world}-{self.seed}" / f"{self.objective}-{self.budget}"

    def measured(self, root: Path) -> Path:
        """Where what it is worth lies."""
        folder = self.folder(root)
        return folder.with_name(f"{folder.name}-measured")


@dataclass(frozen=True)
class ObjectiveComparison:
    """The entries of a preset below `root`."""

    preset: Preset
    root: Path
    base: dict[str, Any]  # params.yaml

    def waves(self) -> Iterator[list[Entry]]:
        """Entries that may be made at the same time; a wave needs those before it to be there."""
        preset = self.preset
        for number, (world, steps) in enumerate(preset.worlds.items()):
            pools = [self._films(world, seed) for seed in preset.seeds]
            yield pools + ([self._clips(seed) for seed in preset.seeds] if number == 0 else [])
            same_steps = self.runs(world, STEPS)
            yield [self._training(run, steps) for run in same_steps]
            untrained = [Run(world, seed, UNTRAINED, STEPS) for seed in preset.seeds]
            yield [self._untrained(run) for run in untrained]
            yield self._measurements([*untrained, *same_steps])
            if SECONDS in preset.budgets:
                cost = self._cost()
                same_seconds = [run for run in self.runs(world, SECONDS) if run.objective != REFERENCE]
                yield [self._training(run, round(steps / cost[run.objective])) for run in same_seconds]
                yield self._measurements(same_seconds)

    def runs(self, world: str, budget: str) -> list[Run]:
        """All trainings on a world within a budget, seed by seed."""
        names = self.preset.objectives
        return [Run(world, seed, name, budget) for seed in self.preset.seeds for name in names]

    def _films(self, world: str, seed: int) -> Entry:
        videos = dict(zip(("train", "val", "test"), self.preset.films, strict=True))
        changes = {"undo": world == "undo", "seed": 100 + seed, "videos": videos}
        narrated = self.base["ingest"]["collections"]["narrated"] | changes
        return self._pool(self.root / f"{world}-{seed}" / "films", {"narrated": narrated})

    def _clips(self, seed: int) -> Entry:
        train, test = self.preset.clips
        clips = {"kind": "world", "seed": 200 + seed, "videos": {"train": train, "val": 0, "test": test}}
        return self._pool(self.root / f"clips-{seed}", {name: clips | {"content": name} for name in CLIPS})

    def _pool(self, folder: Path, collections: dict[str, Any]) -> Entry:
        one: dict[str, Any] = {"workers": 1}  # several pools are made at once
        ingest = self.base["ingest"] | {"collections": collections} | one
        return Entry(folder, entries.pool, {"ingest": ingest, "segment": self.base["segment"] | one})

    def _training(self, run: Run, steps: int) -> Entry:
        changes = {
            "seed": run.seed,
            "objective": run.objective,
            "joint": {"objectives": {"tvts": 1.0, "cpd": 1.0}},
            "optimizer": OPTIMIZER,
            "steps": steps,
            "validate_every": max(1, steps // 4),
            "engine": {"threads": 1},  # trainings share the machine
        }
        settings = {"segments": "../films/data/segments", "pretrain": reading.merge(self.base["pretrain"], changes)}
        return Entry(run.folder(self.root), entries.training, settings)

    def _untrained(self, run: Run) -> Entry:
        trained = Run(run.world, run.seed, REFERENCE, STEPS)
        like = f"../{trained.folder(self.root).name}/models/pretrained"
        return Entry(run.folder(self.root), entries.untrained, {"like": like, "seed": 1000 + run.seed})

    def _measurements(self, runs: Iterable[Run]) -> list[Entry]:
        """Linear probe and video-to-video recall on both kinds of clips, and text-to-video recall on the films."""
        tests = {name: {"collections": [name]} for name in CLIPS}
        settings = {
            "films": "../films/data",
            "probe": self.base["probe"] | {"tests": tests, "protocols": ["linear", "video_to_video"]},
            "retrieve": self.base["retrieve"] | {"collection": "narrated", "split": "test"} | NO_INDEX,
        }
        return [
            Entry(
                run.measured(self.root),
                entries.measurement,
                {
                    **settings,
                    "bundle": f"../{run.folder(self.root).name}/models/pretrained",
                    "clips": f"../../clips-{run.seed}/data",
                },
            )
            for run in runs
        ]

    def _cost(self) -> dict[str, float]:
        """A step's seconds over those of the reference, on the first world, which decides for all."""
        first = next(iter(self.preset.worlds))

        def seconds(objective: str) -> float:
            runs = (Run(first, seed, objective, STEPS) for seed in self.preset.seeds)
            return statistics.median(
                float(runner.read(run.folder(self.root) / runner.RESULT)["step_seconds"]) for run in runs
            )

        return {objective: seconds(objective) / seconds(REFERENCE) for objective in self.preset.objectives}
