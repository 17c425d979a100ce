"""Tables of outcomes as the probe and retrieve stages write them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def hits(share: float, items: int = 200, seed: int = 0) -> np.ndarray:
    """0 and 1, a share of them right; a higher share of the same seed is right wherever a lower one is."""
    return (np.random.default_rng(seed).permutation(items) < share * items).astype(int)


def write_probe(
    folder: Path,
    *,
    test: str = "probe",
    labels: Sequence[str] = (),
    order: Sequence[int] | np.ndarray | None = None,
    append: bool = False,
    **columns: Sequence[int | str] | np.ndarray,
) -> None:
    """FOLDER/outcomes.csv with clips v0, v1, ... and a column of 0 and 1 a protocol."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))
    with (folder / "outcomes.csv").open("a" if append else "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if not append:
            table.writerow(["test", "fold", "segment_id", "label", *columns])
        for i in range(count) if order is None else order:
            label = labels[i] if labels else f"class {i % 3}"
            table.writerow([test, 0, f"c/v{i}/0", label, *(column[i] for column in columns.values())])


def write_retrieve(
    folder: Path, *, t2v: Sequence[int], v2t: Sequence[int], captions: int = 1, words: str = "words"
) -> None:
    """FOLDER/outcomes.csv with ranks of texts, `captions` a video, and of videos."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "outcomes.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["direction", "query", "rank"])
        table.writerows(["t2v", f"c/v{i // captions}/0#{words}{i}", rank] for i, rank in enumerate(t2v))
        table.writerows(["v2t", f"c/v{i}/0", rank] for i, rank in enumerate(v2t))
