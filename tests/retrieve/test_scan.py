from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.retrieve import graph, scan
from scriptsight.retrieve import index as indexes


def unit(rng: np.random.Generator, rows: int, width: int, tied: bool) -> np.ndarray:
    """Unit vectors; those of few small integers often are equal."""
    vectors = rng.integers(-1, 2, (rows, width)) if tied else rng.normal(size=(rows, width))
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def naive(query: np.ndarray, vectors: np.ndarray, top: int, allowed: np.ndarray) -> tuple[list[int], list[float]]:
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = sorted(np.flatnonzero(allowed).tolist(), key=lambda i: (-scores[i], i))[:top]
    return order, scores[order].tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [5, 64, 131, 517])
def test_nearest_equals_a_naive_sort(
    rows: int, tied: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("GROUP", 8), ("CHUNK", 64), ("WIDTH", 8), ("QUERIES", 7)):
        monkeypatch.setattr(scan, name, value)
    rng = np.random.default_rng(rows)
    queries, vectors = unit(rng, 20, 3 if tied else 16, tied), unit(rng, rows, 3 if tied else 16, tied)
    coarse = torch.from_numpy(vectors).to(dtype)
    for allowed in (None, rng.random(rows) < 0.3, np.zeros(rows, dtype=bool)):
        for top in (1, 4, 50, 600):
            found, scores = scan.nearest(queries, vectors, coarse, top, allowed)
            for query, line, of_line in zip(queries, found, scores, strict=True):
                expected = naive(query, vectors, top, np.ones(rows, dtype=bool) if allowed is None else allowed)
                assert (line.tolist(), of_line.tolist()) == expected


def test_vectors_that_bfloat16_can_not_tell_apart_are_still_in_order() -> None:
    rng = np.random.default_rng(0)
    centre = unit(rng, 1, 64, False)
    vectors = centre + 1e-4 * rng.normal(size=(20000, 64))  # all within rounding of each other
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found, _ = scan.nearest(centre, vectors, torch.from_numpy(vectors).bfloat16(), 10)
    assert found[0].tolist() == naive(centre[0], vectors, 10, np.ones(20000, dtype=bool))[0]
    scanned = (torch.from_numpy(vectors).bfloat16() @ torch.from_numpy(centre[0]).bfloat16()).topk(50).indices
    assert not set(found[0].tolist()) <= set(scanned.tolist())  # rescoring the best 50 of a scan would lose some


def test_the_error_of_a_scan_is_within_its_bound() -> None:
    rng = np.random.default_rng(1)
    queries, vectors = unit(rng, 50, 256, False), unit(rng, 3000, 256, False)
    vectors[:50] = queries  # the largest scores there are
    scanned = torch.from_numpy(queries).bfloat16() @ torch.from_numpy(vectors).bfloat16().T
    errors = np.abs(scanned.double().numpy() - queries.astype(np.float64) @ vectors.T.astype(np.float64))
    bound = scan.error_bound(queries, torch.bfloat16).numpy()
    assert (errors <= bound).all() and errors.max() > bound.max() / 10


def corpus(rows: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(200, 32))[rng.integers(0, 200, rows)] + 0.7 * rng.normal(size=(rows, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def moment(number: int) -> dict[str, object]:
    texts = {name: f"{name}{number}" for name in ("uri", "segment_id", "text", "content")}
    return {**texts, "collection": "c", "split": "test", "start": 0.0, "end": 1.0, "cues": []}


def test_a_graph_answers_single_queries_nearly_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    vectors = corpus()
    for name in ("one", "two"):
        indexes.write(tmp_path / name, vectors, map(moment, range(len(vectors))), "w", search="hnsw")
    for file in (tmp_path / "one").iterdir():
        assert digest(file) == digest(tmp_path / "two" / file.name), file.name
    index = indexes.read(tmp_path / "one", "w")
    assert index.graph is not None
    queries = corpus()[::100] + 0.05
    exact = index.nearest(queries, 10)[0]  # a batch is searched exactly
    alone = np.stack([index.nearest(query[None], 10)[0][0] for query in queries])
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, alone, strict=True)])
    assert same > 0.95
    allowed = np.zeros(len(vectors), dtype=bool)
    allowed[[5, 17]] = True
    assert sorted(index.nearest(queries[:1], 10, allowed)[0][0]) == [5, 17]


def test_exact_search_needs_no_faiss_and_hnsw_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "installed", lambda: False)
    monkeypatch.setattr(indexes, "EXACT_LIMIT", 10)
    vectors = corpus(50)
    indexes.write(tmp_path / "index", vectors, map(moment, range(50)), "w")  # auto
    index = indexes.read(tmp_path / "index", "w")
    assert index.graph is None and index.nearest(vectors[:1], 1)[0][0, 0] == 0
    with pytest.raises(InputError, match=r"pip install 'scriptsight\[search\]'"):
        indexes.write(tmp_path / "other", vectors, map(moment, range(50)), "w", search="hnsw")
    with pytest.raises(InputError, match="no graph"):
        index.nearest(vectors[:1], 1, exact=False)
