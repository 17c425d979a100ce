"""Stage 1: collections of videos and what is said in them -> the catalogue.

There is one road into it. Collections of kind `world` are first rendered into folders (`rendering`), and read as any
other: their readers list what they have; `plan` puts it in chunks of videos; `work` opens the videos of a chunk and
writes a part; `merge` puts the parts together. `run` does all that, by default in processes here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from scriptsight import catalogue as catalogue_files
from scriptsight import parts
from scriptsight.catalogue import Reject, Video
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.ingest import describe, rendering
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.media import Failed
from scriptsight.params.collections import Collection, WorldCollection
from scriptsight.params.ingest import IngestParams
from scriptsight.parts import Mapper, Plan, Work
from scriptsight.reporting import ConsoleReporter, Reporter

__all__ = ["CataloguePart", "Result", "merge", "plan", "run", "work"]

CHUNK_VIDEOS = 16
HEARING_SECONDS = 6 * 3600.0  # more for one video, where what is said in it must be heard first


@dataclass(frozen=True)
class CataloguePart:
    """What `work` made of a chunk: a Parquet file of its videos and their cues (None where there is none), and one of
    what became of each line."""

    collection: str
    file: str | None
    said: str | None = None
    as_before: int = 0  # lines that were taken over from the last run
    splits: dict[str, int] = field(default_factory=dict)  # videos
    seconds: float = 0.0
    cues: int = 0
    cleaned: dict[str, int] = field(default_factory=dict)  # rule -> cues that it changed or took out
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class Result:
    """What the catalogue holds."""

    videos: int
    hours: float
    cues: int
    rejects: int
    cleaned: dict[str, int]  # rule -> cues that it changed or took out
    collections: dict[str, dict[str, int]]  # name -> split -> videos


@dataclass(frozen=True)
class _Item:
    """A line of the plan: a video, and what shows that one of its files changed."""

    collection: str
    stamps: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True)
class _Described:
    """What became of a line: its video, if it can be read, and what was found on the way."""

    video: Video | None
    cleaned: dict[str, int]
    rejects: tuple[Reject, ...]


_ITEM = TypeAdapter(_Item)
_DESCRIBED = TypeAdapter(_Described)
_REJECT = TypeAdapter(Reject)


def run(
    params: IngestParams,
    *,
    world: Path = Path("data/world"),
    catalogue: Path = Path("data/catalogue"),
    metrics: Path = Path("metrics/ingest.json"),
    work_root: Path = Path(".work/ingest"),
    mapper: Mapper | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Render the collections of kind `world` into `world`, read all of `params`, and write `catalogue`.

    Parts that an interrupted run left below `work_root` are used. After success what was found out of each video is
    left there: the next run opens only those whose files, captions or lines in a list are others.

    Args:
        mapper: does the work on chunks; by default `params.workers` processes of this machine.

    Raises:
        InputError: a collection is missing, empty, or more of it than `max_reject_share` was refused. The
            catalogue is then not written: its old version, if any, stays, and the message shows the refusals.
    """
    reporter = reporter or ConsoleReporter()
    mapper = mapper or parts.in_processes(params.workers)
    worlds = {name: one for name, one in params.collections.items() if isinstance(one, WorldCollection)}
    lists = _listed({name: one for name, one in params.collections.items() if name not in worlds})
    _check_lists(params, lists)  # before hours of work, what is lost anyway
    rendered = rendering.render(
        worlds, world, timeout=params.timeout_seconds, work_root=work_root / "world", mapper=mapper, reporter=reporter
    )
    _check(params, rendered.videos(), rendered.kept(), rendered.rejects())
    lists |= _listed(rendered.publish(world))
    for reject in rendered.rejects():
        lists[reject.collection].refuse(reject)
    # What makes no difference to a part.
    other = {"timeout_seconds", "workers", "runner", "dask_address", "max_reject_share"}
    folder = parts.work_folder(work_root, params.model_dump_json(exclude=other), world.as_posix())
    chunks = plan(lists, folder)
    videos = {name: listed.videos() for name, listed in lists.items()}
    for listed in lists.values():
        listed.close()
    job = _job(params, folder)
    parts.finish(job, chunks, mapper, "ingest", reporter)
    kept: Counter[str] = Counter()
    for part in job.parts(chunks):
        kept[part.collection] += sum(part.splits.values())
    _check(params, videos, kept, _rejects(folder, job.parts(chunks)))
    result = merge(params, job, chunks, catalogue)
    write_json(metrics, asdict(result))
    if as_before := sum(part.as_before for part in job.parts(chunks)):
        reporter.message(f"ingest: {as_before:,} of {chunks.items:,} videos are as in the last run, and not opened")
    parts.keep(folder, _said(job, chunks))
    rendered.remove()
    parts.remove(folder)
    totals = {"videos": result.videos, "hours": result.hours, "cues": result.cues, "rejects": result.rejects}
    reporter.metrics({f"ingest/{key}": float(value) for key, value in totals.items()})
    return result


