"""What each address shows: what is looked at for it, and how a page is made of a look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, cast, get_args

from msgspec import Struct
from starlette.datastructures import QueryParams
from starlette.requests import Request

from ptsflow.core.history import Profile, profile
from ptsflow.core.model import Status
from ptsflow.display.look import Look
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store
from ptsflow.stores.looks import Order
from ptsflow.web.container import by_uid, container_page, look_at_sound, look_at_uid
from ptsflow.web.failures import AllFailures, failures_page, look_at_failures
from ptsflow.web.live import Seen
from ptsflow.web.loss import loss_page
from ptsflow.web.overview import (
    Counted,
    Filter,
    Overview,
    look_at_overview,
    overview_page,
)
from ptsflow.web.pages import Page
from ptsflow.web.reading import Reading
from ptsflow.web.schedules import LateOnes
from ptsflow.web.security import Access
from ptsflow.web.tabs import TABS, Asked
from ptsflow.web.task import task_page
from ptsflow.web.workflow import WorkflowLook, look_at_workflow, workflow_page

#: How many runs of a workflow are read to know what is usual.
_RUNS = 200
#: How long what is usual is known, in seconds.
_USUAL_FOR = 60.0
#: The largest number of a page's first row.
_LARGEST = 10**9
#: The last time that is asked for, in the year 9000.
_LAST_MS = 221_845_392_000_000


class Showing(Struct, frozen=True):
    """What an address shows."""

    #: Looks under one key are made once for all who look.
    key: Hashable
    look: Callable[[Store], Any]
    page: Callable[[Seen[Any]], Awaitable[Page]]
    #: Pages that are made of one look are the same if these are.
    variant: Hashable


class Views:
    """What the addresses of a site show, and what is remembered to find that quickly.

    Args:
        reading: asks the store.
        url: where the store is, for commands to type.
        allowed: who may do what.
    """

    def __init__(self, reading: Reading, url: str, allowed: Access) -> None:
        self.reading = reading
        #: Names of containers by their uids, as far as they were seen.
        self.names: dict[str, str] = {}
        self._url = url
        self._allowed = allowed
        self._counted = Counted()
        self._late_ones = LateOnes()
        self._usual: dict[str, tuple[float, Profile]] = {}

    def overview(self, request: Request) -> Showing:
        """Return what the first page shows."""
        wanted = filter_by(request.query_params)

        def look(store: Store) -> Overview:
            last = by_uid(store, wanted.before, self.names) if wanted.before else None
            found = look_at_overview(
                store, wanted, last, self._counted, self._late_ones
            )
            self.names |= {row.record.uid: row.record.name for row in found.rows}
            return found

        async def page(seen: Seen[Overview]) -> Page:
            return overview_page(seen.look, wanted)

        return Showing(("overview", wanted), look, page, None)

    def container(self, request: Request) -> Showing:
        """Return what the page of a container, or of a task of it, shows."""
        uid = request.path_params["uid"]
        name = request.query_params.get("task")
        asked = asked_by(request.query_params)
        form = self.form_of(request)

        async def page(seen: Seen[Look]) -> Page:
            if name is None:
                return await container_page(seen, asked, self._url, form)
            usual = await self.usual(seen.look.record.workflow)
            return await task_page(seen, name, usual, form)

        variant = (name, asked, form)
        look = partial(look_at_sound, uid=uid, names=self.names)
        return Showing(("container", uid), look, page, variant)

    def loss(self, request: Request) -> Showing:
        """Return what the page shows that asks whether results are to be forgotten."""
        uid, given = request.path_params["uid"], request.query_params
        step, downstream = given.get("step") or None, given.get("downstream") == "yes"
        form = self.form_of(request)

        async def page(seen: Seen[Look]) -> Page:
            return await loss_page(seen, step, form, with_downstream=downstream)

        variant = ("loss", step, downstream, form)
        return Showing(("loss", uid), self.looking_at(uid), page, variant)

    def workflow(self, request: Request) -> Showing:
        """Return what the page of a workflow shows."""
        name = request.path_params["name"]

        async def page(seen: Seen[WorkflowLook]) -> Page:
            return workflow_page(seen.look)

        look = partial(look_at_workflow, name=name)
        return Showing(("workflow", name), look, page, None)

    def failures(self, request: Request) -> Showing:
        """Return what the page of errors shows."""
        form = self.form_of(request)

        async def page(seen: Seen[AllFailures]) -> Page:
            return failures_page(seen.look, form)

        look = partial(look_at_failures, counted=self._counted)
        return Showing(("failures",), look, page, form)

    def form_of(self, request: Request) -> str | None:
        """Return the field that shows that a form is ours; None where all is read-only."""
        if not self._allowed.has_actions:
            return None
        return self._allowed.form_field(request.cookies)

    def looking_at(self, uid: str) -> Callable[[Store], Look]:
        """Return what looks at a container."""
        return partial(look_at_uid, uid=uid, names=self.names)

    async def usual(self, workflow: str | None) -> Profile:
        """Return what is usual for a workflow."""
        if workflow is None:
            return Profile()
        at, found = self._usual.get(workflow, (0.0, Profile()))
        if at and since_boot() - at < _USUAL_FOR:
            return found
        rows = await self.reading.ask(
            lambda store: store.runs(workflow=workflow, limit=_RUNS)
        )
        self._usual[workflow] = since_boot(), profile(rows)
        return self._usual[workflow][1]


def filter_by(given: QueryParams) -> Filter:
    """Return which containers a browser asks for."""
    return Filter(
        workflow=given.get("workflow") or None,
        status=_status(given),
        part=given.get("part") or None,
        before=given.get("before") or None,
    )


def asked_by(given: QueryParams) -> Asked:
    """Return what a browser asks of a container; what is not known is left out."""
    tab, order, offset = (
        given.get("tab", ""),
        given.get("order"),
        given.get("offset", "0"),
    )
    is_number = offset.isascii() and offset.isdecimal()
    return Asked(
        tab=tab if tab in TABS else next(iter(TABS)),
        step=given.get("step") or None,
        status=_status(given),
        part=given.get("part") or None,
        order=cast(Order, order) if order in get_args(Order) else "position",
        offset=min(int(offset[:12]), _LARGEST) if is_number else 0,
        window=_window(given),
    )


def _window(given: QueryParams) -> tuple[int, int] | None:
    """Return the part of the time that a browser asks for; None where that is none."""
    texts = [given.get("since", ""), given.get("till", "")]
    if not all(text.isascii() and text.isdecimal() for text in texts):
        return None
    since, till = (min(int(text[:16]), _LAST_MS) for text in texts)
    return (since, till) if since < till else None


def _status(given: QueryParams) -> Status | None:
    text = given.get("status")
    return next((status for status in Status if status == text), None)
