"""`scriptsight compare` without models: all objectives on the narrated world, each trained the same way
and measured alike. With models, see `side_by_side`.

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
from flows.experiments import making, side_by_side, standings
from flows.experiments.contest import PRESETS, ObjectiveComparison
from flows.orchestration import server
from flows.tracking import store
from flows.tracking.recorder import Recorder
from scriptsight.errors import InputError
from scriptsight.params import reading

FOLDER, WORKERS = Path("compare"), 2


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


def refuse_both(options: argparse.Namespace) -> None:
    """Models are compared as they are, objectives by training them: see that one of the two is asked for.

    Raises:
        InputError: there are options of both, or a single model.
    """
    wanted = ("preset", "folder", "workers", "table") if options.models else ("metric", "all_pairs", "json")
    given = [f"--{name.replace('_', '-')}" for name in wanted if getattr(options, name)]
    if given and options.models:
        raise InputError(
            f"{', '.join(given)} trains objectives, and {options.models[0]!r} names a model that is there: name "
            "models, or give --preset, and not both."
        )
    if given:
        raise InputError(f"{', '.join(given)} is of models: name two or more, as in `scriptsight compare A B`.")
    if len(options.models) == 1:
        raise InputError("Name two models or more; `scriptsight better MODEL` compares one with the champion.")


def command(options: argparse.Namespace) -> None:
    """Compare the models that are named, or train and measure what is missing of a preset, and write its table and
    picture."""
    refuse_both(options)
    if options.models:
        side_by_side.command(options)
        return
    preset = options.preset or "quick"
    if preset not in PRESETS:
        raise InputError(f"--preset: there is no {preset!r}; choose from {', '.join(PRESETS)}.")
    root = ((options.folder or FOLDER) / preset).resolve()
    comparison = ObjectiveComparison(PRESETS[preset], root, reading.read_yaml(PROJECT / "params.yaml"))
    root.mkdir(parents=True, exist_ok=True)
    store.require(store.uri())  # not when hours of training are done
    if not options.table:
        if not server.from_environment():
            server.temporary()
        compare(comparison, options.workers or WORKERS)
    written = standings.write(comparison)
    record(comparison, written)
    print(written[0].read_text(encoding="utf-8"))
    if options.out:
        for path in written:
            shutil.copyfile(path, options.out / f"compare{path.suffix}")
