"""A real browser, and pages in it that must not complain or call anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
)

from tests.web.chromium import launched
from tests.web.serving import Server, Shelf, served, shelf


class Tab:
    """A page of a browser that keeps what it complains of and whom it calls.

    Args:
        page: the page.
        server: whom it may call.
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", self._asked)

    def open(self, path: str = "/") -> None:
        """Show a page of the server."""
        self.page.goto(self.server.base + path, wait_until="load")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} {message.location}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.server.base}/"):
            self.elsewhere.append(request.url)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return Chromium; see `launched`."""
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Return a SQLite store with containers of every kind; only look at it."""
    folder = tmp_path_factory.mktemp("looked_at")
    with shelf(f"sqlite:///{folder}/pts.db", folder) as made:
        yield made


@pytest.fixture(scope="session")
def server(
    looked_at: Shelf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Return a server of that store."""
    with served(looked_at.url, tmp_path_factory.mktemp("server")) as serving:
        yield serving


@pytest.fixture
def tab(browser: Browser, server: Server) -> Iterator[Tab]:
    """Return a page of the browser on that server."""
    with tab_of(browser, server) as opened:
        yield opened


@contextmanager
def tab_of(browser: Browser, server: Server, **options: Any) -> Iterator[Tab]:
    """Open a browser's window on a server, with its token; see that all went well.

    Args:
        browser: the browser.
        server: the server.
        options: what the window is like, as `Browser.new_context` takes it.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(60_000)
    try:
        tab = Tab(context.new_page(), server)
        tab.page.goto(server.address, wait_until="load")
        yield tab
        assert tab.complaints == []
        assert tab.elsewhere == []
    finally:
        context.close()
