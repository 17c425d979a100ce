"""Experiments: settings in, figures out, each in a folder and a process of its own.

The folder has settings.json, events.jsonl with figures while they come, log.txt, and result.json, which appears
last. Begun again with the same settings, an experiment goes on from what is there (a training from its checkpoint),
and with its result there is nothing left to do; what other settings left there is removed.

What is done is a function (`Work`). It knows neither Optuna nor MLflow nor Prefect: whoever runs it reads what it
writes. Its process is forked from one that has imported torch and the stages already, which takes as long as many
training steps, and ends with the process that started it.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from threading import Event
from typing import Any, Literal

from filelock import FileLock

from flows.running import events, processes
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.reporting import Reporter

SETTINGS, EVENTS, LOG, RESULT, LOCK = "settings.json", "events.jsonl", "log.txt", "result.json", "lock"
LOOK_SECONDS = 0.5  # between two looks at what the process wrote
FORKLESS = 255  # how multiprocessing says that the process went from which experiments are forked
PATIENCE = 120  # seconds for a process that is asked to end: it finishes a step and writes a checkpoint

Settings = Mapping[str, Any]  # as JSON has them
Work = Callable[[Settings, Path, Reporter], Mapping[str, Any]]  # a module's function: settings, folder -> figures
Take = Callable[[Mapping[str, float], int, int], str]  # figures, their step and time (ms) -> why to end here, or ""
Tell = Callable[[Mapping[str, Any]], None]  # an event
How = Literal["complete", "pruned", "failed", "lost", "stopped"]


@dataclass(frozen=True)
class Attempt:
    """How it went. An experiment that was lost (its process was killed) or stopped (by its study) can go on later."""

    how: How
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def warm_up() -> None:
    """Start the process that all experiments are forked from, which imports while this one does other things."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.experiments.preload"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: ctrl-C is for this process
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def found(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """The figures of an experiment that is complete; None if it is not.

    Raises:
        InputError: the folder has the result of other settings.
    """
    if not (folder / RESULT).is_file():
        return None
    if _settings(folder) != _plain(settings):
        raise InputError(
            f"{folder} was made with other parameters or by another version of scriptsight: remove what is to be "
            "made again, or give another --folder."
        )
    return read(folder / RESULT)


def run(
    work: Work,
    settings: Settings,
    folder: Path,
    worker: int,
    *,
    stopping: Event,
    most: float = math.inf,
    take: Take = lambda *_: "",
    tell: Tell = lambda _: None,
) -> Attempt:
    """Do `work` in a process of its own, and wait for it.

    Args:
        worker: a number below that of processes at a time; they share the machine's GPUs evenly.
        stopping: set when the process is to end, for the experiment to be taken up later.
        most: seconds that it may take.
        take: gets figures while they come; when it names a reason, the experiment is pruned.
        tell: gets all that it tells of its work while it works (`flows.running.events`).
    """
    started = time.monotonic()
    (folder / EVENTS).unlink(missing_ok=True)
    news = events.following(folder / EVENTS)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_work, args=(work, _plain(settings), folder.resolve(), worker))
    process.start()
    ended: Attempt | None = None
    try:
        while ended is None:
            over = not process.is_alive()  # before the last look, so that nothing is missed
            for event in next(news):
                tell(event)
                if "failure" in event:
                    ended = Attempt("failed", event["failure"])
                elif "metrics" in event and (why := take(event["metrics"], event["step"], event["time"])):
                    ended = ended or Attempt("pruned", why)
            if ended is None and over:
                ended = _over(process, folder)
            elif stopping.is_set():
                ended = ended or Attempt("stopped", "its command was stopped")
            elif ended is None and time.monotonic() - started > most:
                ended = Attempt("failed", f"over the time limit of {most:g} s")
            elif ended is None:
                time.sleep(LOOK_SECONDS)
    finally:
        _end(process)
    return Attempt(ended.how, ended.reason, ended.figures, time.monotonic() - started)


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _settings(folder: Path) -> dict[str, Any] | None:
    return read(folder / SETTINGS) if (folder / SETTINGS).is_file() else None


def _plain(settings: Settings) -> dict[str, Any]:
    """As they are read again from a file."""
    values: dict[str, Any] = json.loads(json.dumps(settings))
    return values


def _over(process: Process, folder: Path) -> Attempt:
    """What a process that ended by itself, without naming a failure, came to."""
    status = process.exitcode or 0
    if status == 0:
        return Attempt("complete", figures=read(folder / RESULT))
    if status == FORKLESS:
        return Attempt("lost", "the process that experiments are forked from was ended")
    number = -status if status < 0 else status - 128
    if number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        return Attempt("lost", f"its process was ended by {signal.Signals(number).name}")
    return Attempt("failed", f"its process ended with status {status}: see {folder / LOG}")


def _end(process: Process) -> None:
    """Ask the process to end, which writes a checkpoint, and wait for it."""
    if process.is_alive():
        process.terminate()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
    process.join()


# --------------------------------------------------------------------------------------- in its process


def _work(work: Work, settings: dict[str, Any], folder: Path, worker: int) -> None:
    """Be the process of an experiment; a failure is an event with its reason, and status 1."""
    os.setsid()  # ctrl-C is for who started it, and who then asks it to end
    processes.die_with_parent()
    folder.mkdir(parents=True, exist_ok=True)
    alone = FileLock(folder / LOCK)
    alone.acquire()  # until this ends: an attempt that was taken for lost may still be writing
    if _settings(folder) != settings:
        _empty(folder)
        files.write_json(folder / SETTINGS, settings)
    with (folder / LOG).open("ab", buffering=0) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    reporter = events.EventReporter(folder / EVENTS)
    with processes.exit_on_error("experiment"):
        if (folder / RESULT).is_file():
            return
        try:
            _take_gpu(worker)
            figures = work(settings, folder, reporter)
        except Exception as error:
            ours = isinstance(error, InputError)
            if not ours:
                traceback.print_exc()
            reporter.event({"failure": str(error) if ours else f"{type(error).__name__}: {error}"})
            sys.exit(1)
        files.write_json(folder / RESULT, figures)


def _empty(folder: Path) -> None:
    """Remove what another experiment left, but for the lock, which is held."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _take_gpu(worker: int) -> None:
    import torch

    if count := torch.cuda.device_count():
        os.environ.setdefault("LOCAL_RANK", str(worker % count))
