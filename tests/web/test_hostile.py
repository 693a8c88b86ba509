"""What is stored is shown as text, whatever it is: it adds nothing to a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from starlette.testclient import TestClient

from ptsflow.stores import open_store
from ptsflow.web.app import application
from ptsflow.web.security import access
from tests.web import hostile
from tests.web.conftest import PORT, MakeClient
from tests.web.markup import Markup, crawl


def test_there_are_many_payloads_and_no_two_are_alike() -> None:
    assert len(set(hostile.PAYLOADS)) == len(hostile.PAYLOADS) >= 60


def test_no_stored_text_adds_anything_to_a_page(page: MakeClient, url: str) -> None:
    uids = hostile.fill(url)
    if url.startswith("mongodb"):  # Which store it was matters to few texts.
        uids = uids[::6]
    client = page()
    seen = set[str]()

    for address, answer in crawl(
        client.get, "/", *(f"/c/{uid}" for uid in uids), alike=1
    ):
        assert answer.status_code in {200, 303}, address
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        seen.add(address)
        found = Markup(answer.text)
        assert found.dangers == [], address
        assert [name for name, count in found.ids.items() if count > 1] == [], address

    assert {f"/c/{uid}" for uid in uids} <= seen


def shape(client: TestClient, address: str) -> dict[str, int]:
    """Return the elements of a page, and how many there are of each."""
    answer = client.get(address)
    assert answer.status_code == 200
    elements = Markup(answer.text).elements
    # A drawing has as many marks as the time has that has gone by.
    return {tag: n for tag, n in elements.items() if tag not in {"path", "text"}}


@pytest.fixture(scope="module")
def wild_and_calm(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[tuple[TestClient, list[str]]]]:
    """Return clients of a store of hostile and of one of harmless texts, and the uids."""
    allowed = access(None, port=PORT, has_actions=False, names=frozenset())
    found = []
    with ExitStack() as stack:
        for made in (None, lambda text: re.sub(r"\W", "x", text)):
            url = f"sqlite:///{tmp_path_factory.mktemp('texts')}/pts.db"
            uids = hostile.fill(url, made)
            app = application(partial(open_store, url), allowed, url=url)
            client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
            found.append((stack.enter_context(client), uids))
        yield found


@pytest.mark.parametrize("tab", ["", "graph", "items", "errors", "logs", "results"])
def test_pages_have_the_same_elements_whatever_the_texts(
    wild_and_calm: list[tuple[TestClient, list[str]]], tab: str
) -> None:
    (client, wild), (other, calm) = wild_and_calm
    query = f"?tab={tab}" if tab else ""

    for one, two in zip(wild, calm, strict=True):
        assert shape(client, f"/c/{one}{query}") == shape(other, f"/c/{two}{query}")


def test_no_stored_text_adds_a_header(page: MakeClient, url: str) -> None:
    hostile.fill(url)
    client = page()

    for number, payload in enumerate(hostile.PAYLOADS):
        name = hostile.name_of(payload, number)
        answer = client.get("/c", params={"name": name})
        assert answer.status_code == 303
        assert re.fullmatch(r"/c/[\w-]+", answer.headers["location"])
        assert "set-cookie" not in answer.headers
