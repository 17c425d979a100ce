"""What the page sends of videos: ranges, strips, curves; and nothing that no index names."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from scriptsight import segments
from scriptsight.errors import InputError
from scriptsight.media import frames_at
from scriptsight.page import delivery
from scriptsight.page.curve import spans_of
from scriptsight.page.pictures import times_of
from scriptsight.page.pieces import Plan
from scriptsight.page.shelf import Missing, Shelf
from scriptsight.page.workshop import Refused, Workshop
from tests.numbered import SIDE, film, number_of
from tests.page.films_on_a_shelf import key, shelf_of

COUNT = 200  # pictures, 8 seconds
CLOSED = {"g": "25", "bf": "2"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    film(folder / "plain.mp4", range(COUNT), "libx264", CLOSED)
    film(folder / "old.mpg", range(COUNT), "mpeg2video", {"g": "10"})
    film(folder / "soon gone.mp4", range(COUNT), "libx264", CLOSED)
    (folder / "broken.mp4").write_bytes(b"no film at all" * 1000)
    shutil.copy(folder / "plain.mp4", folder / "unnamed.mp4")
    shelf_of(folder, {"plain.mp4": 8.0, "old.mpg": 8.0, "soon gone.mp4": 8.0, "broken.mp4": 8.0})
    (folder / "soon gone.mp4").unlink()
    return folder


@pytest.fixture(scope="module")
def client(workspace: Path) -> Iterator[TestClient]:
    app = Starlette(
        routes=delivery.routes(Shelf(workspace)),
        exception_handlers={Missing: _answer(404), InputError: _answer(400)},
    )
    with TestClient(app) as client:
        yield client


def _answer(status: int) -> Any:
    from starlette.responses import PlainTextResponse

    return lambda request, error: PlainTextResponse(str(error), status)


def player(client: TestClient, uri: str, more: str = "") -> dict[str, Any]:
    """The player's last word on a video."""
    deadline = time.monotonic() + 120
    while True:
        answer: dict[str, Any] = client.get(f"/api/player/{key(uri)}?at=1{more}").json()
        if answer["status"] != "preparing":
            return answer
        assert 0 <= answer["progress"] <= 1 and answer["message"]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_film_that_browsers_play_is_sent_as_it_is_in_ranges(client: TestClient, workspace: Path) -> None:
    answer = player(client, "plain.mp4")
    assert (answer["status"], answer["offset"], answer["from"], answer["to"]) == ("ready", 0.0, 0.0, 8.0)
    data = (workspace / "plain.mp4").read_bytes()
    whole = client.get(answer["src"])
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, "video/mp4")
    some = client.get(answer["src"], headers={"Range": "bytes=100-299"})
    assert (some.status_code, some.content) == (206, data[100:300])
    assert some.headers["content-range"] == f"bytes 100-299/{len(data)}"
    assert client.get(answer["src"], headers={"Range": "bytes=-5"}).content == data[-5:]
    assert client.get(answer["src"], headers={"Range": f"bytes={len(data)}-"}).status_code == 416
    other = client.get(answer["src"], headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, data)
    same = client.get(answer["src"], headers={"Range": "bytes=0-9", "If-Range": whole.headers["etag"]})
    assert same.status_code == 206
    head = client.head(answer["src"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))


def test_what_browsers_do_not_play_is_made_once_and_sent_in_ranges(client: TestClient, workspace: Path) -> None:
    answer = player(client, "old.mpg")
    assert answer["status"] == "ready"
    assert answer["to"] == pytest.approx(8.0, abs=0.1)
    assert client.get(answer["src"], headers={"Range": "bytes=4-7"}).content == b"ftyp"
    made = {file.name: file.stat().st_mtime_ns for file in (workspace / ".work/page/videos").glob("*.json")}
    assert player(client, "old.mpg") == answer
    again = {file.name: file.stat().st_mtime_ns for file in (workspace / ".work/page/videos").glob("*.json")}
    assert again == made
    assert client.get(f"/video/{key('old.mpg')}").status_code == 404  # only what browsers play is sent as it is


def test_a_browser_that_can_not_play_a_film_gets_an_encoded_one(client: TestClient) -> None:
    answer = player(client, "plain.mp4", "&failed=1")
    assert answer["src"].endswith("-all.mp4")


def test_a_film_that_is_gone_or_broken_is_impossible_in_words(client: TestClient) -> None:
    gone, broken = player(client, "soon gone.mp4"), player(client, "broken.mp4")
    assert gone["status"] == broken["status"] == "impossible"
    assert "no longer where it was" in gone["message"] and gone["remedy"]
    assert "can't be shown" in broken["message"] and broken["remedy"]


