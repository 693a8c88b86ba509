"""What pages ask for piece by piece: rows of a long table, and values that are too long."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ptsflow.client.sound import readable
from ptsflow.core.model import PAYLOADS
from ptsflow.display import as_json
from ptsflow.errors import TaskNotFound
from ptsflow.stores.base import Store
from ptsflow.web.container import look_at_sound
from ptsflow.web.tabs import items_of
from ptsflow.web.views import Views, asked_by


class Pieces:
    """Sends pieces of what pages show.

    Args:
        views: looks at the store.
        templates: renders rows.
    """

    def __init__(self, views: Views, templates: Environment) -> None:
        self._views = views
        self._templates = templates

    async def rows(self, request: Request) -> Response:
        """Send rows of the table of tasks."""
        asked = asked_by(request.query_params)
        uid = request.path_params["uid"]

        def question(store: Store) -> str:
            look = look_at_sound(store, uid, self._views.names)
            found = items_of(readable(store, look), look, asked)
            template = self._templates.get_template("_rows.html")
            return template.render(items=found, uid=uid, now=look.at)

        return HTMLResponse(await self._views.reading.ask(question))

    async def value(self, request: Request) -> Response:
        """Send a stored value whole, to be kept as a file.

        Raises:
            TaskNotFound: there is no such task, or it has no such value.
        """
        given = request.query_params
        name, field = given.get("task", ""), given.get("field", "")
        question = partial(
            self._value, uid=request.path_params["uid"], name=name, field=field
        )
        text = await self._views.reading.ask(question)
        disposition = f'attachment; filename="{field}.json"'
        return Response(
            text,
            HTTPStatus.OK,
            {"Content-Disposition": disposition},
            media_type="application/json",
        )

    def _value(self, store: Store, uid: str, name: str, field: str) -> str:
        record = self._views.looking_at(uid)(store).record
        found = store.tasks(record.uid, [name], payloads=True)
        stored = getattr(found[0], field) if found and field in PAYLOADS else None
        if not isinstance(stored, str):
            raise TaskNotFound(f"container {record.name!r}: {name!r} has no {field!r}")
        return as_json.dumps(as_json.value(stored))
