"""What the videos look and sound like that a model learned from, in short: later ones can be held against it.

A model's folder has, beside the list of these videos (`overlap`), `PROFILE`: a sample of at most `RECORDINGS` of
their recordings and as many of those that were held out of its training, with at most `EACH` segments of a recording.
And `HELD_OUT`, the list of all that were held out, in the form of the other list: what is in neither list is new.

Which recordings and segments are in the sample depends on their names alone, so that another sample of the same data
is the same, and every recording has as many segments in it here and there: they can be exchanged for one another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scriptsight import features, overlap
from scriptsight.errors import InputError
from scriptsight.files import whole_file
from scriptsight.language_id import language_of
from scriptsight.models.bundle import Encoder
from scriptsight.reporting import Reporter
from scriptsight.segments import SPLITS, Segment, Segments

PROFILE = "profile.parquet"
HELD_OUT = "held_out.parquet"
RECORDINGS = 256  # in a sample, of each part
EACH = 4  # segments of a recording
CLIPS, SCRIPTS = 16, 64  # a forward pass
PARTS = ("learned", "held_out")
MEASURES = ("words_a_second", "spoken", "cue_seconds", "segment_seconds", "seconds")  # of a recording
SCHEMA = pa.schema(
    [
        ("part", pa.string()),  # "learned", or "held_out": of a split that training didn't learn from
        ("recording", pa.string()),
        ("language", pa.string()),  # of what is said, as found from its letters; null: too few of them
        ("words_a_second", pa.float64()),  # while somebody speaks; null: nobody does
        ("spoken", pa.float64()),  # the share of `seconds` in which somebody speaks
        ("cue_seconds", pa.float64()),  # mean; null: no cues
        ("segment_seconds", pa.float64()),  # mean
        ("seconds", pa.float64()),  # from the first segment's start to the last one's end, of all its videos
        ("segment_id", pa.string()),
        ("features", pa.list_(pa.float32())),  # frozen, of the encoder in this folder: the class token [D]
        ("video", pa.list_(pa.float32())),  # unit vector [E] of the space that video and text share; null: learned
        ("text", pa.list_(pa.float32())),  # the same of what is said [E]; null: nothing is
    ]
)
REMEDY = "run the pretrain stage again, or remove it"
# A word; of languages that write none apart, a sign.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")

Splits = Sequence[tuple[str, Segments]]  # collections and their segments


@dataclass(frozen=True)
class Sample:
    """Some recordings R and some of their segments N."""

    names: list[str]  # [R]
    languages: list[str | None]  # [R]
    measures: dict[str, np.ndarray]  # float64 [R] each, by the names of `MEASURES`; NaN: not known
    owners: np.ndarray  # int64 [N]: which recording each segment is of
    features: np.ndarray  # float32 [N, D]
    video: np.ndarray  # float32 [N, E]
    text: np.ndarray  # float32 [N, E]; NaN where nothing is said

    def __len__(self) -> int:
        return len(self.names)

    def having(self, segments: np.ndarray) -> Sample:
        """The sample without some segments, and without the recordings of which none is left; bool [N]."""
        kept, owners = np.unique(self.owners[segments], return_inverse=True)
        return Sample(
            names=[self.names[place] for place in kept],
            languages=[self.languages[place] for place in kept],
            measures={name: values[kept] for name, values in self.measures.items()},
            owners=owners.astype(np.int64),
            features=self.features[segments],
            video=self.video[segments],
            text=self.text[segments],
        )


@dataclass(frozen=True)
class Profile:
    """What a model's folder says of what it learned from."""

    sample: Sample  # of the recordings that it learned from
    held_out: Sample  # of those that were held out of its training
    learned: pa.Table  # all videos that it learned from, as `overlap.SCHEMA` has them
    known: pa.Table  # these, and those that were held out


# -------------------------------------------------------------------------------------------------- sampling