def test_a_film_that_changed_after_the_index_was_made_is_shown_with_a_word(
    client: TestClient, workspace: Path
) -> None:
    assert player(client, "plain.mp4")["message"] == ""
    later = (workspace / "models/index/config.json").stat().st_mtime + 10
    before = (workspace / "plain.mp4").stat()
    os.utime(workspace / "plain.mp4", (later, later))
    try:
        answer = player(client, "plain.mp4")
        assert answer["status"] == "ready" and "changed" in answer["message"]
    finally:
        os.utime(workspace / "plain.mp4", ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "address",
    [
        "/video/..%2Funnamed.mp4",
        f"/video/{key('unnamed.mp4')}",
        f"/api/player/{key('unnamed.mp4')}",
        f"/video/{key('plain.mp4')}/..%2F..%2F..%2Fplain.mp4",
        f"/video/{key('plain.mp4')}/..",
        f"/video/{key('plain.mp4')}/0000000000000000-all.mp4",
        f"/strip/{key('unnamed.mp4')}/0-8/0.jpg",
        f"/strip/{key('plain.mp4')}/0-8/8.jpg",
        f"/strip/{key('plain.mp4')}/8-0/0.jpg",
        f"/strip/{key('plain.mp4')}/0-nan/0.jpg",
        f"/api/player/{key('plain.mp4')}?at=inf",
        f"/api/curve/{key('unnamed.mp4')}?q=red",
    ],
)
def test_nothing_is_sent_that_no_index_names(address: str, client: TestClient) -> None:
    assert client.get(address).status_code in (400, 404)


def test_one_video_is_not_reached_by_the_name_of_another(client: TestClient) -> None:
    src = player(client, "old.mpg")["src"]
    assert client.get(src.replace(key("old.mpg"), key("plain.mp4"))).status_code == 404


def test_a_strip_shows_the_pictures_that_are_right_at_its_times(client: TestClient, workspace: Path) -> None:
    addresses = [f"/strip/{key('plain.mp4')}/1.000-7.400/{place}.jpg" for place in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(client.get, addresses))
    assert {answer.headers["content-type"] for answer in answers} == {"image/jpeg"}
    images = [Image.open(io.BytesIO(answer.content)) for answer in answers]
    assert {image.height for image in images} == {96}
    seen = [number_of(np.asarray(image.resize((80, SIDE), Image.Resampling.BILINEAR))) for image in images]
    wanted = frames_at(workspace / "plain.mp4", times_of((1.0, 7.4)), SIDE)
    assert seen == [number_of(frame.image) for frame in wanted]
    kept = list((workspace / ".work/page/strips").glob("*.strip"))
    again = client.get(addresses[3])
    assert again.content == answers[3].content
    assert "immutable" in again.headers["cache-control"]
    assert list((workspace / ".work/page/strips").glob("*.strip")) == kept


def test_stored_frames_stand_for_a_film_that_can_not_be_read(client: TestClient, workspace: Path) -> None:
    stored = segments.Segments(workspace / "data/segments", "films", "test")
    for uri in ("soon gone.mp4", "broken.mp4"):
        answer = client.get(f"/strip/{key(uri)}/0.000-8.000/5.jpg")
        (segment,) = (one for one in stored if one.uri == uri)
        assert answer.content == bytes(segment.frames[5])


def test_a_curve_covers_the_whole_film_and_is_kept(client: TestClient, workspace: Path) -> None:
    address = f"/api/curve/{key('plain.mp4')}?like=films/v0/0"
    curve = client.get(address).json()
    assert curve["start"][0] == 0.0
    assert curve["end"][-1] == 8.0
    assert curve["times"] == [2.0, 4.0, 6.0]
    assert all(curve["floor"] - 1 <= score <= curve["ceiling"] <= 1.0001 for score in curve["scores"])
    assert len(list((workspace / ".work/page/curves").glob("*.npy"))) == 1
    assert client.get(address).json() == curve


def test_without_stored_frames_the_curve_is_that_of_the_moments(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", range(50), "libx264", CLOSED)
    shelf = shelf_of(tmp_path, {"a.mp4": 2.0}, stored=False)
    curve = (
        TestClient(Starlette(routes=delivery.routes(shelf))).get(f"/api/curve/{key('a.mp4')}?like=films/v0/0").json()
    )
    assert (curve["start"], curve["end"]) == ([0.0], [2.0])
    assert curve["scores"] == pytest.approx([1.0], abs=1e-5)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (3.0, 7.0), (0.0, 48.0), (10.5, 19.2)])
def test_windows_cover_a_stretch_half_overlapping(start: float, end: float) -> None:
    spans = spans_of(start, end)
    assert spans[0, 0] == start and spans[-1, 1] == pytest.approx(end)
    assert (np.diff(spans[:, 0]) <= 2.0 + 1e-9).all()
    assert (spans[:, 1] - spans[:, 0] <= 4.0 + 1e-9).all()


def test_what_was_not_used_for_longest_goes_first(workspace: Path, tmp_path: Path) -> None:
    size = 1000
    workshop = Workshop(tmp_path, limit=3 * size)
    for place in range(3):
        (tmp_path / f"{place}.mp4").write_bytes(b"x" * size)
        os.utime(tmp_path / f"{place}.mp4", (place, place))
    copy = workshop.original(str(workspace / "broken.mp4"), "new").result(60)
    assert isinstance(copy, Path) and copy.read_bytes() == (workspace / "broken.mp4").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.original"]


def test_what_was_found_out_is_known_after_a_restart(workspace: Path, tmp_path: Path) -> None:
    plan = Workshop(tmp_path).look(str(workspace / "plain.mp4"), "a").result(120)
    assert isinstance(plan, Plan)
    (tmp_path / "b.json").write_text('{"reason": "no video stream", "detail": "none"}')
    again = Workshop(tmp_path)
    assert again.look("/nowhere", "a").result(0) == plan
    assert again.look("/nowhere", "b").result(0) == Refused("no video stream", "none")
