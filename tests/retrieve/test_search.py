import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight import features, retrieve, times, windows
from scriptsight.errors import InputError
from scriptsight.files import seal, write_json
from scriptsight.media import Frame
from scriptsight.models import bundle
from scriptsight.reporting import ConsoleReporter
from scriptsight.retrieve import Filters, Like, scan
from scriptsight.retrieve import index as indexes
from scriptsight.segments import Segments
from tests import small
from tests.conftest import MakeVideo
from tests.retrieve.conftest import split_rows


@pytest.fixture
def indexed(workspace: Path) -> Path:
    """The workspace with an index of both splits, val first."""
    encoder, rows, vectors = bundle.load(workspace / "model"), [], []
    for split in ("val", "test"):
        segments = Segments(workspace / "segments", "c", split)
        vectors.append(features.extract(encoder, segments, 4, ConsoleReporter(), split)["embedding"][:, 0])
        rows += [
            indexes.row(replace(one, label=f"l{i}"), "c", split, "fr" if "blue" in one.video_id else None)
            for i, one in enumerate(segments)
        ]
    weights = bundle.weights_digest(workspace / "model")
    indexes.write(workspace / "index", np.concatenate(vectors), rows, weights)
    return workspace


def test_search_finds_a_planted_moment(indexed: Path) -> None:
    folder = indexed / "index"
    query = "the green triangle grows"
    embeddings = np.load(folder / "embeddings.npy")
    embeddings[7] = bundle.load(indexed / "model").encode_text([query])[0].numpy()
    np.save(folder / "embeddings.npy", embeddings)
    config = json.loads((folder / "config.json").read_text())
    step = scan.step_of(embeddings)
    whole, error = scan.to_int8(embeddings, step)
    np.save(folder / "coarse.npy", whole)
    write_json(folder / "config.json", config | {"coarse": {"step": step, "error": error}})
    seal(folder / "config.json")
    ((moment, *rest),) = retrieve.search([query], index=folder, bundle=indexed / "model", top=3)
    planted = Segments(indexed / "segments", "c", "test")[2]  # 5 of val come before
    assert (moment.uri, moment.segment_id) == (planted.uri, planted.segment_id)
    assert (moment.start, moment.end, moment.text) == (10.0, 13.0, "the blue circle / moves left $x^2$")
    assert moment.score == pytest.approx(1, abs=1e-6)
    assert len(rest) == 2 and moment.score > rest[0].score >= rest[1].score


def test_search_answers_each_query_and_no_more_than_there_is(indexed: Path) -> None:
    where: dict[str, Any] = {"index": indexed / "index", "bundle": indexed / "model"}
    both = retrieve.search(["the red circle", "blue"], top=100, **where)
    assert [len(found) for found in both] == [11, 11]
    alone = retrieve.search(["blue"], top=100, **where)[0]
    # Those that are equal but for rounding may change places.
    assert {moment.segment_id for moment in both[1]} == {moment.segment_id for moment in alone}
    assert [moment.score for moment in both[1]] == pytest.approx([moment.score for moment in alone], abs=1e-5)
    assert retrieve.search([], **where) == []


def test_the_index_refuses_another_model(indexed: Path) -> None:
    other = small.tiny_bundle(indexed / "other", seed=9)
    with pytest.raises(InputError, match=r"made by another model than .*other.*retrieve stage again"):
        retrieve.search(["red"], index=indexed / "index", bundle=other)


def test_a_damaged_or_missing_index_is_an_input_error(indexed: Path) -> None:
    where: dict[str, Any] = {"index": indexed / "index", "bundle": indexed / "model"}
    with pytest.raises(InputError, match=r"no index in .*retrieve stage first"):
        retrieve.search(["red"], index=indexed / "nothing", bundle=indexed / "model")
    for name in ("embeddings.npy", "coarse.npy", "moments.arrow", "words.db", "config.json"):
        path = indexed / "index" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"index in .* is damaged"):
            retrieve.search(["red"], **where)
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


