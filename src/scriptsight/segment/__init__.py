"""Stage 2: decode every video of the catalogue once -> segments, stretches of video as JPEG with their words.

`plan` lists chunks of videos (cheap), `work` turns one chunk into a part file (pure, safe to repeat, on any
machine that sees the files), `merge` has the parts joined to shards (`joining`), which is spread like `work`. `run`
does the three, by default in processes here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from pydantic import TypeAdapter

from scriptsight import catalogue as catalogue_files
from scriptsight import parts, shards
from scriptsight.catalogue import Cue, Reject, Video
from scriptsight.errors import InputError
from scriptsight.files import CHECKSUMS, digest, linked, seal, whole_folder, write_json
from scriptsight.media import Failed, Frame, MediaError, frames_at_rate, local, refusal
from scriptsight.params.segment import SegmentParams
from scriptsight.parts import Mapper, Plan, Work
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segment import joining
from scriptsight.segment.cut import Stretch, stretches
from scriptsight.segments import SCHEMA, Listed, Segment, Segments, list_shards, to_batch

__all__ = ["Result", "SegmentsPart", "merge", "plan", "run", "work"]

CHUNK_VIDEOS = 32
CHUNK_SECONDS = 120.0  # of video


@dataclass(frozen=True)
class SegmentsPart:
    """What `work` made of a chunk: a file of a record batch a segment (None where there is none), how large each is,
    and a file of what became of each video."""

    collection: str
    file: str | None
    videos: int
    lost: int  # videos that gave no segment
    said: str | None = None
    as_before: int = 0  # videos whose segments were taken over from the last run
    segments: int = 0
    extents: tuple[joining.Extents, ...] = ()
    seconds: float = 0.0
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class Result:
    """What the segments folder holds; `bytes` are those of the shards, wherever they are."""

    segments: int
    hours: float
    bytes: int
    rejects: int


@dataclass(frozen=True)
class _Item:
    """A line of the plan: a video, and what shows that its file changed."""

    stamp: str
    video: Video


@dataclass(frozen=True)
class _Cut:
    """What became of a video: how many segments, and why it, or its end, was refused.

    In what the next run finds `first` is the row of the first of them among those of its collection and split."""

    segments: int
    rejects: tuple[Reject, ...]
    first: int = 0


_ITEM = TypeAdapter(_Item)
_CUT = TypeAdapter(_Cut)


def run(
    params: SegmentParams,
    *,
    catalogue: Path = Path("data/catalogue"),
    ingest_metrics: Path = Path("metrics/ingest.json"),
    segments: Path = Path("data/segments"),
    metrics: Path = Path("metrics/segment.json"),
    plots: Path = Path("plots/segment"),
    work_root: Path = Path(".work/segment"),
    mapper: Mapper | None = None,
    reporter: Reporter | None = None,
) -> Result:
    """Cut the videos of `catalogue` and write `segments`, whole or not at all, and a page that shows what is in both
    (`plots`/report.html; what cleaning did is read from `ingest_metrics`, where they are).

    Parts that an interrupted run left below `work_root` are used. After success the shards are linked there: the next
    run decodes only videos that are new, or of which something changed, be it the words.

    With `params.store` the shards go to that address, and `segments` gets what stands here for them.

    Args:
        mapper: does `work` on the chunks of the plan, and joins parts to shards; by default `params.workers`
            processes of this machine.

    Raises:
        InputError: no catalogue, nothing to cut, over `max_reject_share` of a collection's videos gave
            no segment, the store can't be written to, or the disk is full.
    """
    reporter = reporter or ConsoleReporter()
    mapper = mapper or parts.in_processes(params.workers)
    if params.store is not None:
        shards.check_address(params.store)
    # What makes no difference to a part.
    other = {"timeout_seconds", "workers", "runner", "dask_address", "max_reject_share", "shard_mb", "store"}
    folder = parts.work_folder(work_root, params.model_dump_json(exclude=other))
    chunks = plan(catalogue_files.read(catalogue), folder)
    if not chunks.items:
        raise InputError(f"The catalogue {catalogue} holds no video: name a collection that has some.")
    job = _job(params, folder)
    parts.finish(job, chunks, mapper, "segment", reporter)
    _check(job.parts(chunks), params.max_reject_share)
    with whole_folder(segments) as target:
        size = merge(job, chunks, target, params, mapper, reporter)
    count, seconds, rejects = 0, 0.0, 0
    for part in job.parts(chunks):
        count, seconds, rejects = count + part.segments, seconds + part.seconds, rejects + len(part.rejects)
    result = Result(segments=count, hours=round(seconds / 3600, 4), bytes=size, rejects=rejects)
    write_json(metrics, asdict(result))
    _show(plots / "report.html", catalogue, segments, ingest_metrics, reporter)
    if as_before := sum(part.as_before for part in job.parts(chunks)):
        reporter.message(
            f"segment: {as_before:,} of {chunks.items:,} videos are as in the last run; not decoded again"
        )
    try:
        parts.keep(folder, _said(job, chunks), segments)
    except OSError as error:
        reporter.message(f"segment: the next run will decode all videos again: no links can be made ({error})")
    parts.remove(folder)
    reporter.metrics({f"segment/{key}": float(value) for key, value in asdict(result).items()})
    return result


def _show(page: Path, catalogue: Path, segments: Path, ingest_metrics: Path, reporter: Reporter) -> None:
    from scriptsight.segment import report  # draws pictures: workers need not import that

    report.write(page, catalogue, segments, ingest_metrics if ingest_metrics.is_file() else None)
    reporter.artifact(page)


# ------------------------------------------------------------------------------------- plan, work, merge


def plan(videos: Iterable[Video], folder: Path) -> Plan:
    """Write the plan: chunks of videos of one collection and split, in the catalogue's order, about equally long."""

    stamps = parts.Stamps()

    def chunks() -> Iterator[tuple[str, list[bytes]]]:
        waiting: dict[str, list[Video]] = {}
        for video in videos:
            group = f"{video.collection}/{video.split}"
            chunk = waiting.setdefault(group, [])
            chunk.append(video)
            if len(chunk) == CHUNK_VIDEOS or sum(one.duration for one in chunk) >= CHUNK_SECONDS:
                yield group, _lines(waiting.pop(group), stamps)
        for group, chunk in waiting.items():
            yield group, _lines(chunk, stamps)

    return parts.write_plan(folder, chunks())


