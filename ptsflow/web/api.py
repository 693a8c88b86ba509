"""What programs are told: the JSON that the command line prints."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ptsflow.client.looking import outlooks, run_as_it_stands, seen
from ptsflow.client.workflow_figures import workflow_figures
from ptsflow.core import attempt_ledger
from ptsflow.core.history import profile
from ptsflow.display import as_json, history_table
from ptsflow.display.failure_groups import group_as_json
from ptsflow.display.look import Look
from ptsflow.errors import TaskNotFound
from ptsflow.stores.base import Store
from ptsflow.web.container import by_uid
from ptsflow.web.failures import failed_now, groups_of
from ptsflow.web.overview import Counted
from ptsflow.web.tabs import Asked, items_of
from ptsflow.web.views import Views, asked_by, filter_by

#: How many objects are told at the most, and if nothing is asked for.
_MOST, _USUAL = 1_000, 100
#: How many runs of a workflow are read to know what is usual.
_READ = 200


class Api:
    """Answers programs.

    Args:
        views: looks at the store.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._counted = Counted()

    async def containers(self, request: Request) -> Response:
        """Tell of containers, the newest first, as `list --json` does."""
        wanted, limit = filter_by(request.query_params), _limit(request)
        names = self._views.names

        def question(store: Store) -> Any:
            before = by_uid(store, wanted.before, names) if wanted.before else None
            now = store.now()
            found = store.recent(
                limit, before, wanted.workflow, wanted.status, wanted.part
            )
            records = [seen(store, record, now) for record in found]
            tallies = store.tallies([record.uid for record in records])
            told = outlooks(store, records, now)
            return [
                as_json.container(
                    record,
                    tallies.get(record.uid, ()),
                    now=now,
                    outlook=told.get(record.uid),
                )
                | {"uid": record.uid}
                for record in records
            ]

        return await self._answer(question)

    async def container(self, request: Request) -> Response:
        """Tell of a container without its tasks, as `list --json` does."""

        def question(store: Store) -> Any:
            look = self._look(request)(store)
            return look.objects()[0] | {
                "uid": look.record.uid,
                "plan": [as_json.step(step) for step in look.record.plan],
            }

        return await self._answer(question)

    async def tasks(self, request: Request) -> Response:
        """Tell of tasks of a container by pages, and how many there are."""
        asked: Asked = asked_by(request.query_params)
        limit = _limit(request)

        def question(store: Store) -> Any:
            look = self._look(request)(store)
            found = items_of(store, look, asked, limit)
            shown = [as_json.task(task) for task in found.rows]
            return {"schema": as_json.SCHEMA, "total": found.total, "tasks": shown}

        return await self._answer(question)

    async def task(self, request: Request) -> Response:
        """Tell of one task with its values and attempts, as `show --json` does."""
        name = request.query_params.get("name", "")

        def question(store: Store) -> Any:
            record = self._look(request)(store).record
            found = store.tasks(record.uid, [name], payloads=True)
            if not found:
                raise TaskNotFound(f"container {record.name!r} has no task {name!r}")
            made = attempt_ledger.complete(found[0], store.attempts(record.uid, name))
            head = {"schema": as_json.SCHEMA, "container": record.name}
            told = as_json.task(found[0], values=False)
            return head | told | {"attempts": [as_json.attempt(each) for each in made]}

        return await self._answer(question)

    async def runs(self, request: Request) -> Response:
        """Tell of runs, the newest first, as `history --json` does."""
        workflow = request.query_params.get("workflow") or None
        limit = _limit(request)

        def question(store: Store) -> Any:
            now = store.now()
            rows = [
                run_as_it_stands(store, run, now)
                for run in store.runs(workflow=workflow, limit=limit)
            ]
            usual = {
                name: profile(store.runs(workflow=name, limit=_READ)).usual_ms
                for name in {row.workflow for row in rows}
            }
            return [
                history_table.run_as_json(row, usual[row.workflow], now) for row in rows
            ]

        return await self._answer(question)

    async def errors(self, _request: Request) -> Response:
        """Tell what is failed now, as `errors --json` does."""

        def question(store: Store) -> Any:
            found = failed_now(store, self._counted)
            return [group_as_json(group) for group in groups_of(found)]

        return await self._answer(question)

    async def metrics(self, _request: Request) -> Response:
        """Tell figures of all workflows, as `ptsflow metrics` prints them."""
        try:
            prometheus = import_module("ptsflow.display.exposition")
        except ImportError:
            return PlainTextResponse(
                "metrics need prometheus_client: pip install 'ptsflow[metrics]'\n",
                HTTPStatus.NOT_IMPLEMENTED,
            )

        def question(store: Store) -> str:
            now = store.now()
            text: str = prometheus.exposition(workflow_figures(store, now), now)
            return text

        text = await self._views.reading.ask(question)
        return Response(text, media_type=prometheus.CONTENT_TYPE)

    def _look(self, request: Request) -> Callable[[Store], Look]:
        return self._views.looking_at(request.path_params["uid"])

    async def _answer(self, question: Callable[[Store], Any]) -> Response:
        text = await self._views.reading.ask(partial(_dumped, question))
        return Response(f"{text}\n", media_type="application/json")


def _dumped(question: Callable[[Store], Any], store: Store) -> str:
    return as_json.dumps(question(store))


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "")
    is_number = text.isascii() and text.isdecimal()
    return max(1, min(int(text[:9]), _MOST)) if is_number else _USUAL
