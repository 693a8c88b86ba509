"""The application: which address shows what."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ptsflow.errors import ContainerNotFound, StoreError
from ptsflow.stores import mask
from ptsflow.stores.base import Store
from ptsflow.web.actions import ACTIONS, Actions
from ptsflow.web.answers import Answers
from ptsflow.web.api import Api
from ptsflow.web.pieces import Pieces
from ptsflow.web.reading import Reading
from ptsflow.web.security import Access, Guard
from ptsflow.web.views import Showing, Views

_STATIC = Path(__file__).parent / "static"


class Site:
    """The pages of one store.

    Args:
        open_store: opens the store for a thread; raises `ContainerNotFound` without one.
        allowed: who may use the pages.
        url: where the store is, as people are told of it.
    """

    def __init__(
        self, open_store: Callable[[], Store], allowed: Access, url: str
    ) -> None:
        self._reading = Reading(open_store)
        self._allowed = allowed
        self._answers = Answers(self._reading, allowed, mask(url))
        self._views = Views(self._reading, url, allowed)

    def app(self) -> Starlette:
        """Return the application."""
        app = Starlette(
            routes=[*self._pages(), *self._told(), *self._changes()],
            lifespan=self._lifespan,
            middleware=[Middleware(Guard, allowed=self._allowed)],
            exception_handlers={
                LookupError: self._missing,
                StoreError: self._failed,
                HTTPStatus.NOT_FOUND: self._missing,
            },
        )
        app.state.hub = self._answers.hub
        return app

    def _pages(self) -> list[BaseRoute]:
        """Return the routes of pages; each page has one more that sends its changes."""
        shown = {
            "": self._views.overview,
            "/c/{uid}": self._views.container,
            "/w/{name:path}": self._views.workflow,
            "/errors": self._views.failures,
        }
        pieces = Pieces(self._views, self._answers.templates)
        routes: list[BaseRoute] = [
            Route("/c", self._named),
            Route("/c/{uid}/items", pieces.rows),
            Route("/c/{uid}/value", pieces.value),
            Mount("/static", GZipMiddleware(StaticFiles(directory=_STATIC))),
        ]
        for path, show in shown.items():
            routes += [
                Route(f"{path}/live", partial(self._stream, show)),
                Route(path or "/", partial(self._show, show)),
            ]
        return routes

    def _told(self) -> list[BaseRoute]:
        """Return the routes for programs."""
        api = Api(self._views)
        return [
            Route("/api/containers", api.containers),
            Route("/api/c/{uid}", api.container),
            Route("/api/c/{uid}/tasks", api.tasks),
            Route("/api/c/{uid}/task", api.task),
            Route("/api/runs", api.runs),
            Route("/api/errors", api.errors),
            Route("/metrics", api.metrics),
            Route("/healthz", self._health),
        ]

    def _changes(self) -> list[BaseRoute]:
        """Return the routes of what may be changed."""
        if not self._allowed.has_actions:
            return []
        acts = Actions(self._reading, self._views.names, self._answers.notes)
        show = partial(self._show, self._views.loss)
        return [
            Route("/c/{uid}/reset", show),
            Route("/errors/retry", acts.on_group, methods=["POST"]),
            *[
                Route(
                    f"/c/{{uid}}/{name}",
                    partial(acts.on_container, act),
                    methods=["POST"],
                )
                for name, act in ACTIONS.items()
            ],
        ]

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self._answers.hub.close()
        self._reading.close()

    async def _show(
        self, shown: Callable[[Request], Showing], request: Request
    ) -> Response:
        return await self._answers.show(request, shown(request))

    async def _stream(
        self, shown: Callable[[Request], Showing], request: Request
    ) -> Response:
        return await self._answers.stream(request, shown(request))

    async def _named(self, request: Request) -> Response:
        """Lead to the container of a name."""
        name = request.query_params.get("name", "")
        record = await self._reading.ask(lambda store: store.container(name))
        if record is None:
            raise ContainerNotFound(f"there is no container {name!r}")
        return RedirectResponse(f"/c/{record.uid}", HTTPStatus.SEE_OTHER)

    async def _health(self, _request: Request) -> Response:
        """Say whether the store can be reached."""
        try:
            await self._reading.ask(lambda store: store.now())
        except ContainerNotFound:
            return PlainTextResponse("there is no store yet\n")
        except StoreError:
            return PlainTextResponse(
                "the store does not answer\n", HTTPStatus.SERVICE_UNAVAILABLE
            )
        return PlainTextResponse("ok\n")

    async def _missing(self, _request: Request, error: Exception) -> Response:
        is_ours = isinstance(error, LookupError)
        return self._answers.message(
            HTTPStatus.NOT_FOUND, str(error) if is_ours else "there is no such page"
        )

    async def _failed(self, _request: Request, error: Exception) -> Response:
        if not isinstance(error, StoreError):
            raise error
        return self._answers.failed(error)


def application(
    open_store: Callable[[], Store], allowed: Access, *, url: str
) -> Starlette:
    """Return the application that shows a store.

    Args:
        open_store: opens the store for a thread; raises `ContainerNotFound` without one.
        allowed: who may use the pages.
        url: where the store is, as people are told of it.
    """
    return Site(open_store, allowed, url).app()