def test_signs_that_nobody_can_say_are_refused(indexed: Path) -> None:
    with pytest.raises(InputError, match=r"'\?!' has no words"):
        retrieve.search(["?!"], by="words", **where(indexed))
    with pytest.raises(InputError, match=r"'\.\.\.' has no words"):
        retrieve.search(["red"], filters=retrieve.Filters(said="..."), **where(indexed))
    assert retrieve.search(["?!"], **where(indexed))[0]  # a picture may well be asked for by signs


def where(indexed: Path) -> dict[str, Any]:
    return {"index": indexed / "index", "bundle": indexed / "model"}


def test_an_example_finds_what_looks_like_it_but_not_itself(indexed: Path) -> None:
    ((first, *rest),) = retrieve.search([Like("small/val-red/0")], top=100, **where(indexed))
    assert first.segment_id == "small/test-red/0" and first.score > 0.99
    assert len(rest) == 9 and all(moment.segment_id != "small/val-red/0" for moment in rest)


def test_a_video_file_finds_its_own_segment(indexed: Path, make_video: MakeVideo) -> None:
    path = make_video(indexed / "query.mp4", seconds=3, size=(32, 32))
    encoder = bundle.load(indexed / "model")
    vector = retrieve.embed(path, encoder).vectors[0]
    folder = indexed / "index"
    rows = [indexes.row(segment, "c", "test") for segment in split_rows("test")]
    others = np.load(folder / "embeddings.npy")[5:]
    others[3] = vector
    indexes.write(folder, others, rows, bundle.weights_digest(indexed / "model"))
    ((first, *_),) = retrieve.search([path], **where(indexed))
    assert first.segment_id == rows[3]["segment_id"] and first.score == pytest.approx(1, abs=1e-6)
    with pytest.raises(InputError, match=r"nowhere\.mp4"):
        retrieve.search([Path("nowhere.mp4")], **where(indexed))


def test_a_picture_that_starts_late_fills_the_windows_before_it() -> None:
    def source() -> Iterator[Frame]:
        for time in (2.5, 3.0):
            yield Frame(time, time + 0.5, np.zeros((4, 4, 3), np.uint8))

    found = [(start, end, [frame.time for frame in shown]) for start, end, shown in windows.windows(source(), 4.0, 4)]
    assert found == [(0, 1, [2.5]), (1, 2, [2.5]), (2, 3, [2.5]), (3, 4, [2.5, 3.0])]


def test_words_find_what_is_said(indexed: Path) -> None:
    (found,) = retrieve.search(["Blue"], by="words", **where(indexed))
    assert {moment.segment_id for moment in found} == {"small/val-blue/0", "small/test-blue/0"}
    assert {moment.cue for moment in found} == {"the blue circle"}
    (nothing,) = retrieve.search(["zebra"], by="words", **where(indexed))
    assert nothing == []
    retrieve.search(['NOT " OR ( * x:'], by="words", **where(indexed))  # the data base's own language is only words


def test_both_rankings_join_by_reciprocal_rank(indexed: Path) -> None:
    pictures, said, both = (
        retrieve.search(["the blue circle"], by=by, top=11, **where(indexed))[0]
        for by in ("picture", "words", "both")
    )
    expected = {moment.segment_id: 1 / (60 + rank) for rank, moment in enumerate(pictures, 1)}
    for rank, moment in enumerate(said, 1):
        expected[moment.segment_id] += 1 / (60 + rank)
    assert {moment.segment_id: moment.score for moment in both} == pytest.approx(expected)
    assert [moment.score for moment in both] == sorted(expected.values(), reverse=True)
    assert {moment.segment_id for moment in both} == set(expected)


@pytest.mark.parametrize("by", ["picture", "words", "both"])
def test_filters_leave_only_what_passes(indexed: Path, by: Any) -> None:
    def found(**wanted: Any) -> set[str]:
        (moments,) = retrieve.search(["the circle"], by=by, top=100, filters=Filters(**wanted), **where(indexed))
        return {moment.segment_id for moment in moments}

    assert found(said="BLUE circle") == {"small/val-blue/0", "small/test-blue/0"}
    assert found(said="blue red") == set()
    assert found(labels=("l0",)) == {"small/val-red/0", "small/test-red/0"}
    assert found(labels=("l0", "l2"), languages=("fr",)) == {"small/val-blue/0", "small/test-blue/0"}
    spoken = 10 + (by != "words")
    assert len(found(collections=("c",))) == spoken
    assert found(splits=("val",), labels=("l0",)) == {"small/val-red/0"}
    with pytest.raises(InputError, match=r"no split 'train'; it has: test, val"):
        found(splits=("train",))
    with pytest.raises(InputError, match=r"no collection 'd'; it has: c"):
        found(collections=("d",))
    with pytest.raises(InputError, match=r"no language 'de'; it has: fr"):
        found(languages=("de",))


