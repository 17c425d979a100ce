"""The retrieve stage: how well words find video, and the index that answers a query with video and time."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from scriptsight import features
from scriptsight.errors import InputError
from scriptsight.files import whole_file, write_json
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import layout as layouts
from scriptsight.retrieve import pictures, scan
from scriptsight.retrieve.films import Film, embed
from scriptsight.retrieve.metrics import ranks, summary
from scriptsight.retrieve.protocols import RetrievalPairs, pairs
from scriptsight.retrieve.search import Filters, Like, Moment, Searcher, search
from scriptsight.segments import Segment, Segments
from scriptsight.spreading import evenly

__all__ = ["Film", "Filters", "Like", "Moment", "Result", "Searcher", "embed", "run", "search"]

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

    def start(self, collection: str, split: str) -> int:
        """The number of the first segment of a part."""
        before = list(self.parts).index((collection, split))
        return sum(len(part) for part in list(self.parts.values())[:before])

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
    segments: str | Path = Path("data/segments"),
    catalogue: str | Path = Path("data/catalogue"),
    bundle: str | Path = Path("models/pretrained"),
    index: str | Path = Path("models/index"),
    metrics: str | Path = Path("metrics/retrieve.json"),
    plots: str | Path = Path("plots/retrieve"),
    reporter: Reporter = ConsoleReporter(),  # noqa: B008 - it has no state
) -> Result:
    """Index the segments of `params.index_splits`; measure retrieval on those of `params.split` with text.

    Segments that `index` already has, of the same content and model, are not embedded again. The languages of
    videos are those of `catalogue`, if there is one.

    The metrics file holds, from text to video (`t2v`) and back (`v2t`), recall at 1, 5, 10 and 50 with the limits
    of its 95% bootstrap interval (`r1_low`, `r1_high`), the median and the mean rank; what was measured
    (`protocol`), the number of items in the `gallery` and of `texts`, and `chance_r1`, 1 / gallery. With
    `params.dual_softmax` the same again under `dual_softmax`: figures that know the whole query set. Ties count
    against the model. `outcomes.csv` beside the pictures has the rank of each query, to compare two models by.

    Raises:
        InputError: the model or the segments are missing or damaged, a split is empty, or fewer than two
            items of `params.split` have text.
    """
    encoder = bundles.load(bundle)
    weights = bundles.weights_digest(bundle)
    plots = Path(plots)
    shelf, indexed = _shelf(params, Path(segments))
    with ExitStack() as stack:
        mapped = params.map_points > 0 and layouts.installed() and indexed >= layouts.FEWEST
        layout = stack.enter_context(layouts.Layout()) if mapped else None
        if params.map_points > 0 and not layouts.installed():
            reporter.message("No map of the corpus: install umap-learn for one, or set retrieve.map_points to 0.")
        keys = [(segment.segment_id, indexes.content(segment)) for segment, _, _ in shelf]
        made = indexes.embedded(
            index, keys, weights, lambda numbers: shelf.embed(encoder, numbers, params.batch, reporter)
        )
        if made.reused:
            reporter.message(f"{made.reused:,} of {len(keys):,} segments were in the index already")
        sample = evenly(indexed, params.map_points)
        if layout is not None:
            layout.begin(made.vectors[sample])
        languages = _languages(Path(catalogue), reporter)
        rows = [
            indexes.row(segment, collection, split, languages.get((collection, segment.video_id)), content)
            for (segment, collection, split), (_, content) in zip(shelf, keys[:indexed], strict=False)
        ]
        indexes.write(index, made.vectors[:indexed], rows, weights, params.search)
        measured = _measure(encoder, params, shelf, made.vectors, reporter)
        write_json(metrics, measured.values)
        figures = [
            *_answers(encoder, params, shelf, made.vectors[:indexed], measured, plots, reporter),
            *_failures(measured, shelf, plots),
            _outcomes(measured, shelf, plots / "outcomes.csv"),
        ]
        points = None if layout is None else layout.points()
        if points is not None:
            figures.append(plots / "map.png")
            pictures.corpus_map(points, [rows[number] for number in sample], indexed, figures[-1])
    for figure in figures:
        reporter.artifact(figure)
    return Result(measured.values, tuple(figures), weights)


def _shelf(params: RetrieveParams, folder: Path) -> tuple[_Shelf, int]:
    """The segments that are indexed, and after them those that are only measured; how many the former are."""
    wanted = [(params.collection, split) for split in params.index_splits]
    for name in params.more_collections:  # a collection of labelled clips may well have no val split
        has = [(name, split) for split in params.index_splits if any((folder / name / split).glob("*.arrow"))]
        wanted += has or [(name, params.index_splits[0])]  # opening what is not there says so
    parts: dict[tuple[str, str], Segments] = {key: Segments(folder, *key) for key in dict.fromkeys(wanted)}
    indexed = sum(map(len, parts.values()))
    measured = (params.collection, params.split)
    if measured not in parts:
        parts[measured] = Segments(folder, *measured)
    return _Shelf(parts), indexed


def _languages(catalogue: Path, reporter: Reporter) -> dict[tuple[str, str], str]:
    """(collection, video id) -> language."""
    path = catalogue / "videos.parquet"
    if not path.is_file():
        reporter.message(f"There is no catalogue in {catalogue}: the index knows no languages.")
        return {}
    table = pq.read_table(path, columns=["collection", "video_id", "language"])
    names = zip(*(table[name].to_pylist() for name in ("collection", "video_id")), strict=True)
    return {key: language for key, language in zip(names, table["language"].to_pylist(), strict=True) if language}


# ------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class _Measured:
    """The figures, and what they were made of."""

    values: dict[str, Any]
    pairs: RetrievalPairs
    first: int  # on the shelf, of the measured split
    texts: np.ndarray  # unit vectors [Q, E]
    gallery: np.ndarray  # unit vectors [G, E]
    of_texts: np.ndarray  # ranks [Q]
    of_videos: np.ndarray  # ranks [G]


def _measure(
    encoder: Encoder, params: RetrieveParams, shelf: _Shelf, vectors: np.ndarray, reporter: Reporter
) -> _Measured:
    part, first = shelf.parts[params.collection, params.split], shelf.start(params.collection, params.split)
    found = pairs(part, params.protocol)
    where = f"{params.collection}/{params.split}"
    items = "segments" if params.protocol == "segments" else "videos"
    if len(found.items) < 2:
        raise InputError(
            f"{where} has {len(found.items)} {items} with text for the protocol {params.protocol!r}, and measuring "
            "retrieval takes two or more: choose another retrieve.split, retrieve.collection or "
            "retrieve.protocol, or add videos with transcripts or captions."
        )
    if found.without_text:
        reporter.message(f"{where}: {found.without_text} {items} without text are not measured")
    texts = _encode(encoder, found.texts, params.batch, reporter, "encode texts")
    gallery = found.gallery(vectors[first : first + len(part)])
    numbers = np.arange(len(gallery))

    def both(dual_softmax: float | None) -> tuple[np.ndarray, np.ndarray]:
        return (
            ranks(texts, gallery, found.owners, numbers, dual_softmax=dual_softmax),
            ranks(gallery, texts, numbers, found.owners, dual_softmax=dual_softmax),
        )

    of_texts, of_videos = both(None)
    groups = found.owners if len(texts) > len(gallery) else None
    values: dict[str, Any] = {
        "t2v": summary(of_texts, groups),
        "v2t": summary(of_videos),
        "protocol": params.protocol,
        "gallery": len(gallery),
        "texts": len(texts),
        "chance_r1": 1 / len(gallery),
    }
    if params.dual_softmax:
        again = both(params.dual_softmax)
        values["dual_softmax"] = {
            "temperature": params.dual_softmax,
            "t2v": summary(again[0], groups),
            "v2t": summary(again[1]),
        }
    return _Measured(values, found, first, texts, gallery, of_texts, of_videos)


def _encode(
    encoder: Encoder, scripts: Sequence[Sequence[str]], batch: int, reporter: Reporter, label: str
) -> np.ndarray:
    """Scripts -> unit vectors float32 [N, E]."""
    starts = range(0, len(scripts), batch)
    return np.concatenate(
        [
            encoder.encode_scripts(scripts[start : start + batch]).cpu().numpy()
            for start in reporter.progress(starts, label, total=len(starts))
        ]
    )


# -------------------------------------------------------------------------------------------------- pictures


def _answers(
    encoder: Encoder,
    params: RetrieveParams,
    shelf: _Shelf,
    indexed: np.ndarray,
    measured: _Measured,
    plots: Path,
    reporter: Reporter,
) -> list[Path]:
    """What the index answers to the queries of the parameters and to some texts of the corpus; the ranks."""
    own = evenly(len(measured.pairs.texts), SHOWN - len(params.queries))
    queries = [[query] for query in params.queries] + [measured.pairs.texts[i] for i in own]
    owners = [frozenset[str]() for _ in params.queries]
    owners += [
        frozenset(segment.segment_id for segment in _item(shelf, measured, int(measured.pairs.owners[i])))
        for i in own
    ]
    vectors = _encode(encoder, queries, params.batch, reporter, "encode queries")
    found, scores = scan.nearest(vectors, indexed, scan.to_coarse(indexed), params.top)
    answers = [
        [(shelf.segment(int(number)), float(score)) for number, score in zip(*line, strict=True)]
        for line in zip(found, scores, strict=True)
    ]
    note = "a text of this split; its own moment has a green frame"
    rows = [
        pictures.Row(" / ".join(query), answer, owner, note if owner else "")
        for query, answer, owner in zip(queries, answers, owners, strict=True)
    ]
    pictures.contact_sheet(rows, plots / "moments.png")
    both = {"text to video": measured.of_texts, "video to text": measured.of_videos}
    pictures.rank_curves(both, len(measured.gallery), plots / "ranks.png")
    return [plots / "moments.png", plots / "ranks.png"]


def _failures(measured: _Measured, shelf: _Shelf, plots: Path) -> list[Path]:
    """The texts whose video comes last, and what comes first instead: a table and a contact sheet."""
    worst = np.argsort(-measured.of_texts, kind="stable")
    worst = worst[measured.of_texts[worst] > 1][:FAILURES]
    failures = []
    for number in worst.tolist():
        scores = measured.gallery.astype(np.float64) @ measured.texts[number].astype(np.float64)
        owner = int(measured.pairs.owners[number])
        best = np.argsort(-scores, kind="stable")
        order = [owner, *best[best != owner][: pictures.COLUMNS - 1].tolist()]
        failures.append(
            pictures.Failure(
                text=" / ".join(measured.pairs.texts[number]),
                rank=int(measured.of_texts[number]),
                answers=[(_item(shelf, measured, item)[0], float(scores[item])) for item in order],
            )
        )
    pictures.failure_table(failures, plots / "failures.csv")
    if not failures:
        return [plots / "failures.csv"]
    pictures.failure_sheet(failures, plots / "failures.png")
    return [plots / "failures.csv", plots / "failures.png"]


def _outcomes(measured: _Measured, shelf: _Shelf, path: Path) -> Path:
    """The rank of each query: `t2v` or `v2t`, the query's name, the rank of its answer.

    An item is named after its first segment; a text after its item and its words, so that tables of two models
    can be joined, and don't fit where the texts are others.
    """
    names = [_item(shelf, measured, item)[0].segment_id for item in range(len(measured.gallery))]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["direction", "query", "rank"])
        for text, owner, rank in zip(measured.pairs.texts, measured.pairs.owners, measured.of_texts, strict=True):
            words = hashlib.sha256("\n".join(text).encode()).hexdigest()[:8]
            table.writerow(["t2v", f"{names[owner]}#{words}", rank])
        table.writerows(["v2t", name, rank] for name, rank in zip(names, measured.of_videos, strict=True))
    return path


def _item(shelf: _Shelf, measured: _Measured, item: int) -> list[Segment]:
    """The segments of an item of the gallery."""
    return [shelf.segment(measured.first + row) for row in measured.pairs.items[item]]
