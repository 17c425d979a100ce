"""One page on what is in the catalogue and the segments: how much, how dense, what was refused, how it looks.

The page is one file without script or address: it opens offline and can be sent. Its bytes depend on the data
alone. Tables are read batch by batch, so memory does not grow with the number of videos.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scriptsight import catalogue as catalogue_files
from scriptsight.errors import InputError, needs
from scriptsight.files import whole_file
from scriptsight.segments import MIN_CHARACTERS, SPLITS, Segment, Segments
from scriptsight.spreading import evenly
from scriptsight.times import clock

KS = range(2, 9)  # transcripts a sample
REASONS, EXAMPLES = 20, 3  # of refusals, and of files a reason
LANGUAGES = 12  # the most frequent
SAMPLES, FRAMES, CUES = 6, 6, 12  # segments a collection, and what is shown of one at most
BATCH = 8192  # rows in memory

_MINUTE = 60
# The last bin of each takes what is beyond.
LENGTHS = np.array([0, 1, 2, 5, 10, 20, 30, *(m * _MINUTE for m in (1, 2, 5, 10, 20, 30, 60, 120)), np.inf])
CUE_SECONDS = np.append(np.arange(0, 12.5, 0.5), np.inf)
WORDS = np.append(np.arange(0, 31), np.inf)
DENSITY = np.linspace(0, 1.05, 22)  # the last bin is what is narrated from end to end
TRANSCRIPTS = np.append(np.arange(0, 31), np.inf)


@dataclass
class _Split:
    """What one split of a collection holds."""

    videos: int = 0
    seconds: float = 0.0
    cues: int = 0
    narrated: float = 0.0  # seconds under cues
    segments: int = 0
    segment_seconds: float = 0.0
    eligible: dict[int, int] = field(default_factory=lambda: dict.fromkeys(KS, 0))  # K -> segments

    def add(self, other: _Split) -> None:
        self.videos += other.videos
        self.seconds += other.seconds
        self.cues += other.cues
        self.narrated += other.narrated
        self.segments += other.segments
        self.segment_seconds += other.segment_seconds
        for k in KS:
            self.eligible[k] += other.eligible[k]


@dataclass
class _Collection:
    """What one collection holds; histograms are counts over the bins above."""

    splits: dict[str, _Split] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    words: int = 0
    cue_seconds: float = 0.0
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(LENGTHS) - 1, np.int64))
    density: np.ndarray = field(default_factory=lambda: np.zeros(len(DENSITY) - 1, np.int64))
    cue_lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(CUE_SECONDS) - 1, np.int64))
    cue_words: np.ndarray = field(default_factory=lambda: np.zeros(len(WORDS) - 1, np.int64))
    transcripts: np.ndarray = field(default_factory=lambda: np.zeros(len(TRANSCRIPTS) - 1, np.int64))
    rejects: dict[tuple[str, str], _Reason] = field(default_factory=dict)  # (stage, reason)

    @property
    def total(self) -> _Split:
        total = _Split()
        for split in self.splits.values():
            total.add(split)
        return total


@dataclass
class _Reason:
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)  # address, detail


def write(path: Path, catalogue: Path, segments: Path, metrics: Path | None = None) -> None:
    """Write the page on `catalogue` and `segments` to `path`, whole or not at all.

    Args:
        metrics: ingest's metrics file; its `cleaned`, rule -> cues, is shown where it is there.

    Raises:
        InputError: there is no catalogue or no segments, or they do not belong together.
    """
    if not (catalogue / "videos.parquet").is_file():
        raise InputError(f"There is no catalogue in {catalogue}: run the ingest stage first.")
    if not (segments / "rejects.parquet").is_file():
        raise InputError(f"There are no segments in {segments}: run the segment stage first.")
    collections: dict[str, _Collection] = {}
    _read_videos(catalogue, collections)
    _read_cues(catalogue, collections)
    for stage, folder in (("ingest", catalogue), ("segment", segments)):
        _read_rejects(stage, folder, collections)
    for name, collection in collections.items():
        for split in collection.splits:
            if _shards(segments, name, split):
                _read_segments(segments, name, split, collection)
    page = _page(collections, segments, _cleaned(metrics))
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


# ------------------------------------------------------------------------------------------- counting


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    return catalogue_files.batches(path, columns, BATCH)


def histogram(values: Any, edges: np.ndarray) -> np.ndarray:
    """Counts of the finite values; what lies below the first edge is in the first bin."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    # Times are sums of rounded numbers: 0.5 s must not fall below the edge at 0.5.
    places = np.searchsorted(edges, values + 1e-9, side="right") - 1
    return np.bincount(np.clip(places, 0, len(edges) - 2), minlength=len(edges) - 1)