def test_neighbouring_hits_of_one_video_are_one_moment(tmp_path: Path) -> None:
    folder = small.tiny_bundle(tmp_path / "model")
    spans: dict[str, list[tuple[float, float]]] = {"a": [(0, 3), (3.5, 6), (6, 9), (30, 33)], "b": [(2, 5)]}
    rows = []
    for name, times_of in spans.items():
        for i, (start, end) in enumerate(times_of):
            one = small.segment(name, texts=[f"{name}{i}"])
            rows.append(indexes.row(replace(one, start=start, end=end, segment_id=f"{name}/{i}"), "c", "test"))
    query = bundle.load(folder).encode_text(["the red circle"])[0].numpy()
    away = np.linalg.svd(query[None])[2][1]  # a direction at a right angle
    angles = [0.3, 0.1, 0.2, 0.5, 0.4]  # a/1 is best, then a/2, a/0; then b/0; then a/3
    vectors = np.stack([np.cos(t) * query + np.sin(t) * away for t in angles]).astype(np.float32)
    indexes.write(tmp_path / "index", vectors, rows, bundle.weights_digest(folder))
    (found,) = retrieve.search(["the red circle"], index=tmp_path / "index", bundle=folder)
    assert [(moment.uri[7], moment.start, moment.end) for moment in found] == [
        ("a", 0, 9),
        ("b", 2, 5),
        ("a", 30, 33),
    ]
    assert (found[0].segment_id, found[0].text) == ("a/1", "a0 / a1 / a2")
    assert [moment.score for moment in found] == pytest.approx(np.cos([0.1, 0.4, 0.5]), abs=1e-6)
    (best,) = retrieve.search(["the red circle"], index=tmp_path / "index", bundle=folder, top=1)
    assert [(moment.start, moment.end) for moment in best] == [(0, 9)]


def test_more_hits_are_fetched_when_most_merge(tmp_path: Path) -> None:
    folder = small.tiny_bundle(tmp_path / "model")
    segment = small.segment("long")
    rows = [indexes.row(replace(segment, start=i, end=i + 1, segment_id=f"long/{i}"), "c", "test") for i in range(40)]
    rows += [indexes.row(small.segment(name), "c", "test") for name in ("x", "y")]
    query = bundle.load(folder).encode_text(["the red circle"])[0].numpy()
    vectors = np.stack([query] * 40 + [-query] * 2)
    indexes.write(tmp_path / "index", vectors, rows, bundle.weights_digest(folder))
    (found,) = retrieve.search(["the red circle"], index=tmp_path / "index", bundle=folder, top=3)
    assert [moment.uri for moment in found] == ["videos/long.mp4", "videos/x.mp4", "videos/y.mp4"]
    assert (found[0].start, found[0].end) == (0, 40)


def test_what_can_not_be_asked_is_said(indexed: Path) -> None:
    with pytest.raises(InputError, match=r"no moment 'c/none/0': ids look like 'small/val-red/0'"):
        retrieve.search([Like("c/none/0")], **where(indexed))
    with pytest.raises(InputError, match="A search by both takes words"):
        retrieve.search([Like("small/val-red/0")], by="both", **where(indexed))


def test_an_older_index_is_made_again(indexed: Path) -> None:
    (indexed / "index" / "config.json").write_text('{"format": 1, "weights": "x"}')
    with pytest.raises(InputError, match=r"format 1, this version reads 3: run the retrieve stage again"):
        retrieve.search(["red"], **where(indexed))