def _listed(collections: Mapping[str, Collection]) -> dict[str, Listed]:
    """What the collections have, before any of it is opened: their kind picks the reader."""
    return {name: READERS[collection.kind](name, collection) for name, collection in collections.items()}


# ------------------------------------------------------------------------------------- plan, work, merge


def plan(lists: Mapping[str, Listed], folder: Path) -> Plan:
    """Write the plan of all that the collections' lists hold, and what they refused, into the work folder."""

    stamps = parts.Stamps()

    def chunks() -> Iterator[tuple[str, list[bytes]]]:
        for name, listed in sorted(lists.items()):
            lines = (_line(name, entry, stamps) for entry in listed.entries())
            while chunk := list(islice(lines, CHUNK_VIDEOS)):
                yield name, chunk

    refused = (_REJECT.dump_json(reject) for _, listed in sorted(lists.items()) for reject in listed.rejects())
    parts.write_lines(folder / "rejects.jsonl", refused)
    return parts.write_plan(folder, chunks())


def _line(name: str, entry: Entry, stamps: parts.Stamps) -> bytes:
    return _ITEM.dump_json(_Item(name, tuple(map(stamps.of, describe.addresses(entry))), entry))


def work(lines: Sequence[bytes], *, params: IngestParams, folder: Path) -> CataloguePart:
    """Open the videos of a chunk (lines of the plan), but those that the last run knew as they are, and write their
    part into the work folder."""
    items = [_ITEM.validate_json(line) for line in lines]
    name = items[0].collection
    before = parts.made_before(folder, lines)
    found = [
        _described(item, params) if old is None else _DESCRIBED.validate_json(old)
        for item, old in zip(items, before, strict=True)
    ]
    videos = [one.video for one in found if one.video is not None]
    cleaned: Counter[str] = Counter()
    for one in found:
        cleaned.update(one.cleaned)  # a sum of counters would leave out what is 0
    name_of_file: str | None = None
    if videos:
        with parts.part_file(folder, lines, ".parquet") as file:
            pq.write_table(catalogue_files.with_cues(videos), file.path)
        name_of_file = file.name
    return CataloguePart(
        name,
        name_of_file,
        said=parts.said_of(folder, lines, [_DESCRIBED.dump_json(one) for one in found]),
        as_before=sum(old is not None for old in before),
        splits=dict(Counter(video.split for video in videos)),
        seconds=sum(video.duration for video in videos),
        cues=sum(len(video.cues) for video in videos),
        cleaned=dict(cleaned),
        rejects=tuple(reject for one in found for reject in one.rejects),
    )


def _described(item: _Item, params: IngestParams) -> _Described:
    notes = Notes(item.collection)
    video = describe.describe(item.entry, params, notes)
    return _Described(video, dict(notes.cleaned), tuple(notes.rejects))


def _said(job: Work[CataloguePart], chunks: Plan) -> Iterator[tuple[bytes, bytes]]:
    """What became of each line, for the next run; parts in which something was refused in passing are left out."""
    for part in job.parts(chunks):
        if part.said and not any(reject.reason in parts.PASSING for reject in part.rejects):
            yield from parts.read_said(job.folder, part.said)


