"""Figures of judgements: against hand-made cases and a naive loop, and in the stage."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight import features, retrieve
from scriptsight.judgements import BACK, DOWN, UP, Judgement, Query, Store, Stretch
from scriptsight.models import bundle
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import ConsoleReporter
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import judged
from scriptsight.retrieve.search import Searcher
from tests import small

ASKED = "the red circle"


def stretch(number: int, start: float = 0.0, end: float = 10.0) -> Stretch:
    """Of video `number` of `ranked`."""
    return Stretch("c", f"v{number}.mp4", start, end)


def thumb(verdict: int, where: Stretch, who: str = "ada", query: Query | str = ASKED, second: int = 0) -> Judgement:
    asked = Query(query) if isinstance(query, str) else query
    return Judgement(who, verdict, asked, where, at=f"2026-12-01T00:00:{second:02}.000000+00:00")


def ranked(folder: Path, stretches: Sequence[Stretch], words: str = ASKED, spread: float = 0.9) -> Searcher:
    """An index that answers `words` with these stretches in this order."""
    made = small.tiny_bundle(folder / "model")
    vector = bundle.load(made).encode_text([words]).cpu().numpy()[0].astype(np.float64)
    other = np.random.default_rng(0).normal(size=len(vector))
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    cosines = np.linspace(spread, 0.0, len(stretches)) if spread else np.ones(len(stretches))
    vectors = cosines[:, None] * vector + np.sqrt(1 - cosines**2)[:, None] * other
    rows: list[dict[str, Any]] = [
        {
            **{"uri": one.uri, "collection": "c", "split": "test", "segment_id": f"c/{one.uri}/{number}"},
            **{"start": one.start, "end": one.end, "text": f"word{number}", "cues": [], "label": None},
            **{"language": None, "content": ""},
        }
        for number, one in enumerate(stretches)
    ]
    indexes.write(folder / "index", vectors.astype(np.float32), rows, bundle.weights_digest(made))
    return Searcher(folder / "index", made)


def test_a_case_by_hand(tmp_path: Path) -> None:
    """Of the ranking v0 v1 ... v19, v1 and v6 are right, v2 is wrong, v4 half: two people differ."""
    searcher = ranked(tmp_path, [stretch(number) for number in range(20)])
    given = [thumb(UP, stretch(1)), thumb(DOWN, stretch(2)), thumb(UP, stretch(6)), thumb(DOWN, stretch(19))]
    given += [
        thumb(UP, stretch(4)),
        thumb(DOWN, stretch(4), "bob"),
        thumb(UP, stretch(2), "bob"),
        thumb(BACK, stretch(2), "bob", second=1),
    ]
    found = judged.measure(searcher, given)
    (one,) = found.asked
    gains = [1.0, 0.0, 0.5, 1.0, 0.0]  # v1, v2, v4, v6, v19: what was judged, in the order of the ranking
    ideal = 1 + 1 / math.log2(3) + 0.5 / 2
    assert one.p5 == pytest.approx(2.5 / 5)
    assert one.ndcg10 == pytest.approx((1 + 0.5 / 2 + 1 / math.log2(5)) / ideal)
    assert one.raw_p5 == pytest.approx(1.5 / 5)  # v0 and v3 count as wrong
    assert one.raw_ndcg10 == pytest.approx((1 / math.log2(3) + 0.5 / math.log2(6) + 1 / math.log2(8)) / ideal)
    assert one.covered == pytest.approx(4 / 12)  # of the twelve that the page shows
    discounts = sum(1 / math.log2(rank + 1) for rank in range(1, 6))
    assert one.chance_ndcg10 == pytest.approx(np.mean(gains) * discounts / ideal)
    assert one.chance_p5 == pytest.approx(0.5)
    counts = {name: found.figures[name] for name in ("queries", "judgements", "people", "left_out", "gone")}
    assert counts == {"queries": 1, "judgements": 6, "people": 2, "left_out": 0, "gone": 0}
    assert found.figures["agreement"]["share"] == 0 and found.figures["agreement"]["pairs"] == 1
    assert "too few judgements" in found.says[-1]


def test_figures_equal_a_naive_loop(tmp_path: Path) -> None:
    """Forty queries by words, each with random opinions of several people; the rankings are those of cosines."""
    rng = np.random.default_rng(3)
    searcher = ranked(tmp_path, [stretch(number) for number in range(30)])
    texts = [
        f"the {a} {b} {c}" for a in ("red", "blue") for b in ("circle", "square") for c in small.WORDS.split()[5:15]
    ]
    texts = [text for text in texts if searcher.tells(searcher.vectors([text])[0])]
    given, naive = [], []
    for text in texts:
        vector = searcher.vectors([text])[0].astype(np.float64)
        order = np.argsort(-(searcher.index.embeddings.astype(np.float64) @ vector), kind="stable")
        share: dict[int, float] = {}
        for number in rng.choice(30, rng.integers(1, 15), replace=False).tolist():
            votes = rng.integers(0, 2, rng.integers(1, 4)).tolist()
            share[number] = float(np.mean(votes))
            given += [thumb(UP if up else DOWN, stretch(number), f"p{who}", text) for who, up in enumerate(votes)]
        line = [share[number] for number in order.tolist() if number in share]
        best = sorted(share.values(), reverse=True)
        total = ideal = random_order = 0.0
        for rank in range(1, min(10, len(line)) + 1):
            total += line[rank - 1] / math.log2(rank + 1)
            ideal += best[rank - 1] / math.log2(rank + 1)
            random_order += sum(best) / len(best) / math.log2(rank + 1)
        first = line[:5]
        naive.append(
            (sum(first) / len(first), total / ideal if ideal else None, random_order / ideal if ideal else None)
        )
    found = judged.measure(searcher, given)
    assert len(found.asked) == len(texts) >= 20 and any(row[1] is None for row in naive)
    ndcgs = [row[1] for row in naive if row[1] is not None]
    assert found.figures["p5"] == pytest.approx(np.mean([row[0] for row in naive]))
    assert found.figures["ndcg10"] == pytest.approx(np.mean(ndcgs))
    assert found.figures["chance_ndcg10"] == pytest.approx(np.mean([row[2] for row in naive if row[2] is not None]))
    redrawn = np.random.default_rng(1).choice(ndcgs, (20_000, len(ndcgs))).mean(1)
    limits = (found.figures["ndcg10_low"], found.figures["ndcg10_high"])
    assert limits == pytest.approx(np.quantile(redrawn, [0.025, 0.975]), abs=0.01)


def test_a_random_order_is_worth_what_chance_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    gains = rng.random(17)
    best = sorted(gains, reverse=True)
    drawn = [judged.ndcg(rng.permutation(gains).tolist(), best) or 0.0 for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(judged.ndcg([float(gains.mean())] * 17, best), abs=0.005)


def test_parts_of_a_judged_stretch_count_once_and_longer_ones_not(tmp_path: Path) -> None:
    """Another index cuts the video of ten seconds in five parts."""
    parts = [stretch(0, start, start + 2.0) for start in (4.0, 0.0, 8.0, 2.0, 6.0)]
    searcher = ranked(tmp_path, [stretch(1), *parts, stretch(2, 0.0, 60.0), stretch(3)])
    given = [thumb(DOWN, stretch(1)), thumb(UP, stretch(0)), thumb(UP, stretch(2)), thumb(UP, stretch(3))]
    (one,) = judged.measure(searcher, given).asked
    found = 1 / math.log2(3) + 1 / math.log2(4)  # after the wrong one; the third lies in a stretch that is far longer
    assert one.ndcg10 == pytest.approx(found / (1 + 1 / math.log2(3) + 1 / math.log2(4)))
    assert one.p5 == pytest.approx(2 / 4)


def test_what_can_not_be_asked_is_left_out_and_told(tmp_path: Path) -> None:
    searcher = ranked(tmp_path, [stretch(number) for number in range(5)])
    queries = [
        Query(clip="0" * 64),
        Query(like=stretch(7)),
        Query(ASKED, labels=("none",)),
        Query(like=stretch(1)),
        Query(ASKED, by="words"),
    ]
    given = [thumb(UP, stretch(2), query=query) for query in queries]
    given += [thumb(UP, stretch(9), query="gone"), thumb(UP, stretch(9), query=queries[3])]
    found = judged.measure(searcher, given)
    assert [one.query for one in found.asked] == sorted(queries[3:], key=lambda query: query.key)
    assert (found.figures["left_out"], found.figures["gone"], found.figures["queries"]) == (4, 2, 2)
    told = "\n".join(found.says)
    for why in (
        "is not kept",
        "no segment of the index shows its example",
        "no label 'none'",
        "no video of its judged",
    ):
        assert why in told
    values = {one.query.key: one.p5 for one in found.asked}
    assert values == {queries[3].key: 1.0, queries[4].key: 0.0}  # by words nothing is found


def test_a_model_that_can_not_tell_is_worth_nothing(tmp_path: Path) -> None:
    searcher = ranked(tmp_path, [stretch(number) for number in range(5)], spread=0.0)
    (one,) = judged.measure(searcher, [thumb(UP, stretch(2))]).asked
    assert (one.p5, one.ndcg10, one.raw_p5, one.covered) == (0.0, 0.0, 0.0, 0.0)


def test_agreement_is_that_of_pairs_of_people(tmp_path: Path) -> None:
    searcher = ranked(tmp_path, [stretch(number) for number in range(8)])
    votes = {0: (UP, UP), 1: (UP, DOWN), 2: (DOWN, DOWN), 3: (UP, UP, DOWN), 4: (UP,)}
    given = [thumb(vote, stretch(n), f"p{who}") for n, line in votes.items() for who, vote in enumerate(line)]
    found = judged.measure(searcher, given).figures["agreement"]
    ups = 2 + 1 + 0 + 4  # votes in pairs: each of the three people of v3 is in two
    chance = (ups / 12) ** 2 + (1 - ups / 12) ** 2
    assert found["pairs"] == 6 and found["share"] == pytest.approx(3 / 6)
    assert found["chance"] == pytest.approx(chance)
    assert found["kappa"] == pytest.approx((0.5 - chance) / (1 - chance))


def stage(workspace: Path, chosen: RetrieveParams, name: str = "out") -> dict[str, Any]:
    return retrieve.run(
        chosen,
        segments=workspace / "segments",
        catalogue=workspace / "catalogue",
        bundle=workspace / "model",
        index=workspace / name / "index",
        judgements=workspace / "judgements.db",
        metrics=workspace / name / "retrieve.json",
        plots=workspace / name / "plots",
        work_root=workspace / "work" / name,
        reporter=ConsoleReporter(),
    ).metrics


def test_the_stage_measures_by_judgements_and_embeds_nothing_again(
    workspace: Path, chosen: RetrieveParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "CHECKED", 2)
    chosen = chosen.model_copy(update={"queries": (), "top": 1})
    before = stage(workspace, chosen)
    assert "judged" not in before
    searcher = Searcher(workspace / "out" / "index", workspace / "model")
    store, query = Store(workspace / "judgements.db"), Query(" =the red circle", by="both")
    (moments,) = searcher.search([query.words], by="both", top=4)
    for number, one in enumerate(moments):
        where = Stretch(one.collection, one.uri, one.start, one.end)
        store.add(replace(thumb(UP if number == 0 else DOWN, where), query=query, segment_id=one.segment_id))
    embedded: list[int] = []
    extract = features.extract

    def counting(*given: Any, **more: Any) -> Any:
        embedded.extend(given[5])
        return extract(*given, **more)

    monkeypatch.setattr(features, "extract", counting)
    after = stage(workspace, chosen)
    assert len(embedded) == 2  # those that are checked
    people = after.pop("judged")
    assert after == before
    assert (people["queries"], people["judgements"], people["p5"], people["ndcg10"]) == (1, 4, 0.25, 1.0)
    assert json.loads((workspace / "out" / "retrieve.json").read_text())["judged"] == people
    with (workspace / "out" / "plots" / "outcomes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["direction"].startswith("judged/")]
    assert [(row["direction"], float(row["value"]), row["rank"]) for row in rows] == [
        ("judged/p5", 0.25, ""),
        ("judged/ndcg10", 1.0, ""),
    ]
    assert {row["recording"] for row in rows} == {f"asked {query.need}"}
    with (workspace / "out" / "plots" / "judged.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["query"], row["right"], row["judged"]) == ("'=the red circle", "1", "4")  # no formula
