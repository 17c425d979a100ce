"""A corpus in two dimensions, by UMAP (McInnes, Healy and Melville 2018), where it is installed.

Importing and compiling it takes ten seconds and more, so a process of its own does that while the stage encodes:
this file is that program, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import numpy as np

NEIGHBOURS = 15
FEWEST = 16  # moments: under this there is nothing to lay out


class Layout:
    """A process that gets ready to lay out vectors; it ends with the `with` block.

    with Layout() as layout:
        ...
        layout.begin(vectors)
        ...
        points = layout.points()
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-P", "-W", "ignore", __file__, self._folder.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603

    def __enter__(self) -> Layout:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def begin(self, vectors: np.ndarray) -> None:
        """Lay out unit vectors float32 [N, E]."""
        np.save(Path(self._folder.name) / "vectors.npy", vectors, allow_pickle=False)
        assert self._process.stdin
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; `points` says so

    def points(self) -> np.ndarray | None:
        """Where they are, float32 [N, 2]; None if UMAP failed (it has said why)."""
        self._process.wait()
        path = Path(self._folder.name) / "points.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None


def installed() -> bool:
    """Whether UMAP is there."""
    return find_spec("umap") is not None


def write(points: np.ndarray, segment_ids: Sequence[str], path: Path) -> None:
    """Keep where moments are, float32 [N, 2], as a table: `segment_id`, `x`, `y`."""
    import pyarrow as pa  # this file is also the program that lays out, and needs none of it
    import pyarrow.parquet as pq

    from scriptsight.files import whole_file

    ids = pa.array(segment_ids, pa.string())
    with whole_file(path) as partial:
        pq.write_table(pa.table({"segment_id": ids, "x": points[:, 0], "y": points[:, 1]}), partial)


def neighbours(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows of each by cosine, itself first, and their distances -> int64, float32 [N, count]."""
    rows, distances = [], []
    for start in range(0, len(vectors), 1024):
        scores = vectors[start : start + 1024] @ vectors.T
        own = np.arange(len(scores))
        scores[own, start + own] = np.inf  # first, also among equals
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        rows.append(nearest)
        distances.append(np.clip(1 - np.take_along_axis(scores, nearest, axis=1), 0, 2))
    return np.concatenate(rows), np.concatenate(distances).astype(np.float32)


def main(folder: Path) -> None:
    """Import UMAP, wait for the word, then make points.npy of vectors.npy."""
    import umap  # type: ignore[import-untyped]

    if not sys.stdin.buffer.readline():
        return
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    model = umap.UMAP(
        n_neighbors=NEIGHBOURS,
        metric="cosine",
        init="pca",
        random_state=0,  # one thread, the same points each time
        n_jobs=1,
        # Neighbours that are known save compiling a search for them; UMAP only takes them when asked to.
        precomputed_knn=(*neighbours(vectors, NEIGHBOURS), None),
        force_approximation_algorithm=True,
    )
    points = model.fit_transform(vectors)
    np.save(folder / "partial.npy", points.astype(np.float32), allow_pickle=False)
    (folder / "partial.npy").replace(folder / "points.npy")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
