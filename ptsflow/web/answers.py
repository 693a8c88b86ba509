"""How pages are sent: whole, as what changes of them, or as a word about what went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from ptsflow.display import format as fmt
from ptsflow.errors import PtsflowError, StoreError, StoreUnavailable
from ptsflow.web import live, pages
from ptsflow.web.live import Fragments, Hub, Seen
from ptsflow.web.reading import Reading
from ptsflow.web.security import Access
from ptsflow.web.views import Showing

#: Fields of an address that are not for what the page shows.
_OWN_FIELDS = ("said", "from", "token")


class Answers:
    """Sends the pages of a site.

    Args:
        reading: asks the store.
        allowed: who may do what.
        store_name: the store as people are told of it.
    """

    def __init__(self, reading: Reading, allowed: Access, store_name: str) -> None:
        self.hub = Hub(reading)
        self.templates: Environment = pages.environment()
        #: What is to be said once, by the number that an address has.
        self.notes: dict[str, str] = {}
        self._reading = reading
        self._allowed = allowed
        self._store_name = store_name

    async def show(self, request: Request, shown: Showing) -> Response:
        """Send a whole page."""
        look, took = await self._reading.timed(shown.look)
        page = await shown.page(Seen(self._reading, look, took))
        made = pages.fragments(self.templates, page)
        pairs = request.query_params.multi_items()
        kept = [(name, value) for name, value in pairs if name not in _OWN_FIELDS]
        query = urlencode([*kept, ("from", live.mark_of(made))])
        live_at = f"{quote(request.url.path.rstrip('/'))}/live?{query}"
        said = self.notes.pop(request.query_params.get("said", ""), "")
        return HTMLResponse(self._whole(page.title, made, live_at, said))

    async def stream(self, request: Request, shown: Showing) -> Response:
        """Send what changes of a page, as it changes."""
        given = request.headers.get("last-event-id") or request.query_params.get("from")
        return StreamingResponse(
            self.events(shown, given),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    def message(self, status: HTTPStatus, text: str) -> Response:
        """Send a word about what cannot be shown."""
        made = {"problem-of-page": self._render("_problem.html", problem=text)}
        return HTMLResponse(self._whole(f"{status.phrase} · ptsflow", made), status)

    def failed(self, error: StoreError) -> Response:
        """Send a word about a store that did not answer, or needs a person."""
        is_away = isinstance(error, StoreUnavailable)
        status = (
            HTTPStatus.SERVICE_UNAVAILABLE
            if is_away
            else HTTPStatus.INTERNAL_SERVER_ERROR
        )
        answer = self.message(status, str(error))
        if is_away:
            # A browser without JavaScript asks again by itself.
            answer.headers["Refresh"] = "5"
        return answer

    # -- what is sent -----------------------------------------------------------

    def _render(self, template: str, **values: Any) -> str:
        return self.templates.get_template(template).render(values)

    def _whole(
        self, title: str, made: Fragments, live_at: str | None = None, said: str = ""
    ) -> str:
        top = self._render(
            "top.html",
            title=title,
            live_at=live_at,
            said=said,
            store_name=self._store_name,
            has_actions=self._allowed.has_actions,
        )
        parts = [
            f'<div class="part" id="{key}">{html}</div>' for key, html in made.items()
        ]
        return "\n".join([top, *parts, self._render("bottom.html")])

    async def events(self, shown: Showing, known: str | None) -> AsyncGenerator[str]:
        """Yield events: first what the browser does not know, then what changes.

        Args:
            shown: what is shown.
            known: the mark of what the browser has.
        """
        sent: dict[str, str] = {"problem": ""}
        async with contextlib.aclosing(
            self.hub.watching(shown.key, shown.look)
        ) as looks:
            async for seen, problem in looks:
                made: dict[str, str] = {"problem": ""}
                if seen is not None and problem is None:
                    try:
                        made |= await self._made(shown, seen)
                    except PtsflowError as error:
                        problem = error  # noqa: PLW2901 - it came up a moment later
                if problem is not None:
                    made["problem"] = self._problem(seen, problem)
                mark = live.mark_of({k: v for k, v in made.items() if k != "problem"})
                if mark == known:
                    sent = made | {"problem": sent["problem"]}
                known = None
                changed = live.changes(sent, made)
                sent |= made
                if changed:
                    yield live.event(changed, mark)
                else:
                    yield live.NOTHING_NEW

    async def _made(self, shown: Showing, seen: Seen[Any]) -> Fragments:
        """Return the parts of a page, made once for all who look."""

        async def make() -> Fragments:
            return pages.fragments(self.templates, await shown.page(seen))

        return await seen.once(("fragments", shown.variant), make)

    def _problem(self, seen: Seen[Any] | None, problem: Exception) -> str:
        """Say what is wrong, and how old is what is shown."""
        age = (
            ""
            if seen is None
            else f"What is shown is of {fmt.clock_time(seen.look.at)}."
        )
        return self._render("_problem.html", problem=f"{problem}. {age}".rstrip())