def _read_videos(catalogue: Path, collections: dict[str, _Collection]) -> None:
    """Videos, hours, languages, and how much of each video is narrated; both files are in the catalogue's order."""
    narrations = _narrations(catalogue / "cues.parquet")
    upcoming = next(narrations, None)
    for batch in _batches(catalogue / "videos.parquet", ["collection", "video_id", "split", "duration", "language"]):
        lengths: dict[str, list[float]] = {}
        densities: dict[str, list[float]] = {}
        for name, video, where, seconds, language in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            cues, under = 0, 0.0
            if upcoming is not None and upcoming[0] == (name, video):
                _, cues, under = upcoming
                upcoming = next(narrations, None)
            collection = collections.setdefault(name, _Collection())
            split = collection.splits.setdefault(where, _Split())
            split.add(_Split(videos=1, seconds=seconds, cues=cues, narrated=min(under, seconds)))
            collection.languages[language or "unknown"] += 1
            lengths.setdefault(name, []).append(seconds)
            densities.setdefault(name, []).append(min(1.0, under / seconds) if seconds > 0 else 0.0)
        for name, values in lengths.items():
            collections[name].lengths += histogram(values, LENGTHS)
            collections[name].density += histogram(densities[name], DENSITY)
    if upcoming is not None:
        raise InputError(
            f"The cues of {catalogue} are of other videos than its own, or in another order ({upcoming[0][1]}): run "
            "the ingest stage again."
        )


def _narrations(path: Path) -> Iterator[tuple[tuple[str, ...], int, float]]:
    """(collection, video id), number of cues and seconds under them, overlaps counted once; video by video."""
    current: tuple[str, ...] | None = None
    count, under, until = 0, 0.0, 0.0
    for key, part in _runs(path, ["collection", "video_id"], ["start", "end"]):
        if key != current:
            if current is not None:
                yield current, count, under
            current, count, under, until = key, 0, 0.0, 0.0
        starts, ends = part["start"].to_numpy(), part["end"].to_numpy()
        # Until when it is narrated before each cue: the latest end so far.
        latest = np.maximum.accumulate(np.append(until, ends))
        gains = latest[1:] - np.maximum(starts, latest[:-1])
        count, under, until = count + len(starts), under + float(np.maximum(gains, 0).sum()), float(latest[-1])
    if current is not None:
        yield current, count, under


def _read_cues(catalogue: Path, collections: dict[str, _Collection]) -> None:
    for (name,), part in _runs(catalogue / "cues.parquet", ["collection"], ["start", "end", "text"]):
        seconds = pc.subtract(part["end"], part["start"]).to_numpy()
        words = pc.count_substring_regex(part["text"], r"\S+").to_numpy()
        collection = collections[name]
        collection.cue_seconds += float(seconds.sum())
        collection.words += int(words.sum())
        collection.cue_lengths += histogram(seconds, CUE_SECONDS)
        collection.cue_words += histogram(words, WORDS)


def _runs(path: Path, keys: list[str], columns: list[str]) -> Iterator[tuple[tuple[str, ...], pa.RecordBatch]]:
    """Stretches of rows with the same keys, which may go on in the next one: a batch ends where it ends."""
    for batch in _batches(path, keys + columns):
        rows = batch.num_rows
        edges = {0, rows}
        for key in keys:
            changed = pc.not_equal(batch[key].slice(1), batch[key].slice(0, max(0, rows - 1)))
            edges.update((pc.indices_nonzero(changed).to_numpy() + 1).tolist())
        for first, last in pairwise(sorted(edges)):
            yield tuple(batch[key][first].as_py() for key in keys), batch.slice(first, last - first)


