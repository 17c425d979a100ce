"""Search on one core: queries a second and recall of the exact index, faiss's flat one beside it, a graph, loading.

    OMP_NUM_THREADS=1 python benchmarks/search.py [--part PART] [--moments N] [--graph-moments N]

Vectors vary in `--latent` directions and a little in all others, as trained embeddings do, whose numbers are not
free of each other; with `--latent 256` they have no structure at all, the hardest case of a graph. The graph is
built over fewer vectors than the exact index holds, because building it takes a core over a minute for each 100,000
(`hnsw_moments` and `hnsw_build_s` say).
faiss is measured twice. As it is installed it answers a batch of this size query by query: since 1.15 or before, it
takes BLAS only for more than 128,000 queries. With the limit of earlier versions, 20, it multiplies all at once, many
times as fast (`faiss_blas_qps`), and `vs_faiss_blas` is the ratio that says what our scan itself gains.
`scan_only_qps` leaves out what follows the scan, and `product_gops` is the bare product, in 10^9 multiplications and
additions a second.
Exact recall is held against scores in float64; the graph's against the exact index of the same vectors. Loading
opens a written index of all the vectors. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.machine import processor
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import scan
from scriptsight.retrieve.index import Index

WIDTH, TOP, BATCH = 256, 10, 100
NOISE = 0.1  # of the variation, in all directions
SINGLE = 200  # queries, one by one
FEW = 10_000, 20_000  # moments of the small indexes, which these are asked of
BLAS = 20  # queries from which faiss multiplied matrices in earlier versions
T = TypeVar("T")


def main() -> None:
    """Measure the parts asked for, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=("exact", "single", "hnsw", "load", "all"), default="all")
    parser.add_argument("--moments", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--graph-moments", type=int, default=100_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--batches", type=int, default=6, metavar="N", help="of 100 queries (default: %(default)s)")
    parser.add_argument("--latent", type=int, default=32, metavar="N", help="directions (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = (
        "qps",
        "recall",
        "faiss_flat_qps",
        "vs_faiss",
        "faiss_blas_qps",
        "vs_faiss_blas",
        "scan_only_qps",
        "product_gops",
        "way",
        "single_10000_ms",
        "faiss_single_10000_ms",
        "single_ms",
        "faiss_single_ms",
        "hnsw_ms",
        "hnsw_recall",
        "load_s",
    )
    found: dict[str, Any] = dict.fromkeys(names)  # null: a part that was not asked for
    vectors = drawn(options.moments, options.latent, seed=1)
    if options.part in ("exact", "all"):
        found |= exact(vectors, drawn(options.batches * BATCH, options.latent, seed=2))
    if options.part in ("single", "all"):
        asked = drawn(SINGLE, options.latent, seed=3)
        ours, other = single(vectors[: FEW[0]], asked)
        found |= {"single_10000_ms": ours, "faiss_single_10000_ms": other}
        ours, other = single(vectors[: FEW[1]], asked)
        found |= {"single_ms": ours, "faiss_single_ms": other}
    if options.part in ("hnsw", "all"):
        found |= graph(vectors[: options.graph_moments], drawn(SINGLE, options.latent, seed=3))
    if options.part in ("load", "all"):
        found |= load(vectors)
    print(json.dumps({**found, "processor": processor()}))