def sample(
    encoder: Encoder,
    splits: Splits,
    reporter: Reporter,
    label: str,
    rows: Sequence[Sequence[int]] | None = None,
    *,
    shared: bool = True,
) -> pa.Table:
    """A sample of the recordings of some collections' segments, a row a segment, as a table of `SCHEMA` but `part`.

    Args:
        label: of the progress bar.
        rows: of each of `splits` those that count; None: all.
        shared: with vectors of the space that video and text share; else `video` and `text` are null.

    Raises:
        InputError: damaged segments, or a model whose features are not finite.
    """
    of_recordings = _chosen(splits, rows)
    ids = [segments.table(["segment_id"])["segment_id"] for _, segments in splits]
    taken = [(name, place) for name, places in of_recordings.items() for place in _some(ids, places)]
    if not taken:
        return pa.Table.from_batches([], _OWN)
    vectors = _vectors(encoder, splits, [place for _, place in taken], reporter, label, shared)
    facts = {name: _facts([splits[split][1][row] for split, row in places]) for name, places in of_recordings.items()}
    found = [
        {"recording": name, "segment_id": ids[split][row].as_py(), **facts[name], **vectors[split, row]}
        for name, (split, row) in taken
    ]
    return pa.Table.from_pylist(found, _OWN)


_OWN = pa.schema([field for field in SCHEMA if field.name != "part"])
Place = tuple[int, int]  # which of the splits, and the row in it


def _chosen(splits: Splits, rows: Sequence[Sequence[int]] | None) -> dict[str, list[Place]]:
    """The recordings that are in the sample, in order of their names' digests, with all their segments."""
    named = [_recordings(*split) for split in splits]
    of_rows = [np.arange(len(names)) if rows is None else np.asarray(rows[i]) for i, names in enumerate(named)]
    named = [names.take(pa.array(chosen, pa.int64())) for names, chosen in zip(named, of_rows, strict=True)]
    all_ = pa.chunked_array(named, pa.string()).unique().to_pylist()
    wanted = sorted(all_, key=_digest)[:RECORDINGS]
    found: dict[str, list[Place]] = {name: [] for name in wanted}
    for number, (names, chosen) in enumerate(zip(named, of_rows, strict=True)):
        for place in np.flatnonzero(pc.is_in(names, pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)):
            found[names[place].as_py()].append((number, int(chosen[place])))
    return found


def _recordings(collection: str, segments: Segments) -> pa.Array:
    """What each segment was cut from [N]: its recording, where it is not known its video."""
    table = segments.table(["recording", "video_id"]).combine_chunks()
    videos = pc.binary_join_element_wise(f"video {collection}", table["video_id"], "/")
    known = pc.binary_join_element_wise("recording", table["recording"], " ")  # null where it is not known
    return pc.coalesce(known, videos).combine_chunks()


def _some(ids: Sequence[pa.ChunkedArray], places: Sequence[Place]) -> list[Place]:
    """At most `EACH` of a recording's segments, by their ids."""
    return sorted(places, key=lambda place: _digest(ids[place[0]][place[1]].as_py()))[:EACH]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _vectors(
    encoder: Encoder, splits: Splits, places: Sequence[Place], reporter: Reporter, label: str, shared: bool
) -> dict[Place, dict[str, Any]]:
    """The vectors of segments, as the columns `features`, `video` and `text` have them."""
    found: dict[Place, dict[str, Any]] = {}
    for number, (_, segments) in enumerate(splits):
        own = sorted(row for split, row in places if split == number)
        if not own:
            continue
        # fp32: the sample is compared with that of another day, made on another machine perhaps.
        kinds = features.extract(
            encoder, segments, CLIPS, reporter, label, own, kinds=("cls", "embedding"), precision="fp32"
        )
        for place, row in enumerate(own):
            found[number, row] = {
                "features": kinds["cls"][place, 0],
                "video": kinds["embedding"][place, 0] if shared else None,
                "text": None,
            }
        texts = {row: texts for row in own if shared and (texts := features.script_texts(segments[row]))}
        for start in range(0, len(texts), SCRIPTS):
            part = list(texts)[start : start + SCRIPTS]
            vectors = encoder.encode_scripts([texts[row] for row in part]).cpu().numpy()
            for row, vector in zip(part, vectors, strict=True):
                found[number, row]["text"] = vector
    return found


