"""What the page changes, where that is allowed: what commands do, with their refusals."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ptsflow.client import admin
from ptsflow.client.looking import seen
from ptsflow.core.grouping import pattern_of, split_error
from ptsflow.core.model import ContainerRecord, Status, Stop, TaskRecord
from ptsflow.core.names import listed
from ptsflow.display import format as fmt
from ptsflow.display import tables
from ptsflow.errors import ContainerBusy, UsageError
from ptsflow.stores.base import Store
from ptsflow.web.container import by_uid
from ptsflow.web.failures import failed_now
from ptsflow.web.overview import Counted
from ptsflow.web.reading import Reading

#: How many notes wait to be said.
_NOTES = 100
#: What a form says, by the names of its fields.
Fields = dict[str, str]


def cancel(store: Store, record: ContainerRecord, fields: Fields) -> str:
    """Ask the runner of a container to stop; return what is to be said of it."""
    is_now = fields.get("how") == "now"
    asked = admin.cancel(store, record, Stop.NOW if is_now else Stop.GENTLY)
    if not asked:
        return "nobody runs it, there is nothing to cancel"
    holder = tables.holder(record)
    return f"asked {holder} to stop at once" if is_now else f"asked {holder} to stop"


def retry(store: Store, record: ContainerRecord, _fields: Fields) -> str:
    """Give failed and waiting tasks of a container a fresh budget.

    Raises:
        ContainerBusy: a live runner holds it.
    """
    names = admin.retry(store, record)
    if not names:
        return "nothing has failed"
    return f"{fmt.many(len(names), 'task', 'tasks')} to try again: {listed(names)}"


def reset(store: Store, record: ContainerRecord, fields: Fields) -> str:
    """Forget results of a container.

    Raises:
        ContainerBusy: a live runner holds it.
        TaskNotFound: it has no such step.
    """
    names = admin.reset(
        store,
        record,
        step=fields.get("step") or None,
        with_downstream=fields.get("downstream") == "yes",
    )
    if not names:
        return "there is nothing to forget"
    return f"forgot what {fmt.many(len(names), 'task', 'tasks')} did: {listed(names)}"


def mark(store: Store, record: ContainerRecord, fields: Fields) -> str:
    """Settle a task that failed, or whose outcome is unknown.

    Raises:
        ContainerBusy: a live runner holds it.
        TaskNotFound: it has no such task.
        UsageError: the task has not failed, or it is not said what it is to be.
    """
    name, status = fields.get("task", ""), fields.get("status", "")
    if status not in ("done", "pending"):
        raise UsageError(f"mark: expected done or pending, found {status!r}")
    admin.mark(store, record, name, Status(status))
    return f"{name} is {status} now"


Act = Callable[[Store, ContainerRecord, Fields], str]

#: What can be done to a container, by the last part of its address.
ACTIONS: dict[str, Act] = {
    "cancel": cancel,
    "retry": retry,
    "reset": reset,
    "mark": mark,
}


def retry_group(store: Store, fields: Fields, counted: Counted) -> str:
    """Retry what failed in one way, in all containers that nobody runs."""

    def matches(task: TaskRecord) -> bool:
        kind, message = split_error(task.error or "")
        found = (task.step or task.name, kind, fmt.clean(pattern_of(message)))
        return found == tuple(
            fields.get(name, "") for name in ("step", "type", "message")
        )

    tasks = skipped = containers = 0
    now = store.now()
    for record, failed in failed_now(store, counted):
        if not any(map(matches, failed)):
            continue
        try:
            if seen(store, record, now).is_leased(now):
                skipped += 1
                continue
            tasks += len(admin.retry(store, record, matches=matches))
            containers += 1
        except ContainerBusy:
            skipped += 1
    said = (
        f"{fmt.many(tasks, 'task', 'tasks')} to try again in "
        f"{fmt.many(containers, 'container', 'containers')}"
    )
    return f"{said}; {skipped} skipped, as they are run" if skipped else said


class Actions:
    """Does what forms of the page ask for.

    Args:
        reading: asks the store.
        names: names of containers by their uids, as far as these are known.
        notes: gets what is to be said, by the number that the next address has.
    """

    def __init__(
        self, reading: Reading, names: dict[str, str], notes: dict[str, str]
    ) -> None:
        self._reading = reading
        self._names = names
        self._notes = notes
        self._counted = Counted()

    async def on_container(self, act: Act, request: Request) -> Response:
        """Do something to a container, and lead back to it with what is to be said."""
        uid = request.path_params["uid"]
        fields = await _fields(request)

        def do(store: Store) -> str:
            now = store.now()
            record = seen(store, by_uid(store, uid, self._names), now)
            if act is not cancel and record.is_leased(now):
                # To claim it would be to wait for the end of the lease.
                return f"nothing was changed: it is {tables.run_by(record)}"
            return _said(partial(act, store, record, fields))

        said = await self._reading.ask(do)
        back = {"task": fields["task"]} if "task" in fields else {}
        return self._led(f"/c/{uid}", said, back)

    async def on_group(self, request: Request) -> Response:
        """Retry what failed in one way."""
        fields = await _fields(request)
        said = await self._reading.ask(
            lambda store: _said(partial(retry_group, store, fields, self._counted))
        )
        return self._led("/errors", said, {})

    def _led(self, path: str, said: str, fields: Fields) -> Response:
        """Lead to a page that says what was done."""
        number = secrets.token_urlsafe(8)
        self._notes[number] = said
        while len(self._notes) > _NOTES:
            del self._notes[next(iter(self._notes))]
        query = urlencode({**fields, "said": number})
        return RedirectResponse(f"{path}?{query}", HTTPStatus.SEE_OTHER)


def _said(act: Callable[[], str]) -> str:
    """Return what was done, or why it was refused."""
    try:
        return act()
    except (ContainerBusy, LookupError, UsageError) as error:
        return str(error)


async def _fields(request: Request) -> Fields:
    """Return what a form says; of a field that is there twice the last value."""
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
