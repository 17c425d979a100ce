"""One entry of a comparison, in a folder and a process of its own: a pool of data, a training, a measurement.

    python -m flows.experiments.contest FOLDER      makes what FOLDER/entry.json says, unless FOLDER has its result

Paths in an entry are relative to its folder. `result.json` appears last, so that an interrupted comparison goes on
where it was; a training goes on from its own checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flows.running import locks, processes
from scriptsight.files import write_json
from scriptsight.params.ingest import IngestParams
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.probe import ProbeParams
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.params.segment import SegmentParams
from scriptsight.reporting import SilentReporter

T = TypeVar("T")
Entry = Mapping[str, Any]

ENTRY, RESULT, LOG = "entry.json", "result.json", "log.txt"


class Stopwatch(SilentReporter):
    """Takes the processor's time of every training step, whatever else the machine does meanwhile, and says what
    validation finds."""

    def __init__(self) -> None:
        self.steps: list[float] = []  # seconds

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        before = time.process_time()
        for item in items:
            yield item
            now = time.process_time()
            self.steps.append(now - before)
            before = now

    def message(self, text: str) -> None:
        print(text, flush=True)


def make(folder: Path) -> None:
    """Make the entry that lies in `folder`, in that folder, unless it has its result."""
    os.chdir(folder)
    with locks.lock("entry", patience=60):  # the process of a killed comparison may still write its checkpoint
        if not Path(RESULT).is_file():
            entry = read(Path(ENTRY))
            write_json(RESULT, _KINDS[entry["kind"]](entry))


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _pool(entry: Entry) -> dict[str, Any]:
    """Render and cut the films of one seed."""
    from scriptsight import ingest, segment

    ingest.run(IngestParams.model_validate(entry["ingest"]), reporter=SilentReporter())
    segment.run(SegmentParams.model_validate(entry["segment"]), reporter=SilentReporter())
    shutil.rmtree("data/world")  # the segments hold all that is trained and measured on
    return {}


def _training(entry: Entry) -> dict[str, Any]:
    """Train on the segments of a pool -> held-out figures, steps, and the processor's seconds of a step (median)."""
    from scriptsight import pretrain

    settings = PretrainParams.model_validate(entry["pretrain"])
    clock = Stopwatch()
    found = pretrain.run(settings, segments=Path(entry["segments"]), reporter=clock)
    return {"val": found.val, "steps": settings.steps, "step_seconds": statistics.median(clock.steps)}


def _untrained(entry: Entry) -> dict[str, Any]:
    """A randomly initialised encoder of the shape of a trained one."""
    from scriptsight.models import bundle

    bundle.save(bundle.random_like(entry["like"], entry["seed"]), Path("models/pretrained"))
    return {"val": {}, "steps": 0, "step_seconds": 0.0}


def _measurement(entry: Entry) -> dict[str, Any]:
    """Probe a model on each kind of clips, and search with it -> what both found."""
    from scriptsight import probe, retrieve

    silent, model = SilentReporter(), Path(entry["bundle"])
    choice, clips = ProbeParams.model_validate(entry["probe"]), Path(entry["clips"])
    probed = {
        test: probe.measure(
            model, choice, test, segments=clips / "segments", catalogue=clips / "catalogue", reporter=silent
        )
        for test in choice.tests
    }
    search = RetrieveParams.model_validate(entry["retrieve"])
    retrieve.run(search, segments=Path(entry["films"]) / "segments", bundle=model, reporter=silent)
    shutil.rmtree("models")  # the index
    return {"probe": probed, "retrieve": read(Path("metrics/retrieve.json"))}


_KINDS: dict[str, Callable[[Entry], dict[str, Any]]] = {
    "pool": _pool,
    "training": _training,
    "untrained": _untrained,
    "measurement": _measurement,
}

if __name__ == "__main__":
    processes.die_with_parent()
    with processes.exit_on_error(sys.argv[1]):
        make(Path(sys.argv[1]).resolve())
