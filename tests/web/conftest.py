"""What the tests of the page share: a store of each kind, and a client in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.web.app import application
from ptsflow.web.security import access
from tests.support.databases import new_database_url, raw_database
from tests.web.serving import Shelf, shelf

#: The port that the page is said to listen at.
PORT = 8686
TOKEN = "t" * 32

#: Makes a client of the page of a store: `page(has_actions=True)`, `page(token=None)`.
MakeClient = Callable[..., TestClient]


KINDS = ["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a store that nobody else uses."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/pts.db"
        return
    url = new_database_url(request.getfixturevalue("mongod_url"))
    with raw_database(url):
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Open the store."""
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def page(store: Store) -> Iterator[MakeClient]:
    """Return what makes a client that shows the token, and follows no redirects."""
    with ExitStack() as stack:

        def make(
            token: str | None = TOKEN, *, has_actions: bool = False, **more: Any
        ) -> TestClient:
            allowed = access(
                token, port=PORT, has_actions=has_actions, names=frozenset(), **more
            )
            app = application(store.sibling, allowed, url=store.url)
            cookies = {} if token is None else {allowed.cookie: token}
            client = TestClient(
                app,
                base_url=f"http://127.0.0.1:{PORT}",
                cookies=cookies,
                follow_redirects=False,
                raise_server_exceptions=True,
            )
            return stack.enter_context(client)

        yield make


@pytest.fixture(scope="module", params=KINDS)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    """Return a store of each kind with containers of every kind; only look at it."""
    folder = tmp_path_factory.mktemp("stored")
    if request.param == "sqlite":
        with shelf(f"sqlite:///{folder}/pts.db", folder) as made:
            yield made
        return
    url = new_database_url(request.getfixturevalue("mongod_url"))
    with raw_database(url), shelf(url, folder) as made:
        yield made


@pytest.fixture
def looking(stored: Shelf) -> Iterator[TestClient]:
    """Return a client of the page of that store, which follows redirects."""
    allowed = access(TOKEN, port=PORT, has_actions=False, names=frozenset())
    app = application(partial(open_store, stored.url), allowed, url=stored.url)
    with TestClient(
        app,
        base_url=f"http://127.0.0.1:{PORT}",
        cookies={allowed.cookie: TOKEN},
    ) as client:
        yield client
