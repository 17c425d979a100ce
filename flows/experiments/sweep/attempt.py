"""One attempt at a trial: its process, watched while it runs."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from threading import Event
from typing import Any, Literal

from flows import parameters
from flows.experiments.sweep.trial import EVENTS, FIGURES, SETTINGS, main
from scriptsight import files

LOOK_SECONDS = 0.5  # between two looks at what the process wrote
FORKLESS = 255  # how multiprocessing says that the process went from which trials are forked
PATIENCE = 120  # seconds for a process that is asked to end: it finishes a step and writes a checkpoint
MODELS = ("model", "best", "checkpoints")

How = Literal["complete", "pruned", "failed", "lost", "stopped"]


@dataclass(frozen=True)
class Attempt:
    """How it went. A trial that was lost (its process was killed) or stopped (the study was) goes on elsewhere."""

    how: How
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def warm_up() -> None:
    """Start the process that all trials are forked from. It imports torch and the stages, which takes as long as many
    training steps, while this one does other things."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flows.experiments.sweep.imports"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: ctrl-C is for the study
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def begin(settings: parameters.Params, folder: Path, worker: int, since: str = "") -> Process:
    """Start the process of a trial in `folder`; what another study of the same name left there is removed.

    Args:
        since: when the trial was first begun, which tells it from that of an earlier study.
    """
    told = {"params": settings.model_dump(mode="json"), "worker": worker, "since": since}
    path = folder / SETTINGS
    if path.is_file() and _made_by(json.loads(path.read_text(encoding="utf-8"))) != _made_by(told):
        shutil.rmtree(folder)
    files.write_json(path, told)
    (folder / EVENTS).unlink(missing_ok=True)
    process = multiprocessing.get_context("forkserver").Process(target=main, args=(folder.resolve(),))
    process.start()
    return process


def _made_by(told: Mapping[str, Any]) -> list[Any]:
    """What a trial's model and figures depend on: not how many trials there are, or how long they may take."""
    return [told.get("since"), *(told["params"][name] for name in ("pretrain", "probe", "retrieve"))]


def watch(
    process: Process,
    folder: Path,
    *,
    most: float,
    take: Callable[[Mapping[str, float], int, int], bool],
    stopping: Event,
) -> Attempt:
    """Wait for the process.

    Args:
        most: seconds that it may take.
        take: gets figures with their step and time (ms); returns whether the trial is to be pruned.
        stopping: set when the study stops.
    """
    started = time.monotonic()
    lines = _Lines(folder / EVENTS)
    ended: Attempt | None = None
    try:
        while ended is None:
            over = not process.is_alive()  # before the last look, so that nothing is missed
            for event in lines.new():
                if "failure" in event:
                    ended = Attempt("failed", event["failure"])
                elif take(event["metrics"], event["step"], event["time"]) and ended is None:
                    ended = Attempt("pruned", f"worse than the median at step {event['step']}")
            if ended is None and over:
                ended = _over(process, folder)
            elif stopping.is_set():
                ended = ended or Attempt("stopped", "the study was stopped")
            elif ended is None and time.monotonic() - started > most:
                ended = Attempt("failed", f"over the time limit of {most:g} s")
            elif ended is None:
                time.sleep(LOOK_SECONDS)
    finally:
        end(process)
    return Attempt(ended.how, ended.reason, ended.figures, time.monotonic() - started)


def _over(process: Process, folder: Path) -> Attempt:
    """What a process that ended by itself, without naming a failure, came to."""
    status = process.exitcode or 0
    if status == 0:
        return Attempt("complete", figures=json.loads((folder / FIGURES).read_text(encoding="utf-8")))
    if status == FORKLESS:
        return Attempt("lost", "the process that trials are forked from was ended")
    number = -status if status < 0 else status - 128
    if number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        return Attempt("lost", f"its process was ended by {signal.Signals(number).name}")
    return Attempt("failed", f"its process ended with status {status}: see {folder / 'log.txt'}")


def end(process: Process) -> None:
    """Ask the process to end, which writes a checkpoint, and wait for it."""
    if process.is_alive():
        process.terminate()
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
    process.join()


def tidy(folder: Path, names: tuple[str, ...] = MODELS) -> None:
    """Remove the weights of a trial; its figures, pictures and log stay."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)


class _Lines:
    """The whole lines of a growing file that were not read yet."""

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0

    def new(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
