"""Searching, watching and judging, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from scriptsight.retrieve import layout
from tests.page import browsing


@dataclass(frozen=True)
class World:
    browser: Browser
    address: str
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One browser and one server: a workspace, and another model of the same videos."""
    folder = tmp_path_factory.mktemp("browser")
    with browsing.chromium() as browser:
        browsing.workspace(folder / "films")
        browsing.learned(folder / "elsewhere", seed=3)
        # The third moment, of blue, lies in the middle, and the sixth, of green, to its right.
        places = np.array([[-4, 4], [-3, -4], [0, 0], [-4, 1], [4, 4], [3, 0]], dtype=np.float32)
        ids = [f"shapes/{name}/{number}" for name in ("red", "blue", "green") for number in (0, 1)]
        layout.write(places, ids, folder / "films" / "plots" / "retrieve" / "map.parquet")
        with browsing.serving(folder / "films", models={"other": folder / "elsewhere"}) as address:
            httpx.get(f"{address}/api/state", timeout=120).raise_for_status()  # opened: libraries take their time
            yield World(browser, address, folder / "films")


def titles(page: Page) -> list[str]:
    return page.locator(".card a.title bdi").all_inner_texts()


def second(page: Page) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def paused(page: Page) -> bool:
    return bool(page.evaluate("document.querySelector('video').paused"))


def test_typed_words_find_moments_and_the_player_stops_at_the_moments_end(world: World) -> None:
    with browsing.visit(world.browser, world.address) as visit:
        page = visit.page
        page.get_by_text("6 moments of 3 videos").wait_for()
        page.get_by_label("Words", exact=True).check(force=True)
        page.keyboard.press("/")
        page.keyboard.type("red circle", delay=20)
        first = page.locator(".card").first
        expect(first.locator("a.title bdi")).to_have_text("red.mp4")
        assert first.locator("mark").all_inner_texts() == ["red", "circle"]
        expect(page).to_have_url(f"{world.address}/?q=red+circle&by=words")

        first.locator("a.title").click()
        player = page.locator("dialog.player")
        expect(player.get_by_role("heading", name="red.mp4")).to_be_visible()
        browsing.until(page, "document.querySelector('video').currentTime > 1.05")
        assert 1 <= second(page) < 4
        expect(player.get_by_role("button", name="Go on")).to_be_visible()
        assert paused(page) and second(page) == pytest.approx(4, abs=0.1)

        # The transcript runs along, and leads to where a line is said; so does the curve.
        expect(player.locator(".transcript [aria-current]")).to_contain_text("the red circle moves left")
        player.locator(".transcript .line", has_text="then the red square grows").click()
        browsing.until(page, "document.querySelector('video').currentTime >= 7")
        expect(player.locator(".transcript [aria-current]")).to_contain_text("then the red square grows")
        expect(player.get_by_role("img", name="Score over the video: highest at")).to_be_visible()
        player.locator(".plot").click(position={"x": 4, "y": 20})
        browsing.until(page, "document.querySelector('video').currentTime < 2")
        page.keyboard.press("Escape")
        expect(player).not_to_be_visible()
        expect(page).to_have_url(f"{world.address}/?q=red+circle&by=words")
        expect(first.locator("a.title")).to_be_focused()


