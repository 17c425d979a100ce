"""A small pipeline in a folder of its own: run, watched, spoilt, and compared with an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[2]
STAGES = ("ingest", "segment", "pretrain", "probe", "retrieve")
MARK = "SCRIPTSIGHT_CHAOS"  # in the environment of every process that a run starts, however deep
MOST_SECONDS = 600  # of a run; some forty on a machine with nothing else to do
END_SECONDS = 45  # for what is left when the command ends; a training may write a checkpoint for 20
SURROUNDINGS = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DVC_STAGE", "SCRIPTSIGHT_STAGE_REPORT")
ROOMY = 2**30  # bytes of a disk that is not full
# What every run makes anew, or that says when and how fast it was.
UNCOMPARED = ("metrics/speed.json",)
OVERRIDES = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 4, val: 2, test: 2}, scenes: 4, seed: 1}
    actions: {kind: world, content: loop, videos: {train: 36, val: 0, test: 12}, seed: 2}
pretrain:
  video: {width: 32, depth: 2, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 32, vocabulary: 500}
  steps: 24
  batch: 8
  schedule: {warmup_steps: 2}
  validate_every: 12
  validation_samples: 16
  checkpoint_every: 4
  engine: {threads: 1}
probe: {protocols: [linear, knn]}
retrieve: {map_points: 0}
"""


@dataclass
class Run:
    """How a run of the command ended, and what it left."""

    status: int | None  # None: it had not ended after MOST_SECONDS
    said: str
    seconds: float
    left: list[str] = field(default_factory=list)  # commands of processes that outlasted it


class Pipeline:
    """A workspace, and a home of Prefect, below one folder. It is put back to what an undisturbed run left, without
    what the stages from a certain one on made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace, self.snapshots, self.prefect = (
            folder / name for name in ("workspace", "snapshots", "prefect")
        )
        self.reference: dict[str, str] = {}

    def prepare(self) -> Run:
        """Run it undisturbed, and keep what came out."""
        self.workspace.mkdir(parents=True)
        (self.workspace / "overrides.yaml").write_text(OVERRIDES)
        run = self.run()
        if run.status == 0:
            self.reference = self.outputs()
            shutil.copytree(self.workspace, self.snapshots / "whole", symlinks=True)
            shutil.copytree(self.prefect, self.snapshots / "prefect")
        return run

    def restore(self, stage: str) -> None:
        """Put the folder back to where the stages before `stage` are done; `ingest`: nothing, and no database."""
        for folder in (self.workspace, self.prefect):
            shutil.rmtree(folder, ignore_errors=True)
        if stage == STAGES[0]:
            self.workspace.mkdir(exist_ok=True)  # it may be a disk of its own
            (self.workspace / "overrides.yaml").write_text(OVERRIDES)
            return
        shutil.copytree(self.snapshots / "whole", self.workspace, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(self.snapshots / "prefect", self.prefect)
        if stage != "none":
            self.forget(stage)

    def forget(self, stage: str) -> None:
        """Take away what the stages from `stage` on made."""
        yaml = YAML()
        lock = yaml.load(self.workspace / "dvc.lock")
        for one in STAGES[STAGES.index(stage) :]:
            for out in lock["stages"].pop(one)["outs"]:
                path = self.workspace / out["path"]
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yaml.dump(lock, self.workspace / "dvc.lock")
        for made in (".dvc/cache/runs", ".checkpoints", ".features", ".work"):  # they would come back
            shutil.rmtree(self.workspace / made, ignore_errors=True)

    @contextmanager
    def own_disk(self) -> Iterator[bool]:
        """Make the workspace a disk in memory, whose size `resize` sets -> whether that is allowed here."""
        self.workspace.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "chaos", str(self.workspace)]
        is_own = sys.platform == "linux" and os.getuid() == 0 and _done(command)
        try:
            yield is_own
        finally:
            if is_own:
                subprocess.run(["umount", "--lazy", str(self.workspace)], check=True)  # noqa: S603, S607

    def resize(self, more: int | None) -> None:
        """Leave so many bytes free on the workspace's own disk; None: enough."""
        used = shutil.disk_usage(self.workspace).used
        size = ROOMY if more is None else used + more
        command = ["mount", "-o", f"remount,size={size}", str(self.workspace)]
        subprocess.run(command, check=True)  # noqa: S603

    def outputs(self) -> dict[str, str]:
        """Every file that the stages made, and the digest of its bytes."""
        roots = [self.workspace / name for name in ("data", "models", "metrics", "plots")]
        paths = sorted(path for root in roots for path in root.rglob("*") if path.is_file())
        names = {path: path.relative_to(self.workspace).as_posix() for path in paths}
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path, name in names.items()
            if name not in UNCOMPARED and not path.name.startswith(".partial-")
        }

    def differing(self) -> list[str]:
        """Outputs that are not those of the undisturbed run."""
        now = self.outputs()
        return sorted(name for name in now | self.reference if now.get(name) != self.reference.get(name))

    def run(self, disturb: Callable[[Watched], Any] | None = None, largest_file: int | None = None) -> Run:
        """Run the pipeline's command, and wait for its end and for that of everything that it started.

        Args:
            disturb: is called with the processes once they have begun.
            largest_file: no process may write a longer one (bytes), as where the disk is full.
        """
        mark = uuid.uuid4().hex
        own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
        own |= {MARK: mark, "PREFECT_HOME": str(self.prefect), "SCRIPTSIGHT_UI_API_URL": "http://127.0.0.1:9/api"}
        own |= {"PYTHONPATH": f"{PROJECT / 'src'}:{PROJECT}", "OMP_NUM_THREADS": "1"}

        def limit() -> None:
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        since = time.monotonic()
        log = self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "flows.pipeline", "--workspace", str(self.workspace)],
                cwd=self.folder,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
            )
        watched = Watched(process, mark)
        try:
            if disturb:
                disturb(watched)
            with suppress(subprocess.TimeoutExpired):
                process.wait(MOST_SECONDS)
            left = watched.left() if process.returncode is not None else []
        finally:
            for other in watched.all():
                with suppress(psutil.Error):
                    other.kill()
            process.wait()
        status = process.returncode if time.monotonic() - since < MOST_SECONDS else None
        said = log.read_text(encoding="utf-8", errors="replace")
        return Run(status, said, time.monotonic() - since, left)

    def running_for_ever(self) -> int:
        """How many runs MLflow takes for running, though nothing runs."""
        path = self.workspace / "mlruns" / "mlflow.db"
        if not path.is_file():
            return 0
        with closing(sqlite3.connect(path)) as database:
            (count,) = database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()
        return int(count)

    def partials(self) -> list[Path]:
        """What half-written files and folders are left."""
        return [path for path in self.workspace.rglob(".partial-*") if ".dvc" not in path.parts]


