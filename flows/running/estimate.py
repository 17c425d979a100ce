"""How long the stages of a run will take: what they took before, on this machine.

`.locks/history.json` of a folder has the seconds of its last runs' stages, each with the amount of its work and with
what it was like. A stage takes as long as the last one of its kind did, in proportion to the work; one that has not
run in this folder takes what one like it took in the checkout. What nobody knows stays unknown.
"""

from __future__ import annotations

import json
import math
import mimetypes
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import PROJECT
from flows.running import locks
from scriptsight import files

if TYPE_CHECKING:
    from flows.parameters import Params

HISTORY = locks.LOCKS / "history.json"
MOST = 50  # stages that are remembered
EXPECTED = "SCRIPTSIGHT_EXPECTED_SECONDS"  # set for the stages of a run: JSON, stage -> seconds
MOST_FILES = 100_000  # of a collection that are counted


@dataclass(frozen=True)
class Work:
    """What a stage has to do.

    Args:
        amount: to which the seconds are in proportion, as videos or the pixels of a training; None if nobody knows.
        like: two stages with the same words here differ in the amount alone.
    """

    amount: float | None
    like: str


@dataclass(frozen=True)
class Took:
    """A stage that ran."""

    stage: str
    processor: str
    seconds: float
    amount: float | None
    like: str


def works(settings: Params, figures: Mapping[str, float]) -> dict[str, Work]:
    """What each stage has to do with these parameters.

    Args:
        figures: of the last run, by names such as `segment/segments`.
    """
    videos = _videos(settings)
    segments = figures.get("segment/segments")
    learning, measured = settings.pretrain, settings.probe
    kinds = sorted({collection.kind for collection in settings.ingest.collections.values()})
    model = learning.video.model_dump(mode="json")
    clip = learning.frames * learning.image_size**2
    cut = [settings.segment.fps, settings.segment.short_side, settings.segment.max_seconds]
    return {
        "ingest": Work(videos, _like(kinds, settings.ingest.transcription is not None)),
        "segment": Work(videos, _like(kinds, cut)),
        "pretrain": Work(float(learning.steps * learning.batch * clip), _like(learning.objective, learning.k, model)),
        "probe": Work(segments, _like(sorted(measured.protocols), sorted(measured.tests), model, clip)),
        "retrieve": Work(segments, _like(model, clip)),
    }


def _like(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True)


def _videos(settings: Params) -> float | None:
    """How many there are; None where a collection is at an address, or larger than one counts."""
    total = 0
    for collection in settings.ingest.collections.values():
        if collection.kind == "world":
            total += collection.videos.train + collection.videos.val + collection.videos.test
            continue
        where = getattr(collection, "path", None)
        if where is None or "://" in where:
            return None
        names = list(islice((name for _, _, names in os.walk(where) for name in names), MOST_FILES))
        if len(names) == MOST_FILES:
            return None
        total += sum((mimetypes.guess_type(name)[0] or "").startswith("video/") for name in names)
    return float(total)


def expect(names: Iterable[str], settings: Params, figures: Mapping[str, float]) -> dict[str, float]:
    """Stage -> seconds that it will take, for those of which anything is known."""
    todo, here = works(settings, figures), processor()
    own, other = _read(HISTORY), _read(PROJECT / HISTORY)
    found = {}
    for name in names:
        seconds = _scaled(own, name, here, todo[name], by_work_alone=False)
        if seconds is None:
            seconds = _scaled(other, name, here, todo[name], by_work_alone=True)
        if seconds is not None:
            found[name] = seconds
    return found


def _scaled(known: Sequence[Took], name: str, here: str, work: Work, *, by_work_alone: bool) -> float | None:
    """What the newest one like it took, in proportion; where the amounts are not known, unless `by_work_alone`, just
    as long."""
    for took in reversed(known):
        if (took.stage, took.processor, took.like) != (name, here, work.like):
            continue
        if took.amount and work.amount is not None:
            return took.seconds * work.amount / took.amount
        if not by_work_alone:
            return took.seconds
    return None


def remember(took: Mapping[str, float], settings: Params, figures: Mapping[str, float], done: float = 1.0) -> None:
    """Add what stages took to the history of the current folder.

    Args:
        took: stage -> seconds.
        figures: after the run.
        done: the share of its steps that a training did in these seconds; less than 1 if it went on from a
            checkpoint.
    """
    if not took:
        return
    todo, here = works(settings, figures), processor()
    new = []
    for name, seconds in took.items():
        amount = todo[name].amount
        if name == "pretrain" and amount is not None:
            amount *= done
        new.append(Took(name, here, round(seconds, 3), amount, todo[name].like))
    files.write_json(HISTORY, {"took": [asdict(one) for one in [*_read(HISTORY), *new][-MOST:]]})


def _read(path: Path) -> list[Took]:
    """The history in a file; empty where there is none, or it is not what was written."""
    try:
        return [Took(**one) for one in json.loads(path.read_text(encoding="utf-8"))["took"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def processor() -> str:
    """The processor's name, as Linux knows it or as Python does."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# ------------------------------------------------------------------------------------------ while a run works


def left(expected: Mapping[str, float | None], running: str, seconds: float, part: float) -> float | None:
    """Seconds until the run is done; None where nobody knows.

    Args:
        expected: the stages of the run in their order, and what is expected of each.
        running: the stage that works since so many `seconds`.
        part: seconds that the part of it at work will take by its own pace.
    """
    names = list(expected)
    ahead = [expected[name] for name in names[names.index(running) :]] if running in names else []
    known = [of_stage for of_stage in ahead if of_stage is not None]
    if not known or len(known) < len(ahead):
        return None
    return max(known[0] - seconds, part) + sum(known[1:])


def told() -> dict[str, float | None]:
    """Within a stage: the stages of its run in their order, and the seconds that are expected of each."""
    found: dict[str, float | None] = json.loads(os.environ.get(EXPECTED, "{}"))
    return found


def span(seconds: float) -> str:
    """As `40 s`, `7 min` or `2.5 h`."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
