"""Who can't see, or can't use a mouse: axe-core looks for what would be in their way. And who has no password."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page import browsing

AXE = "axe-core@4.14.1"
PASSWORD = "open sesame"  # noqa: S105 - of this test
DIGEST = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"  # SHA-256 of its package


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here, which fetches axe-core")
    command = [npm, "pack", "--silent", AXE]
    packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)  # noqa: S603 - our own
    if packed.returncode:
        pytest.skip(f"npm's registry is not there: {packed.stderr.strip()[-200:]}")
    (package,) = folder.glob("*.tgz")
    assert hashlib.sha256(package.read_bytes()).hexdigest() == DIGEST
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, str]]:
    folder = tmp_path_factory.mktemp("browser")
    with browsing.chromium() as browser:
        browsing.workspace(folder / "films")
        browsing.learned(folder / "elsewhere", seed=3)
        with browsing.serving(folder / "films", models={"other": folder / "elsewhere"}) as address:
            httpx.get(f"{address}/api/state", timeout=120).raise_for_status()
            yield browser, address


def faults(page: Page, axe: str) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] + node['failureSummary'] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_no_page_has_a_serious_fault_of_accessibility(
    place: tuple[Browser, str], axe: str, dark: bool, phone: bool
) -> None:
    browser, address = place
    with browsing.visit(browser, address, dark=dark, phone=phone) as visit:
        page = visit.page
        page.get_by_text("6 moments of 3 videos").wait_for()
        assert faults(page, axe) == []
        page.goto("/?q=red+circle&beside=other&label=moves&said=red")
        page.locator(".card:not(.blank)").first.wait_for()
        page.locator("summary", has_text="Split").click()
        page.locator(".card .thumb").first.click()
        page.locator("#told p").wait_for()
        assert faults(page, axe) == []
        page.locator("summary", has_text="Split").click()
        page.locator(".card a.title").first.click()
        page.locator("dialog.player .curve").wait_for()
        assert faults(page, axe) == []
        page.goto("/?q=giraffe&by=words")
        page.locator(".empty").wait_for()
        assert faults(page, axe) == []
        page.keyboard.press("?")
        page.get_by_role("heading", name="Keys").wait_for()
        assert faults(page, axe) == []
        for path in ("/judgements", "/report", "/map"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert faults(page, axe) == []
        visit.faults[:] = [fault for fault in visit.faults if "404" not in fault]  # there is no map of six moments


def test_who_has_the_password_comes_to_the_page_that_was_asked_for(
    place: tuple[Browser, str], tmp_path: Path, axe: str
) -> None:
    browser, _ = place
    browsing.learned(tmp_path)
    with (
        browsing.serving(tmp_path, password=PASSWORD) as address,
        browsing.visit(browser, address, path="/?q=circle&by=words") as visit,
    ):
        page = visit.page
        page.get_by_label("Password").fill("sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        assert faults(page, axe) == []
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator(".card:not(.blank)").first).to_be_visible()
        assert page.url == f"{address}/?q=circle&by=words"
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        visit.faults[:] = [fault for fault in visit.faults if "status of 40" not in fault]
