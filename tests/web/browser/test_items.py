"""A fan-out of many items is looked through to its last row, within a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.web.browser.conftest import tab_of
from tests.web.filling import fill_many
from tests.web.serving import Server, served, uid_of

COUNT = 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Return a server of a container of 100,000 items, and the container's uid."""
    folder = tmp_path_factory.mktemp("large")
    url = f"sqlite:///{folder}/pts.db"
    fill_many(url, COUNT, "ValueError: bad date")
    with served(url, folder) as serving:
        yield serving, uid_of(url, "wide")


def test_the_last_row_is_there_as_soon_as_it_is_scrolled_to(
    browser: Browser, large: tuple[Server, str]
) -> None:
    server, uid = large
    with tab_of(browser, server) as tab:
        tab.open(f"/c/{uid}?tab=items&step=load")
        rows = tab.page.locator("[data-items]")
        rows.locator("text=load[0]").first.wait_for()
        began = time.monotonic()
        tab.page.evaluate(
            """() => {
                for (const it of [document.documentElement,
                                  ...document.querySelectorAll('.items, .items *')])
                    it.scrollTop = it.scrollHeight
            }"""
        )
        last = tab.page.get_by_text(f"load[{COUNT - 1}]").locator("visible=true")
        last.first.wait_for(timeout=60_000)

        # One second is promised; a machine under load may take longer.
        assert time.monotonic() - began < 60
        assert tab.page.locator("tr").count() < 5_000


def test_without_javascript_the_rows_come_page_by_page(
    browser: Browser, large: tuple[Server, str]
) -> None:
    server, uid = large
    with tab_of(browser, server, java_script_enabled=False) as tab:
        tab.open(f"/c/{uid}?tab=items&step=load")
        for number in (100, 200):
            tab.page.get_by_role("link", name="Next").click()
            tab.page.get_by_text(f"load[{number}]").wait_for()
        tab.page.get_by_role("link", name="Previous").click()
        tab.page.get_by_text("load[100]").wait_for()


def test_items_are_filtered_by_the_server(
    browser: Browser, large: tuple[Server, str]
) -> None:
    server, uid = large
    with tab_of(browser, server) as tab:
        tab.open(f"/c/{uid}?tab=items")
        tab.page.get_by_label("Status").select_option("failed")
        tab.page.get_by_label("Name").fill("999")
        tab.page.get_by_role("button", name="Show").click()
        tab.page.get_by_text("load[99990]").locator("visible=true").first.wait_for()
        assert tab.page.get_by_text("load[98990]").count() == 0