def _lines(videos: Iterable[Video], stamps: parts.Stamps) -> list[bytes]:
    return [_ITEM.dump_json(_Item(stamps.of(video.uri), video)) for video in videos]


def work(lines: Sequence[bytes], *, params: SegmentParams, folder: Path) -> SegmentsPart:
    """Decode one chunk (lines of the plan) into a part file in the work folder; equal lines give equal bytes. Videos
    that the last run had as they are are not decoded: their segments are copied."""
    videos = [_ITEM.validate_json(line).video for line in lines]
    cuts: list[_Cut] = []
    extents: list[joining.Extents] = []
    seconds, as_before = 0.0, 0
    with (
        parts.part_file(folder, lines, ".arrow") as file,
        pa.OSFile(str(file.path), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        for video, said in zip(videos, parts.made_before(folder, lines), strict=True):
            rows, rejects = _as_before(video, said, folder) or (None, [])
            as_before += rows is not None
            count = 0
            for row in map(_row, _segments(video, params, rejects)) if rows is None else rows:
                writer.write_batch(row)
                extents.append(joining.extents(row))
                count, seconds = count + 1, seconds + row["end"][0].as_py() - row["start"][0].as_py()
            cuts.append(_Cut(count, tuple(rejects)))
    return SegmentsPart(
        collection=videos[0].collection,
        file=file.name,
        videos=len(videos),
        lost=sum(not cut.segments for cut in cuts),
        said=parts.said_of(folder, lines, [_CUT.dump_json(cut) for cut in cuts]),
        as_before=as_before,
        segments=sum(cut.segments for cut in cuts),
        extents=tuple(extents),
        seconds=seconds,
        rejects=tuple(reject for cut in cuts for reject in cut.rejects),
    )


def _row(segment: Segment) -> pa.RecordBatch:
    return to_batch([segment])


def _as_before(video: Video, said: bytes | None, folder: Path) -> tuple[list[pa.RecordBatch], list[Reject]] | None:
    """The segments of a video as the last run made them, a record batch each, and what it refused; None where it did
    not have that video, or they are damaged."""
    if said is None:
        return None
    cut = _CUT.validate_json(said)
    if not cut.segments:
        return [], list(cut.rejects)
    try:
        shards = _kept_shards(parts.kept(folder), video.collection, video.split, parts.stamp(str(parts.kept(folder))))
        rows = [_row(shards[row]) for row in range(cut.first, cut.first + cut.segments)]  # looks at all checksums
    except (InputError, IndexError):
        return None
    return rows, list(cut.rejects)


@lru_cache(maxsize=8)  # a chunk of millions must not open all shards again
def _kept_shards(folder: Path, collection: str, split: str, stamp: str) -> Segments:
    """The shards of the last run; `stamp` is another when they were replaced."""
    return Segments(folder, collection, split)


def _said(job: Work[SegmentsPart], chunks: Plan) -> Iterator[tuple[bytes, bytes]]:
    """What became of each video, for the next run: with the row of its first segment. What was refused in passing is
    left out, so that it is tried again."""
    first: Counter[str] = Counter()  # rows of each group before
    for chunk in chunks:
        for part in job.parts([chunk]):
            for line, said in parts.read_said(job.folder, part.said) if part.said else ():
                cut = _CUT.validate_json(said)
                if not any(reject.reason in parts.PASSING for reject in cut.rejects):
                    yield line, _CUT.dump_json(replace(cut, first=first[chunk.group]))
                first[chunk.group] += cut.segments


def _job(params: SegmentParams, folder: Path) -> Work[SegmentsPart]:
    do = partial(work, params=params, folder=folder)
    return Work(folder, Path.cwd(), do, _refused, SegmentsPart, params.timeout_seconds)


def _refused(line: bytes, failed: Failed) -> SegmentsPart:
    video = _ITEM.validate_json(line).video
    reject = Reject(video.collection, video.uri, failed.reason, failed.detail)
    return SegmentsPart(video.collection, None, videos=1, lost=1, rejects=(reject,))


def merge(
    job: Work[SegmentsPart], chunks: Plan, target: Path, params: SegmentParams, mapper: Mapper, reporter: Reporter
) -> int:
    """Join parts, in the plan's order, to shards `COLLECTION/SPLIT/00000.arrow` of about `shard_mb` -> their bytes.

    What an interrupted run joined is below the work folder, and taken from there.
    """
    folder = job.folder / "shards"
    folder.mkdir(exist_ok=True)
    to_join = joining.plan(_files(job, chunks), folder, params.shard_mb)
    joins = joining.job(folder, job.folder, params.store, params.timeout_seconds)
    parts.finish(joins, to_join, mapper, "shards", reporter)
    total, listed = 0, dict[str, dict[str, Listed]]()
    for shard in joins.parts(to_join):
        linked(folder / shard.file, target / shard.group / shard.name)
        listed.setdefault(shard.group, {})[shard.name] = shard.listed
        total += shard.bytes
    for group, of_group in listed.items():
        list_shards(target / group, of_group, None if params.store is None else f"{params.store}/{group}")
    rejects = catalogue_files.reject_tables(reject for part in job.parts(chunks) for reject in part.rejects)
    with pq.ParquetWriter(target / "rejects.parquet", catalogue_files.REJECTS) as writer:
        for table in rejects:
            writer.write_table(table)
    seal(target / f"{CHECKSUMS}.json", names=["rejects.parquet"])
    return total


def _files(
    job: Work[SegmentsPart], chunks: Plan
) -> Iterator[tuple[str, Iterator[tuple[str, Sequence[joining.Extents]]]]]:
    """The part files of each collection and split, with how large their rows are."""
    for group in sorted({chunk.group for chunk in chunks}):
        of_group = job.parts(chunk for chunk in chunks if chunk.group == group)
        yield group, ((part.file, part.extents) for part in of_group if part.file and part.segments)


def _check(done: Iterable[SegmentsPart], max_share: float) -> None:
    """Raise if too many videos of a collection gave no segment. One that gave some is not lost, only rejected
    in part."""
    videos: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    first: dict[str, list[Reject]] = {}
    for part in done:
        name = part.collection
        videos[name] += part.videos
        lost[name] += part.lost
        reasons.setdefault(name, Counter()).update(reject.reason for reject in part.rejects)
        first[name] = [*first.get(name, []), *part.rejects][:5]
    for name in videos:
        if lost[name] <= max_share * videos[name] and lost[name] < videos[name]:
            continue
        lines = [f"  {count} x {reason}" for reason, count in reasons[name].most_common()]
        lines += [f"  {r.uri}: {r.reason}: {r.detail}" for r in first[name]]
        share = lost[name] / videos[name]
        problem = f"{share:.0%} of the videos was refused (max_reject_share: {max_share:.0%})"
        raise InputError(f"Collection {name!r}: {problem}. Reasons, and the first cases:\n" + "\n".join(lines))


# -------------------------------------------------------------------------------------------- one video


def _segments(video: Video, params: SegmentParams, rejects: list[Reject]) -> Iterator[Segment]:
    """Decode a video once and yield its segments; why it, or its end, was refused is added to `rejects`.

    Of a video that breaks, what lies before the break is kept: the segment in which it happens ends there.
    """
    try:
        with local(video.uri) as path:
            if (reject := _changed(video, path)) is None:
                yield from _decoded(video, path, params, rejects)
            else:
                rejects.append(reject)
    except Exception as error:
        rejects.append(Reject(video.collection, video.uri, *refusal(error)))


def _decoded(video: Video, path: Path, params: SegmentParams, rejects: list[Reject]) -> Iterator[Segment]:
    cuts = _cuts(video, params)
    index = 0  # of the stretch that frames go to
    times: list[float] = []
    frames: list[bytes] = []
    shown: Frame | None = None  # the last frame before the stretch
    broken_at: float | None = None
    empty = 0  # stretches without a frame
    source = frames_at_rate(path, params.fps, params.short_side)
    while index < len(cuts):
        frame = None
        try:
            frame = next(source, None)
        except MediaError as error:
            rejects.append(Reject(video.collection, video.uri, error.reason, error.detail))
            broken_at = error.time or 0.0
        while index < len(cuts) and (frame is None or frame.time >= cuts[index][1]):
            cut = cuts[index] if broken_at is None else _ended(cuts[index], broken_at)
            if cut is not None:
                if not frames and shown is not None:  # less than a frame a stretch: what is on screen counts
                    times, frames = [shown.time], [_jpeg(shown, params)]
                if frames:
                    yield _segment(video, index, cut, times, frames)
                else:
                    empty += 1
            index, times, frames = index + 1, [], []
        if frame is None or index == len(cuts):
            break
        if frame.time >= cuts[index][0]:
            if not frames and shown is not None and frame.time > cuts[index][0]:
                # What is on screen when a stretch begins belongs to it, as long as a slide may have stood there.
                times, frames = [shown.time], [_jpeg(shown, params)]
            times.append(frame.time)
            frames.append(_jpeg(frame, params))
        shown = frame
    if empty or not cuts:
        detail = f"in {empty} of {len(cuts)} stretches of its {video.duration:.2f} s"
        rejects.append(Reject(video.collection, video.uri, "no frames", detail))


def _cuts(video: Video, params: SegmentParams) -> list[Stretch]:
    """The stretches of a video in seconds of its file, of which it may be a part."""
    if not (first := video.start or 0.0):
        return stretches(video.cues, video.duration, params)
    cuts = stretches([_moved(cue, -first) for cue in video.cues], video.duration, params)
    return [(start + first, end + first, tuple(_moved(cue, first) for cue in cues)) for start, end, cues in cuts]


def _moved(cue: Cue, seconds: float) -> Cue:
    return replace(cue, start=cue.start + seconds, end=cue.end + seconds)


def _changed(video: Video, path: Path) -> Reject | None:
    try:
        size = path.stat().st_size
        if size != video.size:
            detail = f"{size} bytes instead of {video.size}: run the ingest stage again"
        elif digest(path) != video.digest:  # costs little against decoding, and the file is read anyway
            detail = "its bytes are others, if as many: run the ingest stage again"
        else:
            return None
    except OSError as error:
        return Reject(video.collection, video.uri, "unreadable video", str(error))
    return Reject(video.collection, video.uri, "changed since ingest", detail)


def _ended(cut: Stretch, at: float) -> Stretch | None:
    """The part of a stretch before `at` seconds, if there is one; a cue that is not over by then goes, as its words
    have no pictures."""
    start, end, cues = cut
    if start >= at:
        return None
    return start, min(end, at), tuple(cue for cue in cues if cue.end <= at)


def _jpeg(frame: Frame, params: SegmentParams) -> bytes:
    chroma = str(params.jpeg_chroma)
    encoded: bytes = simplejpeg.encode_jpeg(frame.image, quality=params.jpeg_quality, colorsubsampling=chroma)
    return encoded


def _segment(video: Video, index: int, cut: Stretch, times: Sequence[float], frames: Sequence[bytes]) -> Segment:
    start, end, cues = cut
    return Segment(
        segment_id=f"{video.collection}/{video.video_id}/{index}",
        video_id=video.video_id,
        uri=video.uri,
        start=start,
        end=end,
        frame_times=np.array(times),
        frames=frames,
        cues=cues,
        title=video.title,
        captions=video.captions,
        label=video.label,
        recording=video.recording,
        file_digest=video.digest,
    )
