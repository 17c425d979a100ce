"""Stage 2: decode every video of the catalogue once -> segments, stretches of video as JPEG with their words.

`plan` lists chunks of videos (cheap), `work` turns one chunk into a part file (pure, safe to repeat, on any
machine that sees the files), `merge` joins the parts to shards. `run` does the three in processes here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from scriptsight import catalogue as catalogue_files
from scriptsight.catalogue import Reject, Video
from scriptsight.errors import InputError
from scriptsight.files import whole_file, whole_folder, write_json
from scriptsight.media import Failed, Frame, MediaError, frames_at_rate, isolated
from scriptsight.params import Segment as Params
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segment.cut import Stretch, stretches
from scriptsight.segments import SCHEMA, Segment, to_batch

__all__ = ["Part", "Result", "merge", "plan", "run", "work"]

CHUNK_VIDEOS = 32
CHUNK_SECONDS = 600.0  # of video
BATCH_ROWS = 32
BATCH_BYTES = 8 * 2**20  # a batch is the unit that memory-mapped readers touch


@dataclass(frozen=True)
class Part:
    """What `work` made of a chunk: a file of one record batch a segment (None where there is none)."""

    collection: str
    split: str
    path: Path | None
    segments: int
    seconds: float
    rejects: tuple[Reject, ...]
    lost: int  # videos that gave no segment


@dataclass(frozen=True)
class Result:
    """What the segments folder holds; `bytes` are those of the shards."""

    segments: int
    hours: float
    bytes: int
    rejects: int


def run(
    params: Params,
    *,
    catalogue: Path = Path("data/catalogue"),
    segments: Path = Path("data/segments"),
    metrics: Path = Path("metrics/segment.json"),
    reporter: Reporter | None = None,
) -> Result:
    """Cut the videos of `catalogue` and write `segments`, whole or not at all.

    Raises:
        InputError: no catalogue, nothing to cut, over `max_reject_share` of a collection's videos gave
            no segment, or the disk is full.
    """
    reporter = reporter or ConsoleReporter()
    videos = list(catalogue_files.read(catalogue))
    if not videos:
        raise InputError(f"The catalogue {catalogue} holds no video: name a collection that has some.")
    with whole_folder(segments) as folder:
        chunks = plan(videos)
        parts = list(reporter.progress(_parts(chunks, folder / "parts", params), "segment", len(chunks)))
        _check(videos, parts, params.max_reject_share)
        size = merge(parts, folder, params)
        shutil.rmtree(folder / "parts", ignore_errors=True)
    result = Result(
        segments=sum(part.segments for part in parts),
        hours=round(sum(part.seconds for part in parts) / 3600, 4),
        bytes=size,
        rejects=sum(len(part.rejects) for part in parts),
    )
    write_json(metrics, asdict(result))
    reporter.metrics({f"segment/{key}": float(value) for key, value in asdict(result).items()})
    return result


# ------------------------------------------------------------------------------------- plan, work, merge


def plan(videos: Iterable[Video]) -> list[tuple[Video, ...]]:
    """Chunks of videos of one collection and split, in the catalogue's order; about equally long."""
    open_chunks: dict[tuple[str, str], list[Video]] = {}
    chunks = []
    for video in videos:
        key = (video.collection, video.split)
        chunk = open_chunks.setdefault(key, [])
        chunk.append(video)
        if len(chunk) == CHUNK_VIDEOS or sum(one.duration for one in chunk) >= CHUNK_SECONDS:
            chunks.append(tuple(open_chunks.pop(key)))
    return chunks + [tuple(chunk) for chunk in open_chunks.values()]


def work(videos: Sequence[Video], folder: Path, params: Params) -> Part:
    """Decode one chunk into a part file in `folder`; the same chunk gives the same bytes."""
    first = videos[0]
    path = folder / first.collection / f"{first.video_id}.arrow"
    rejects: list[Reject] = []
    count, seconds, lost = 0, 0.0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        for video in videos:
            before = count
            for segment in _segments(video, params, rejects):
                writer.write_batch(to_batch([segment]))
                count, seconds = count + 1, seconds + segment.end - segment.start
            lost += count == before
    return Part(first.collection, first.split, path, count, seconds, tuple(rejects), lost)


