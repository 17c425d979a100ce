"""Who may ask the page for what: names, origins, passwords, sizes, and what every answer tells the browser."""

from __future__ import annotations

import multiprocessing.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from scriptsight.errors import InputError
from scriptsight.page import access, app, serving
from scriptsight.page.access import Access
from scriptsight.page.shelf import Shelf
from tests import small
from tests.conftest import MakeVideo

ORIGIN = "http://127.0.0.1:8000"
WORD = "correct horse"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.searchable(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def client(workspace: Path) -> Iterator[TestClient]:
    with TestClient(app.build(Shelf(workspace), Access()), base_url=ORIGIN) as found:
        yield found


@pytest.fixture
def locked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(access, "SLOW", 0.0)
    made = app.build(Shelf(workspace), Access("0.0.0.0", 8000, WORD))  # noqa: S104 - nothing listens
    with TestClient(made, base_url=ORIGIN, follow_redirects=False) as found:
        found.headers["Origin"] = ORIGIN
        yield found


def test_every_answer_forbids_what_the_page_does_not_need(client: TestClient) -> None:
    for address in ("/", "/api/state", "/nowhere", "/api/search", "/static/style.css"):
        headers = client.get(address).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1", "localhost@evil", "a:b:c"]
)
def test_a_name_that_is_not_ours_gets_nothing(client: TestClient, host: str) -> None:
    assert client.get("/api/state", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST", "127.0.0.2:9"])
def test_the_names_of_this_machine_are_ours(client: TestClient, host: str) -> None:
    assert client.get("/api/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "file://127.0.0.1:8000"},
    ],
)
def test_other_sites_post_nothing(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/judge", json={}, headers=headers).status_code == 403


def test_other_kinds_and_ways_are_refused(client: TestClient) -> None:
    own = {"Origin": ORIGIN}
    assert client.post("/api/judge", content="{}", headers={**own, "Content-Type": "text/plain"}).status_code == 415
    assert client.post("/api/clip", json={}, headers=own).status_code == 415
    assert client.put("/api/judge", json={}, headers=own).status_code == 405
    assert client.post("/api/state", json={}, headers=own).status_code == 405
    other = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/state", headers=other).status_code == 403
    assert client.get("/?q=red", headers={**other, "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_large_bodies_are_not_read(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"Origin": ORIGIN, "Content-Type": "application/json"}
    assert client.post("/api/judge", content=b" " * (access.SMALL + 1), headers=own).status_code == 413
    monkeypatch.setattr(access, "CLIP", 1000)
    sent = client.post("/api/clip", files={"clip": b" " * (access.SMALL + 2000)}, headers={"Origin": ORIGIN})
    assert sent.status_code == 413


def test_a_clip_is_searched_by_and_its_file_is_gone(
    client: TestClient, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "film.mp4")
    (tmp_path / "temporary").mkdir()
    multiprocessing.util.get_temp_dir()  # kept from now on: a path in the other would be too long for a socket
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    client.headers["Origin"] = ORIGIN
    sent = client.post("/api/clip", files={"clip": ("../../<b>\u202efilm.mp4", video.read_bytes())})
    clip = sent.json()
    assert (clip["name"], clip["seconds"]) == ("<b>film.mp4", 4.0)
    assert not list((tmp_path / "temporary").glob("scriptsight-clip-*"))
    found = client.get("/api/search", params={"clip": clip["clip"], "top": 1}).json()
    assert len(found["moments"]) == 1
    for broken in (b"", b"no video", video.read_bytes()[:3000]):
        refused = client.post("/api/clip", files={"clip": ("x.mp4", broken)})
        assert refused.status_code == 400
        assert "can't be searched for" in refused.json()["error"]
        assert "/" not in refused.json()["error"]
    assert client.post("/api/clip", files={"other": b"x"}).status_code == 400
    assert client.post("/api/clip", content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400


def test_without_the_password_there_is_nothing_but_its_page(locked: TestClient) -> None:
    assert locked.get("/api/state").status_code == 401
    assert locked.get("/video/0123456789abcdef").status_code == 401
    sent = locked.get("/?q=red circle")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=%2F%3Fq%3Dred%2520circle")
    assert locked.get("/login").status_code == 200
    for cookie in ("", ".", "9999999999.x.y", "9999999999.aa." + "0" * 64, "é"):
        assert locked.get("/api/state", headers={b"Cookie": f"{access.COOKIE}={cookie}".encode()}).status_code == 401


def test_the_password_lets_in_and_logging_out_shuts(locked: TestClient) -> None:
    sent = locked.post("/login", data={"password": WORD, "next": "/?q=red"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/?q=red")
    cookie = sent.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert locked.get("/api/state").status_code == 200
    assert locked.post("/logout").headers["location"] == "/login"
    assert locked.get("/api/state").status_code == 401


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/\n/evil", ""])
def test_a_login_leads_nowhere_else(locked: TestClient, elsewhere: str) -> None:
    assert locked.post("/login", data={"password": WORD, "next": elsewhere}).headers["location"] == "/"


def test_wrong_passwords_are_slowed_down_and_counted(locked: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(access.TRIES):
        assert locked.post("/login", data={"password": "guess"}).status_code == 403
    waiting = locked.post("/login", data={"password": WORD})
    assert waiting.status_code == 429
    assert int(waiting.headers["retry-after"]) > 20
    assert "guess" not in caplog.text


def test_a_login_ends_and_is_good_for_one_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Access(password=WORD), Access(password=WORD)
    cookie = one.cookie()
    assert one.knows(cookie)
    assert not other.knows(cookie)
    assert not one.knows(cookie[:-1])
    monkeypatch.setattr(access, "STAYS", -1.0)
    assert not one.knows(one.cookie())
    assert WORD not in repr(one).replace(f"password='{WORD}'", "")


def test_others_can_reach_it_only_with_a_password() -> None:
    with pytest.raises(InputError, match="SCRIPTSIGHT_PAGE_PASSWORD"):
        Access("0.0.0.0")  # noqa: S104 - nothing listens
    with pytest.raises(InputError, match="too short"):
        Access("0.0.0.0", password="short")  # noqa: S104, S106
    for host in ("127.0.0.1", "localhost", "::1"):
        assert Access(host).serves("localhost")


def test_errors_name_no_folders() -> None:
    assert (
        app._without_folders("There is no index in /home/ada/films/index: run.") == "There is no index in index: run."
    )
    assert app._without_folders("https://host/a/b.mp4 and 1/2") == "https://host/a/b.mp4 and 1/2"


def test_the_command_serves_says_what_and_ends_quietly(workspace: Path) -> None:
    command = [sys.executable, "-m", "scriptsight", "page", str(workspace), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own words
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as page:
        try:
            assert page.stdout is not None
            size, place = page.stdout.readline(), page.stdout.readline()
            assert size.startswith("default: 2 moments of 2 videos, by the model ")
            (address,) = re.findall(r"http://127\.0\.0\.1:\d+", place)
            found = httpx.get(f"{address}/api/search", params={"q": "red", "by": "words"}, timeout=60)
            assert [one["id"] for one in found.json()["moments"]] == ["small/red/0"]
            page.send_signal(signal.SIGINT)
            rest, status = page.stdout.read(), page.wait(60)
        finally:
            page.kill()
    assert (rest, status) == ("", 0)


def test_a_port_that_is_taken_comes_with_one_that_is_free(workspace: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"Port {port} is taken by another program: try --port \d+"):
            serving.serve(workspace, [], "127.0.0.1", port, False)


@pytest.mark.parametrize("models", [["other"], ["=x"], ["a b=x"], ["default=."], ["other=/nowhere"]])
def test_models_are_named_or_refused(workspace: Path, models: list[str]) -> None:
    with pytest.raises(InputError, match="--model"):
        serving.serve(workspace, models, "127.0.0.1", 0, False)
