"""Thumbs on the page: what is kept of them, who sees which, and what is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scriptsight.judgements import FILE, Query, Store, Stretch
from scriptsight.page import app, judging
from scriptsight.page.access import Access
from scriptsight.page.shelf import Shelf
from tests import small

ORIGIN = "http://127.0.0.1:8000"
RED, BLUE = "small/red/0", "small/blue/0"


@pytest.fixture(scope="module")
def searchable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.searchable(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(searchable: Path) -> Iterator[Path]:
    yield searchable
    (searchable / FILE).unlink(missing_ok=True)


@pytest.fixture
def client(workspace: Path) -> Iterator[TestClient]:
    with TestClient(app.build(Shelf(workspace), Access()), base_url=ORIGIN) as found:
        found.headers["Origin"] = ORIGIN
        yield found


def judge(client: TestClient, verdict: Any, moment: str = RED, **more: Any) -> Any:
    query = more.pop("query", {"q": "the red circle", "by": "words"})
    return client.post("/api/judge", json={"query": query, "moment": moment, "verdict": verdict, **more})


def test_a_thumb_is_kept_with_what_was_seen_and_can_be_taken_back(client: TestClient, workspace: Path) -> None:
    assert judge(client, 1, who=" Ada ").json() == {"judged": 1}
    (kept,) = Store(workspace / FILE).read()
    assert (kept.who, kept.verdict, kept.query) == ("Ada", 1, Query("the red circle", by="words"))
    assert kept.stretch == Stretch("c", "videos/red.mp4", 10.0, 13.0)
    assert (kept.segment_id, kept.model, kept.rank, len(kept.weights)) == (RED, "default", 1, 64)
    assert kept.score == pytest.approx(1 / 61)
    (shown,) = client.get("/api/judgements").json()
    assert shown["query"] == {"q": "the red circle", "by": "words"}
    assert (shown["moment"], shown["verdict"], shown["who"], shown["title"]) == (RED, 1, "Ada", "red.mp4")
    assert judge(client, 0, who="Ada").json() == {"judged": 0}
    assert client.get("/api/judgements").json() == []
    assert len(Store(workspace / FILE).read()) == 2  # nothing is deleted


def test_each_person_sees_their_own_thumbs_of_this_query(client: TestClient, workspace: Path) -> None:
    judge(client, 1, who="ada")
    judge(client, -1, who="bob")
    judge(client, -1, BLUE)
    query, shelf = Query("the  red circle", by="words"), Shelf(workspace)
    places = [Stretch("c", f"videos/{name}.mp4", 10.0, 13.0) for name in ("red", "blue")]
    assert judging.judged(shelf, query, "ada", places) == [1, 0]
    assert judging.judged(shelf, query, "bob", places) == [-1, 0]
    assert judging.judged(shelf, query, "", places) == [0, -1]  # who gave no name
    assert judging.judged(shelf, Query("another"), "ada", places) == [0, 0]


def test_a_query_by_example_is_kept_as_what_the_example_shows(client: TestClient, workspace: Path) -> None:
    query = {"like": RED, "collection": ["c"], "split": ["test"]}
    assert judge(client, -1, BLUE, query=query).status_code == 200
    (kept,) = Store(workspace / FILE).read()
    example = Stretch("c", "videos/red.mp4", 10.0, 13.0)
    assert kept.query == Query(like=example, collections=("c",), splits=("test",))
    assert client.get("/api/judgements").json()[0]["query"] == {"by": "picture", **query}


def test_a_moment_that_the_answer_lacks_is_judged_by_its_segment(client: TestClient, workspace: Path) -> None:
    assert judge(client, -1, BLUE, query={"q": "circle", "by": "words"}).status_code == 200
    (kept,) = Store(workspace / FILE).read()
    assert (kept.rank, kept.score, kept.stretch) == (None, None, Stretch("c", "videos/blue.mp4", 10.0, 13.0))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"verdict": 2}, 400),
        ({"verdict": True}, 400),
        ({"verdict": "1"}, 400),
        ({"moment": "small/none/0"}, 404),
        ({"moment": "../../../etc/passwd"}, 404),
        ({"moment": 7}, 400),
        ({"query": {}}, 400),
        ({"query": "the red circle"}, 400),
        ({"query": {"q": "a", "like": RED}}, 400),
        ({"query": {"q": {"a": "b"}}}, 400),
        ({"query": {"clip": "../../etc/passwd"}}, 404),
        ({"query": {"q": "a", "label": ["none"]}}, 400),
        ({"who": "a" * 100}, 400),
        ({"who": "a\x00b"}, 400),
        ({"model": "none"}, 404),
    ],
)
def test_what_is_no_judgement_is_refused_and_not_kept(
    client: TestClient, workspace: Path, given: dict[str, Any], status: int
) -> None:
    body = {"query": {"q": "the red circle", "by": "words"}, "moment": RED, "verdict": 1, **given}
    answer = client.post("/api/judge", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] and "Traceback" not in answer.text
    assert not (workspace / FILE).exists()


def test_bodies_that_are_no_json_or_too_large_are_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe"):
        assert client.post("/api/judge", content=body, headers=headers).status_code == 400
    assert client.post("/api/judge", content=b'"' + b"a" * 300_000 + b'"', headers=headers).status_code == 413


def test_the_table_has_no_formula_and_no_credentials(client: TestClient, workspace: Path) -> None:
    judge(client, 1, who="=cmd", query={"q": "@SUM(A1:A9)"})
    store = Store(workspace / FILE)
    (kept,) = store.read()
    secret = Stretch("c", "https://ada:pass@host/a.mp4?sig=SIGNATURE", 0.0, 1.0)
    store.add(type(kept)("bob", 1, Query(like=secret), secret))
    answer = client.get("/judgements.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert (rows[0]["who"], rows[0]["asked"]) == ("'=cmd", "'@SUM(A1:A9)")
    assert "pass" not in answer.text and "SIGNATURE" not in answer.text
    assert "pass" not in client.get("/api/judgements").text


def test_a_damaged_file_is_told_and_left_as_it_is(client: TestClient, workspace: Path) -> None:
    judge(client, 1)
    (workspace / FILE).write_bytes(b"spoilt" * 1000)
    for answer in (judge(client, 1), client.get("/api/judgements"), client.get("/judgements.csv")):
        assert answer.status_code == 400 and "is damaged" in answer.json()["error"]
    assert (workspace / FILE).read_bytes() == b"spoilt" * 1000
