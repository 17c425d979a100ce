import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scriptsight import tuning
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


def coarse_of(vectors: np.ndarray, way: str) -> scan.Coarse:
    if way == "fp32":
        return scan.Coarse(torch.from_numpy(vectors))
    if not scan.adds_exactly(vectors.shape[1]):
        pytest.skip("this processor's sums of int8 products are not exact, so they are not used")
    step = scan.step_of(vectors)
    rows, error = scan.to_int8(vectors, step)
    return scan.Coarse(torch.from_numpy(rows), step, error)


@pytest.mark.parametrize(("way", "few"), [("int8", 0), ("fp32", 0), ("int8", 1_000_000)])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [5, 64, 131, 517])
def test_nearest_equals_a_naive_sort(
    rows: int, tied: bool, way: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"GROUP": 8, "CHUNK": (16, 64), "SCORES": 256, "TILE": 4, "FEW": few, "QUERIES": 7, "MANY": 3}
    for name, value in small.items():
        monkeypatch.setattr(scan, name, value)
    rng = np.random.default_rng(rows)
    queries, vectors = unit(rng, 20, 3 if tied else 16, tied), unit(rng, rows, 3 if tied else 16, tied)
    coarse = coarse_of(vectors, way)
    for allowed in (None, rng.random(rows) < 0.3, np.zeros(rows, dtype=bool)):
        for top in (1, 4, 50, 600):
            found, scores = scan.nearest(queries, vectors, coarse, top, allowed)
            alone = scan.nearest(queries[:1], vectors, coarse, top, allowed)
            lines = [*zip(queries, found, scores, strict=True), (queries[0], alone[0][0], alone[1][0])]
            for query, line, of_line in lines:
                expected = naive(query, vectors, top, np.ones(rows, dtype=bool) if allowed is None else allowed)
                assert (line.tolist(), of_line.tolist()) == expected


def test_vectors_that_integers_can_not_tell_apart_are_still_in_order() -> None:
    rng = np.random.default_rng(0)
    centre = unit(rng, 1, 64, False)
    vectors = centre + 1e-4 * rng.normal(size=(20000, 64))  # all within rounding of each other
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    coarse = coarse_of(vectors, "int8")
    found, _ = scan.nearest(centre, vectors, coarse, 10)
    assert found[0].tolist() == naive(centre[0], vectors, 10, np.ones(20000, dtype=bool))[0]
    scanned = coarse.asked(centre).products(coarse.rows)[:, 0].topk(50).indices
    assert not set(found[0].tolist()) <= set(scanned.tolist())  # rescoring the best 50 of a scan would lose some


@pytest.mark.parametrize("length", [1.0, 1e-3, 40.0])
def test_the_error_of_a_scan_is_within_its_bound(length: float) -> None:
    rng = np.random.default_rng(1)
    queries, vectors = unit(rng, 50, 256, False), unit(rng, 3000, 256, False)
    vectors[:50] = queries  # the largest scores there are
    vectors[50, :] = 0
    vectors[50, 7] = 1  # makes the unit of all others coarse
    asked = np.float32(length) * queries
    coarse = coarse_of(vectors, "int8")
    scan_of = coarse.asked(asked)
    scanned = scan_of.products(coarse.rows).numpy()[:, : len(queries)] * scan_of.worth
    errors = np.abs(scanned - vectors.astype(np.float64) @ asked.T.astype(np.float64)).max(axis=0)
    assert (errors <= scan_of.wrong).all() and errors.max() > scan_of.wrong.max() / 20


@pytest.mark.parametrize(("way", "few"), [("int8", 0), ("fp32", 0), ("int8", 1_000_000)])
def test_a_vector_that_is_no_number_is_no_answer(way: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "FEW", few)
    vectors = unit(np.random.default_rng(4), 100, 8, False)
    coarse = coarse_of(vectors, way)
    vectors[3] = np.nan
    with pytest.raises(InputError, match="he scores of the index"):
        scan.nearest(np.ones((1, 8), np.float32), vectors, coarse, 100)


def test_a_query_of_zeros_finds_the_first_rows() -> None:
    vectors = unit(np.random.default_rng(3), 100, 8, False)
    found, scores = scan.nearest(np.zeros((1, 8), np.float32), vectors, coarse_of(vectors, "int8"), 3)
    assert found[0].tolist() == [0, 1, 2] and scores[0].tolist() == [0, 0, 0]


def test_the_way_of_scanning_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path))
    scan.fastest.cache_clear()
    way = scan.fastest(24)
    if not scan.adds_exactly(24):
        assert way == "fp32"
        pytest.skip("there is one way here: this processor's sums of int8 products are not exact")
    (answer,) = tuning.read(tuning.place()).values()
    assert way == answer.way and set(answer.seconds) == {"int8", "fp32"}
    rows = scan.Coarse.of(corpus()[:, :24].copy()).rows
    assert rows.dtype == {"int8": torch.int8, "fp32": torch.float32}[way]
    scan.fastest.cache_clear()


def test_integers_are_not_taken_where_their_sums_are_not_exact(tmp_path: Path) -> None:
    """oneDNN as on a processor of before 2019; it reads the variable once, so in a process of its own."""
    code = (
        "import torch; from scriptsight.retrieve import scan; "
        "x = torch.full((64, 256), 127, dtype=torch.int8); "
        "right = bool((torch._int_mm(x, x.T.contiguous()) == 127 * 127 * 256).all()); "
        "print(right, scan.adds_exactly(256), scan.fastest(256))"
    )
    place = {"SCRIPTSIGHT_CACHE": str(tmp_path), "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=os.environ | place, capture_output=True, text=True, check=True
    )
    right, exactly, way = done.stdout.split()
    assert (right, exactly) in {("False", "False"), ("True", "True")}
    assert right == "True" or way == "fp32"


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
