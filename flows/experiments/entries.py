"""What the entries of a comparison do: pools of data, trainings, untrained encoders, measurements.

Paths in their settings are relative to their folder.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from flows.experiments.runner import Settings
from scriptsight.params.ingest import IngestParams
from scriptsight.params.pretrain import PretrainParams
from scriptsight.params.probe import ProbeParams
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.params.segment import SegmentParams
from scriptsight.reporting import Reporter, SilentReporter

T = TypeVar("T")


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


def pool(settings: Settings, folder: Path, _: Reporter) -> dict[str, Any]:
    """Render and cut the videos of one seed."""
    from scriptsight import ingest, segment

    os.chdir(folder)
    ingest.run(IngestParams.model_validate(settings["ingest"]), reporter=SilentReporter())
    segment.run(SegmentParams.model_validate(settings["segment"]), reporter=SilentReporter())
    shutil.rmtree("data/world")  # the segments hold all that is trained and measured on
    return {}


def training(settings: Settings, folder: Path, _: Reporter) -> dict[str, Any]:
    """Train on the segments of a pool -> held-out figures, steps, and the processor's seconds of a step (median)."""
    from scriptsight import pretrain

    os.chdir(folder)
    params, clock = PretrainParams.model_validate(settings["pretrain"]), Stopwatch()
    trained = pretrain.run(params, segments=Path(settings["segments"]), reporter=clock)
    return {"val": trained.val, "steps": params.steps, "step_seconds": statistics.median(clock.steps)}


def untrained(settings: Settings, folder: Path, _: Reporter) -> dict[str, Any]:
    """A randomly initialised encoder of the shape of a trained one."""
    from scriptsight.models import bundle

    encoder = bundle.random_like(folder / settings["like"], settings["seed"])
    bundle.save(encoder, folder / "models" / "pretrained")
    return {"val": {}, "steps": 0, "step_seconds": 0.0}


def measurement(settings: Settings, folder: Path, _: Reporter) -> dict[str, Any]:
    """Probe a model on each kind of clips, and search with it -> what both found."""
    from scriptsight import probe, retrieve

    params, silent = ProbeParams.model_validate(settings["probe"]), SilentReporter()
    clips, bundle = folder / settings["clips"], folder / settings["bundle"]
    probed = {
        test: probe.measure(
            bundle, params, test, segments=clips / "segments", catalogue=clips / "catalogue", reporter=silent
        )
        for test in params.tests
    }
    search = RetrieveParams.model_validate(settings["retrieve"])
    found = retrieve.measure(bundle, search, segments=folder / settings["films"] / "segments", reporter=silent)
    return {"probe": probed, "retrieve": found}
