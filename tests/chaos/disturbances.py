"""What is done to a pipeline, at random: kills, a full disk, spoilt files; and whether it comes back."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.pipeline import KINDS, STAGES, Pipeline, Run, Watched, kill, kind_of, waits

SHARE = {"ingest": 1.0, "segment": 0.8, "pretrain": 0.65, "probe": 0.5, "retrieve": 0.35}  # of a run, from there on
PATIENCE = 20  # seconds for a process of the kind to begin; then whatever runs is killed
HOW = ("truncated", "flipped", "emptied", "removed", "zeroed")  # a file is spoilt
SPOILT = (".checkpoints", ".features", ".work", ".locks", "data", "metrics", "mlruns", "models", "plots")


@dataclass
class Totals:
    """What the last line says."""

    kills: int = 0
    full: int = 0
    spoilt: int = 0
    equal: int = 0  # of all three
    left_running: int = 0
    stale_locks: int = 0
    hung: int = 0
    runs_for_ever: int = 0
    tracebacks: int = 0  # of a full disk or a spoilt file, where one message would do
    failed: int = 0  # the next run did not succeed
    by_kind: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: int = 0

    def count(self, kind: str, equal: bool) -> None:
        """One disturbance of a kind, and whether the next run ended equal to the byte."""
        found = self.by_kind.setdefault(kind, {"done": 0, "equal": 0})
        found["done"] += 1
        found["equal"] += equal
        self.equal += equal

    def plain(self) -> dict[str, Any]:
        return asdict(self)


class Chaos:
    """Disturbances of one pipeline, drawn from a seed."""

    def __init__(self, pipeline: Pipeline, seed: int, stages: tuple[str, ...] = STAGES) -> None:
        self.pipeline, self.draw, self.stages = pipeline, random.Random(seed), stages
        self.totals = Totals()
        self.seconds = 60.0  # of an undisturbed run

    def kills(self, count: int) -> Iterator[str]:
        """Kill something, run again; `count` times -> a line of progress each."""
        order: list[str] = []
        for number in range(count):
            order = order or self.draw.sample(KINDS, len(KINDS))  # each kind equally often
            kind, stage = order.pop(), self.draw.choice(self.stages)
            killed: list[str] = []
            while not killed:  # a run may end before the moment comes
                self.pipeline.restore(stage)
                run = self.pipeline.run(self._killer(kind, self._moment(stage), killed))
            self.totals.kills += 1
            line = self._again(killed[0].split()[0], run, stage)
            yield f"kill {number + 1}: {killed[0]} from {stage} on, {line}"

    def _moment(self, stage: str) -> float:
        """Seconds into the run at which something is killed; any part of it is as likely as another."""
        return self.draw.uniform(0.2, SHARE[stage] * self.seconds)

    def _killer(self, kind: str, moment: float, killed: list[str]) -> Callable[[Watched], None]:
        def disturb(watched: Watched) -> None:
            for _ in waits(moment):
                if watched.process.poll() is not None:
                    return
            found: list[psutil.Process] = []
            for _ in waits(PATIENCE):  # where no such process runs at that moment: the next that begins
                if watched.process.poll() is not None:
                    return
                found = watched.all() if kind == "all" else watched.of(kind)
                if found:
                    break
            chosen = found if kind == "all" else [self.draw.choice(found or watched.all())]
            what = "all" if kind == "all" else kind_of(chosen[0], watched.process.pid)
            during = sorted({kind_of(process, watched.process.pid) for process in watched.all()})
            kill(chosen)
            killed.append(f"{what} after {time.monotonic() - watched.since:.1f} s ({', '.join(during)})")

        return disturb

    def full(self, count: int) -> Iterator[str]:
        """Run on a disk with little room, or where none can be made with a limit on the length of files; then with
        enough."""
        for number in range(count):
            stage = self.draw.choice(self.stages)
            room = int(2 ** self.draw.uniform(10, 24))
            with self.pipeline.own_disk() as is_own:
                self.pipeline.restore(stage)
                if is_own:
                    self.pipeline.resize(room)
                run = self.pipeline.run(largest_file=None if is_own else room)
                if is_own:
                    self.pipeline.resize(None)
                self.totals.full += 1
                self._said(run, f"{room} bytes free")
                line = self._again("full", run, stage)
            yield f"full {number + 1}: {room} bytes free from {stage} on, {line}"

    def spoil(self, count: int) -> Iterator[str]:
        """Spoil a file that a killed run left; then run again, and where that names the file, without it."""
        for number in range(count):
            stage = self.draw.choice(self.stages[1:] or self.stages)
            self.pipeline.restore(stage)
            self.pipeline.run(self._killer("all", self._moment(stage), []))
            paths = [path for name in SPOILT for path in sorted((self.pipeline.workspace / name).rglob("*"))]
            path = self.draw.choice([path for path in paths if path.is_file() and not path.is_symlink()])
            how = self.draw.choice(HOW)
            spoil(path, how, self.draw)
            name = path.relative_to(self.pipeline.workspace).as_posix()
            run = self.pipeline.run()
            self.totals.spoilt += 1
            self._said(run, f"{name} {how}")
            if run.status != 0 and path.name in run.said:  # the remedy is always to take it away
                path.unlink(missing_ok=True)
            yield f"spoil {number + 1}: {name} {how} from {stage} on, {self._again('spoilt', run, stage)}"

    def _said(self, run: Run, what: str) -> None:
        """Whoever finds a disk full or a file spoilt is told so, without a traceback."""
        if run.status != 0 and "Traceback (most recent call last)" in run.said:
            self.totals.tracebacks += 1
            self._fault(f"{what}: a traceback:\n{tail(run)}")

    def _again(self, kind: str, before: Run, stage: str) -> str:
        """Run again, and see that everything is as if nothing had happened -> that in words."""
        totals, said = self.totals, []
        if before.status is None:
            totals.hung += 1
            self._fault(f"{kind}: the disturbed run did not end:\n{tail(before)}")
        run = self.pipeline.run()
        differing = self.pipeline.differing()
        left = before.left + run.left
        equal = run.status == 0 and not differing
        totals.count(kind, equal)
        if left:
            totals.left_running += 1
            said.append(f"LEFT RUNNING {left}")
        if run.status is None:
            totals.hung += 1
            said.append("HUNG")
        elif run.status != 0:
            totals.failed += 1
            said.append("FAILED")
        if re.search(r"is already running|[Uu]nable to acquire lock|is busy", run.said):
            totals.stale_locks += 1
            said.append("STALE LOCK")
        if forever := self.pipeline.running_for_ever():
            totals.runs_for_ever += 1
            said.append(f"{forever} RUNS FOR EVER")
        if differing:
            said.append(f"DIFFERING {differing[:3]}")
        words = f"status {before.status} in {before.seconds:.0f} s, again {run.seconds:.0f} s: "
        words += ", ".join(said) or "equal"
        if said:
            self._fault(f"{kind} from {stage} on: {words}\n{tail(before)}\n--- again:\n{tail(run)}")
        return words

    def _fault(self, words: str) -> None:
        self.totals.faults += 1
        print(f"FAULT {words}", file=sys.stderr, flush=True)


def tail(run: Run) -> str:
    """The last lines of what a run said."""
    return "\n".join(re.split(r"[\r\n]+", run.said.strip())[-25:])[-3000:]


def spoil(path: Path, how: str, draw: random.Random) -> None:
    """Damage a file."""
    content = path.read_bytes()
    path.chmod(0o644)
    place = draw.randrange(len(content)) if content else 0
    match how:
        case "truncated":
            path.write_bytes(content[:place])
        case "flipped":
            path.write_bytes(
                content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :] if content else b"x"
            )
        case "zeroed":
            path.write_bytes(content[:place] + bytes(len(content) - place))
        case "emptied":
            path.write_bytes(b"")
        case "removed":
            path.unlink()
