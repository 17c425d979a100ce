"""The page's searches: what is found, what is said where nothing is, and what becomes of strange questions."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from scriptsight.models import bundle
from scriptsight.page import app, shelf
from scriptsight.page.access import Access
from scriptsight.page.shelf import Missing, Shelf, Videos
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import layout
from tests import small

ORIGIN = "http://127.0.0.1:8000"
SAID = ("the red circle moves left", "the blue square grows", "le carré bleu", "a green triangle")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("made"))


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may spoil."""
    monkeypatch.setattr(shelf, "LOOK", 0.0)
    return Path(shutil.copytree(made, tmp_path / "workspace"))


@pytest.fixture
def client(workspace: Path) -> Iterator[TestClient]:
    with TestClient(app.build(Shelf(workspace, {"other": workspace}), Access()), base_url=ORIGIN) as found:
        yield found


def write(folder: Path, said: tuple[str, ...] = SAID, seed: int = 0, alike: bool = False) -> Path:
    """A model and an index of four moments of two videos; the moments of `talk` are beside each other."""
    small.tiny_bundle(folder / "models" / "pretrained", seed=seed)
    vectors = np.eye(4, 8, dtype=np.float32)
    if alike:
        vectors[:] = vectors[0]
    rows = []
    for number, text in enumerate(said):
        video, place = ("talk", "clip")[number // 2], number % 2
        start = 10.0 * place
        rows.append(
            {
                "uri": f"/films/private/{video}.mp4",
                "collection": "talks" if video == "talk" else "clips",
                "split": "train" if place else "test",
                "segment_id": f"{'talks' if video == 'talk' else 'clips'}/{video}/{place}",
                "start": start,
                "end": start + 9.5,
                "text": text,
                "cues": [{"start": start, "end": start + 2, "text": text}],
                "label": "moves" if number == 0 else None,
                "language": "fr" if number == 2 else "en",
                "content": f"{number:032x}",
            }
        )
    indexes.write(folder / "models/index", vectors, rows, bundle.weights_digest(folder / "models/pretrained"))
    return folder


def ask(client: TestClient, address: str, status: int = 200) -> Any:
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert "private" not in answer.text or status == 200  # no folder in an error
    return answer.json()


def ids(found: dict[str, Any]) -> list[str]:
    return [one["id"] for one in found["moments"]]


def test_the_state_says_what_there_is_to_search(client: TestClient) -> None:
    state = ask(client, "/api/state")
    assert [model["name"] for model in state["models"]] == ["default", "other"]
    assert state["models"][0] == {
        **{"name": "default", "moments": 4, "videos": 2},
        **{"ready": True, "error": None, "remedy": None},
    }
    assert (state["collections"], state["labels"]) == (["clips", "talks"], ["moves"])
    assert (state["languages"], state["splits"], state["empty"]) == (["en", "fr"], ["test", "train"], None)
    assert set(state["examples"]) <= set(SAID)


def test_moments_side_by_side_are_one_with_the_words_of_both_and_the_hits_marked(client: TestClient) -> None:
    (one,) = ask(client, "/api/search?q=the+RED&by=words")["moments"]
    assert (one["id"], one["start"], one["end"], one["score_kind"]) == ("talks/talk/0", 0.0, 19.5, "rank")
    assert (one["title"], one["split"], one["label"]) == ("talk.mp4", "test", "moves")
    assert [word["text"] for word in one["words"]] == list(SAID[:2])
    assert [[part for part, hit in word["parts"] if hit] for word in one["words"]] == [["the", "red"], ["the"]]


def test_more_like_this_leaves_the_example_out_and_follows_its_vector(client: TestClient) -> None:
    found = ask(client, "/api/search?like=talks/talk/0&top=1")
    assert ids(found) == ["talks/talk/1"]
    assert found["more"] is True
    assert found["moments"][0]["score_kind"] == "cosine"


def test_filters_narrow_and_where_nothing_is_left_the_answer_says_which_to_drop(client: TestClient) -> None:
    assert ids(ask(client, "/api/search?q=red&collection=clips&split=test")) == ["clips/clip/0"]
    assert ids(ask(client, "/api/search?q=red&language=fr&label=")) == ["clips/clip/0"]
    assert ids(ask(client, "/api/search?said=CARRE")) == ["clips/clip/0"]
    none = ask(client, "/api/search?q=red&label=moves&collection=clips")
    assert (none["moments"], none["message"]) == ([], "No moment with these filters.")
    assert none["remedy"] == "Without the filter by label there are 2."
    strange = ask(client, "/api/search?q=red&label=<b>")
    assert (strange["message"], strange["remedy"]) == (
        "No moment has the label '<b>'.",
        "Take away the filter by label.",
    )
    silent = ask(client, "/api/search?q=giraffe&by=words")
    assert (silent["moments"], silent["message"]) == ([], "None of these words is said in a moment.")


def test_scores_that_are_all_alike_are_not_ranked(workspace: Path) -> None:
    shutil.rmtree(workspace / "models")
    write(workspace, alike=True)
    with TestClient(app.build(Shelf(workspace), Access()), base_url=ORIGIN) as client:
        found = ask(client, "/api/search?q=red")
        assert (found["tells"], found["moments"]) == (False, [])
        assert found["message"].startswith("All 4 moments score alike")
        assert ids(ask(client, "/api/search?q=red&by=words")) == ["talks/talk/0"]


@pytest.mark.parametrize(
    "address",
    [
        "/api/search",
        "/api/search?q=%20",
        "/api/search?q=red&like=talks/talk/0",
        "/api/search?like=talks/talk/0&by=words",
        "/api/search?q=red&by=magic",
        "/api/search?q=red&top=0",
        "/api/search?q=red&top=1e3",
        "/api/search?q=red&top=%D9%A3",
        "/api/search?q=red&top=100000000000000000000",
        f"/api/search?q={'x' * 3000}",
        "/api/search?q=red&said=%21%21",
        "/api/map?color=__class__",
    ],
)
def test_what_a_person_can_mend_is_said_in_words(client: TestClient, address: str) -> None:
    assert ask(client, address, 400)["error"]


@pytest.mark.parametrize(
    "words",
    ["'", '"', "* NEAR( OR NOT", "a; DROP TABLE said", "%00%ff%fe", "text:red", "\u202e\ufeff", "{{7*7}}", "%"],
)
@pytest.mark.parametrize("by", ["picture", "words", "both"])
def test_no_words_are_a_language_of_their_own(client: TestClient, words: str, by: str) -> None:
    assert client.get("/api/search", params={"q": words, "by": by, "said": words}).status_code in (200, 400)
    assert ids(ask(client, "/api/search?q=red&by=words")) == ["talks/talk/0"]


@pytest.mark.parametrize(
    "address",
    [
        "/api/moment/talks/talk/9",
        "/api/moment/..%2f..%2fetc/passwd",
        "/api/search?like=nothing",
        "/api/search?clip=..%2f..%2fetc",
        "/api/search?q=red&model=nobody",
        "/plots/..%2f..%2fmodels/index/config.json",
        "/plots/retrieve/secret.png",
        "/static/..%2fapp.py",
        "/video/..%2f..%2fetc%2fpasswd",
        "/video/0123456789abcdeF",
        "/%ff%00",
    ],
)
def test_what_is_not_there_is_not_found(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_one_moment_comes_with_all_that_is_said_in_its_video(client: TestClient) -> None:
    one = ask(client, "/api/moment/talks/talk/1?q=grows")
    assert (one["id"], one["start"], [cue["text"] for cue in one["transcript"]]) == (
        "talks/talk/1",
        10.0,
        list(SAID[:2]),
    )
    assert one["words"][0]["hit"] is True


def test_a_new_index_is_searched_without_a_restart_and_who_has_the_old_one_keeps_it(
    workspace: Path, client: TestClient
) -> None:
    own = Shelf(workspace)
    old, version = own.open(), ask(client, "/api/state")["version"]
    shutil.rmtree(workspace / "models")
    assert ask(client, "/api/search?q=red", 409)["code"] == "no-model"
    assert ask(client, "/api/state")["empty"]["code"] == "no-model"
    write(workspace, ("a yellow star", *SAID[1:]), seed=1)
    assert ids(ask(client, "/api/search?q=star&by=words")) == ["talks/talk/0"]
    assert ask(client, "/api/state")["version"] != version
    assert old.searcher.index.words.best("red", 5).tolist() == [0]
    assert old.moment(0)["text"] == SAID[0]
    assert own.open().moment(0)["text"] == "a yellow star"


def test_a_damaged_or_foreign_index_is_said_and_it_comes_back_by_itself(workspace: Path, client: TestClient) -> None:
    words = workspace / "models/index/words.db"
    good = words.read_bytes()
    words.write_bytes(good[:-100] + bytes(100))
    assert ask(client, "/api/search?q=red", 409)["code"] == "damaged"
    words.write_bytes(good)
    os.utime(words, ns=(1, 1))
    assert ids(ask(client, "/api/search?q=red&by=words")) == ["talks/talk/0"]
    small.tiny_bundle(workspace / "models/pretrained", seed=7)
    assert ask(client, "/api/search?q=red", 409)["code"] == "other-model"
    shutil.rmtree(workspace / "models/index")
    assert ask(client, "/api/search?q=red", 409)["code"] == "no-index"


def test_many_people_get_what_one_alone_would_get(client: TestClient) -> None:
    addresses = [f"/api/search?q={word}&by={by}" for word in ("red", "blue", "grows") for by in ("picture", "words")]
    alone = {address: ids(ask(client, address)) for address in addresses}
    fresh = [f"{address}&top={top}" for address in addresses for top in (20, 21, 22)]
    with ThreadPoolExecutor(12) as people:
        found = list(people.map(lambda address: ids(ask(client, address)), fresh))
    assert found == [alone[address.rpartition("&top")[0]] for address in fresh]


def test_the_map_shows_the_moments_that_the_index_still_has(workspace: Path, client: TestClient) -> None:
    assert "scriptsight run" in ask(client, "/api/map", 404)["remedy"]
    points = np.array([[0, 1], [2, 3], [4, 5]], dtype=np.float32)
    layout.write(points, ["talks/talk/1", "gone/gone/0", "clips/clip/0"], workspace / "plots/retrieve/map.parquet")
    found = ask(client, "/api/map?color=collection")
    assert found["points"] == [[0.0, 1.0, 0], [4.0, 5.0, 1]]
    assert [one["id"] for one in found["moments"]] == ["talks/talk/1", "clips/clip/0"]
    assert found["colors"] == ["clips", "talks"]


def test_the_report_has_pictures_of_a_fixed_list_alone(workspace: Path, client: TestClient) -> None:
    (workspace / "plots/retrieve").mkdir(parents=True)
    for name in ("moments.png", "secret.png"):
        (workspace / "plots/retrieve" / name).write_bytes(b"picture")
    page = client.get("/report").text
    assert "/plots/retrieve/moments.png" in page
    assert "secret" not in page
    assert client.get("/plots/retrieve/moments.png").content == b"picture"


def test_videos_are_grouped_whatever_the_order_of_the_rows(workspace: Path) -> None:
    moments = Shelf(workspace).open().searcher.index.moments.take([3, 1, 2, 0])
    videos = Videos(moments)
    assert len(videos) == 2
    talk = videos.of_row(1)
    assert (talk.video_id, talk.rows.tolist(), talk.start, talk.end) == ("talk", [3, 1], 0.0, 19.5)
    assert videos.of_key(talk.key).uri == talk.uri
    for key in ("", "0" * 16, talk.key.upper(), f" {talk.key[1:]}", "../../etc/passwd"):
        with pytest.raises(Missing):
            videos.of_key(key)


def test_a_search_by_words_of_a_large_index_goes_by_the_rarer_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Shelf(workspace).open().searcher.index.words
    assert words.best("the red", 5).tolist() == [0, 1]
    monkeypatch.setattr("scriptsight.retrieve.words.RANKED", 2)
    assert words.best("the RED nowhere", 5).tolist() == [0]
    assert sorted(words.best("the nowhere", 5).tolist()) == [0, 1]
    with pytest.raises(sqlite3.OperationalError):
        words._database.execute("DELETE FROM said")  # it is open for reading alone