def _read_rejects(stage: str, folder: Path, collections: dict[str, _Collection]) -> None:
    columns = ["collection", "uri", "reason", "detail"]
    for batch in catalogue_files.batches(folder / "rejects.parquet", columns, BATCH, stage=stage):
        for name, uri, reason, detail in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rejects = collections.setdefault(name, _Collection()).rejects
            found = rejects.setdefault((stage, reason), _Reason())
            found.count += 1
            if len(found.examples) < EXAMPLES:
                found.examples.append((uri, detail))


def _shards(segments: Path, collection: str, split: str) -> list[Path]:
    return sorted((segments / collection / split).glob("*.arrow"))


def _read_segments(segments: Path, name: str, where: str, collection: _Collection) -> None:
    """Transcripts a segment, from the columns of times and cues alone: frames stay on disk."""
    split = collection.splits[where]
    for batch in Segments(segments, name, where).batches():
        seconds = pc.subtract(batch["end"], batch["start"])
        texts = pc.struct_field(pc.list_flatten(batch["cues"]), "text")
        long = pc.greater_equal(pc.utf8_length(texts), MIN_CHARACTERS)
        owners = pc.filter(pc.list_parent_indices(batch["cues"]), long).to_numpy()
        counts = np.bincount(owners, minlength=batch.num_rows)
        split.segments += batch.num_rows
        split.segment_seconds += pc.sum(seconds).as_py() or 0.0
        for k in KS:
            split.eligible[k] += int((counts >= k).sum())
        collection.transcripts += histogram(counts, TRANSCRIPTS)


def _cleaned(metrics: Path | None) -> dict[str, int]:
    if metrics is None or not metrics.is_file():
        return {}
    try:
        cleaned: dict[str, int] = json.loads(metrics.read_text(encoding="utf-8")).get("cleaned", {})
    except (ValueError, AttributeError) as error:
        raise InputError(f"{metrics} is no metrics file of ingest ({error}): run the ingest stage again.") from error
    return cleaned


# ------------------------------------------------------------------------------------------- samples


def _samples(segments: Path, name: str, collection: _Collection) -> Iterator[tuple[str, Segment]]:
    """Segments evenly spread over all of a collection, with their split."""
    wanted = evenly(collection.total.segments, SAMPLES)
    before = 0
    for where in _ordered(collection):
        size = collection.splits[where].segments
        here = [index - before for index in wanted if before <= index < before + size]
        before += size
        if here:
            rows = Segments(segments, name, where)
            yield from ((where, rows[index]) for index in here)


def _shown(where: str, segment: Segment) -> dict[str, Any]:
    """What the page says of a segment; the JPEG frames are those of the shard, byte for byte."""
    from scriptsight.pictures import one_line

    return {
        "name": one_line(segment.segment_id, 100),
        "split": where,
        "span": f"{clock(segment.start)} to {clock(segment.end)}",
        "title": one_line(segment.title, 200) if segment.title else "",
        "label": one_line(segment.label, 100) if segment.label else "",
        "captions": [one_line(caption, 300) for caption in segment.captions[:2]],
        "frames": [
            (clock(float(segment.frame_times[i])), _data_uri(bytes(segment.frames[i]), "image/jpeg"))
            for i in evenly(len(segment.frames), FRAMES)
        ],
        "cues": [(clock(cue.start), clock(cue.end), one_line(cue.text, 300)) for cue in segment.cues[:CUES]],
        "more": max(0, len(segment.cues) - CUES),
    }


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


# ------------------------------------------------------------------------------------------ pictures


