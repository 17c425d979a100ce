"""Cut the power of a small pipeline that a worker runs: every process is killed at a random moment, Prefect's server
and its worker as well; then both are started again, and the next run must end as if nothing had happened.

python -m tests.chaos.power --cuts 20 --seed 0     a line a cut; the last line is one JSON object
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.machine import processor
from flows import reachable
from tests.chaos.disturbances import SHARE
from tests.chaos.pipeline import MARK, MOST_SECONDS, PROJECT, STAGES, SURROUNDINGS, Pipeline, kill

BIN = Path(sys.executable).parent
OPEN = ("RUNNING", "PENDING", "CANCELLING", "SCHEDULED", "PAUSED")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
START = 10.0  # seconds that a worker takes to start a run
UNBEGUN_SECONDS = 130  # after which a run that nobody begins is closed by the next one
DEPLOYMENT = """
name: scriptsight
deployments:
  - name: power
    entrypoint: flows/orchestration/deployed.py:pipeline
    tags: [scriptsight]
    parameters: {workspace: %s, when_busy: wait}
    work_pool:
      name: power
      job_variables: {env: {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}, stream_output: true}
"""


class Plant:
    """Prefect's server and its worker, as a person starts them, with a home of their own."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.port, self.api = str(port), f"http://127.0.0.1:{port}/api"
        own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
        self.environment = own | {
            MARK: self.mark,
            "PREFECT_HOME": str(folder / "plant"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "SCRIPTSIGHT_UI_API_URL": self.api,
            "PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}",
            "OMP_NUM_THREADS": "1",
        }
        self.prefect_yaml = folder / "prefect.yaml"
        self.prefect_yaml.write_text(DEPLOYMENT % workspace)
        self.deployment = ""

    def start(self) -> None:
        """Both, and what they need the first time."""
        self._begin("server", "prefect", "server", "start", "--host", "127.0.0.1", "--port", self.port)
        wait(lambda: reachable.answers(self.api, 1))
        if not self.deployment:
            self._do("prefect", "work-pool", "create", "power", "--type", "process")
            self._do("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(self.prefect_yaml))
            self._do("scriptsight", "automations")
            found = httpx.get(f"{self.api}/deployments/name/pipeline/power").raise_for_status()
            self.deployment = found.json()["id"]
        self._begin("worker", "prefect", "worker", "start", "--pool", "power", "--type", "process")

    def _begin(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            subprocess.Popen(  # noqa: S603 - our own words
                [str(BIN / words[0]), *words[1:]],
                env=self.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _do(self, *words: str) -> None:
        command = [str(BIN / words[0]), *words[1:]]
        done = subprocess.run(  # noqa: S603
            command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")

    def cut(self) -> int:
        """Kill everything at once -> how many processes."""
        return kill(self._processes())

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def schedule(self) -> str:
        """Have the deployment run now -> the run's id."""
        now = {"state": {"type": "SCHEDULED", "message": "the schedule's"}, "idempotency_key": uuid.uuid4().hex}
        address = f"{self.api}/deployments/{self.deployment}/create_flow_run"
        made: list[str] = []

        def asked() -> bool:
            with suppress(httpx.HTTPError):  # a server that has just begun may be too busy to answer
                made.append(httpx.post(address, json=now, timeout=60).raise_for_status().json()["id"])
            return bool(made)

        wait(asked)
        return made[0]

    def state(self, run: str) -> str:
        """Of a flow run; empty while the server does not answer."""
        with suppress(httpx.HTTPError):
            found = httpx.get(f"{self.api}/flow_runs/{run}", timeout=60)
            return str(found.raise_for_status().json()["state_type"])
        return ""

    def runs(self, kind: str = "flow_runs", states: tuple[str, ...] = OPEN) -> list[dict[str, Any]]:
        """Flow runs or task runs in certain states."""
        which = {kind: {"state": {"type": {"any_": list(states)}}}, "limit": 200}
        found = httpx.post(f"{self.api}/{kind}/filter", json=which, timeout=60)
        return list(found.raise_for_status().json())


def wait(what: Callable[[], Any], seconds: float = MOST_SECONDS) -> bool:
    """Until something is true -> whether it became so in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


class Cuts:
    """Power cuts drawn from a seed, and what was found after each."""

    def __init__(self, pipeline: Pipeline, plant: Plant, seed: int, stages: tuple[str, ...], seconds: float) -> None:
        self.pipeline, self.plant, self.stages, self.seconds = pipeline, plant, stages, seconds
        self.draw = random.Random(seed)
        self.cut_runs: set[str] = set()
        self.totals = {"cuts": 0, "equal": 0, "faults": 0}

    def one(self) -> str:
        """A cut, a start, and the next run -> a line about it."""
        stage = self.draw.choice(self.stages)
        self.pipeline.forget(stage)
        run = self.plant.schedule()
        self.cut_runs.add(run)
        moment = self.draw.uniform(0.0, START + SHARE[stage] * self.seconds)
        time.sleep(moment)
        before = self.plant.state(run)
        killed = self.plant.cut()
        self.totals["cuts"] += 1
        self.plant.start()
        again = self.plant.schedule()
        wait(lambda: self.plant.state(again) in ENDED)
        # One that no worker had taken yet when the power was cut is run now as well.
        wait(lambda: not self.plant.runs(states=("SCHEDULED",)) and self.plant.state(run) != "SCHEDULED")
        faults = [] if (ended := self.plant.state(again)) == "COMPLETED" else [f"the next run is {ended}"]
        faults += self._left()
        if differing := self.pipeline.differing():
            faults.append(f"differing {differing[:3]}")
        self.totals["equal"] += not differing
        self.totals["faults"] += len(faults)
        what = (
            f"{killed} processes after {moment:.1f} s from {stage} on, the run {before}, now {self.plant.state(run)}"
        )
        return f"cut {self.totals['cuts']}: {what}: " + (f"FAULT {'; '.join(faults)}" if faults else "equal")

    def _left(self) -> list[str]:
        """Runs that are open though nothing runs; one that was never begun has some time left."""
        unbegun = self.cut_runs if self.totals["cuts"] else set()
        found = [run for run in self.plant.runs() if not (run["id"] in unbegun and run["state_type"] == "PENDING")]
        tasks = self.plant.runs("task_runs")
        left = [f"{run['name']} is {run['state_name']}" for run in (*found, *tasks)]
        if forever := self.pipeline.running_for_ever():
            left.append(f"{forever} runs of MLflow are running")
        return left

    def last(self) -> Iterator[str]:
        """In the end nothing is open, and no run is crashed but those that were cut."""
        if self.plant.runs(states=("PENDING",)):
            time.sleep(UNBEGUN_SECONDS)
            run = self.plant.schedule()
            wait(lambda: self.plant.state(run) in ENDED)
        for left in (*self.plant.runs(), *self.plant.runs("task_runs")):
            yield f"FAULT {left['name']} is {left['state_name']}"
        for bad in self.plant.runs(states=("CRASHED", "FAILED", "CANCELLED")):
            if not bad["parent_task_run_id"] and bad["id"] not in self.cut_runs:
                yield f"FAULT {bad['name']} is {bad['state_name']}, and was not cut"


@contextmanager
def ended(plant: Plant) -> Iterator[None]:
    """In the end nothing of it runs."""
    try:
        yield
    finally:
        while plant.cut():
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="from which stages on it is run")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    since = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="power-"))
    with ExitStack() as stack:
        if options.keep:
            print(f"kept: {folder}", flush=True)
        else:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        pipeline = Pipeline(folder)
        run = pipeline.prepare()
        if run.status != 0:
            sys.exit(f"the undisturbed run failed:\n{run.said}")
        print(f"undisturbed: {run.seconds:.0f} s, {len(pipeline.reference)} files", flush=True)
        plant = Plant(folder, pipeline.workspace)
        stack.enter_context(ended(plant))
        plant.start()
        cuts = Cuts(pipeline, plant, options.seed, tuple(options.stages), run.seconds)
        for _ in range(options.cuts):
            print(cuts.one(), flush=True)
        for line in cuts.last():
            cuts.totals["faults"] += 1
            print(line, flush=True)
    seconds = round(time.monotonic() - since)
    print(json.dumps({**cuts.totals, "seed": options.seed, "seconds": seconds, "processor": processor()}))


if __name__ == "__main__":
    main()
