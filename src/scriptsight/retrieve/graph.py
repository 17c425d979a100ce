"""A graph of near neighbours for single queries (HNSW, Malkov and Yashunin 2018), by faiss where it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scriptsight.errors import MissingExtra

LINKS = 32  # of a moment in the graph
BUILD_EFFORT = 80  # candidates while building (efConstruction)
SEARCH_EFFORT = 256  # candidates while searching (efSearch); it is never below the number of moments asked for


@dataclass(frozen=True)
class Graph:
    """A graph that was opened."""

    index: Any

    def nearest(self, query: np.ndarray, top: int, effort: int = SEARCH_EFFORT) -> np.ndarray:
        """About the `top` best rows of one query [E] -> int64, in no particular order."""
        import faiss

        parameters = faiss.SearchParametersHNSW(efSearch=max(effort, top))  # type: ignore[attr-defined]
        _, rows = self.index.search(query[None].astype(np.float32), top, params=parameters)
        return rows[0][rows[0] >= 0]


def installed() -> bool:
    """Whether faiss is there; without it every search is exact."""
    return find_spec("faiss") is not None


def write(vectors: np.ndarray, path: Path) -> None:
    """Build the graph of unit vectors float32 [N, E], on one thread: the same vectors give the same bytes.

    Raises:
        MissingExtra: faiss is not installed.
    """
    if not installed():
        raise MissingExtra(
            "retrieve.search is hnsw, which needs faiss: pip install 'scriptsight[search]', or set it to exact."
        )
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_EFFORT
        index.add(np.ascontiguousarray(vectors))
        faiss.write_index(index, str(path))
    finally:
        faiss.omp_set_num_threads(threads)


def read(path: Path, total: int) -> Graph:
    """Open a graph of `total` moments, memory-mapped.

    Raises:
        ValueError: it is damaged, or of other moments.
    """
    import faiss

    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if index.ntotal != total:
        raise ValueError(f"the graph has {index.ntotal} moments instead of {total}")
    return Graph(index)
