"""Looking closer: a part of the time, names beside a scrolled drawing, folded grids."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.web.browser.conftest import Tab, tab_of
from tests.web.serving import Server, Shelf

NARROW = {"width": 360, "height": 740}


def test_a_click_on_the_times_shows_a_part_of_the_time(
    tab: Tab, looked_at: Shelf
) -> None:
    tab.open(f"/c/{looked_at.uids['many']}")
    tab.page.locator("a:has(> .part-of-time)").nth(2).click()
    around = tab.page.get_by_role("navigation", name="Part of the time")
    around.wait_for()
    assert "since=" in tab.page.url
    around.get_by_role("link", name="All of the time").click()
    around.wait_for(state="detached")


def test_drawings_are_scrolled_by_keyboard_and_names_stay_beside_them(
    browser: Browser, server: Server, looked_at: Shelf
) -> None:
    with tab_of(browser, server, viewport=NARROW) as tab:
        for address, name in {
            f"/c/{looked_at.uids['failed']}": "Timeline",
            f"/c/{looked_at.uids['wide']}?tab=graph": "Graph",
        }.items():
            tab.open(address)
            box = tab.page.get_by_role("region", name=name)
            box.focus()
            tab.page.keyboard.press("ArrowRight")
            moved = (
                "name => document.querySelector(`[aria-label=${name}]`).scrollLeft > 0"
            )
            tab.page.wait_for_function(moved, arg=name)
        tab.open(f"/c/{looked_at.uids['failed']}")
        tab.page.get_by_role("region", name="Timeline").evaluate(
            "box => box.scrollLeft = 400"
        )
        names = tab.page.locator(".stay .name").first.bounding_box()
        bars = tab.page.locator("svg.timeline").bounding_box()
        assert names is not None
        assert bars is not None
        assert bars["x"] < -300
        assert 0 <= names["x"] < 40


def test_on_a_narrow_screen_the_newest_runs_of_a_grid_are_seen_first(
    browser: Browser, server: Server
) -> None:
    with tab_of(browser, server, viewport={"width": 140, "height": 740}) as tab:
        grid = tab.page.get_by_role("region", name="Grid of Import").locator("svg.grid")
        box = grid.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 140


def test_grids_beyond_the_first_are_folded_and_open_by_a_click(tab: Tab) -> None:
    folded = tab.page.locator("#more-grids")
    assert tab.page.locator("#more-grids .grid-of").first.is_hidden()
    folded.locator("summary").click()
    tab.page.locator("#more-grids .grid-of").first.wait_for()
