"""The retrieve stage: how well words find video, and the index that answers a query with video and time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight import catalogue as catalogue_files
from scriptsight import features, overlap, shards
from scriptsight.files import whole_file, write_csv, write_json
from scriptsight.films import Film, embed
from scriptsight.judgements import FILE, Store
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.pictures import drawable
from scriptsight.reporting import ConsoleReporter, Reporter, SilentReporter
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import judged as judging
from scriptsight.retrieve import layout as layouts
from scriptsight.retrieve import pictures, scan
from scriptsight.retrieve.judged import Judged
from scriptsight.retrieve.measuring import Measured, TooFew, encode, measured
from scriptsight.retrieve.search import Filters, Like, Moment, Searcher, Undecided, search
from scriptsight.segments import Segment, Segments
from scriptsight.spreading import evenly

__all__ = [
    "Film",
    "Filters",
    "Like",
    "Moment",
    "Result",
    "Searcher",
    "Undecided",
    "embed",
    "measure",
    "measure_by_judgements",
    "run",
    "search",
]

SHOWN = 6  # queries on the contact sheet, where params.yaml names fewer
FAILURES = 50  # queries in the list of failures; the worst 8 are drawn


@dataclass(frozen=True)
class Result:
    """What came out: the content of the metrics file, the pictures, and which weights were measured."""

    metrics: dict[str, Any]
    artifacts: tuple[Path, ...]
    weights: str  # SHA-256 of the model's weights file


@dataclass(frozen=True)
class _Shelf:
    """Segments of several collections and splits in one row, N in all."""

    parts: dict[tuple[str, str], Segments]  # (collection, split) ->

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def __iter__(self) -> Iterator[tuple[Segment, str, str]]:
        """Segments with their collection and split."""
        return ((segment, *key) for key, part in self.parts.items() for segment in part)

    def rows(self, collection: str, split: str) -> slice:
        """The numbers of the segments of a part."""
        before = list(self.parts).index((collection, split))
        first = sum(len(part) for part in list(self.parts.values())[:before])
        return slice(first, first + len(self.parts[collection, split]))

    def segment(self, number: int) -> Segment:
        for part in self.parts.values():
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(number)

    def embed(self, encoder: Encoder, numbers: Sequence[int], batch: int, reporter: Reporter) -> np.ndarray:
        """Segments -> unit vectors float32 [len(numbers), E]; `numbers` are ascending."""
        found, first = [], 0
        for (collection, split), part in self.parts.items():
            rows = [number - first for number in numbers if first <= number < first + len(part)]
            if rows:
                label = f"encode {collection}/{split}"
                seen = features.extract(encoder, part, batch, reporter, label, rows, kinds=("embedding",))
                found.append(seen["embedding"][:, 0])
            first += len(part)
        return np.concatenate(found)


def run(
    params: RetrieveParams,
    *,
    catalogue: Path = Path("data/catalogue"),
    segments: Path = Path("data/segments"),
    bundle: Path = Path("models/pretrained"),
    index: Path = Path("models/index"),
    judgements: Path = FILE,
    metrics: Path = Path("metrics/retrieve.json"),
    plots: Path = Path("plots/retrieve"),
    work_root: Path = Path(".work/retrieve"),
    reporter: Reporter | None = None,
) -> Result:
    """Index the segments of `params.index_splits`; measure retrieval on those of `params.split` with text.

    A split without segments is left out of the index, with a line that says so. Where fewer than two items of
    `params.split` have text, nothing can be measured: a line says why, and the metrics file is empty.

    Segments that `index` already has, of the same content and model, are not embedded again; nor are those of the
    last index that was made here, which `work_root` keeps, because DVC removes the old one before a stage runs. The
    languages of videos are those of `catalogue`, if there is one.

    The metrics file holds what `measure` returns, the `overlap` of the measured videos with those that the model
    learned from, and what the model is worth by the `judgements` of people, if there are any (`judged`).
    `outcomes.csv` beside the pictures has the rank of each query, to compare two models by; `judged.csv` the queries
    that people judged.

    Raises:
        InputError: the model or the segments are missing or damaged, or there is nothing to index.
    """
    reporter = reporter or ConsoleReporter()
    drawable()
    encoder = bundles.load(bundle)
    weights = bundles.weights_digest(bundle)
    with shards.cache_of(params.shard_cache_gb):
        shelf, indexed = _shelf(params, segments, reporter)
    with ExitStack() as stack:
        mapped = params.map_points > 0 and layouts.installed() and indexed >= layouts.FEWEST
        layout = stack.enter_context(layouts.Layout()) if mapped else None
        if params.map_points > 0 and not layouts.installed():
            reporter.message(
                "No map of the corpus: pip install 'scriptsight[search]' for one, or set retrieve.map_points to 0."
            )
        keys = [(segment.segment_id, indexes.content(segment)) for segment, _, _ in shelf]
        kept = work_root / "index"
        made = indexes.embedded(
            (index, kept), keys, weights, lambda numbers: shelf.embed(encoder, numbers, params.batch, reporter)
        )
        if made.reused:
            reporter.message(f"{made.reused:,} of {len(keys):,} segments were in the index already")
        sample = evenly(indexed, params.map_points)
        if layout is not None:
            layout.begin(made.vectors[sample])
        languages = _languages(catalogue, reporter)
        rows = [
            indexes.row(segment, collection, split, languages.get((collection, segment.video_id)), content)
            for (segment, collection, split), (_, content) in zip(shelf, keys[:indexed], strict=False)
        ]
        indexes.write(index, made.vectors[:indexed], rows, weights, params.search)
        indexes.keep(index, kept)
        found = _measured(encoder, params, shelf, made.vectors, bundle, plots, reporter)
        people = _judged(judgements, index, bundle, reporter)
        figures = (found.figures if found else {}) | ({"judged": people.figures} if people else {})
        write_json(metrics, figures)
        artifacts = _answers(encoder, params, shelf, made.vectors, found, plots, reporter)
        if found:
            artifacts += _failures(found, plots)
        if people:
            artifacts.append(judging.table(people, plots / "judged.csv"))
        if found or (people and people.asked):
            artifacts.append(_outcomes(found, people, plots / "outcomes.csv"))
        points = None if layout is None else layout.points()
        if points is not None:
            artifacts.append(plots / "map.png")
            mapped_rows = [rows[number] for number in sample]
            pictures.corpus_map(points, mapped_rows, indexed, artifacts[-1])
            layouts.write(points, [row["segment_id"] for row in mapped_rows], plots / "map.parquet")
    for path in artifacts:
        reporter.artifact(path)
    return Result(figures, tuple(artifacts), weights)


def _measured(
    encoder: Encoder,
    params: RetrieveParams,
    shelf: _Shelf,
    vectors: np.ndarray,
    bundle: Path,
    plots: Path,
    reporter: Reporter,
) -> Measured | None:
    """What `params.split` says of the encoder; None if it is too small for that: a line says why, and a file in
    `plots`, which DVC expects to be there."""
    asked = (params.collection, params.split)
    try:
        if asked not in shelf.parts:
            raise TooFew(f"{'/'.join(asked)} has no segments.")
        part, rows = shelf.parts[asked], shelf.rows(*asked)
        found = measured(encoder, params, part, vectors[rows], reporter)
    except TooFew as error:
        why = f"No figures of retrieval (recall, ranks): {error}"
        reporter.message(why)
        with whole_file(plots / "not_measured.txt") as partial:
            partial.write_text(f"{why}\n", encoding="utf-8")
        return None
    return replace(found, figures=found.figures | _overlap(params, part, bundle, reporter))


def measure(
    encoder: str | Path | Encoder,
    params: RetrieveParams,
    *,
    segments: Path = Path("data/segments"),
    reporter: Reporter | None = None,
    outcomes: Path | None = None,
) -> dict[str, Any]:
    """The figures of one encoder (or bundle) on `params.split`, by `params.protocol`; no index, no pictures.

    From text to video (`t2v`) and back (`v2t`), recall at 1, 5, 10 and 50 with the limits of its 95% bootstrap
    interval (`r1_low`, `r1_high`), the median and the mean rank; what was measured (`protocol`), the number of items
    in the `gallery` and of `texts`, and `chance_r1`, 1 / gallery. With `params.dual_softmax` the same again under
    `dual_softmax`: figures that know the whole query set. Ties count against the model. Intervals redraw whole
    `recordings`, of which there are so many: what is known to be of one, else what is of one video. The folder
    `outcomes` gets `outcomes.csv`, as `run` writes it.

    Raises:
        InputError: see `run`; or fewer than two items of `params.split` have text.
    """
    reporter = reporter or ConsoleReporter()
    chosen = encoder if isinstance(encoder, Encoder) else bundles.load(encoder)
    with shards.cache_of(params.shard_cache_gb):
        part = Segments(segments, params.collection, params.split)
    shelf = _Shelf({(params.collection, params.split): part})
    vectors = shelf.embed(chosen, range(len(part)), params.batch, reporter)
    found = measured(chosen, params, part, vectors, reporter)
    if outcomes is not None:
        _outcomes(found, None, outcomes / "outcomes.csv")
    return found.figures


def _shelf(params: RetrieveParams, folder: Path, reporter: Reporter) -> tuple[_Shelf, int]:
    """The segments that are indexed, and after them those that are only measured; how many the former are."""
    parts: dict[tuple[str, str], Segments] = {}
    for name in dict.fromkeys((params.collection, *params.more_collections)):
        has = [split for split in params.index_splits if _has_segments(folder, name, split)]
        for split in has or params.index_splits[:1]:  # opening what is not there says so
            parts[name, split] = Segments(folder, name, split)
        if lacks := [split for split in params.index_splits if split not in has]:
            reporter.message(f"{name} has no segments in {' and '.join(lacks)}: the index has none of these")
    indexed = sum(map(len, parts.values()))
    asked = (params.collection, params.split)
    if asked not in parts and _has_segments(folder, *asked):
        parts[asked] = Segments(folder, *asked)
    return _Shelf(parts), indexed


def _has_segments(folder: Path, collection: str, split: str) -> bool:
    return any((folder / collection / split).glob("*.arrow"))


def _overlap(params: RetrieveParams, part: Segments, bundle: Path, reporter: Reporter) -> dict[str, Any]:
    """Measured videos that the model learned from: the figures, and a line that says so."""
    if (learned := overlap.known(bundle, reporter)) is None:
        return {}
    found = overlap.overlap(overlap.videos([(params.collection, part)]), learned)
    if warning := found.warning(f"{params.collection}/{params.split}"):
        reporter.message(warning)
    return {"overlap": found.figures}


def measure_by_judgements(folder: Path, judgements: Path, out: Path) -> Judged | None:
    """What the model and the index in `folder` (models/pretrained, models/index) are worth by the judgements of
    people; None where there are none. `out` gets `outcomes.csv` and `judged.csv`, as of `run`.

    Two models are only compared by the same judgements: this measures again what was measured by earlier ones.

    Raises:
        InputError: the model, its index or the judgements are missing or damaged.
    """
    found = _judged(judgements, folder / "models" / "index", folder / "models" / "pretrained", SilentReporter())
    if found is not None:
        judging.table(found, out / "judged.csv")
        _outcomes(None, found, out / "outcomes.csv")
    return found


def _judged(judgements: Path, index: Path, bundle: Path, reporter: Reporter) -> Judged | None:
    """What the index is worth by the judgements of people; None where there are none."""
    given = Store(judgements).read()
    if not given:
        return None
    found = judging.measure(Searcher(index, bundle), given)
    for line in found.says:
        reporter.message(line)
    return found


def _languages(catalogue: Path, reporter: Reporter) -> dict[tuple[str, str], str]:
    """(collection, video id) -> language."""
    path = catalogue / "videos.parquet"
    if not path.is_file():
        reporter.message(f"There is no catalogue in {catalogue}: the index knows no languages.")
        return {}
    found: dict[tuple[str, str], str] = {}
    for batch in catalogue_files.batches(path, ["collection", "video_id", "language"]):
        names, ids, languages = (column.to_pylist() for column in batch.columns)
        found |= {(name, one): said for name, one, said in zip(names, ids, languages, strict=True) if said}
    return found


# -------------------------------------------------------------------------------------------------- pictures


def _answers(
    encoder: Encoder,
    params: RetrieveParams,
    shelf: _Shelf,
    vectors: np.ndarray,
    found: Measured | None,
    plots: Path,
    reporter: Reporter,
) -> list[Path]:
    """What is found by the queries of the parameters and by some texts of the corpus; the ranks.

    The answers are from `params.split` alone, as the figures are: what the model learned from would flatter it. Where
    nothing was measured they are from all that there is.
    """
    part = shelf.rows(params.collection, params.split) if found else slice(0, len(shelf))
    own = evenly(len(found.pairs.texts), SHOWN - len(params.queries)) if found else []
    queries = [[query] for query in params.queries]
    owners = [frozenset[str]() for _ in params.queries]
    if found:
        queries += [found.pairs.texts[i] for i in own]
        owners += [frozenset(segment.segment_id for segment in found.item(int(found.pairs.owners[i]))) for i in own]
    if not queries:
        return []
    asked = encode(encoder, queries, params.batch, reporter, "encode queries")
    nearest, scores = scan.nearest(asked, vectors[part], scan.Coarse.of(vectors[part]), params.top)
    answers = [
        [(shelf.segment(part.start + int(number)), float(score)) for number, score in zip(*line, strict=True)]
        for line in zip(nearest, scores, strict=True)
    ]
    note = "a text of this split; its own moment has a green frame"
    rows = [
        pictures.Row(" / ".join(query), answer, owner, note if owner else "")
        for query, answer, owner in zip(queries, answers, owners, strict=True)
    ]
    pictures.contact_sheet(rows, plots / "moments.png")
    if found is None:
        return [plots / "moments.png"]
    both = {"text to video": found.of_texts, "video to text": found.of_videos}
    pictures.rank_curves(both, len(found.gallery), plots / "ranks.png")
    return [plots / "moments.png", plots / "ranks.png"]


def _failures(found: Measured, plots: Path) -> list[Path]:
    """The texts whose video comes last, and what comes first instead: a table and a contact sheet."""
    worst = np.argsort(-found.of_texts, kind="stable")
    worst = worst[found.of_texts[worst] > 1][:FAILURES]
    failures = []
    for number in worst.tolist():
        scores = found.gallery.astype(np.float64) @ found.texts[number].astype(np.float64)
        owner = int(found.pairs.owners[number])
        best = np.argsort(-scores, kind="stable")
        order = [owner, *best[best != owner][: pictures.COLUMNS - 1].tolist()]
        failures.append(
            pictures.Failure(
                text=" / ".join(found.pairs.texts[number]),
                rank=int(found.of_texts[number]),
                answers=[(found.item(item)[0], float(scores[item])) for item in order],
            )
        )
    pictures.failure_table(failures, plots / "failures.csv")
    if not failures:
        return [plots / "failures.csv"]
    pictures.failure_sheet(failures, plots / "failures.png")
    return [plots / "failures.csv", plots / "failures.png"]


def _outcomes(found: Measured | None, people: Judged | None, path: Path) -> Path:
    """What two models are compared by, query by query: a `rank`, or for queries that people judged a `value` from 0
    to 1. `recording` has what a query and its answer were cut from, if it is known; queries of people that look for
    the same have one.
    """
    rows = [[*row, None] for row in _ranks(found)] if found else []
    for one in people.asked if people else ():
        looked_for = f"asked {one.query.need}"
        rows.append(["judged/p5", one.item, None, looked_for, one.p5])
        if one.ndcg10 is not None:
            rows.append(["judged/ndcg10", one.item, None, looked_for, one.ndcg10])
    write_csv(path, ["direction", "query", "rank", "recording", "value"], rows)
    return path


def _ranks(found: Measured) -> list[list[Any]]:
    """The rank of each query: `t2v` or `v2t`, the query's name, the rank of its answer, the item's recording.

    An item is named after its first segment; a text after its item and its words, so that tables of two models
    can be joined, and don't fit where the texts are others.
    """
    names = [found.item(item)[0].segment_id for item in range(len(found.gallery))]
    words = [hashlib.sha256("\n".join(text).encode()).hexdigest()[:8] for text in found.pairs.texts]
    texts = [f"{names[owner]}#{word}" for owner, word in zip(found.pairs.owners, words, strict=True)]
    cut_from = [found.item(item)[0].recording or "" for item in range(len(found.gallery))]
    of_texts = [cut_from[owner] for owner in found.pairs.owners]
    rows = [["t2v", *row] for row in zip(texts, found.of_texts, of_texts, strict=True)]
    return rows + [["v2t", *row] for row in zip(names, found.of_videos, cut_from, strict=True)]
