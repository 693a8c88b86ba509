"""Reads what a timeline shows: of large steps not every item, but when they ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ptsflow.core.insight import Spans
from ptsflow.core.model import Attempt, Status, TaskRecord
from ptsflow.display.look import Look
from ptsflow.display.step_board import StepBoard
from ptsflow.display.tables import seen_tasks
from ptsflow.stores.base import Store
from ptsflow.web.drawing.timeline import LONGEST, MOST_DRAWN, StepTimes

#: How many items are read of a larger step that failed.
_FAILED = 20
#: The most tasks whose attempts are read at a time.
_LEDGERS = 200


def times_of(
    store: Store, look: Look
) -> tuple[list[StepTimes], Mapping[str, Sequence[Attempt]]]:
    """Return the steps of a container for a timeline, and the ledgers of their tasks.

    Args:
        store: where the container is.
        look: how it stands.
    """
    steps = [_step(store, look, name, b) for name, b in look.board.steps.items()]
    names = [task.name for step in steps for task in step.tasks if _has_ledger(task)]
    found: dict[str, Sequence[Attempt]] = {}
    for first in range(0, len(names), _LEDGERS):
        bite = names[first : first + _LEDGERS]
        found |= store.ledgers(look.record.uid, bite)
    return steps, found


def _has_ledger(task: TaskRecord) -> bool:
    """Whether the record does not tell all attempts of a task."""
    return task.invoke_count > (task.status is Status.DONE)


def _step(store: Store, look: Look, name: str, board: StepBoard) -> StepTimes:
    uid, total = look.record.uid, board.total
    tasks: Sequence[TaskRecord] = ()
    spans = None
    if board.single is not None:
        tasks = [board.single]
    elif total > MOST_DRAWN:
        spans = store.spans(uid, name)
        if not look.is_live:
            spans = _without_running(spans)
        longest, _ = store.page(uid, name, order="duration", limit=LONGEST, total=total)
        failed: Sequence[TaskRecord] = list(board.failed.values())[:_FAILED]
        if len(failed) < min(_FAILED, board.counts[Status.FAILED]):
            # The look has those of all steps, up to so many.
            count = board.counts[Status.FAILED]
            failed, _ = store.page(uid, name, Status.FAILED, limit=_FAILED, total=count)
        tasks = list({task.name: task for task in (*longest, *failed)}.values())
    elif total:
        tasks, _ = store.page(uid, name, limit=MOST_DRAWN, total=total)
    tasks = _seen(look, tasks)
    return StepTimes(
        name=name, status=board.status, total=total, tasks=tasks, spans=spans
    )


def _seen(look: Look, tasks: Sequence[TaskRecord]) -> Sequence[TaskRecord]:
    """Return tasks as they are shown: what was killed ended at its runner's last sign."""
    shown = seen_tasks(look.record, tasks, look.at)
    if look.outlook is None or look.is_live:
        return shown
    last_sign = look.outlook.at
    return [
        replace(task, task_ended_at=last_sign)
        if task.status is Status.PENDING and task.invoke_count
        else task
        for task in shown
    ]


def _without_running(spans: Spans) -> Spans:
    """Return spans where nothing runs: the runner was killed, and nobody knows when."""
    pairs = zip(spans.began, spans.ended, strict=True)
    return replace(spans, ended=[ended or began for began, ended in pairs])