def test_times_read_as_minutes_and_seconds() -> None:
    assert [times.clock(seconds) for seconds in (0, 9.94, 59.96, 60.0, 754.25)] == [
        "0:00.0",
        "0:09.9",
        "1:00.0",
        "1:00.0",
        "12:34.2",
    ]


def test_a_moment_says_where_it_is_from(indexed: Path) -> None:
    (found,) = retrieve.search(["blue"], by="words", filters=Filters(splits=("test",)), **where(indexed))
    (moment,) = found
    assert (moment.collection, moment.split, moment.label, moment.language) == ("c", "test", "l2", "fr")


def test_filters_read_as_they_are_typed() -> None:
    asked = Filters(collections=("a", "b"), languages=("en",), said="a circle", splits=("val",))
    assert str(asked) == "collection a or b, language en, split val, said 'a circle'"
    assert str(Filters()) == ""


def collapsed(folder: Path, spread: float) -> dict[str, Any]:
    """An index of 40 moments whose vectors lie at most `spread` apart, where its model has put everything."""
    model = small.tiny_bundle(folder / "model")
    rng = np.random.default_rng(0)
    away = rng.normal(size=(40, 8))
    vectors = np.ones(8) / np.sqrt(8) + spread / 2 * away / np.linalg.norm(away, axis=1, keepdims=True)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = [indexes.row(small.segment(f"v{i}", texts=["a red circle"]), "c", "train") for i in range(40)]
    indexes.write(folder / "index", vectors, rows, bundle.weights_digest(model))
    return {"index": folder / "index", "bundle": model}


def test_a_model_with_one_place_for_everything_ranks_nothing(tmp_path: Path) -> None:
    """By picture or by both it can't; what is said needs no model; one moment needs no ranking."""
    asked = collapsed(tmp_path, 0.01)
    for by in ("picture", "both"):
        with pytest.raises(
            retrieve.Undecided, match=r"All 40 moments score alike \(-?0\.\d+ to -?0\.\d+\)"
        ) as caught:
            retrieve.search(["the red circle"], by=by, **asked)
        assert "Train longer, or on more videos. By words works: --by words" in caught.value.remedy
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes
    with pytest.raises(retrieve.Undecided, match=r"\(1\.000 to 1\.000\).*more videos\.$"):
        retrieve.search([Like("small/v3/0")], **asked)
    assert len(retrieve.search(["red"], by="words", top=40, **asked)[0]) == 40
    searcher = retrieve.Searcher(collapsed(tmp_path / "wide", 1.0)["index"], tmp_path / "wide" / "model")
    (vector,) = searcher.vectors(["the red circle"])
    scores = searcher.index.embeddings @ vector
    assert searcher.tells(vector) and searcher.extremes(vector) == pytest.approx((scores.min(), scores.max()))


def test_one_moment_that_stands_out_of_a_large_index_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that the sample of moments, which is looked at first, lacks."""
    asked = collapsed(tmp_path, 0.0)
    monkeypatch.setattr(sys.modules[retrieve.Searcher.__module__], "SAMPLE", 4)
    vectors = np.load(asked["index"] / "embeddings.npy")
    (query,) = bundle.load(asked["bundle"]).encode_text(["the red circle"]).numpy()
    assert not retrieve.Searcher(**asked).tells(query)
    vectors[0] = query
    rows = [indexes.row(small.segment(f"v{i}"), "c", "train") for i in range(40)]
    indexes.write(asked["index"], vectors, rows, bundle.weights_digest(asked["bundle"]))
    (found,) = retrieve.search(["the red circle"], top=1, **asked)
    assert found[0].segment_id == "small/v0/0"


def test_scores_that_are_alike_by_chance_are_ranked(tmp_path: Path) -> None:
    """Moments that differ, and a query at a right angle to their difference."""
    asked = collapsed(tmp_path, 0.0)
    (query,) = bundle.load(asked["bundle"]).encode_text(["the red circle"]).numpy()
    away = np.linalg.svd(query[None])[2][1]
    rows = [indexes.row(small.segment(name), "c", "train") for name in ("a", "b")]
    indexes.write(asked["index"], np.stack([away, -away]), rows, bundle.weights_digest(asked["bundle"]))
    assert len(retrieve.search(["the red circle"], **asked)[0]) == 2