def merge(parts: Iterable[Part], folder: Path, params: Params) -> int:
    """Join parts, in order, to shards `COLLECTION/SPLIT/00000.arrow` of about `shard_mb` -> bytes written."""
    parts = list(parts)
    by_split: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        if part.segments:
            by_split.setdefault((part.collection, part.split), []).append(part)
    total = 0
    for (collection, split), group in by_split.items():
        target = folder / collection / split
        target.mkdir(parents=True)
        batches = _batches(group)
        batch = next(batches, None)
        number = 0
        while batch is not None:
            path = target / f"{number:05}.arrow"
            written = 0
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
                while batch is not None and (not written or written + batch.nbytes <= params.shard_mb * 1e6):
                    writer.write_batch(batch)
                    written += batch.nbytes
                    batch = next(batches, None)
            total += path.stat().st_size
            number += 1
    rows = [asdict(reject) for part in parts for reject in part.rejects]
    rows.sort(key=lambda row: (row["collection"], row["uri"]))
    pq.write_table(pa.Table.from_pylist(rows, catalogue_files.REJECTS), folder / "rejects.parquet")
    return total


def _parts(chunks: Sequence[Sequence[Video]], folder: Path, params: Params) -> Iterator[Part]:
    do = partial(work, folder=folder, params=params)
    for chunk, part in isolated(do, chunks, workers=params.workers, timeout=params.timeout_seconds):
        if isinstance(part, Failed):
            video = chunk[0]
            reject = Reject(video.collection, video.uri, part.reason, part.detail)
            part = Part(video.collection, video.split, None, 0, 0.0, (reject,), lost=1)
        yield part


def _batches(parts: Iterable[Part]) -> Iterator[pa.RecordBatch]:
    """Rows of the parts in batches of modest size; a part is deleted once it was read."""
    pending: list[pa.RecordBatch] = []
    size = 0
    for part in parts:
        assert part.path is not None
        with pa.OSFile(str(part.path), "rb") as source:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                row = reader.get_batch(i)
                if pending and (len(pending) == BATCH_ROWS or size + row.nbytes > BATCH_BYTES):
                    yield _joined(pending)
                    pending, size = [], 0
                pending.append(row)
                size += row.nbytes
        part.path.unlink()
    if pending:
        yield _joined(pending)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches, SCHEMA).combine_chunks().to_batches()[0]


def _check(videos: Sequence[Video], parts: Sequence[Part], max_share: float) -> None:
    """Raise if too many videos of a collection gave no segment. One that gave some is not lost, only rejected
    in part."""
    rejects = [reject for part in parts for reject in part.rejects]
    total = Counter(video.collection for video in videos)
    for name in total:
        share = sum(part.lost for part in parts if part.collection == name) / total[name]
        nothing = not any(part.segments for part in parts if part.collection == name)
        if share <= max_share and not nothing:
            continue
        reasons = Counter(reject.reason for reject in rejects if reject.collection == name)
        lines = [f"  {count} x {reason}" for reason, count in reasons.most_common()]
        lines += [f"  {r.uri}: {r.reason}: {r.detail}" for r in rejects if r.collection == name][:5]
        problem = f"{share:.0%} of the videos was refused (max_reject_share: {max_share:.0%})"
        raise InputError(f"Collection {name!r}: {problem}. Reasons, and the first cases:\n" + "\n".join(lines))


# -------------------------------------------------------------------------------------------- one video


def _segments(video: Video, params: Params, rejects: list[Reject]) -> Iterator[Segment]:
    """Decode a video once and yield its segments; why it, or its end, was refused is added to `rejects`.

    Of a video that breaks, what lies before the break is kept: the segment in which it happens ends there.
    """
    if reject := _changed(video):
        rejects.append(reject)
        return
    cuts = stretches(video.cues, video.duration, params)
    index = 0  # of the stretch that frames go to
    times: list[float] = []
    frames: list[bytes] = []
    shown: Frame | None = None  # the last frame before the stretch
    broken_at: float | None = None
    empty = 0  # stretches without a frame
    source = frames_at_rate(video.uri, params.fps, params.short_side)
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
            times.append(frame.time)
            frames.append(_jpeg(frame, params))
        shown = frame
    if empty or not cuts:
        detail = f"in {empty} of {len(cuts)} stretches of its {video.duration:.2f} s"
        rejects.append(Reject(video.collection, video.uri, "no frames", detail))


def _changed(video: Video) -> Reject | None:
    try:
        size = Path(video.uri).stat().st_size
    except OSError as error:
        return Reject(video.collection, video.uri, "unreadable video", str(error))
    if size == video.size:
        return None
    detail = f"{size} bytes instead of {video.size}: run the ingest stage again"
    return Reject(video.collection, video.uri, "changed since ingest", detail)


def _ended(cut: Stretch, at: float) -> Stretch | None:
    """The part of a stretch before `at` seconds, if there is one."""
    start, end, cues = cut
    if start >= at:
        return None
    return start, min(end, at), tuple(replace(cue, end=min(cue.end, at)) for cue in cues if cue.start < at)


def _jpeg(frame: Frame, params: Params) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(frame.image, quality=params.jpeg_quality)
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
    )
