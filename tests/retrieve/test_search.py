from pathlib import Path

import numpy as np
import pytest

from scriptsight import features, retrieve
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.reporting import ConsoleReporter
from scriptsight.retrieve import index as indexes
from scriptsight.segments import Segments
from tests import small


@pytest.fixture
def indexed(workspace: Path) -> Path:
    """The workspace with an index of both splits, val first."""
    encoder, rows, vectors = bundle.load(workspace / "model"), [], []
    for split in ("val", "test"):
        segments = Segments(workspace / "segments", "c", split)
        vectors.append(features.extract(encoder, segments, 4, ConsoleReporter(), split)["embedding"])
        rows += [indexes.row(segment, "c", split) for segment in segments]
    weights = bundle.weights_digest(workspace / "model")
    indexes.write(workspace / "index", np.concatenate(vectors), rows, weights)
    return workspace


def test_search_finds_a_planted_moment(indexed: Path) -> None:
    folder = indexed / "index"
    query = "the green triangle grows"
    embeddings = np.load(folder / "embeddings.npy")
    embeddings[7] = bundle.load(indexed / "model").encode_text([query])[0].numpy()
    np.save(folder / "embeddings.npy", embeddings)
    ((moment, *rest),) = retrieve.search([query], index=folder, bundle=indexed / "model", top=3)
    planted = Segments(indexed / "segments", "c", "test")[2]  # 5 of val come before
    assert (moment.uri, moment.segment_id) == (planted.uri, planted.segment_id)
    assert (moment.start, moment.end, moment.text) == (10.0, 13.0, "the blue circle / moves left $x^2$")
    assert moment.score == pytest.approx(1, abs=1e-6)
    assert len(rest) == 2 and moment.score > rest[0].score >= rest[1].score


def test_search_answers_each_query_and_no_more_than_there_is(indexed: Path) -> None:
    where = {"index": indexed / "index", "bundle": indexed / "model"}
    both = retrieve.search(["the red circle", "blue"], top=100, **where)  # type: ignore[arg-type]
    assert [len(found) for found in both] == [11, 11]
    alone = retrieve.search(["blue"], top=100, **where)[0]  # type: ignore[arg-type]
    assert [moment.segment_id for moment in both[1]] == [moment.segment_id for moment in alone]
    assert retrieve.search([], **where) == []  # type: ignore[arg-type]


def test_the_index_refuses_another_model(indexed: Path) -> None:
    other = small.tiny_bundle(indexed / "other", seed=9)
    with pytest.raises(InputError, match=r"made by another model than .*other.*retrieve stage again"):
        retrieve.search(["red"], index=indexed / "index", bundle=other)


def test_a_damaged_or_missing_index_is_an_input_error(indexed: Path) -> None:
    where = {"index": indexed / "index", "bundle": indexed / "model"}
    with pytest.raises(InputError, match=r"no index in .*retrieve stage first"):
        retrieve.search(["red"], index=indexed / "nothing", bundle=indexed / "model")
    for name in ("embeddings.npy", "moments.parquet", "config.json"):
        path = indexed / "index" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        with pytest.raises(InputError, match=r"index in .* is damaged"):
            retrieve.search(["red"], **where)  # type: ignore[arg-type]
        path.write_bytes(whole)


def test_an_index_never_unpickles(indexed: Path) -> None:
    path = indexed / "index" / "embeddings.npy"
    np.save(path, np.array([{"a": 1}] * 11, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        retrieve.search(["red"], index=path.parent, bundle=indexed / "model")


@pytest.mark.parametrize(("query", "top", "message"), [(" ", 5, "no words"), ("red", 0, "top is 0")])
def test_a_query_that_asks_nothing_is_refused(indexed: Path, query: str, top: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        retrieve.search([query], index=indexed / "index", bundle=indexed / "model", top=top)


def test_best_equals_a_naive_sort_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "CHUNK", 7)
    rng = np.random.default_rng(0)
    queries, embeddings = (rng.integers(-2, 3, (n, 3)).astype(np.float32) for n in (20, 50))  # many ties
    for top in (1, 4, 50, 80):
        rows, scores = indexes.best(queries, embeddings, top)
        for query, line, found in zip(queries, rows, scores, strict=True):
            order = sorted(range(50), key=lambda i: (-float(query @ embeddings[i]), i))[:top]
            assert line.tolist() == order
            assert found.tolist() == [float(query @ embeddings[i]) for i in order]


def test_times_read_as_minutes_and_seconds() -> None:
    assert [indexes.clock(seconds) for seconds in (0, 9.94, 59.96, 60.0, 754.25)] == [
        "0:00.0",
        "0:09.9",
        "1:00.0",
        "1:00.0",
        "12:34.2",
    ]
