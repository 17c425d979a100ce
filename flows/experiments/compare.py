"""`scriptsight compare`: all objectives on the narrated world, each trained the same way and measured alike.

    --preset quick      one seed, 1,000 steps: does it run, and which way does it point
    --preset full       all objectives, three seeds with data of their own, same steps and same seconds, and the
                        world in which order does not matter as a second row

Every seed has films, clips and initialisation of its own. "Same seconds" are the processor's, on one thread: a rival
gets as many steps as cost what tvts' steps cost, by the median step of the runs of the same steps. Interrupted, the
same command goes on. What comes out is FOLDER/PRESET/{table.md, table.csv, bars.png}, and an MLflow experiment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import PROJECT
from flows.experiments import contest, standings
from flows.orchestration import server
from flows.running import processes
from flows.tracking import store
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.params import reading

REFERENCE, UNTRAINED = "tvts", "untrained"
STEPS, SECONDS = "steps", "seconds"  # the two budgets
CLIPS = ("slow", "loop")  # see scriptsight.ingest.world


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
        """Where it lies: below its pool."""
        return root / f"{self.world}-{self.seed}" / f"{self.objective}-{self.budget}"


@dataclass(frozen=True)
class ObjectiveComparison:
    """The entries of a preset below `root`, each a folder and what it says."""

    preset: Preset
    root: Path
    base: dict[str, Any]  # params.yaml

    def waves(self) -> Iterator[list[tuple[Path, dict[str, Any]]]]:
        """Entries that may be made at the same time; a wave needs those before it to be there."""
        preset = self.preset
        for number, (world, steps) in enumerate(preset.worlds.items()):
            pools = [(self.root / f"{world}-{seed}", self._films(world, seed)) for seed in preset.seeds]
            if number == 0:
                pools += [(self.root / f"clips-{seed}", self._clips(seed)) for seed in preset.seeds]
            yield pools
            same_steps = self.runs(world, STEPS)
            yield [(run.folder(self.root), self._training(run, steps)) for run in same_steps]
            untrained = [Run(world, seed, UNTRAINED, STEPS) for seed in preset.seeds]
            yield [(run.folder(self.root), self._untrained(run)) for run in untrained]
            yield self._measurements([*untrained, *same_steps])
            if SECONDS in preset.budgets:
                cost = self._cost()
                same_seconds = [run for run in self.runs(world, SECONDS) if run.objective != REFERENCE]
                yield [
                    (run.folder(self.root), self._training(run, round(steps / cost[run.objective])))
                    for run in same_seconds
                ]
                yield self._measurements(same_seconds)

    def runs(self, world: str, budget: str) -> list[Run]:
        """All trainings on a world within a budget, seed by seed."""
        names = self.preset.objectives
        return [Run(world, seed, name, budget) for seed in self.preset.seeds for name in names]

    def _films(self, world: str, seed: int) -> dict[str, Any]:
        told = self.base["ingest"]["collections"]["narrated"]
        videos = dict(zip(("train", "val", "test"), self.preset.films, strict=True))
        return self._pool({"narrated": told | {"undo": world == "undo", "seed": 100 + seed, "videos": videos}})

    def _clips(self, seed: int) -> dict[str, Any]:
        train, test = self.preset.clips
        videos = {"train": train, "val": 0, "test": test}
        return self._pool(
            {name: {"kind": "world", "content": name, "seed": 200 + seed, "videos": videos} for name in CLIPS}
        )

    def _pool(self, collections: dict[str, Any]) -> dict[str, Any]:
        one: dict[str, Any] = {"workers": 1}  # several pools are made at once
        ingest = self.base["ingest"] | {"collections": collections} | one
        return {"kind": "pool", "ingest": ingest, "segment": self.base["segment"] | one}

    def _training(self, run: Run, steps: int) -> dict[str, Any]:
        changes = {
            "seed": run.seed,
            "objective": run.objective,
            "joint": {"objectives": {"tvts": 1.0, "cpd": 1.0}},
            "steps": steps,
            "validate_every": max(1, steps // 4),
            "engine": {"threads": 1},  # trainings share the machine
        }
        learn = reading.merge(self.base["pretrain"], changes)
        return {"kind": "training", "segments": "../data/segments", "pretrain": learn}

    def _untrained(self, run: Run) -> dict[str, Any]:
        trained = Run(run.world, run.seed, REFERENCE, STEPS)
        like = f"../{trained.folder(self.root).name}/models/pretrained"
        return {"kind": "untrained", "like": like, "seed": 1000 + run.seed}

    def _measurements(self, runs: Iterable[Run]) -> list[tuple[Path, dict[str, Any]]]:
        probed = standings.probe_section(self.base["probe"], CLIPS)
        search: dict[str, Any] = {
            "collection": "narrated",
            "split": "test",
            "index_splits": ["test"],
            "more_collections": [],
        }
        search |= {"map_points": 0, "queries": []}
        return [
            (
                run.folder(self.root) / "measured",
                {
                    "kind": "measurement",
                    "bundle": "../models/pretrained",
                    "films": "../../data",
                    "clips": f"../../../clips-{run.seed}/data",
                    "probe": probed,
                    "retrieve": self.base["retrieve"] | search,
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
                float(contest.read(run.folder(self.root) / contest.RESULT)["step_seconds"]) for run in runs
            )

        return {objective: seconds(objective) / seconds(REFERENCE) for objective in self.preset.objectives}


def compare(comparison: ObjectiveComparison, workers: int) -> None:
    """Make all entries, `workers` at a time, as the tasks of a Prefect flow.

    Raises:
        InputError: an entry failed; the others of its wave are finished, so that nothing is lost.
    """
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    @task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
    def entry(name: str) -> str | None:
        return _make(comparison.root / name)

    threads: Any = ThreadPoolTaskRunner(max_workers=workers)

    @flow(name="compare", task_runner=threads, persist_result=False)
    def all_entries() -> None:
        for wave in comparison.waves():
            running = []
            for folder, values in wave:
                if not _is_made(folder, values):
                    write_json(folder / contest.ENTRY, values)
                    running.append(entry.submit(folder.relative_to(comparison.root).as_posix()))
            if failures := [told for task_run in running if (told := task_run.result())]:
                raise InputError("; ".join(failures))

    all_entries()


def _is_made(folder: Path, values: dict[str, Any]) -> bool:
    """Whether an entry has its result.

    Raises:
        InputError: it has the result of other parameters, which would stand beside those of these.
    """
    if not (folder / contest.RESULT).is_file():
        return False
    if contest.read(folder / contest.ENTRY) != json.loads(json.dumps(values)):
        raise InputError(
            f"{folder} was made with other parameters (params.yaml or the preset changed): remove what is to be made "
            "again, or give another --folder."
        )
    return True


def _make(folder: Path) -> str | None:
    """Make one entry -> what went wrong."""
    print(f"compare: {folder} starts", flush=True)
    with (folder / contest.LOG).open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "flows.experiments.contest", str(folder)]
        failed = subprocess.run(command, stdout=log, stderr=log, check=False).returncode  # noqa: S603
    if not failed:
        return None
    last = (folder / contest.LOG).read_text(encoding="utf-8").strip().splitlines()[-1:]
    return f"{folder} failed ({' '.join(last)}): see {folder / contest.LOG}"


def record(comparison: ObjectiveComparison, written: Sequence[Path]) -> None:
    """Show the comparison as an MLflow experiment: a run for each training, and one with table and figure."""
    title = f"comparison {comparison.root.name}"
    with store.opened() as client:
        experiment = store.experiment(client, title)
        for earlier in store.runs(client, experiment):  # figures may have come since
            client.delete_run(earlier.info.run_id)
        for (world, budget), standing in standings.all_of(comparison).items():
            for objective, seeds in standing.items():
                for figures in seeds:
                    told = {"world": world, "budget": budget, "objective": objective, "seed": figures.pop("seed")}
                    run = client.create_run(experiment, run_name=" ".join(str(value) for value in told.values()))
                    for name, value in told.items():
                        client.log_param(run.info.run_id, name, value)
                    for name, value in figures.items():
                        client.log_metric(run.info.run_id, name, value)
                    client.set_terminated(run.info.run_id)
        run = client.create_run(experiment, run_name="table and figure")
        for path in written:
            client.log_artifact(run.info.run_id, str(path))
        client.set_terminated(run.info.run_id)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="scriptsight compare", description="Compare all objectives on the narrated world."
    )
    parser.add_argument("--preset", choices=PRESETS, default="quick", help="how much (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("compare"), metavar="DIR", help="where (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="entries at a time (%(default)s)")
    parser.add_argument("--table", action="store_true", help="only write the table of what is there")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy table and figure there as well, such as docs")
    options = parser.parse_args()
    with processes.exit_on_error("compare"):
        root = (options.folder / options.preset).resolve()
        comparison = ObjectiveComparison(PRESETS[options.preset], root, reading.read_yaml(PROJECT / "params.yaml"))
        root.mkdir(parents=True, exist_ok=True)
        if not options.table:
            server.from_environment()
            compare(comparison, options.workers)
        written = standings.write(comparison)
        record(comparison, written)
        print(written[0].read_text(encoding="utf-8"))
        if options.out:
            for path in written:
                shutil.copyfile(path, options.out / f"compare{path.suffix}")


if __name__ == "__main__":
    main()
