"""The service `page` of docker/compose.yaml, by its command, on this machine: without the other services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import small
from tests.servers.native import Servers


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, httpx.Client]]:
    """The service, which is healthy, and who visits it without a login."""
    servers = Servers(tmp_path_factory.mktemp("page"))
    small.searchable(servers.work / "default")
    try:
        servers.start("page")
        servers.wait("page")
        with httpx.Client(base_url=f"http://127.0.0.1:{servers.ports['8000']}", timeout=60) as visitor:
            yield servers, visitor
    finally:
        servers.kill_all()


def test_nobody_searches_without_the_password(page: tuple[Servers, httpx.Client]) -> None:
    servers, visitor = page
    own = {"Origin": str(visitor.base_url)}
    asked = {"q": "the red circle"}
    for path in ("/api/search", "/api/state", "/video/0123456789abcdef", "/judgements.csv"):
        assert visitor.get(path, params=asked).status_code in (302, 303, 401), path
    guess = visitor.post("/login", data={"password": "guess"}, headers=own)
    assert guess.status_code in (401, 403)
    assert visitor.get("/api/search", params=asked).status_code in (302, 303, 401)
    secret = servers.secrets["PAGE_PASSWORD"]
    assert visitor.post("/login", data={"password": secret}, headers=own).status_code in (200, 302, 303)
    found = visitor.get("/api/search", params=asked).raise_for_status().json()["moments"]
    assert {Path(moment["uri"]).name for moment in found} == {"red.mp4", "blue.mp4"}
    elsewhere = visitor.get("/api/search", params=asked, headers={"Host": "elsewhere:8000"})
    assert elsewhere.status_code in (400, 403, 421)
    assert secret not in (servers.logs / "page.log").read_text()


def test_it_writes_into_the_volume_alone(page: tuple[Servers, httpx.Client]) -> None:
    """So that all else of its container may be read-only."""
    servers, _ = page
    home = servers.folder / "home" / "page"
    assert not [path for path in home.rglob("*") if path.is_file()]
    assert list((servers.work / ".cache" / "fastest").glob("*.json"))
