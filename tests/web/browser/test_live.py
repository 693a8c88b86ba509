"""Pages change by themselves, without losing what a person opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route

import ptsflow
from tests.web.browser.conftest import Tab, tab_of
from tests.web.flows import Import
from tests.web.serving import Server, end, served, start_held, uid_of

#: A loaded machine takes longer than the two seconds that a person is promised.
SECONDS = 30


@pytest.fixture
def held(tmp_path: Path, url: str) -> Iterator[Path]:
    """Run a workflow that does what it finds in a folder, and return the folder."""
    folder = tmp_path / "held"
    process = start_held(url, "held", folder)
    yield folder
    end(process)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


@pytest.fixture
def own_server(url: str, tmp_path: Path) -> Iterator[Server]:
    """Return a server of this test's own."""
    with served(url, tmp_path) as serving:
        yield serving


def seconds_until(tab: Tab, text: str) -> float:
    """Return how long it takes until a text is seen on the page."""
    began = time.monotonic()
    seen = tab.page.get_by_text(text).locator("visible=true")
    seen.first.wait_for(timeout=SECONDS * 1_000)
    return time.monotonic() - began


def test_a_new_container_is_seen_at_once(
    browser: Browser, own_server: Server, url: str
) -> None:
    ptsflow.run(Import(hour="01"), store=url)
    with tab_of(browser, own_server) as tab:
        seconds_until(tab, "import:01")
        ptsflow.run(Import(hour="02"), store=url)
        assert seconds_until(tab, "import:02") < SECONDS


def test_a_page_goes_on_when_its_server_was_killed_and_started_again(
    browser: Browser, own_server: Server, held: Path, url: str
) -> None:
    with tab_of(browser, own_server) as tab:
        tab.open(f"/c/{uid_of(url, 'held')}")
        (held / "say1").touch()
        seconds_until(tab, "said 1")

        own_server.kill()
        (held / "say2").touch()
        time.sleep(1)
        own_server.start_again()

        # It tries again after longer and longer pauses.
        tab.page.get_by_text("said 2").first.wait_for(timeout=60_000)
        # The browser says of its own that it found nobody.
        tab.complaints = [
            said
            for said in tab.complaints
            if "ERR_" not in said and "htmx:sse:error" not in said
        ]


def test_progress_and_lines_are_seen_and_what_was_opened_stays_open(
    browser: Browser, own_server: Server, held: Path, url: str
) -> None:
    address = f"/c/{uid_of(url, 'held')}"
    with tab_of(browser, own_server) as tab, tab_of(browser, own_server) as lines:
        tab.open(address)
        lines.open(f"{address}?tab=logs")
        opened = tab.page.locator("details").first
        opened.locator("summary").click()
        tab.page.get_by_role("link", name="Graph").focus()
        for number in range(1, 4):
            (held / f"say{number}").touch()
            assert seconds_until(tab, f"said {number}") < SECONDS
            assert seconds_until(lines, f"line {number}") < SECONDS

        assert opened.evaluate("it => it.open")
        assert tab.page.evaluate("document.activeElement.textContent") == "Graph"
        assert tab.page.get_by_text(str(held)).locator("visible=true").count() > 0


def test_a_script_that_comes_late_does_not_keep_a_page_from_changing(
    browser: Browser, own_server: Server, url: str
) -> None:
    def later(route: Route) -> None:
        time.sleep(0.5)
        route.continue_()

    ptsflow.run(Import(hour="00"), store=url)
    for number, script in enumerate(("htmx.min.js", "hx-sse.min.js", "table.js"), 1):
        with tab_of(browser, own_server) as tab:
            tab.page.route(f"**/{script}", later)
            tab.open()
            ptsflow.run(Import(hour=f"0{number}"), store=url)
            seconds_until(tab, f"import:0{number}")


def test_a_store_that_went_away_is_told(
    browser: Browser, own_server: Server, url: str
) -> None:
    ptsflow.run(Import(hour="01"), store=url)
    with tab_of(browser, own_server) as tab:
        seconds_until(tab, "import:01")
        file = Path(url.removeprefix("sqlite:///"))
        file.write_bytes(b"no database" * 1_000)

        tab.page.locator("#problem").locator("visible=true").first.wait_for()
        tab.page.wait_for_function(
            "document.querySelector('#problem').textContent.trim()"
        )
        assert tab.page.get_by_text("import:01").locator("visible=true").count() > 0