def _facts(segments: Sequence[Segment]) -> dict[str, Any]:
    """What is known of a recording from all its segments: the columns `language` and `MEASURES`."""
    spans: dict[str, tuple[float, float]] = {}
    spoken: dict[str, list[tuple[float, float]]] = {}
    for one in segments:
        start, end = spans.get(one.video_id, (one.start, one.end))
        spans[one.video_id] = (min(start, one.start), max(end, one.end))
        spoken.setdefault(one.video_id, []).extend((cue.start, cue.end) for cue in one.cues)
    seconds = sum(end - start for start, end in spans.values())
    speech = sum(_covered(times) for times in spoken.values())
    cues = [cue for one in segments for cue in one.cues]
    words = sum(len(_WORD.findall(cue.text)) for cue in cues)
    texts = [text for one in segments for text in features.script_texts(one)]
    return {
        "language": language_of(texts),
        "words_a_second": words / speech if speech > 0 else None,
        "spoken": min(1.0, speech / seconds) if seconds > 0 else None,
        "cue_seconds": float(np.mean([cue.end - cue.start for cue in cues])) if cues else None,
        "segment_seconds": float(np.mean([one.end - one.start for one in segments])),
        "seconds": seconds,
    }


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that spans cover together."""
    total, reached = 0.0, -np.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


# ---------------------------------------------------------------------------------------- in a model's folder


def held_out(segments: str | Path, collections: Iterable[str]) -> list[tuple[str, Segments]]:
    """The splits of collections that a training on their training splits doesn't learn from."""
    return [
        (name, Segments(segments, name, split))
        for name in collections
        for split in SPLITS
        if split != "train" and (Path(segments) / name / split).is_dir()
    ]


def write(folder: str | Path, encoder: Encoder, learned: Splits, others: Splits, reporter: Reporter) -> None:
    """Put into a model's folder what it learned from and what was held out.

    Args:
        encoder: the model in this folder.
        learned, others: the segments of which it did and did not learn.
    """
    parts = [
        sample(encoder, learned, reporter, "profile of what was learned from", shared=False),
        sample(encoder, others, reporter, "profile of what was held out"),
    ]
    tables = [
        table.add_column(0, "part", pa.repeat(pa.scalar(part), len(table)))
        for part, table in zip(PARTS, parts, strict=True)
    ]
    with whole_file(Path(folder) / HELD_OUT) as partial:
        pq.write_table(overlap.videos(others), partial)
    with whole_file(Path(folder) / PROFILE) as partial:
        pq.write_table(pa.concat_tables(tables).cast(SCHEMA), partial)


def read(folder: str | Path) -> Profile | None:
    """What a model's folder says of what it learned from; None: nothing (an older version wrote it).

    Raises:
        InputError: it is damaged.
    """
    folder = Path(folder)
    learned = overlap.read(folder)
    if learned is None or not all((folder / name).is_file() for name in (PROFILE, HELD_OUT)):
        return None
    table = _read(folder / PROFILE, SCHEMA)
    known = overlap.together([learned, _read(folder / HELD_OUT, overlap.SCHEMA)])
    try:
        samples = [sampled(table.filter(pc.equal(table["part"], part))) for part in PARTS]
    except (ValueError, TypeError) as error:
        raise InputError(f"{folder / PROFILE} is damaged ({error}): {REMEDY}.") from None
    return Profile(samples[0], samples[1], learned, known)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(path).select(schema.names).cast(schema)
        table.validate(full=True)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): {REMEDY}.") from None
    return table


def sampled(table: pa.Table) -> Sample:
    """A table that `sample` made, or one part of `PROFILE`, as arrays.

    Raises:
        ValueError: its vectors are not all of one length, or not finite.
    """
    rows = table.to_pylist()
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["recording"], row)
    places = {name: place for place, name in enumerate(first)}
    videos = [row["video"] or [] for row in rows]
    texts = [row["text"] or [np.nan] * len(video) for row, video in zip(rows, videos, strict=True)]
    vectors = [_stacked(given) for given in ([row["features"] for row in rows], videos, texts)]
    said = _stacked([row["text"] for row in rows if row["text"]])
    if not all(np.isfinite(one).all() for one in (*vectors[:2], said)):
        raise ValueError("a vector in it is not finite")
    return Sample(
        names=list(first),
        languages=[row["language"] for row in first.values()],
        measures={name: np.array([row[name] for row in first.values()], np.float64) for name in MEASURES},
        owners=np.array([places[row["recording"]] for row in rows], np.int64),
        features=vectors[0],
        video=vectors[1],
        text=vectors[2],
    )


def _stacked(vectors: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(vectors, np.float32) if vectors else np.empty((0, 0), np.float32)
