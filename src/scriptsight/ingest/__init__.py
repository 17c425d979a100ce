"""Stage 1: collections of videos and what is said in them -> the catalogue."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scriptsight import catalogue as catalogue_files
from scriptsight.catalogue import Reject, Video
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.ingest import captions, folder
from scriptsight.ingest import world as narrated_world
from scriptsight.params import Ingest, WorldCollection
from scriptsight.reporting import ConsoleReporter, Reporter

__all__ = ["Result", "run"]


@dataclass(frozen=True)
class Result:
    """What the catalogue holds."""

    videos: int
    hours: float
    cues: int
    rejects: int
    collections: dict[str, dict[str, int]]  # name -> split -> videos


def run(
    params: Ingest,
    *,
    world: Path = Path("data/world"),
    catalogue: Path = Path("data/catalogue"),
    metrics: Path = Path("metrics/ingest.json"),
    reporter: Reporter | None = None,
) -> Result:
    """Read the collections of `params`, rendering those of kind `world` into `world`, and write `catalogue`.

    Raises:
        InputError: a collection is missing, empty, or more of it than `max_reject_share` was refused. The
            catalogue is then not written: its old version, if any, stays, and the message shows the refusals.
    """
    reporter = reporter or ConsoleReporter()
    world.mkdir(parents=True, exist_ok=True)
    for stale in world.iterdir():
        if stale.is_dir() and not isinstance(params.collections.get(stale.name), WorldCollection):
            shutil.rmtree(stale)
    videos: list[Video] = []
    rejects: list[Reject] = []
    for name, collection in params.collections.items():
        if isinstance(collection, WorldCollection):
            found, refused = narrated_world.make(name, collection, world / name, params.workers, reporter)
        else:
            found, refused = folder.read(name, collection, params.workers, reporter)
        _check(name, found, refused, params.max_reject_share)
        videos += found
        rejects += refused
    # What of it was rendered; also, DVC warns of an output folder that is empty.
    write_json(world / "collections.json", [name for name, c in params.collections.items() if c.kind == "world"])
    catalogue_files.write(catalogue, videos, rejects)
    result = _summary(videos, rejects)
    write_json(metrics, asdict(result))
    totals = {"videos": result.videos, "hours": result.hours, "cues": result.cues, "rejects": result.rejects}
    reporter.metrics({f"ingest/{key}": float(value) for key, value in totals.items()})
    return result


def _check(name: str, videos: Sequence[Video], rejects: Sequence[Reject], max_share: float) -> None:
    refused = [reject for reject in rejects if reject.reason != folder.CUES_DROPPED]
    # A video whose captions were refused is still a video: it counts once among all, and as refused.
    kept = {video.uri for video in videos}
    lost = [r for r in refused if r.uri not in kept and Path(r.uri).suffix.lower() not in captions.PARSERS]
    share = len(refused) / max(1, len(videos) + len(lost))
    if videos and share <= max_share:
        return
    reasons = Counter(reject.reason for reject in refused)
    lines = [f"  {count} x {reason}" for reason, count in reasons.most_common()]
    lines += [f"  {reject.uri}: {reject.reason}: {reject.detail}" for reject in refused[:5]]
    problem = f"{share:.0%} was refused (max_reject_share: {max_share:.0%})" if videos else "no video is left"
    raise InputError(f"Collection {name!r}: {problem}. Reasons, and the first cases:\n" + "\n".join(lines))


def _summary(videos: Sequence[Video], rejects: Sequence[Reject]) -> Result:
    collections: dict[str, dict[str, int]] = {}
    for video in videos:
        splits = collections.setdefault(video.collection, {"train": 0, "val": 0, "test": 0})
        splits[video.split] += 1
    return Result(
        videos=len(videos),
        hours=round(sum(video.duration for video in videos) / 3600, 4),
        cues=sum(len(video.cues) for video in videos),
        rejects=len(rejects),
        collections=collections,
    )
