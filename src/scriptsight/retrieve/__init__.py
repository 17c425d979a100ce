"""The retrieve stage: how well words find video, and the index that answers a query with video and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight import features, params
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import plots as pictures
from scriptsight.retrieve.index import Moment, search
from scriptsight.retrieve.metrics import ranks, summary
from scriptsight.segments import Segments

__all__ = ["Moment", "Result", "run", "search"]

SHOWN = 6  # queries on the contact sheet, where params.yaml names fewer


@dataclass(frozen=True)
class Result:
    """What came out: the content of the metrics file, the pictures, and which weights were measured."""

    metrics: dict[str, Any]
    figures: tuple[Path, ...]
    weights: str  # SHA-256 of the model's weights file


def run(
    params: params.Retrieve,
    *,
    segments: str | Path = Path("data/segments"),
    bundle: str | Path = Path("models/pretrained"),
    index: str | Path = Path("models/index"),
    metrics: str | Path = Path("metrics/retrieve.json"),
    plots: str | Path = Path("plots/retrieve"),
    reporter: Reporter = ConsoleReporter(),  # noqa: B008 - it has no state
) -> Result:
    """Index the segments of `params.index_splits`; measure retrieval on those of `params.split` with text.

    The metrics file holds recall at 1, 5 and 10 and the median rank, from text to video (`t2v`: a segment's
    whole script looks for its segment) and back (`v2t`); the number of segments in the `gallery`; and
    `chance_r1`, 1 / gallery. Ties count against the model.

    Raises:
        InputError: the model or the segments are missing or damaged, a split is empty, or fewer than two
            segments of `params.split` have text.
    """
    encoder = bundles.load(bundle)
    weights = bundles.weights_digest(bundle)
    splits = dict.fromkeys((*params.index_splits, params.split))
    data = {split: Segments(segments, params.collection, split) for split in splits}
    vectors = {
        split: features.extract(encoder, part, params.batch, reporter, f"encode {split}")["embedding"]
        for split, part in data.items()
    }
    shelf = [(split, i) for split in dict.fromkeys(params.index_splits) for i in range(len(data[split]))]
    indexed = np.stack([vectors[split][i] for split, i in shelf])  # [N, E]
    rows = (indexes.row(data[split][i], params.collection, split) for split, i in shelf)
    indexes.write(index, indexed, rows, weights)

    gallery, scripts = _gallery(data[params.split], params, reporter)
    texts = _encode(encoder, scripts, params.batch, reporter, "encode scripts")
    of_texts = ranks(texts, vectors[params.split][gallery])
    of_videos = ranks(vectors[params.split][gallery], texts)
    values: dict[str, Any] = {
        "t2v": summary(of_texts),
        "v2t": summary(of_videos),
        "gallery": len(gallery),
        "chance_r1": 1 / len(gallery),
    }
    write_json(metrics, values)

    figures = (Path(plots) / "moments.png", Path(plots) / "ranks.png")
    own = _evenly(len(gallery), SHOWN - len(params.queries))
    queries = [[query] for query in params.queries] + [scripts[i] for i in own]
    owners = [None for _ in params.queries] + [data[params.split][gallery[i]].segment_id for i in own]
    found, scores = indexes.best(
        _encode(encoder, queries, params.batch, reporter, "encode queries"), indexed, params.top
    )
    answers = [
        [(data[shelf[i][0]][shelf[i][1]], float(score)) for i, score in zip(*line, strict=True)]
        for line in zip(found, scores, strict=True)
    ]
    pictures.contact_sheet([" / ".join(query) for query in queries], answers, owners, figures[0])
    pictures.rank_curves({"text to video": of_texts, "video to text": of_videos}, figures[1])
    for figure in figures:
        reporter.figure(figure)
    return Result(values, figures, weights)


def _gallery(segments: Segments, params: params.Retrieve, reporter: Reporter) -> tuple[list[int], list[list[str]]]:
    """Rows of the segments that have text, and their texts. Those without are counted, said and left out."""
    scripts = [features.script_texts(segment) for segment in segments]
    rows = [row for row, script in enumerate(scripts) if script]
    where = f"{params.collection}/{params.split}"
    if len(rows) < 2:
        raise InputError(
            f"{where} has {len(rows)} segments with text, and measuring retrieval takes two or more: choose "
            "another retrieve.split or retrieve.collection, or add videos with transcripts or captions."
        )
    if len(rows) < len(scripts):
        reporter.message(f"{where}: {len(scripts) - len(rows)} segments without text are not measured")
    return rows, [scripts[row] for row in rows]


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


def _evenly(items: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal parts of `items`, all of them where there are fewer."""
    count = max(0, min(wanted, items))
    return [(2 * part + 1) * items // (2 * count) for part in range(count)]
