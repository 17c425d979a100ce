"""People's thumbs decide between two models: from the page's judgements to `scriptsight better`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.experiments import better, outcomes
from flows.names import numbers, recorded
from scriptsight import retrieve
from scriptsight.cli import main
from scriptsight.errors import InputError
from scriptsight.judgements import DOWN, FILE, UP, Judgement, Query, Store, Stretch
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import SilentReporter
from scriptsight.retrieve.search import Searcher
from tests import small
from tests.flows.outcomes import write_retrieve

QUERIES = [
    f"the {colour} {what} {how}"
    for colour in ("red", "green", "blue")
    for what in ("circle", "square")
    for how in ("moves", "grows", "shrinks left")
]


def measured(folder: Path, model: str) -> dict[str, Any]:
    """The stage on the segments in `folder`, with one of its models."""
    chosen = RetrieveParams(
        collection="c",
        split="test",
        protocol="segments",
        dual_softmax=None,
        index_splits=("test",),
        more_collections=(),
        search="auto",
        map_points=0,
        batch=16,
        queries=(),
        top=1,
    )
    return retrieve.run(
        chosen,
        segments=folder / "segments",
        catalogue=folder / "catalogue",
        bundle=folder / model / "bundle",
        index=folder / model / "index",
        judgements=folder / "judgements.db",
        metrics=folder / model / "metrics.json",
        plots=folder / model / "plots" / "retrieve",
        work_root=folder / model / "work",
        reporter=SilentReporter(),
    ).metrics


def judged_figures(folder: Path, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / model / "metrics.json").read_text(encoding="utf-8"))["judged"]
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty videos, an old and a new model, and the thumbs of people who find the first moments of the new one right
    and others that the old one showed them wrong."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = [
        small.segment(f"v{n}", colour=rng.integers(0, 255, 3).tolist(), texts=[f"video {n}"], seed=n)
        for n in range(40)
    ]
    small.write_segments(folder / "segments", "c", "test", rows)
    for seed, model in enumerate(("old", "new")):
        small.tiny_bundle(folder / model / "bundle", seed=seed)
        measured(folder, model)
    store = Store(folder / "judgements.db")
    searchers = {model: Searcher(folder / model / "index", folder / model / "bundle") for model in ("old", "new")}
    for text in QUERIES:
        query = Query(text)
        liked: set[str] = set()
        for model, verdict in (("new", UP), ("old", DOWN)):
            (moments,) = searchers[model].search([text], top=4)
            for one in moments:
                if one.uri not in liked:
                    where = Stretch(one.collection, one.uri, one.start, one.end)
                    store.add(Judgement("ada", verdict, query, where, one.segment_id, model))
                    liked.add(one.uri)
    for model in ("old", "new"):
        measured(folder, model)
    return folder


def test_the_model_that_people_prefer_is_better(corpus: Path) -> None:
    figures = {model: judged_figures(corpus, model) for model in ("old", "new")}
    assert figures["new"]["ndcg10"] > figures["old"]["ndcg10"] + 0.1
    assert figures["new"]["ndcg10_low"] > figures["new"]["chance_ndcg10"]
    assert figures["new"]["queries"] == figures["old"]["queries"] >= 15
    first, second = (outcomes.read(corpus / model / "plots", model) for model in ("old", "new"))
    answer = better.compare(first, second, "judged/ndcg10")
    decisive = answer.compared["judged/ndcg10"]
    assert answer.better and decisive.shares and decisive.items == figures["new"]["queries"]
    assert decisive.second == pytest.approx(figures["new"]["ndcg10"])
    assert "Is the second better, by judged/ndcg10? Yes." in str(answer) and "flipping signs" in str(answer)
    assert not better.compare(second, first, "judged/ndcg10").better
    assert {"judged/p5", "t2v/r1", "v2t/r10"} <= set(answer.compared)
    low, high = second.interval("judged/ndcg10")
    assert (low, high) == pytest.approx((figures["new"]["ndcg10_low"], figures["new"]["ndcg10_high"]))


def test_figures_have_names_in_mlflow(corpus: Path) -> None:
    names = recorded("retrieve", numbers(corpus / "new" / "metrics.json"))
    written = judged_figures(corpus, "new")
    for name in ("p5", "ndcg10", "ndcg10_low", "chance_ndcg10", "raw_ndcg10", "queries", "judgements", "coverage"):
        assert names[f"retrieve/judged/{name}"] == written[name]


def test_models_that_were_measured_by_other_judgements_are_measured_again(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = outcomes.read(corpus / "old" / "plots", "old")
    store = Store(corpus / "judgements.db")
    one = store.read()[0]
    store.add(replace(one, who="bob", verdict=-one.verdict, at=f"{one.at[:20]}999999+00:00"))
    measured(corpus, "new")
    second = outcomes.read(corpus / "new" / "plots", "new")
    with pytest.raises(
        InputError, match=r"not measured on the same items by judged/ndcg10.*1 only of the first.*--measure"
    ):
        better.compare(first, second, "judged/ndcg10")
    for model in ("old", "new"):
        (corpus / model / "models").mkdir()
        (corpus / model / "bundle").rename(corpus / model / "models" / "pretrained")
        (corpus / model / "index").rename(corpus / model / "models" / "index")
    (corpus / "judgements").mkdir()
    store.path.rename(corpus / FILE)
    given = [part for model in ("old", "new") for part in ("--measure", f"{model}={corpus / model}")]
    assert main(["judgements", str(corpus), *given]) == 0
    assert "new:\n  18 queries that people judged" in capsys.readouterr().out
    both = [outcomes.read(corpus / "plots" / "judged" / model, model) for model in ("old", "new")]
    assert better.compare(both[0], both[1], "judged/ndcg10").better
    assert main(["judgements", str(corpus), "--measure", "../x=."]) == 1


def test_tables_of_older_versions_are_read_and_values_out_of_range_are_damage(tmp_path: Path) -> None:
    write_retrieve(tmp_path / "retrieve", t2v=[1, 2], v2t=[1, 1])
    assert "t2v/r1" in outcomes.read(tmp_path, "old").figures
    table = tmp_path / "retrieve" / "outcomes.csv"
    for value in ("1.5", "", "nan", "high"):
        with table.open("w", newline="") as file:
            rows = [["direction", "query", "rank", "recording", "value"], ["judged/p5", "a", "", "asked b", value]]
            csv.writer(file).writerows(rows)
        with pytest.raises(InputError, match=r"outcomes\.csv of it is damaged"):
            outcomes.read(tmp_path, "it")
