"""The probe stage: what a frozen encoder is worth on labelled video, beside an untrained one and chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight import features, params
from scriptsight.errors import InputError
from scriptsight.files import write_json
from scriptsight.models import bundle as bundles
from scriptsight.models.bundle import Encoder
from scriptsight.probe import knn, linear, video_to_video
from scriptsight.probe import plots as pictures
from scriptsight.reporting import ConsoleReporter, Reporter
from scriptsight.segments import Segments

__all__ = ["Result", "run"]

RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Result:
    """What came out: the content of the metrics file, the pictures, and which weights were measured."""

    metrics: dict[str, Any]
    figures: tuple[Path, ...]
    weights: str  # SHA-256 of the model's weights file


@dataclass(frozen=True)
class _Labelled:
    """The labelled segments of a split: their rows and the classes of these rows, int64 [N]."""

    segments: Segments
    rows: list[int]
    classes: np.ndarray


def run(
    params: params.Probe,
    *,
    segments: str | Path = Path("data/segments"),
    bundle: str | Path = Path("models/pretrained"),
    metrics: str | Path = Path("metrics/probe.json"),
    plots: str | Path = Path("plots/probe"),
    reporter: Reporter = ConsoleReporter(),  # noqa: B008 - it has no state
) -> Result:
    """Measure the encoder of `bundle` on the labelled segments of `params.collection`.

    The metrics file holds top-1 accuracies of the linear probe and of k-NN, and recall of video-to-video
    retrieval in the test split (`linear_top1`, `knn_top1`, `v2v_r1`, `v2v_r5`, `v2v_r10`); the same of a
    randomly initialised encoder of the same shape (`random_init`); `chance`, the share of the largest class
    of the test split (1 / classes where they are balanced), which is the floor of the two accuracies; and
    the numbers of `classes`, `train` and `test` segments.

    Raises:
        InputError: the model or the segments are missing or damaged, or the splits can't be used: empty,
            unlabelled, of one class, with a test class that training lacks, or with a common video.
    """
    names, train, test = _load(params, Path(segments), reporter)
    encoder = bundles.load(bundle)
    trained, predicted = _measure(encoder, params, train, test, reporter, "trained")
    control = bundles.random_like(bundle, params.seed)
    untrained, _ = _measure(control, params, train, test, reporter, "random init")
    shares = np.bincount(test.classes) / len(test.classes)
    values: dict[str, Any] = {
        **trained,
        "random_init": untrained,
        "chance": float(shares.max()),
        "classes": len(names),
        "train": len(train.rows),
        "test": len(test.rows),
    }
    write_json(metrics, values)
    figures = (Path(plots) / "comparison.png", Path(plots) / "confusion.png")
    guessed = {f"v2v_r{k}": video_to_video.chance(test.classes, k) for k in RECALLS}
    guessed |= {"linear_top1": values["chance"], "knn_top1": values["chance"]}
    pictures.comparison(trained, untrained, guessed, figures[0])
    pictures.confusion(test.classes, predicted, names, figures[1])
    for figure in figures:
        reporter.figure(figure)
    return Result(values, figures, bundles.weights_digest(bundle))


def _measure(
    encoder: Encoder, params: params.Probe, train: _Labelled, test: _Labelled, reporter: Reporter, label: str
) -> tuple[dict[str, float], np.ndarray]:
    """All protocols on one encoder, and what its linear probe predicts for the test split, int64 [N]."""
    seen, unseen = (
        features.extract(encoder, part.segments, params.batch, reporter, f"{label}, {split}", part.rows)[
            params.feature
        ]
        for part, split in ((train, params.train_split), (test, params.test_split))
    )
    predicted = linear.predict(seen, train.classes, unseen, params.linear_c)
    votes = knn.votes(seen, train.classes, unseen, params.knn_k, params.knn_temperature)
    hits = video_to_video.first_hits(unseen, test.classes)
    values = {
        "linear_top1": float((predicted == test.classes).mean()),
        "knn_top1": knn.accuracy(votes, test.classes),
        **{f"v2v_r{k}": video_to_video.recall(hits, k) for k in RECALLS},
    }
    return values, predicted


def _load(params: params.Probe, folder: Path, reporter: Reporter) -> tuple[list[str], _Labelled, _Labelled]:
    """The class names in the alphabet's order, and the labelled segments of both splits."""
    splits = (params.train_split, params.test_split)
    segments = [Segments(folder, params.collection, split) for split in splits]
    _no_common_videos(params, *segments)
    labels = [_labels(part, params.collection, split, reporter) for part, split in zip(segments, splits, strict=True)]
    known, asked = (set(found.values()) for found in labels)
    where = f"collection {params.collection!r} (probe.collection)"
    if missing := sorted(asked - known):
        raise InputError(
            f"{where}: split {splits[1]!r} has classes that split {splits[0]!r} lacks: "
            f"{', '.join(missing[:10])}. Add such videos to training, or remove them from the test, in "
            "ingest.collections."
        )
    if len(known) < 2:
        raise InputError(f"{where} has the one class {known.pop()!r}: a probe needs two or more.")
    names = sorted(known)
    number = {name: index for index, name in enumerate(names)}
    train, test = (
        _Labelled(part, list(found), np.array([number[label] for label in found.values()]))
        for part, found in zip(segments, labels, strict=True)
    )
    return names, train, test


def _labels(segments: Segments, collection: str, split: str, reporter: Reporter) -> dict[int, str]:
    """Row -> label. Segments without one are counted, said and left out."""
    column = segments.column("label")
    labels = {row: label for row, label in enumerate(column) if label}
    if not labels:
        raise InputError(
            f"Split {split!r} of collection {collection!r} has {len(column)} segments and none has a label: "
            "give the collection labels in ingest.collections, or choose another probe.collection."
        )
    if len(labels) < len(column):
        reporter.message(f"{collection}/{split}: {len(column) - len(labels)} segments without a label are left out")
    return labels


def _no_common_videos(params: params.Probe, train: Segments, test: Segments) -> None:
    """A video in both splits would be its own answer."""
    for column in ("video_id", "uri"):
        counts = Counter(train.column(column))
        common = sorted({name for name in test.column(column) if counts[name]})
        if common:
            raise InputError(
                f"probe.train_split {params.train_split!r} and probe.test_split {params.test_split!r} of "
                f"collection {params.collection!r} share {len(common)} videos, the first is {common[0]}: "
                "choose two splits with different videos."
            )
