"""The page of a container: how it stands, and one tab of what is to be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.client.looking import look_at, remedies
from ptsflow.client.sound import damage_of, look_at_what_is_sound
from ptsflow.core.changed_code import say_changed
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.core.sources import say_outdated
from ptsflow.display import as_json, layout, next_command
from ptsflow.display import format as fmt
from ptsflow.display.layout import Waits
from ptsflow.display.look import Look, unknown
from ptsflow.display.step_board import StepBoard
from ptsflow.errors import ContainerNotFound, StoreDamaged
from ptsflow.stores.base import Store
from ptsflow.web.live import Seen
from ptsflow.web.pages import Page, Part
from ptsflow.web.tabs import TABS, Asked

#: How many containers are read at a time to find one by its uid.
_AT_ONCE = 500


def by_uid(store: Store, uid: str, names: dict[str, str]) -> ContainerRecord:
    """Return the container of a uid.

    Args:
        store: where it is.
        uid: the container's uid.
        names: names of containers by their uids, as far as these are known.

    Raises:
        ContainerNotFound: there is none.
    """
    name = names.get(uid)
    record = None if name is None else store.container(name)
    if record is not None and record.uid == uid:
        return record
    before: ContainerRecord | None = None
    while True:
        damaged: list[str] = []
        found = store.recent(_AT_ONCE, before=before, damaged=damaged)
        names |= {record.uid: record.name for record in found}
        for record in found:
            if record.uid == uid:
                return record
        if len(found) + len(damaged) < _AT_ONCE or not found:
            raise ContainerNotFound("there is no such container; it may be deleted")
        before = found[-1]


def look_at_uid(store: Store, uid: str, names: dict[str, str]) -> Look:
    """Return how a container stands.

    Raises:
        ContainerNotFound: there is none of that uid.
        StoreDamaged: a task of it is damaged.
    """
    return look_at(store, by_uid(store, uid, names))


def look_at_sound(store: Store, uid: str, names: dict[str, str]) -> Look:
    """Return how a container stands; its damaged tasks are left out.

    Raises:
        ContainerNotFound: there is none of that uid.
    """
    return look_at_what_is_sound(store, by_uid(store, uid, names))


class Advice(Struct, frozen=True, kw_only=True):
    """What is said about a container, and the command to type next."""

    remarks: Sequence[str]
    #: "" if there is none.
    command: str


def advice_on(store: Store, look: Look, url: str) -> Advice:
    """Return what is to be said of a container, and done about it.

    Args:
        store: where it is.
        look: how it stands.
        url: where the store is, for the command.
    """
    if look.is_leased:
        words = ["watch", look.record.name]
        return Advice(remarks=[], command=next_command.command(url, words))
    found = remedies(store, look.record, look.glance)
    said = (
        unknown(found.tasks) or look.remark,
        say_changed(found.changed),
        say_outdated(found.outdated),
    )
    record = replace(look.record, status=look.status)
    _, following = next_command.advice(record, found)
    command = ""
    if following is not None:
        command = next_command.command(url, following[0], folder=following[1])
    return Advice(remarks=[text for text in said if text], command=command)


class StepRow(Struct, frozen=True, kw_only=True):
    """A step as a row of a table shows it."""

    name: str
    status: Status
    percentage: float
    counts: Any
    total: int
    is_fan_out: bool
    #: What the step is for, or waits for.
    says: str
    begun: int | None
    #: How long it took, or takes so far; None if that is not known.
    took_ms: int | None
    #: The only task of a step that does not fan out.
    task: TaskRecord | None


def step_rows(look: Look) -> list[StepRow]:
    """Return the steps of a container in order, then the tasks that clients added."""
    boards = look.board.steps
    waits = Waits(list(boards.values()))
    rows = []
    for name, board in boards.items():
        says = waits.say(board) if board.status is Status.PENDING else ""
        if board.single is not None:
            says = says or fmt.what(board.single, look.at, " · ")
        rows.append(
            StepRow(
                name=name,
                status=board.status,
                percentage=fmt.nearly(board.percentage, is_complete=board.is_settled),
                counts=board.counts,
                total=board.total,
                is_fan_out=board.summary.each is not None or board.single is None,
                says=says or board.summary.text,
                begun=board.begun,
                took_ms=_took(board, look.at if look.is_leased else None),
                task=board.single,
            )
        )
    return rows


def _took(board: StepBoard, now: int | None) -> int | None:
    """Return how long a step took, as `status` says it; None if that is not known.

    Args:
        board: the step.
        now: the time if a runner has the container.
    """
    if board.begun is None:
        return None
    if board.is_active:
        return now - board.begun if board.running and now is not None else None
    return board.took_ms


def first_failed(look: Look) -> tuple[TaskRecord | None, int]:
    """Return the first failed task of a container that is not done, and how many more."""
    if look.status is Status.DONE:
        return None, 0
    failed = [task for task in look.glance.plain if task.has_failed]
    first = next(iter([*failed, *look.glance.failed]), None)
    return first, look.board.counts[Status.FAILED] - 1


async def container_page(
    seen: Seen[Look], asked: Asked, url: str, form: str | None
) -> Page:
    """Return the page of a container.

    Args:
        seen: how the container stands.
        asked: which tab is wanted, and what of it.
        url: where the store is.
        form: the field that shows that a form is ours; None where all is read-only.
    """
    look = seen.look
    board = look.board
    said = layout.sayings(board, look.at)
    failed, more = first_failed(look)
    values = {
        "look": look,
        "record": look.record,
        "board": board,
        "now": look.at,
        "percentage": fmt.nearly(board.percentage, is_complete=board.is_complete),
        "expects": next(iter(said), "") if look.is_leased else "",
        "params": as_json.params(look.record),
        "advice": await seen.ask("advice", partial(advice_on, look=look, url=url)),
        "first_failed": failed,
        "more_failed": more,
        "asked": asked,
        "tabs": list(TABS),
        "damaged": damage_of(look),
        "form": form,
    }
    tab = TABS[asked.tab]
    parts = dict(tab.parts)
    values["steps"] = step_rows(look)
    try:
        values |= await tab.values(seen, asked)
    except StoreDamaged as error:
        # What is not damaged is shown.
        values["problem"] = str(error)
        parts = {"damaged": "_problem.html"}
    return Page(
        title=f"{look.record.name} · ptsflow",
        parts={
            "head": Part("_head.html", values),
            "tabs": Part("_tabs.html", values),
            **{name: Part(template, values) for name, template in parts.items()},
        },
    )
