"""Videos whose names and words would do harm if a page took them for more than text."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.page import browsing
from tests.page.browsing import Film

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
QUOTES = "\"'><b onmouseover=alert(3)>&lt;{{7*7}}${8*8}`"
TURNED = "\u202egnp.exe \u2066red\u2069 \u202d"  # letters run the other way from here on, and it is never closed
ARABIC = "\u0642\u0627\u0644 red \u05e9\u05dc\u05d5\u05dd"
LONG = "red" + "verylongword" * 500

FILMS = (
    Film('a" onerror="alert(4)', (214, 69, 65), (MARKUP, QUOTES), label="<u>label</u>"),
    Film("<img src=x onerror=alert(5)>", (52, 101, 186), (TURNED + " red", LONG), "val", label='"><script>'),
    Film(
        "\u202e4pm.live",
        (46, 139, 87),
        ("\u0642\u0627\u0644 red \u05e9\u05dc\u05d5\u05dd", "red\u0000\u0007"[:3]),
        label="x" * 300,
    ),
)


def test_hostile_names_and_words_are_shown_as_text_and_run_nothing(tmp_path: Path) -> None:
    folder = browsing.workspace(tmp_path / "<i>films & more", FILMS)
    with browsing.chromium() as browser, browsing.serving(folder) as address:
        httpx.get(f"{address}/api/state", timeout=120).raise_for_status()
        with browsing.visit(browser, address, path="/?q=red") as visit:
            page = visit.page
            expect(page.locator(".card:not(.blank)")).to_have_count(6)
            shown = " ".join(page.locator(".card").all_inner_texts())
            assert MARKUP in shown and QUOTES in shown
            assert page.locator("#results :is(script, b, u, i)").count() == 0
            assert page.locator("#results img[src='x']").count() == 0
            assert page.title() == "red · <i>films & more"
            # Whatever its letters do, nothing is wider than the page, and times after a name read from left to right.
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            times = page.locator(".card .time").all_inner_texts()
            assert {time.partition(" ")[0] for time in times} == {"0:01.0", "0:07.0"}

            page.locator("summary", has_text="Label").click()
            page.get_by_role("checkbox", name="<u>label</u>").check()
            expect(page.locator(".card:not(.blank)")).to_have_count(2)
            expect(page.locator("#chips .chip")).to_contain_text("<u>label</u>")

            for number in range(2):
                page.locator(".card a.title").nth(number).click()
                expect(page.locator("dialog.player .transcript .line").first).to_be_visible()
                assert MARKUP in page.locator(".transcript").inner_text()
                page.keyboard.press("Escape")
            page.locator(".card").first.get_by_role("button", name="More like this").click()
            expect(page.locator("#pill")).to_contain_text('a" onerror="alert(4)')
        for asked in (MARKUP, QUOTES, TURNED, LONG[:1500], "\x00", "%", 'AND OR NOT * ( " ^'):
            with browsing.visit(browser, address) as visit:
                page = visit.page
                page.goto(str(httpx.URL("/", params={"q": asked, "by": "both"})))
                browsing.until(page, "document.querySelector('#results').getAttribute('aria-busy') !== 'true'")
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                visit.faults[:] = [fault for fault in visit.faults if "status of 400" not in fault]


@pytest.mark.parametrize(
    "path", ["/?open=%3Cscript%3Ealert(1)%3C/script%3E", "/?like=../../etc/passwd", "/?clip=none"]
)
def test_an_address_that_names_nothing_says_so(tmp_path: Path, path: str) -> None:
    folder = browsing.learned(tmp_path)
    with browsing.chromium() as browser, browsing.serving(folder) as address:
        httpx.get(f"{address}/api/state", timeout=120).raise_for_status()
        with browsing.visit(browser, address, path=path) as visit:
            expect(visit.page.get_by_role("alert")).to_be_visible()
            visit.faults[:] = [fault for fault in visit.faults if "status of 40" not in fault]
