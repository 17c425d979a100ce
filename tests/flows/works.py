"""What experiments in tests do: a module of its own, since their processes import it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

from flows.experiments import runner
from flows.experiments.runner import Settings
from flows.running import processes
from scriptsight.errors import InputError
from scriptsight.reporting import Reporter


def end_as_asked(settings: Settings, _: Path, reporter: Reporter) -> dict[str, Any]:
    """Report three steps, and end in the way that `settings` name."""
    for step in range(1, 4):
        reporter.metrics({"val/pairs_in_order": 0.5}, step)
    match settings["how"]:
        case "fail":
            raise InputError("too few transcripts")
        case "break":
            raise ZeroDivisionError("by zero")
        case "crash":
            os._exit(3)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)
    return {}


def take_turns(settings: Settings, folder: Path, _: Reporter) -> dict[str, Any]:
    """Append a line when it begins and one when it ends, as slowly on SIGTERM as one that writes a checkpoint."""
    with (folder / "turns.txt").open("a", encoding="utf-8") as file:
        for line in ("begin", "end"):
            try:
                file.write(f"{line}\n")
                file.flush()
                time.sleep(settings["seconds"])
            except SystemExit:
                time.sleep(2)
                file.write("checkpoint\n")
                raise
    print("a line for the log", file=sys.stderr)
    return {"turns": (folder / "turns.txt").read_text(encoding="utf-8").split()}


if __name__ == "__main__":  # a command that has an experiment of five minutes made
    from tests.flows import works

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may ignore ctrl-C
    with processes.exit_on_error("command"):
        runner.warm_up()
        runner.run(works.take_turns, {"seconds": 300}, Path(sys.argv[1]), 0, stopping=Event())
