"""`scriptsight compare`: all objectives on the narrated world, each trained the same way and measured alike.

    --preset quick      one seed, 1,000 steps: does it run, and which way does it point
    --preset full       all objectives, three seeds with data of their own, same steps and same seconds, and the
                        world in which order does not matter as a second row

Every seed has films, clips and initialisation of its own. "Same seconds" are the processor's, on one thread: a rival
gets as many steps as cost what tvts' steps cost, by the median step of the runs of the same steps. Interrupted, the
same command goes on. What comes out is FOLDER/PRESET/table.{csv,md,png}, and an MLflow experiment.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from flows import PROJECT
from flows.experiments import making, standings
from flows.experiments.contest import PRESETS, ObjectiveComparison
from flows.orchestration import server
from flows.tracking import store
from flows.tracking.recorder import Recorder
from scriptsight.errors import InputError
from scriptsight.params import reading


def compare(comparison: ObjectiveComparison, workers: int) -> None:
    """Make all entries, `workers` at a time, as the tasks of a Prefect flow.

    Raises:
        InputError: see `making.make`.
    """
    making.make("compare", comparison.waves(), comparison.root, workers)


def record(comparison: ObjectiveComparison, written: Sequence[Path]) -> None:
    """Show the comparison as an MLflow experiment: a run for each training, and one with table and picture."""
    with store.opened() as client:
        recorder = Recorder(client, "the comparison", f"{store.COMPARISON}{comparison.root.name}")
        for earlier in store.runs(client, recorder.experiment):  # figures may have come since
            client.delete_run(earlier.info.run_id)
        for (world, budget), standing in standings.collected(comparison).items():
            for objective, seeds in standing.trained.items():
                for of_seed in seeds:
                    what = {"world": world, "budget": budget, "objective": objective, "seed": of_seed.pop("seed")}
                    run = recorder.create(" ".join(str(value) for value in what.values()), what, {})
                    recorder.metrics(run, of_seed)
                    recorder.end(run, "FINISHED")
        run = recorder.create("table and picture", {}, {})
        for path in written:
            recorder.artifact(run, path)
        recorder.end(run, "FINISHED")


def command(options: argparse.Namespace) -> None:
    """Train and measure what is missing of a preset, and write its table and picture."""
    if options.preset not in PRESETS:
        raise InputError(f"--preset: there is no {options.preset!r}; choose from {', '.join(PRESETS)}.")
    root = (options.folder / options.preset).resolve()
    comparison = ObjectiveComparison(PRESETS[options.preset], root, reading.read_yaml(PROJECT / "params.yaml"))
    root.mkdir(parents=True, exist_ok=True)
    store.require(store.uri())  # not when hours of training are done
    if not options.table:
        if not server.from_environment():
            server.temporary()
        compare(comparison, options.workers)
    written = standings.write(comparison)
    record(comparison, written)
    print(written[0].read_text(encoding="utf-8"))
    if options.out:
        for path in written:
            shutil.copyfile(path, options.out / f"compare{path.suffix}")
