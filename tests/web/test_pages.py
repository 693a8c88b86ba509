"""Every page that links lead to, of containers of every kind, on both stores."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.testclient import TestClient

from ptsflow.web import tabs
from ptsflow.web.tabs import TABS
from tests.web.conftest import MakeClient
from tests.web.filling import fill_many
from tests.web.markup import Markup, crawl
from tests.web.serving import Shelf, uid_of


def shown(answer: Any) -> Markup:
    """Return a page that was shown."""
    assert answer.status_code == 200, answer.text
    return Markup(answer.text)


def test_every_link_leads_to_a_page(looking: TestClient) -> None:
    found = dict(crawl(looking.get, "/"))

    wrong = {
        address: answer.status_code
        for address, answer in found.items()
        if answer.status_code != 200
    }
    assert wrong == {}
    kinds = Counter(unquote(address).split("?")[0].split("/")[1] for address in found)
    assert kinds["c"] > 6


def test_every_page_is_sound(looking: TestClient) -> None:
    for address, answer in crawl(looking.get, "/"):
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        page = Markup(answer.text)
        assert page.dangers == [], address
        assert [name for name, count in page.ids.items() if count > 1] == [], address
        assert page.elements["h1"] == 1, address
        assert page.elements["title"] >= 1, address
        # Only how a container stands is read aloud when it changes.
        assert answer.text.count('aria-live="polite"') <= 1, address


@pytest.mark.parametrize(
    "is_", ["done", "failed", "many", "client", "orphaned", "running"]
)
def test_a_container_is_found_by_its_name(
    looking: TestClient, stored: Shelf, is_: str
) -> None:
    name = stored.names[is_]

    answer = looking.get(f"/c?name={quote(name, safe='')}")

    assert answer.url.path == f"/c/{stored.uids[is_]}"
    assert name in shown(answer).text


def test_an_attempt_that_was_killed_is_called_so(
    looking: TestClient, stored: Shelf
) -> None:
    uid = stored.uids["orphaned"]

    task, drawn = looking.get(f"/c/{uid}?task=work"), looking.get(f"/c/{uid}")

    assert '<span class="badge is-killed">killed</span>' in task.text
    assert 'class="is-killed"' in drawn.text
    assert "killed with its runner" in drawn.text
    row = looking.get("/").text.partition(f'id="listed-{uid}"')[2].partition("</tr>")[0]
    assert 'class="count is-pending" title="2 pending"' in row
    assert "is-running" not in row


def test_the_log_has_the_lines_of_items_that_are_done(
    looking: TestClient, stored: Shelf
) -> None:
    address = f"/c/{stored.uids['done']}?tab=logs"

    whole = shown(looking.get(address)).text
    one = shown(looking.get(f"{address}&part=load[artists]")).text

    assert "fetched the feed of" in whole
    assert "load[albums] albums: attempt 1" in whole
    assert "load[artists] (2) artists: attempt 2" in whole
    assert "artists: attempt 2" in one
    assert "albums" not in one.partition("Of load[artists]")[2]


def test_of_a_long_log_the_last_lines_are_shown(
    looking: TestClient, stored: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/c/{stored.uids['done']}?tab=logs"
    before = shown(looking.get(address)).text
    monkeypatch.setattr(tabs, "_LINES", before.count(": attempt ") + 1)
    whole = shown(looking.get(address)).text
    monkeypatch.setattr(tabs, "_LINES", 2)
    after = shown(looking.get(address)).text

    assert "Earlier lines are not shown." not in before
    assert whole == before
    assert "Earlier lines are not shown." in after
    assert "fetched the feed of" not in after
    assert after.count(": attempt ") == 2


def test_a_long_value_is_sent_whole_and_not_shown(
    looking: TestClient, stored: Shelf
) -> None:
    uid = stored.uids["wide"]

    page = looking.get(f"/c/{uid}?task=in_the_middle").text
    value = looking.get(f"/c/{uid}/value?task=in_the_middle&field=result")

    assert "x" * 100 not in page
    assert f"/c/{uid}/value?task=in_the_middle&amp;field=result" in page
    assert value.json() == "x" * 70_000
    assert value.headers["content-disposition"].startswith("attachment")


@pytest.mark.soak
def test_a_container_of_100_000_items_has_pages(page: MakeClient, url: str) -> None:
    fill_many(url, 100_000, "ValueError: bad date")
    client = page()
    uid = uid_of(url, "wide")

    for query in ("", *(f"?tab={tab}" for tab in TABS), "?task=load[0]"):
        assert "wide" in shown(client.get(f"/c/{uid}{query}")).text


def test_an_empty_store_has_pages(page: MakeClient) -> None:
    client = page()

    for address, answer in crawl(client.get, "/"):
        assert answer.status_code == 200, address
    assert client.get("/c/7").status_code == 404
    assert client.get("/c?name=x").status_code == 404
