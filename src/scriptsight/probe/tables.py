"""The probe's tables: which test segments are hits, what each class gains from order, classes and their reverses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight.files import write_csv
from scriptsight.probe import controls
from scriptsight.probe.labelled import LabelledTest


@dataclass(frozen=True)
class Measured:
    """An encoder on a test, the segments of all folds in one row: `figures` as for the metrics file, labels str [N],
    `predicted` labels str [N] under the names of `protocols.Answers`, and `hits` bool [N] by figure."""

    test: LabelledTest
    figures: dict[str, Any]
    labels: np.ndarray
    predicted: dict[str, np.ndarray]
    hits: dict[str, np.ndarray]


def write(tests: Sequence[Measured], folder: Path) -> list[Path]:
    """Write the tables of all tests together -> the files."""
    paths = [write_outcomes(tests, folder)]
    if "shuffled" in tests[0].predicted:
        paths.append(folder / "classes.csv")
        write_csv(paths[-1], ["test", "class", "n", "forward", "shuffled", "first_frame", "gain"], _classes(tests))
    if any(found.test.chosen.reverses for found in tests) and "on_reversed" in tests[0].predicted:
        paths.append(folder / "reverses.csv")
        header = ["test", "class", "reverse", "n", "right", "taken_for_reverse", "direction", "played_backwards"]
        write_csv(paths[-1], header, _reverses(tests))
    return paths


def write_outcomes(tests: Sequence[Measured], folder: Path) -> Path:
    """Write which test segments are hits, by which two models can be compared."""
    path, figures = folder / "outcomes.csv", list(tests[0].hits)
    write_csv(path, ["test", "fold", "segment_id", "label", "recording", *figures], _outcomes(tests, figures))
    return path


def _outcomes(tests: Sequence[Measured], figures: Sequence[str]) -> Iterable[list[Any]]:
    """A row a test segment with a 1 for each figure that counts it as a hit."""
    for found in tests:
        named = [
            (fold.collection, one, recording or "")
            for fold in found.test.folds
            for one, recording in zip(fold.test.column("segment_id"), fold.test.column("recording"), strict=True)
        ]
        columns = [found.hits[figure].astype(int).tolist() for figure in figures]
        for (collection, one, recording), label, *outcome in zip(named, found.labels.tolist(), *columns, strict=True):
            yield [found.test.name, collection, one, label, recording, *outcome]


def _classes(tests: Sequence[Measured]) -> Iterable[list[Any]]:
    """A row a class: accuracies of the linear probe and `Class.gain`; those that gain most first."""
    for found in tests:
        for row in controls.by_class(found.labels, found.predicted):
            shares = (row.forward, row.shuffled, row.first_frame, row.gain)
            yield [found.test.name, row.name, row.n, *(f"{share:.4f}" for share in shares)]


def _reverses(tests: Sequence[Measured]) -> Iterable[list[Any]]:
    """A row a class that has a reverse: counts of its segments, and `Reverses.direction`."""
    for found in tests:
        for row in controls.reverses(found.labels, found.predicted, found.test.chosen.reverses):
            direction = "" if row.direction is None else f"{row.direction:.4f}"
            counts = (row.n, row.right, row.reversed)
            yield [found.test.name, row.name, row.reverse, *counts, direction, row.backwards]
