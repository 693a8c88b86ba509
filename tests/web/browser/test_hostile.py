"""Nothing that is stored runs in a browser, loads anything, or makes it complain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.web import hostile
from tests.web.browser.conftest import tab_of
from tests.web.serving import Server, served

TABS = ("timeline", "graph", "items", "errors", "logs", "results")


@pytest.fixture(scope="module")
def harmful(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, list[str]]]:
    """Return a server of a store full of hostile texts, and pages to look at."""
    folder = tmp_path_factory.mktemp("harmful")
    url = f"sqlite:///{folder}/pts.db"
    uids = hostile.fill(url)
    pages = ["/", "/errors"]
    for number, uid in enumerate(uids):
        pages.append(f"/c/{uid}?tab={TABS[number % len(TABS)]}")
    with served(url, folder) as serving:
        yield serving, pages


@pytest.mark.timeout(600)
def test_no_stored_text_runs_in_a_browser(
    browser: Browser, harmful: tuple[Server, list[str]]
) -> None:
    server, pages = harmful
    with tab_of(browser, server) as tab:
        for path in pages:
            tab.open(path)
            assert tab.page.evaluate("window.harmed") is None, path
            assert tab.complaints == [], path
            assert tab.elsewhere == [], path
            assert tab.page.url == server.base + path


@pytest.mark.timeout(600)
def test_no_stored_text_runs_when_it_comes_as_a_change(
    browser: Browser, harmful: tuple[Server, list[str]]
) -> None:
    server, pages = harmful
    live = [path for path in pages if path.startswith("/c/")][4::14]
    with tab_of(browser, server) as tab:
        for path in live:
            tab.open(path)
            # A tick of a page whose times move on changes each of its parts.
            tab.page.wait_for_timeout(1_200)
            assert tab.page.evaluate("window.harmed") is None, path
            assert tab.complaints == [], path
            assert tab.elsewhere == [], path
