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
from queue import SimpleQueue
from threading import Event
from typing import Any

from flows import PROJECT
from flows.experiments import runner, standings
from flows.experiments.contest import PRESETS, Entry, ObjectiveComparison
from flows.orchestration import runs, server
from flows.tracking import store
from scriptsight.errors import InputError
from scriptsight.params import reading


def compare(comparison: ObjectiveComparison, workers: int) -> None:
    """Make all entries, `workers` at a time, as the tasks of a Prefect flow.

    Raises:
        InputError: an entry failed (the others of its wave are finished, so that nothing is lost), or has the result
            of other parameters, which would stand beside those of these.
    """
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    runner.warm_up()
    stopping = Event()
    free = SimpleQueue[int]()  # numbers of workers
    for number in range(workers):
        free.put(number)
    named: dict[str, Entry] = {}  # Prefect records what tasks are given, so it is a name

    @task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
    def entry(name: str) -> str:
        worker = free.get()
        try:
            return _make(named[name], worker, stopping)
        finally:
            free.put(worker)

    threads: Any = ThreadPoolTaskRunner(max_workers=workers)

    @flow(name="compare", task_runner=threads, persist_result=False)
    def all_entries() -> None:
        for wave in comparison.waves():
            missing = [one for one in wave if runner.found(one.folder, one.settings) is None]
            named.update((one.folder.relative_to(comparison.root).as_posix(), one) for one in missing)
            running = [entry.submit(one.folder.relative_to(comparison.root).as_posix()) for one in missing]
            try:
                failures = [failure for task_run in running if (failure := task_run.result())]
            except BaseException:  # ctrl-C, for one: trainings write their checkpoints
                stopping.set()
                for task_run in running:
                    task_run.wait()
                raise
            if failures:
                raise InputError("; ".join(failures))

    with runs.recorded():
        all_entries()


def _make(entry: Entry, worker: int, stopping: Event) -> str:
    """Make one entry -> what went wrong, if anything did."""
    if stopping.is_set():
        return f"{entry.folder} was not begun"
    print(f"compare: {entry.folder} starts", flush=True)
    attempt = runner.run(entry.work, entry.settings, entry.folder, worker, stopping=stopping)
    if attempt.how == "complete":
        return ""
    return f"{entry.folder} {attempt.how} ({attempt.reason}): see {entry.folder / runner.LOG}"


def record(comparison: ObjectiveComparison, written: Sequence[Path]) -> None:
    """Show the comparison as an MLflow experiment: a run for each training, and one with table and picture."""
    title = f"comparison {comparison.root.name}"
    with store.opened() as client:
        experiment = store.experiment(client, title)
        for earlier in store.runs(client, experiment):  # figures may have come since
            client.delete_run(earlier.info.run_id)
        for (world, budget), standing in standings.collected(comparison).items():
            for objective, seeds in standing.trained.items():
                for of_seed in seeds:
                    what = {"world": world, "budget": budget, "objective": objective, "seed": of_seed.pop("seed")}
                    run = client.create_run(experiment, run_name=" ".join(str(value) for value in what.values()))
                    for name, value in what.items():
                        client.log_param(run.info.run_id, name, value)
                    for name, value in of_seed.items():
                        client.log_metric(run.info.run_id, name, value)
                    client.set_terminated(run.info.run_id)
        run = client.create_run(experiment, run_name="table and picture")
        for path in written:
            client.log_artifact(run.info.run_id, str(path))
        client.set_terminated(run.info.run_id)


def command(options: argparse.Namespace) -> None:
    """Train and measure what is missing of a preset, and write its table and picture."""
    if options.preset not in PRESETS:
        raise InputError(f"--preset: there is no {options.preset!r}; choose from {', '.join(PRESETS)}.")
    root = (options.folder / options.preset).resolve()
    comparison = ObjectiveComparison(PRESETS[options.preset], root, reading.read_yaml(PROJECT / "params.yaml"))
    root.mkdir(parents=True, exist_ok=True)
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