def _job(params: IngestParams, folder: Path) -> Work[CataloguePart]:
    do = partial(work, params=params, folder=folder)
    limit = params.timeout_seconds + (0.0 if params.transcription is None else HEARING_SECONDS)
    return Work(folder, Path.cwd(), do, _refused, CataloguePart, limit)


def _refused(line: bytes, failed: Failed) -> CataloguePart:
    item = _ITEM.validate_json(line)
    reject = Reject(item.collection, item.entry.uri, failed.reason, failed.detail)
    return CataloguePart(item.collection, None, rejects=(reject,))


def merge(params: IngestParams, job: Work[CataloguePart], chunks: Plan, catalogue: Path) -> Result:
    """Put the parts together, in the order of the plan.

    Raises:
        InputError: the disk is full.
    """
    tables = (_table(job.folder, part) for part in job.parts(chunks) if part.file)
    catalogue_files.write(catalogue, tables, _rejects(job.folder, job.parts(chunks)))
    collections = {name: {"train": 0, "val": 0, "test": 0} for name in params.collections}
    cleaned: Counter[str] = Counter()
    seconds, cues = 0.0, 0
    for part in job.parts(chunks):
        seconds, cues = seconds + part.seconds, cues + part.cues
        cleaned.update(part.cleaned)
        for split, count in part.splits.items():
            collections[part.collection][split] += count
    return Result(
        videos=sum(sum(splits.values()) for splits in collections.values()),
        hours=round(seconds / 3600, 4),
        cues=cues,
        rejects=sum(1 for _ in _rejects(job.folder, job.parts(chunks))),
        cleaned=dict(sorted(cleaned.items())),
        collections=collections,
    )


def _table(folder: Path, part: CataloguePart) -> pa.Table:
    return pq.read_table(parts.whole_part(folder, str(part.file)))


# ---------------------------------------------------------------------------------------------- rejects


def _source_rejects(folder: Path) -> Iterator[Reject]:
    path = folder / "rejects.jsonl"
    for line in parts.read_lines(path):
        try:
            reject = _REJECT.validate_json(line)
        except ValidationError as error:
            raise InputError(f"{path} is damaged: run the ingest stage again, which writes it anew.") from error
        yield reject


def _rejects(folder: Path, done: Iterable[CataloguePart]) -> Iterator[Reject]:
    yield from _source_rejects(folder)
    yield from (reject for part in done for reject in part.rejects)


def _check_lists(params: IngestParams, lists: Mapping[str, Listed]) -> None:
    videos = {name: listed.videos() for name, listed in lists.items()}
    _check(params, videos, videos, chain.from_iterable(listed.rejects() for listed in lists.values()))


def _check(
    params: IngestParams, videos: Mapping[str, int], left: Mapping[str, int], rejects: Iterable[Reject]
) -> None:
    """Raise if too much of a collection in `videos` was refused, or none of its videos is left."""
    reasons: dict[str, Counter[str]] = {name: Counter() for name in videos}
    first: dict[str, list[Reject]] = {name: [] for name in videos}
    for reject in rejects:
        if reject.reason not in describe.FINDINGS:
            reasons[reject.collection][reject.reason] += 1
            first[reject.collection] += [reject] if len(first[reject.collection]) < 5 else []
    for name, why in reasons.items():
        # A video whose captions were refused is still a video: it counts once among all, and as refused.
        share = why.total() / max(1, videos[name])
        if left[name] and share <= params.max_reject_share:
            continue
        lines = [f"  {count} x {reason}" for reason, count in why.most_common()]
        lines += [f"  {reject.uri}: {reject.reason}: {reject.detail}" for reject in first[name]]
        limit = f"max_reject_share: {params.max_reject_share:.0%}"
        problem = f"{share:.0%} was refused ({limit})" if left[name] else "no video is left"
        raise InputError(f"Collection {name!r}: {problem}. Reasons, and the first cases:\n" + "\n".join(lines))
