"""How the pages look: narrow, dark, by keyboard, without JavaScript, for screen readers.

With `PTSFLOW_PICTURES=folder` in the environment, a picture of each page is put there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.web.browser.conftest import Tab, tab_of
from tests.web.serving import Server, Shelf

Mood = Literal["light", "dark"]
MOODS: tuple[Mood, Mood] = ("light", "dark")
TABS = ("timeline", "graph", "items", "errors", "logs", "results")


@pytest.fixture
def pages(looked_at: Shelf) -> list[str]:
    """Return the address of a page of each kind."""
    of = looked_at.uids
    return [
        *("/", "/?status=failed", "/?part=nothing", "/errors", "/w/Import"),
        *(f"/c/{of['failed']}?tab={tab}" for tab in TABS),
        f"/c/{of['failed']}?task=load%5Bsongs%5D",
        f"/c/{of['wide']}?tab=graph",
        *(f"/c/{of['many']}?tab={tab}" for tab in TABS[:4]),
        *(f"/c/{of[is_]}" for is_ in ("done", "running", "orphaned", "client")),
    ]


def pictured(tab: Tab, address: str, width: int, own: Mood) -> None:
    """Take pictures of a page in both moods, its own last, if pictures are wanted."""
    folder = os.environ.get("PTSFLOW_PICTURES")
    if folder:
        name = re.sub(r"\W+", "-", address).strip("-") or "first"
        for mood in sorted(MOODS, key=own.__eq__):
            tab.page.emulate_media(color_scheme=mood)
            file = Path(folder, f"{name}-{width}-{mood}.png")
            tab.page.screenshot(path=file, full_page=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mood", "width"), [("light", 1280), ("dark", 360)])
def test_every_page_can_be_used_by_everybody(
    browser: Browser, server: Server, pages: list[str], mood: Mood, width: int
) -> None:
    found = {}
    viewport = {"width": width, "height": 800}
    with tab_of(browser, server, color_scheme=mood, viewport=viewport) as tab:
        for address in pages:
            tab.open(address)
            pictured(tab, address, width, mood)
            # The page itself is never scrolled sideways; what is too wide has a box.
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
            result = Axe().run(tab.page)
            if result.violations_count:
                found[address] = result.generate_report()

    assert not found, "\n".join(f"{where}\n{said}" for where, said in found.items())


@pytest.mark.parametrize("mood", MOODS)
def test_pages_are_as_dark_as_the_system(
    browser: Browser, server: Server, mood: str
) -> None:
    with tab_of(browser, server, color_scheme=mood) as tab:
        shades = tab.page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor.match(/[0-9.]+/g).slice(0, 3)"
        )

    assert (max(map(float, shades)) < 80) == (mood == "dark"), shades


def test_pages_are_read_without_javascript(
    browser: Browser, server: Server, looked_at: Shelf, pages: list[str]
) -> None:
    with tab_of(browser, server, java_script_enabled=False) as tab:
        # Those of one container; the others are made of the same parts.
        for address in pages[3:12]:
            tab.open(address)
            assert tab.page.locator("h1").is_visible(), address
        tab.open("/")
        tab.page.get_by_role("link", name=looked_at.names["failed"]).first.click()
        assert tab.page.url == f"{server.base}/c/{looked_at.uids['failed']}"
        assert tab.page.get_by_text("bad date").first.is_visible()


def focused(tab: Tab) -> Iterator[tuple[str, bool]]:
    """Yield the text of what has the focus, and whether that is seen, Tab by Tab."""
    for _ in range(300):
        tab.page.keyboard.press("Tab")
        found = tab.page.evaluate(
            """() => {
                const at = document.activeElement
                const style = getComputedStyle(at)
                const ring = style.outlineStyle !== 'none' && style.outlineWidth !== '0px'
                return at === document.body ? null : [at.textContent.trim(), ring]
            }"""
        )
        if found is None:
            return
        yield found[0], found[1]


def test_pages_are_used_by_keyboard_alone(tab: Tab, looked_at: Shelf) -> None:
    for text, is_seen in focused(tab):
        assert is_seen, text
        if text == looked_at.names["failed"]:
            break
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"**/c/{looked_at.uids['failed']}*")
    assert all(is_seen for _, is_seen in focused(tab))
