"""Pictures of the search page for README.md and docs/, made in a real browser.

    python -m docs.screenshots WORKSPACE "the red circle moves to the left"

A workspace whose stages have run; the pictures show its videos, so take one whose pictures may be published.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page

from scriptsight.files import whole_file
from tests.page import browsing

DOCS = Path(__file__).parent
LARGEST = 300_000  # bytes of a picture
# Whether each picture that the window shows is there.
SEEN = "[...document.images].every((one) => one.complete || one.getBoundingClientRect().top > innerHeight)"
COLOURS = (256, 192, 128, 64)


def main() -> None:
    """Write docs/page.png, docs/page-player.png and docs/page-map.png."""
    parser = argparse.ArgumentParser(description="Pictures of the search page for README.md and docs/.")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("query")
    options = parser.parse_args()
    with browsing.chromium() as browser, browsing.serving(options.workspace) as address:
        httpx.get(f"{address}/api/state", timeout=300).raise_for_status()
        with browsing.visit(browser, address) as visit:
            page = visit.page
            page.locator("#q").fill(options.query)
            page.locator(".card:not(.blank)").first.wait_for()
            browsing.until(page, SEEN)
            _write(page, "page.png")
            page.locator(".card a.title").first.click()
            page.locator("dialog.player .curve").wait_for()
            browsing.until(page, "document.querySelector('video').currentTime > 0")
            page.wait_for_timeout(1500)
            page.keyboard.press("Space")
            _write(page, "page-player.png")
        with browsing.visit(browser, address, path="/map") as visit:
            page = visit.page
            page.locator("#legend .kind").first.wait_for()
            page.locator("#map").focus()
            page.keyboard.press("ArrowRight")
            page.locator("#card .words").wait_for()
            browsing.until(page, SEEN)
            _write(page, "page-map.png")


def _write(page: Page, name: str) -> None:
    """The page as a PNG of as many colours as there is room for."""
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in COLOURS:
        packed = io.BytesIO()
        shown.quantize(colours).save(packed, "PNG", optimize=True)
        if len(packed.getvalue()) <= LARGEST:
            break
    with whole_file(DOCS / name) as partial:
        partial.write_bytes(packed.getvalue())


if __name__ == "__main__":
    main()
