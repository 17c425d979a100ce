"""Looking for servers, with a real one on the loopback address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows import reachable


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the status that its path names: /404/health; 200 is a page for who asks for one."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Type", self.headers["Accept"] or "application/json")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as here:
        thread = threading.Thread(target=here.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{here.server_port}"
        here.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "up"), [(200, True), (401, True), (404, True), (500, False), (503, False)])
def test_any_answer_but_a_failure_counts(address: str, status: int, up: bool) -> None:
    assert reachable.answers(f"http://{address}/{status}") is up


def test_a_password_in_the_address_is_no_obstacle(address: str) -> None:
    assert reachable.answers(f"http://someone:p@ss@{address}/200/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://someone:pw@127.0.0.1:9", "http://[", "http://a:b"])
def test_a_dead_or_broken_address_does_not_answer(url: str) -> None:
    assert not reachable.answers(url)


@pytest.mark.parametrize(("status", "there"), [(200, True), (401, True), (404, False), (500, False)])
def test_a_page_is_there_or_not(address: str, status: int, there: bool) -> None:
    assert reachable.shows(f"http://someone:p@ss@{address}/{status}/runs/flow-run/1") is there


def test_a_server_without_pages_shows_none() -> None:
    assert not reachable.shows("http://127.0.0.1:9/runs/flow-run/1")