def drawn(rows: int, latent: int, seed: int) -> np.ndarray:
    """Unit vectors around one common subspace -> float32 [rows, WIDTH]."""
    basis = np.random.default_rng(0).standard_normal((latent, WIDTH), dtype=np.float32) / np.sqrt(latent)
    rng = np.random.default_rng(seed)
    vectors = np.empty((rows, WIDTH), dtype=np.float32)
    for start in range(0, rows, 100_000):
        count = min(100_000, rows - start)
        part = rng.standard_normal((count, latent), dtype=np.float32) @ basis
        part += NOISE * rng.standard_normal((count, WIDTH), dtype=np.float32)
        vectors[start : start + count] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def exact(vectors: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """The scan and faiss's flat index in turns over batches of 100; the best batch of each counts."""
    import faiss

    faiss.omp_set_num_threads(1)
    coarse = scan.Coarse.of(vectors)
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(vectors)
    own, other, blas, scans, products, rows = [], [], [], [], [], []
    limit = faiss.cvar.distance_compute_blas_threshold
    for start in range(0, len(queries), BATCH):
        batch = queries[start : start + BATCH]
        seconds, (best, _) = timed(lambda batch=batch: scan.nearest(batch, vectors, coarse, TOP))  # type: ignore[misc]
        own.append(seconds)
        rows.append(best)
        asked = coarse.asked(batch)
        scans.append(timed(lambda asked=asked: scan.group_bests(asked, coarse.rows, None))[0])  # type: ignore[misc]
        few = coarse.rows[: scan.CHUNK[0]]
        products += [timed(lambda asked=asked, few=few: asked.products(few))[0] for _ in range(20)]  # type: ignore[misc]
        if start < 2 * BATCH:
            other.append(timed(lambda batch=batch: flat.search(batch, TOP))[0])  # type: ignore[misc]
        faiss.cvar.distance_compute_blas_threshold = BLAS
        blas.append(timed(lambda batch=batch: flat.search(batch, TOP))[0])  # type: ignore[misc]
        faiss.cvar.distance_compute_blas_threshold = limit
    right = [overlap(line, truth) for line, truth in zip(np.concatenate(rows), truths(vectors, queries), strict=True)]
    return {
        "qps": round(BATCH / min(own), 1),
        "recall": round(float(np.mean(right)), 6),
        "faiss_flat_qps": round(BATCH / min(other), 1),
        "vs_faiss": round(min(other) / min(own), 1),
        "faiss_blas_qps": round(BATCH / min(blas), 1),
        "vs_faiss_blas": round(min(blas) / min(own), 1),
        "scan_only_qps": round(BATCH / min(scans), 1),
        "product_gops": round(2 * BATCH * scan.CHUNK[0] * WIDTH / min(products) / 1e9, 1),
        "way": scan.fastest(WIDTH),
    }


def single(vectors: np.ndarray, queries: np.ndarray) -> tuple[float, float]:
    """Milliseconds of single queries of an index of few moments, and of faiss's flat one, in turns; medians."""
    import faiss

    faiss.omp_set_num_threads(1)
    coarse, flat = scan.Coarse.of(vectors), faiss.IndexFlatIP(WIDTH)
    flat.add(vectors)
    times: dict[str, list[float]] = {"ours": [], "faiss": []}
    for query in queries:
        times["ours"].append(timed(lambda query=query: scan.nearest(query[None], vectors, coarse, TOP))[0])  # type: ignore[misc]
        times["faiss"].append(timed(lambda query=query: flat.search(query[None], TOP))[0])  # type: ignore[misc]
    ours, other = (round(1000 * float(np.median(found)), 3) for found in times.values())
    return ours, other


def truths(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The true best rows, by scores in float64 -> int64 [Q, TOP]."""
    found: list[list[np.ndarray]] = []  # rows and scores of each chunk's best
    asked = queries.astype(np.float64)
    for start in range(0, len(vectors), 20_000):
        scores = asked @ vectors[start : start + 20_000].astype(np.float64).T
        best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
        found.append([best + start, np.take_along_axis(scores, best, axis=1)])
    rows, scores = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return np.take_along_axis(rows, np.argsort(-scores, axis=1, kind="stable")[:, :TOP], axis=1)


def graph(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Single queries along the graph of a written and opened index."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, index = timed(lambda: opened(vectors, Path(folder) / "index", "hnsw"))
        truth, _ = index.nearest(queries, TOP, exact=True)
        index.nearest(queries[:1], TOP)  # the first one reads the file
        times, right = [], []
        for query, best in zip(queries, truth, strict=True):
            took, (rows, _) = timed(lambda query=query: index.nearest(query[None], TOP))  # type: ignore[misc]
            times.append(took)
            right.append(overlap(rows[0], best))
    return {
        "hnsw_ms": round(1000 * float(np.median(times)), 3),
        "hnsw_recall": round(float(np.mean(right)), 4),
        "hnsw_moments": len(vectors),
        "hnsw_build_s": round(seconds, 1),
    }


def load(vectors: np.ndarray) -> dict[str, float]:
    """Opening a written index, until it has answered nothing yet; the best of three."""
    with tempfile.TemporaryDirectory() as folder:
        opened(vectors, Path(folder) / "index", "exact")
        times = [timed(lambda: indexes.read(Path(folder) / "index", "weights"))[0] for _ in range(3)]
    return {"load_s": round(min(times), 4)}


def opened(vectors: np.ndarray, folder: Path, search: str) -> Index:
    """Write an index and open it."""
    indexes.write(folder, vectors, moments(len(vectors)), "weights", search)  # type: ignore[arg-type]
    return indexes.read(folder, "weights")


def moments(count: int) -> Iterator[dict[str, object]]:
    """Rows as the stage writes them: a script of five sentences each."""
    said = [f"the shape number {i % 97} moves to place {i % 89}" for i in range(8633)]
    for i in range(count):
        cues = [{"start": 5.0 * k, "end": 5.0 * k + 4, "text": said[(i + 7 * k) % len(said)]} for k in range(5)]
        yield {
            "uri": f"videos/{i // 20}.mp4",
            "collection": "bench",
            "split": "test",
            "segment_id": f"bench/{i // 20}/{i % 20}",
            "start": 30.0 * (i % 20),
            "end": 30.0 * (i % 20) + 25,
            "text": " / ".join(str(cue["text"]) for cue in cues),
            "cues": cues,
            "label": None,
            "language": "en",
            "content": f"{i:032x}",
        }


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of the true rows that was found."""
    return len(set(found.tolist()) & set(truth.tolist())) / len(truth)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that `work` took, and what it gave."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
