"""Labelled sets: which segments are learned from and which are asked about, and that no video is both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scriptsight import catalogue as catalogue_files
from scriptsight import overlap, statistics
from scriptsight.errors import InputError
from scriptsight.params.probe import LabelledSet
from scriptsight.reporting import Reporter
from scriptsight.segments import Segments


@dataclass(frozen=True)
class Labelled:
    """The labelled segments of a split: their rows, and the classes of these rows, int64 [N]."""

    segments: Segments
    rows: list[int]
    classes: np.ndarray

    def column(self, name: str) -> list[str]:
        """A column of the labelled rows [N]."""
        values = self.segments.column(name)
        return [values[row] for row in self.rows]


@dataclass(frozen=True)
class Fold:
    """One collection of a labelled set. `names` are its C classes in the order of the alphabet."""

    collection: str
    names: list[str]
    train: Labelled
    test: Labelled


@dataclass(frozen=True)
class LabelledTest:
    """A labelled set and its folds."""

    name: str
    chosen: LabelledSet
    folds: list[Fold]

    @property
    def sources(self) -> list[str]:
        """What the test segments of all folds were cut from [sum of N]: their recording, where it is not known their
        video. A clip that several folds test is one."""
        return [
            f"recording {recording}" if recording else f"video {video}"
            for fold in self.folds
            for recording, video in zip(fold.test.column("recording"), fold.test.column("video_id"), strict=True)
        ]

    @property
    def groups(self) -> np.ndarray | None:
        """Which test segments of all folds are of one source, int64 [sum of N]; None: each counts alone."""
        return statistics.numbered(self.sources)

    @property
    def videos(self) -> pa.Table:
        """The videos of the test segments of all folds, as `overlap` has them."""
        return overlap.videos(
            ((fold.collection, fold.test.segments) for fold in self.folds), [fold.test.rows for fold in self.folds]
        )

    @property
    def chance(self) -> float:
        """The accuracy of guessing the largest class of the test split, which is 1 / C where classes are balanced."""
        return float(np.mean([np.bincount(fold.test.classes).max() / len(fold.test.classes) for fold in self.folds]))


def load(
    name: str, chosen: LabelledSet, segments: str | Path, catalogue: str | Path, reporter: Reporter
) -> LabelledTest:
    """Open the test `name`.

    Raises:
        InputError: a split is empty, unlabelled or of one class, a test class is missing from training, a video
            is in both splits (by its id, its address, or the digest of its file where `catalogue` knows it).
    """
    folds = [
        _fold(f"probe.tests.{name}, collection {collection!r}", chosen, collection, Path(segments), reporter)
        for collection in chosen.collections
    ]
    for fold in folds:
        digests = _digests(Path(catalogue), fold.collection)
        if not digests:
            reporter.message(
                f"There is no catalogue of {fold.collection} in {catalogue}: copies of a video in both splits of "
                f"probe.tests.{name} would go unnoticed."
            )
        _no_common_videos(f"probe.tests.{name}, collection {fold.collection!r}", chosen, fold, digests)
    return LabelledTest(name, _of_classes(name, chosen, folds, reporter), folds)


def _of_classes(name: str, chosen: LabelledSet, folds: list[Fold], reporter: Reporter) -> LabelledSet:
    """Without pairs and texts of classes that no fold has, as small samples of a set may lack some; they are said."""
    known = {label for fold in folds for label in fold.names}
    pairs = tuple(pair for pair in chosen.reverses if set(pair) <= known)
    texts = {label: text for label, text in chosen.texts.items() if label in known}
    for key, spoken in (
        ("reverses", {label for pair in chosen.reverses for label in pair}),
        ("texts", set(chosen.texts)),
    ):
        if unknown := sorted(spoken - known):
            reporter.message(
                f"probe.tests.{name}.{key} names classes that its collections lack, and they are left out: "
                f"{', '.join(unknown[:10])}"
            )
    return chosen.model_copy(update={"reverses": pairs, "texts": texts})


def _fold(where: str, chosen: LabelledSet, collection: str, folder: Path, reporter: Reporter) -> Fold:
    splits = (chosen.train_split, chosen.test_split)
    parts = [Segments(folder, collection, split) for split in splits]
    labels = [
        _labels(where, part, f"{collection}/{split}", reporter) for part, split in zip(parts, splits, strict=True)
    ]
    known, asked = (set(found.values()) for found in labels)
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
        Labelled(part, list(found), np.array([number[label] for label in found.values()]))
        for part, found in zip(parts, labels, strict=True)
    )
    return Fold(collection, names, train, test)


def _labels(where: str, segments: Segments, split: str, reporter: Reporter) -> dict[int, str]:
    """Row -> label. Segments without one are counted, said and left out."""
    column = segments.column("label")
    labels = {row: label for row, label in enumerate(column) if label}
    if not labels:
        raise InputError(
            f"{where}: {split} has {len(column)} segments and none has a label: give the collection labels in "
            "ingest.collections, or choose another one."
        )
    if len(labels) < len(column):
        reporter.message(f"{split}: {len(column) - len(labels)} segments without a label are left out")
    return labels


def _digests(catalogue: Path, collection: str) -> dict[str, str]:
    """Video id -> SHA-256 of its file; empty without a catalogue, or where it has nothing of the collection."""
    path = catalogue / "videos.parquet"
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for batch in catalogue_files.batches(path, ["collection", "video_id", "digest"]):
        own = batch.filter(pc.equal(batch["collection"], collection))
        found |= dict(zip(own["video_id"].to_pylist(), own["digest"].to_pylist(), strict=True))
    return found


def _no_common_videos(where: str, chosen: LabelledSet, fold: Fold, digests: dict[str, str]) -> None:
    """A video in both splits would be its own answer, and so would a copy of it under another name.

    Videos without a label count, too: what training leaves out today it may learn from tomorrow.
    """
    train, test = fold.train.segments, fold.test.segments
    ids, asked = train.column("video_id"), test.column("video_id")
    of_file = {digests[video]: video for video in ids if video in digests}
    kinds = (
        (set(ids), {video: video for video in asked}),
        (set(train.column("uri")), {uri: uri for uri in test.column("uri")}),
        (set(of_file), {digests[video]: video for video in asked if video in digests}),
    )
    for seen, unseen in kinds:
        if common := sorted(unseen[key] for key in unseen.keys() & seen):
            copies = {of_file[digests[video]] for video in common[:1] if video in digests} - {common[0]}
            raise InputError(
                f"{where}: the splits {chosen.train_split!r} and {chosen.test_split!r} share {len(common)} videos, "
                f"the first is {common[0]}{f' (the same file as {copies.pop()})' if copies else ''}: choose two "
                "splits with different videos."
            )