def _chart(collection: _Collection) -> str:
    """Histograms side by side as one PNG; those of cues only where there are cues."""
    from scriptsight.pictures import COLOURS, picture

    panels: list[tuple[str, str, np.ndarray, list[str]]] = [
        ("Video length", "videos", collection.lengths, bin_labels(LENGTHS, short_time))
    ]
    if collection.total.cues:
        panels += [
            ("Time under cues", "videos", collection.density, bin_labels(DENSITY, "{:.0%}".format)),
            ("Cue length, s", "cues", collection.cue_lengths, bin_labels(CUE_SECONDS, "{:g}".format)),
            ("Words a cue", "cues", collection.cue_words, bin_labels(WORDS, "{:g}".format)),
            ("Transcripts", "segments", collection.transcripts, bin_labels(TRANSCRIPTS, "{:g}".format)),
        ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chart.png"
        with picture(path, width=2.4 * len(panels), height=2.3) as figure:
            for number, (title, what, counts, labels) in enumerate(panels, start=1):
                axes = figure.add_subplot(1, len(panels), number)
                used = np.flatnonzero(counts)
                low = int(max(0, used[0] - 1)) if len(used) else 0
                high = int(min(len(counts), used[-1] + 2)) if len(used) else 1
                places = np.arange(low, high)
                axes.bar(places, counts[low:high], width=0.9, color=COLOURS[0])
                step = max(1, -(-len(places) // 6))
                axes.set_xticks(places[::step], labels[low:high:step], fontsize=8)
                axes.tick_params(axis="y", labelsize=8)
                axes.locator_params(axis="y", integer=True, nbins=4)
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
                axes.set_ylabel(what, fontsize=8)
                axes.set_title(title, fontsize=10)
                axes.yaxis.grid(True)
            figure.tight_layout()
        return _data_uri(path.read_bytes(), "image/png")


def bin_labels(edges: np.ndarray, form: Callable[[float], str]) -> list[str]:
    """Each bin by its lower edge."""
    return [form(edge) + ("+" if end == np.inf else "") for edge, end in pairwise(edges.tolist())]


def short_time(seconds: float) -> str:
    """Seconds, minutes or hours, whatever is shortest."""
    if seconds < _MINUTE:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


# ---------------------------------------------------------------------------------------------- page


def _ordered(collection: _Collection) -> list[str]:
    return [split for split in SPLITS if split in collection.splits]


def _page(collections: dict[str, _Collection], segments: Path, cleaned: dict[str, int]) -> str:
    with needs("data", "The page about a corpus"):
        from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    totals = _Split()
    for collection in collections.values():
        totals.add(collection.total)
    text = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        totals=totals,
        refused=sum(reason.count for c in collections.values() for reason in c.rejects.values()),
        cleaned=sorted(cleaned.items(), key=lambda item: (-item[1], item[0])),
        collections=[_section(name, collections[name], segments) for name in sorted(collections)],
        ks=KS,
        least=MIN_CHARACTERS,
    )


def _section(name: str, collection: _Collection, segments: Path) -> dict[str, Any]:
    """What the template shows of one collection."""
    from scriptsight.pictures import one_line

    total = collection.total
    rows = [(where, collection.splits[where]) for where in _ordered(collection)]
    reasons = sorted(collection.rejects.items(), key=lambda item: (-item[1].count, item[0]))
    languages = collection.languages.most_common()
    languages.sort(key=lambda item: (-item[1], item[0]))
    return {
        "name": name,
        "rows": [*rows, ("all", total)] if len(rows) > 1 else rows,
        "total": total,
        "seconds_a_cue": collection.cue_seconds / total.cues if total.cues else 0.0,
        "words_a_cue": collection.words / total.cues if total.cues else 0.0,
        "words_a_minute": 60 * collection.words / total.narrated if total.narrated else 0.0,
        "chart": _chart(collection) if total.videos else "",
        "languages": [
            (one_line(language, 40), count, count / total.videos) for language, count in languages[:LANGUAGES]
        ],
        "more_languages": len(languages[LANGUAGES:]),
        "rejects": [
            (
                stage,
                one_line(reason, 80),
                found.count,
                [(one_line(a, 160), one_line(d, 300)) for a, d in found.examples],
            )
            for (stage, reason), found in reasons[:REASONS]
        ],
        "more_reasons": len(reasons[REASONS:]),
        "samples": [_shown(where, segment) for where, segment in _samples(segments, name, collection)],
    }