def _done(command: list[str]) -> bool:
    return shutil.which(command[0]) is not None and not subprocess.run(command, capture_output=True).returncode  # noqa: S603


class Watched:
    """The processes of a run, found by the mark in their environment, whoever started them."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.process, self.mark = process, mark
        self.since = time.monotonic()

    def all(self) -> list[psutil.Process]:
        """Those that run now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def of(self, kind: str) -> list[psutil.Process]:
        """Those of a kind (`KINDS`) that run now."""
        return [process for process in self.all() if kind_of(process, self.process.pid) == kind]

    def left(self) -> list[str]:
        """Commands of those that still run after `END_SECONDS`."""
        deadline = time.monotonic() + END_SECONDS
        while found := self.all():
            if time.monotonic() > deadline:
                return [" ".join(command_of(process))[:200] for process in found]
            time.sleep(0.2)
        return []


KINDS = ("parent", "stage", "recorder", "server", "worker", "all")


def kind_of(process: psutil.Process, parent: int) -> str:
    """parent: the command; stage: python -m flows.STAGE; recorder: of MLflow; server: Prefect's; worker: what a stage
    forked or spawned; other: shells, git and the like."""
    command = " ".join(command_of(process))
    if process.pid == parent:
        return "parent"
    if "flows.orchestration.server" in command:
        return "server"
    if "flows.tracking.stage_run" in command:
        return "recorder"
    if "multiprocessing" in command:
        return "worker"
    if any(f"-m flows.{stage}" in command for stage in STAGES) and "python" in command.split(" ")[0]:
        above = " ".join(command_of(process.parent())) if process.parent() else ""
        return "worker" if above == command else "stage"
    return "other"


def command_of(process: psutil.Process | None) -> list[str]:
    try:
        return process.cmdline() if process else []
    except psutil.Error:
        return []


def kill(processes: Sequence[psutil.Process]) -> int:
    """SIGKILL to all of them, as close together as can be -> how many there were; stopped first, so that none sees
    another's end."""
    for number in (signal.SIGSTOP, signal.SIGKILL) if len(processes) > 1 else (signal.SIGKILL,):
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(number)
    return len(processes)


def waits(limit: float) -> Iterator[None]:
    """Come back every now and then, for some seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
