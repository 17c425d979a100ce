"""One trial in a process of its own: trained, and measured on the validation splits.

FOLDER/trial.json says with which parameters; what happens goes to FOLDER/events.jsonl while it happens, the
figures to FOLDER/figures.json. Begun again, it goes on from its last checkpoint. It knows no Optuna and no MLflow:
whoever started it reads what it writes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from flows import parameters
from flows.names import flat
from flows.running import processes
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.params.probe import ProbeParams
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import ConsoleReporter, Reporter

SETTINGS, EVENTS, FIGURES, MODEL = "trial.json", "events.jsonl", "figures.json", "model"


class EventReporter(ConsoleReporter):
    """Its figures are lines of a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.event({"metrics": dict(values), "step": step or 0, "time": time.time_ns() // 1_000_000})

    def event(self, values: Mapping[str, Any]) -> None:
        """Write one line."""
        self._file.write(json.dumps(values) + "\n")


def main(folder: Path) -> None:
    """Be the process of the trial in `folder`; a failure is an event with its reason, and status 1."""
    os.setsid()  # ctrl-C is for the study, which then asks its trials to end
    processes.die_with_parent()
    alone = FileLock(folder / "lock")
    alone.acquire()  # until this ends: an attempt that was taken for lost may still be writing
    with (folder / "log.txt").open("ab", buffering=0) as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    reporter = EventReporter(folder / EVENTS)
    with processes.exit_on_error("trial"):
        told = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        try:
            figures = run(parameters.build(told["params"]), folder, told["worker"], reporter)
        except Exception as error:
            if not isinstance(error, InputError):
                traceback.print_exc()
            reporter.event({"failure": str(error) if isinstance(error, InputError) else _named(error)})
            sys.exit(1)
        files.write_json(folder / FIGURES, figures)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def run(settings: parameters.Params, folder: Path, worker: int, reporter: Reporter) -> dict[str, float]:
    """Train and measure -> figures by name: pretrain/, probe/, retrieve/, speed/ and the seconds of both."""
    started = time.perf_counter()
    import torch

    from scriptsight import pretrain

    if count := torch.cuda.device_count():
        os.environ.setdefault("LOCAL_RANK", str(worker % count))  # workers share the machine's GPUs evenly
    seconds = {"seconds/import": time.perf_counter() - started}
    metrics = folder / "pretrain.json"
    started = time.perf_counter()
    if not metrics.is_file():  # a trial that was lost while it was measured need not learn again
        pretrain.run(
            settings.pretrain,
            bundle_folder=folder / MODEL,
            best_folder=folder / "best",
            metrics=metrics,
            plots=folder / "plots" / "pretrain",
            checkpoints=folder / "checkpoints",
            reporter=reporter,
        )
    seconds["seconds/train"] = time.perf_counter() - started
    trained = json.loads(metrics.read_text(encoding="utf-8"))
    started = time.perf_counter()
    figures = {f"pretrain/{name}": value for name, value in flat(trained.pop("val"), "/").items()}
    figures |= {f"speed/{name}": value for name, value in trained.items()}
    figures |= {f"probe/{name}": value for name, value in probed(settings.probe, folder, reporter).items()}
    figures |= {f"retrieve/{name}": value for name, value in retrieved(settings.retrieve, folder, reporter).items()}
    seconds["seconds/measure"] = time.perf_counter() - started
    return {name: float(value) for name, value in (figures | seconds).items() if isinstance(value, int | float)}


def probed(choice: ProbeParams, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """The figures of the probe stage's first test."""
    from scriptsight import probe

    found = probe.measure(
        folder / MODEL, choice, checkpoints=folder / "checkpoints", reporter=reporter, with_controls=False
    )
    return flat(found, "/")


def retrieved(choice: RetrieveParams, folder: Path, reporter: Reporter) -> dict[str, float]:
    """Whole scripts look for their segments, as the retrieve stage measures it, without its index and pictures.

    (The recall that pre-training reports while it validates is of K transcripts, and easier the more they are.)
    """
    import numpy as np

    from scriptsight import features
    from scriptsight.models import bundle
    from scriptsight.retrieve import metrics, protocols
    from scriptsight.segments import Segments

    encoder = bundle.load(folder / MODEL)
    segments = Segments(Path("data/segments"), choice.collection, choice.split)
    pairs = protocols.pairs(segments, choice.protocol)
    if len(pairs.items) < 2:
        raise InputError(
            f"{choice.collection}/{choice.split} has fewer than two items with text: nothing to look for."
        )
    seen = features.extract(encoder, segments, choice.batch, reporter, "retrieve")["embedding"]
    gallery = pairs.gallery(seen.reshape(len(seen), -1))
    starts = range(0, len(pairs.texts), choice.batch)
    texts = np.concatenate([encoder.encode_scripts(pairs.texts[i : i + choice.batch]).cpu().numpy() for i in starts])
    numbers = np.arange(len(gallery))
    ranks = {
        "t2v": metrics.ranks(texts, gallery, pairs.owners, numbers),
        "v2t": metrics.ranks(gallery, texts, numbers, pairs.owners),
    }
    found = {f"{name}/r{k}": float((rank <= k).mean()) for name, rank in ranks.items() for k in metrics.RECALLS}
    return found | {"chance_r1": 1 / len(gallery)}