def test_filters_narrow_the_list_and_back_takes_them_off_again(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=the+circle") as visit:
        page = visit.page
        expect(page.locator(".card")).to_have_count(6)
        page.locator("summary", has_text="Label").click()
        page.get_by_role("checkbox", name="shrinks").check()
        expect(page.locator(".card:not(.blank)")).to_have_count(2)
        assert set(titles(page)) == {"blue.mp4"}
        expect(page.get_by_role("button", name="Without Label: shrinks")).to_be_visible()
        page.get_by_label("Only moments in which these words are said").fill("triangle")
        page.keyboard.press("Enter")
        expect(page.locator(".empty")).to_contain_text("No moment with these filters")
        page.go_back()
        expect(page.locator(".card")).to_have_count(2)
        page.go_back()
        expect(page.locator(".card")).to_have_count(6)
        assert page.locator("#chips button").count() == 0


def test_more_like_a_moment_is_a_query_of_its_own(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=red+circle&by=words") as visit:
        page = visit.page
        page.locator(".card").first.get_by_role("button", name="More like this").click()
        expect(page.get_by_role("button", name="Without the example")).to_contain_text("red.mp4, 0:01.0")
        expect(page.locator(".card")).to_have_count(5)  # all but itself
        expect(page).to_have_url(f"{world.address}/?like=shapes%2Fred%2F0")
        assert page.get_by_label("Words", exact=True).is_disabled()
        page.get_by_role("button", name="Without the example").click()
        expect(page.locator(".card")).to_have_count(0)
        expect(page.locator("#welcome")).to_be_visible()


def test_a_clip_is_a_query(world: World) -> None:
    with browsing.visit(world.browser, world.address) as visit:
        page = visit.page
        page.locator("#clip-file").set_input_files(world.folder / "videos" / "green.mp4")
        expect(page.locator(".card:not(.blank)").first).to_be_visible()
        expect(page.get_by_role("button", name="Without the example")).to_contain_text("green.mp4 (0:12.0)")
        assert "clip=" in page.url


def test_a_shared_address_opens_the_same_moment_in_the_player(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=circle&label=moves&open=shapes%2Fred%2F1") as visit:
        page = visit.page
        player = page.locator("dialog.player")
        expect(player.get_by_role("heading", name="red.mp4")).to_be_visible()
        browsing.until(page, "document.querySelector('video').currentTime >= 7")
        page.keyboard.press("Escape")
        expect(player).not_to_be_visible()
        assert set(titles(page)) == {"red.mp4", "green.mp4"}
        page.go_back()
        expect(player).to_be_visible()


def test_everything_can_be_done_by_the_keyboard(world: World) -> None:
    with browsing.visit(world.browser, world.address) as visit:
        page = visit.page
        page.get_by_text("6 moments of 3 videos").wait_for()
        page.keyboard.press("/")
        page.keyboard.type("the circle")
        expect(page.locator(".card:not(.blank)")).to_have_count(6)
        page.keyboard.press("ArrowDown")
        links = page.locator(".card a.title")
        expect(links.nth(0)).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(links.nth(1)).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(links.nth(5)).to_be_focused()  # four cards a row: below the second lies the sixth
        page.keyboard.press("ArrowUp")
        expect(links.nth(1)).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("heading", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")

        links.nth(1).focus()
        page.keyboard.press("Enter")
        player = page.locator("dialog.player")
        expect(player).to_be_visible()
        browsing.until(page, "!document.querySelector('video').paused")
        page.keyboard.press("Space")
        assert paused(page)
        page.keyboard.press("j")
        third = links.nth(2).get_attribute("data-open")
        assert third is not None
        browsing.until(page, f"new URLSearchParams(location.search).get('open') === '{third}'")
        page.keyboard.press("Escape")
        expect(player).not_to_be_visible()
        expect(links.nth(2)).to_be_focused()


def test_a_preview_moves_while_the_pointer_is_on_a_card(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=red+circle&by=words") as visit:
        page = visit.page
        still = page.locator(".card img.still").first
        expect(still).to_have_js_property("complete", True)
        before = still.get_attribute("src")
        page.locator(".card").first.hover()
        expect(still).not_to_have_attribute("src", before or "")
        page.mouse.move(2, 2)
        expect(still).to_have_attribute("src", before or "")


def test_a_thumb_is_kept_counted_and_taken_back(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/judgements") as visit:
        page = visit.page
        page.get_by_label("Your name").fill("Ada")
        page.goto("/?q=red+circle&by=words")
        up = page.locator(".card").first.get_by_role("button", name="Fits the query")
        down = page.locator(".card").nth(1).get_by_role("button", name="Doesn't fit the query")
        up.click()
        expect(page.locator("#told")).to_contain_text("Kept: it fits. As Ada.")
        page.locator(".card a.title").nth(1).focus()
        page.keyboard.press("n")
        expect(down).to_have_attribute("aria-pressed", "true")
        page.reload()
        expect(up).to_have_attribute("aria-pressed", "true")
        page.goto("/judgements")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.filter(has_text="red.mp4").filter(has_text="0:01.0").first).to_contain_text("Ada")
        rows.get_by_role("link", name="red circle").last.click()
        expect(page.locator("dialog.player")).to_be_visible()
        page.keyboard.press("Escape")
        browsing.measured(world.folder)
        figures = json.loads((world.folder / "metrics" / "retrieve.json").read_text())["judged"]
        assert (figures["judgements"], figures["queries"], figures["people"]) == (2, 1, 1)
        up.click()
        expect(up).to_have_attribute("aria-pressed", "false")


def test_two_models_stand_side_by_side(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=red+circle&top=3") as visit:
        page = visit.page
        page.get_by_label("beside").select_option("other")
        columns = page.locator(".column")
        expect(columns).to_have_count(2)
        expect(columns.nth(0).get_by_role("heading", level=2)).to_have_text("Model default")
        expect(columns.nth(1).get_by_role("heading", level=2)).to_have_text("Model other")
        ids = [
            [link.get_attribute("data-open") for link in columns.nth(number).locator("a.title").all()]
            for number in (0, 1)
        ]
        assert all(ids)
        found_by_both = set(ids[0]) & set(ids[1])
        assert columns.nth(0).locator(".both").count() == len(found_by_both) > 0
        page.locator(".card a.title").first.click()
        expect(page.locator("dialog.player .key")).to_contain_text("default")
        assert page.locator("dialog.player path.line-1").count() > 0


def test_nothing_found_and_no_server_are_said_and_mended(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/?q=giraffe&by=words") as visit:
        page = visit.page
        expect(page.locator(".empty .lead")).to_be_visible()
        page.context.set_offline(True)
        page.locator("#q").fill("red")
        expect(page.get_by_role("alert")).to_contain_text("The server doesn't answer.")
        page.context.set_offline(False)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".card:not(.blank)").first).to_be_visible()
        visit.faults[:] = [fault for fault in visit.faults if "ERR_INTERNET_DISCONNECTED" not in fault]


def test_a_workspace_without_a_model_says_what_to_run_and_shows_moments_once_they_are_there(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "later").mkdir()
    with (
        browsing.serving(tmp_path / "later") as address,
        browsing.visit(world.browser, address, path="/?q=circle") as visit,
    ):
        page = visit.page
        expect(page.locator(".empty")).to_contain_text("There is no trained model here yet.")
        expect(page.locator(".empty code")).to_contain_text("scriptsight run")
        browsing.learned(tmp_path / "later")
        expect(page.locator(".card:not(.blank)").first).to_be_visible()


def test_the_map_is_wandered_in_and_a_moment_is_opened_from_it(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/map") as visit:
        page = visit.page
        page.get_by_text("6 moments: those that look alike lie close together.").wait_for()
        expect(page.locator("#legend .kind")).to_have_text(["moves4", "shrinks2"])
        page.locator("#map").focus()
        page.keyboard.press("ArrowRight")  # the first choice is the one nearest the middle
        card = page.locator("#card")
        expect(card).to_contain_text("blue.mp4")
        expect(card.locator(".words")).to_have_text("the blue square shrinks")
        page.keyboard.press("ArrowRight")
        expect(card).to_contain_text("green.mp4")
        page.keyboard.press("Enter")
        player = page.locator("dialog.player")
        expect(player.get_by_role("heading", name="green.mp4")).to_be_visible()
        page.keyboard.press("Escape")
        expect(player).not_to_be_visible()

        # The pointer finds what lies under it, closer up as well; a kind can be left out.
        page.get_by_role("button", name="Closer").click()
        place = page.locator("#map").bounding_box()
        assert place is not None
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        expect(card).to_contain_text("blue.mp4")
        page.locator("#legend .kind", has_text="shrinks").click()
        page.mouse.move(place["x"] + place["width"] / 2 + 1, place["y"] + place["height"] / 2)
        expect(card).not_to_be_visible()

        page.get_by_text("The same as a list").click()
        page.get_by_label("Find").fill("red")
        expect(page.locator("#list a")).to_have_text(["red.mp4", "red.mp4"])
        page.get_by_label("Coloured by").select_option("split")
        expect(page.locator("#legend .kind")).to_have_text(["test4", "val2"])
        assert page.url == f"{world.address}/map?color=split"


def test_the_report_shows_what_the_stages_drew(world: World) -> None:
    with browsing.visit(world.browser, world.address, path="/report") as visit:
        pictures = visit.page.locator("figure.report img")
        assert pictures.count() > 0
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("(image) => image.naturalWidth") > 0
