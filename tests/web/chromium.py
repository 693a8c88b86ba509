"""Chromium for tests.

Playwright keeps an event loop running in the thread of the test, where no other can be
run meanwhile: a browser must be closed before tests of other modules begin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.web.serving import chromium


@contextmanager
def launched() -> Iterator[Browser]:
    """Have a browser; without one, skip the test at home and fail it in CI."""
    path = chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("expected /usr/bin/chromium in CI, found none; install it")
        pytest.skip("no browser: /usr/bin/chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()
