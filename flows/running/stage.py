"""What all stage commands share: parameters, the lock, Prefect, tracking, and how a failure is reported.

Prefect, torchrun and the stage's own libraries are imported late: a typo in params.yaml is reported in half a second,
and under the pipeline, which keeps the flow run of every stage itself, Prefect is not imported here at all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows import parameters
from flows.orchestration import runs, server
from flows.running import dvc_experiment, workspace
from flows.running.events import EventReporter, path_of
from flows.running.locks import lock
from flows.running.processes import DEPLOYED, die_with_parent, exit_on_error
from flows.tracking import origin
from flows.tracking.reporter import tracked
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.reporting import Reporter, SilentReporter

# Set by the pipeline: the file in which it reads how the stage went; the flow run is then the pipeline's.
REPORT = "SCRIPTSIGHT_STAGE_REPORT"
LAUNCHED = "SCRIPTSIGHT_LAUNCHED"  # set for processes whose launcher holds the stage's lock
# Errors of files that no waiting mends; of the others, a network or a shared file system may be back in a moment.
LASTING = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
LAST_LINES = 12  # of an unforeseen error, shown on the page of a failed run


def main(name: str, package: str, about: str, argv: Sequence[str] | None = None) -> None:
    """The command `python -m flows.NAME`, in a folder with a params.yaml.

    Args:
        package: has the stage's `run`; imported late, since its libraries take seconds.
        about: one line for `--help`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m flows.{name}", description=about)
    parser.add_argument("--params", default="params.yaml", help="the parameters file (default: %(default)s)")
    path = parser.parse_args(argv).params
    with exit_on_error(name if os.environ.get("RANK", "0") == "0" else f"{name}, process {os.environ['RANK']}"):
        if "DVC_STAGE" in os.environ or "RANK" in os.environ:
            die_with_parent()
        if DEPLOYED in os.environ and "RANK" not in os.environ:
            os.setsid()  # one signal ends it, the flow's: a training that gets two writes no checkpoint
        settings = parameters.load(path)
        workspace.require_own_code()
        if "RANK" in os.environ:
            _as_one_of_many(name, package, settings)
            return
        with dvc_experiment.settled():
            if REPORT in os.environ:
                _reported(name, package, settings, Path(os.environ[REPORT]))
            else:
                _as_flow(name, package, settings)


def _as_flow(name: str, package: str, settings: parameters.Params) -> None:
    """Run the stage as a Prefect flow run of its own."""
    if not server.from_environment():
        server.temporary()
    from prefect import flow
    from prefect.states import Failed

    from flows.orchestration import live

    refused: list[InputError] = []

    @flow(name=name, flow_run_name=name, validate_parameters=False, persist_result=False)
    def stage() -> Any:
        live.announce(name)
        try:
            with live.stage_page(name, time.time_ns()):
                work(name, package, settings)
        except InputError as error:  # a state with the message; raised, Prefect would log its traceback
            refused.append(error)
            return Failed(message=str(error))
        return None

    with runs.recorded():
        state: Any = stage(return_state=True)
    if refused:
        raise refused[0]
    state.result()


def _reported(name: str, package: str, settings: parameters.Params, report: Path) -> None:
    """Run the stage for the pipeline, and leave seconds or failure in `report`."""
    try:
        found = work(name, package, settings)
    except Exception as error:
        ours = isinstance(error, InputError)
        lines = [] if ours else "".join(traceback.format_exception(error)).splitlines()[-LAST_LINES:]
        failure = {
            "failure": str(error) if ours else f"{type(error).__name__}: {error}",
            "lines": lines,
            "may_pass": isinstance(error, OSError) and not isinstance(error, LASTING),
        }
        files.write_json(report, {"stage": name, **failure})
        raise
    files.write_json(report, {"stage": name, **found})


def work(name: str, package: str, settings: parameters.Params) -> dict[str, Any]:
    """Run the stage once, under its lock -> seconds spent importing its package (import_s) and in its `run`
    (run_s)."""
    engine = settings.pretrain.engine
    if name == "pretrain" and engine.processes > 1:
        with lock(name):
            return _launch(name, engine.processes, engine.threads)
    with lock(name), _reporter(name, settings) as reporter:
        started = time.perf_counter()
        run = importlib.import_module(package).run
        imported = time.perf_counter()
        section = getattr(settings, name)
        run(section, reporter=reporter, **_spread(name, section))
        ended = time.perf_counter()
    return {"import_s": imported - started, "run_s": ended - imported}


def _launch(name: str, processes: int, threads: int) -> dict[str, Any]:
    """Run the stage in several processes on this machine with torchrun, and wait for them.

    torchrun's agent works in this process: when it ends, however it ends, so do the others.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    one_machine = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", f"--rdzv-id={name}"]
    # What ends this process (`exit_on_error`) ends the others: torchrun is to hear a signal that nobody sends.
    options = [*one_machine, f"--nproc-per-node={processes}", "--signals-to-handle=SIGQUIT"]
    started = time.perf_counter()
    os.environ[LAUNCHED] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # else torchrun sets 1, with a warning
    try:
        torchrun.main([*options, "-m", f"flows.{name}", *sys.argv[1:]])
    except ChildFailedError as error:
        raise InputError(f"process {min(error.failures)} of {processes} failed: see above.") from None
    finally:
        del os.environ[LAUNCHED]
    return {"import_s": 0.0, "run_s": time.perf_counter() - started}


def _as_one_of_many(name: str, package: str, settings: parameters.Params) -> None:
    """Be one of the processes that torchrun, or `_launch`, started: the first one tracks and speaks for all."""
    if os.environ["RANK"] != "0":
        importlib.import_module(package).run(getattr(settings, name), reporter=SilentReporter())
        return
    # The launcher's lock ends with it; a training that is still writing its checkpoint has one of its own.
    held = lock(f"{name}-training", patience=60) if LAUNCHED in os.environ else lock(name)
    with held, _reporter(name, settings) as reporter:
        importlib.import_module(package).run(getattr(settings, name), reporter=reporter)


def _spread(name: str, section: Any) -> dict[str, Any]:
    """For a stage whose chunks are not done by the library itself in processes here: who does them, with Prefect."""
    if getattr(section, "runner", "processes") == "processes":
        return {}
    from flows.orchestration import runners

    return {"mapper": runners.mapper(name, section)}


@contextmanager
def _reporter(name: str, settings: parameters.Params) -> Iterator[Reporter]:
    """The tracked reporter of a stage that has figures of a model; one without MLflow for the others."""
    if name in ("ingest", "segment"):
        yield EventReporter(path_of(name))
        origin.note(name, settings)
        return
    with tracked(name, settings) as reporter:
        yield reporter


def read_report(path: Path) -> dict[str, Any]:
    """What a stage left for the pipeline; empty if it did not run (DVC had its outputs) or was killed."""
    left: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return left
