"""One look at a stored container, and what changed from one look to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import Cause, ContainerRecord, Status, TaskRecord
from ptsflow.display import as_json, layout, plain, tables
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece
from ptsflow.display.run_state import Board, board_of_glance
from ptsflow.display.step_board import StepBoard

#: What Ctrl-C does where a run is only looked at.
ENDS_WATCHING = "Ctrl-C ends watching"
#: A line of a whole container is due whenever it is so many points further.
_EVERY_POINTS = 10


class Look(Struct, frozen=True, kw_only=True, dict=True):
    """What a store tells of a container at one moment."""

    #: The time of the store, in milliseconds since the epoch.
    at: int
    #: With the owner that the container really has.
    record: ContainerRecord
    status: Status
    #: As it is shown: nothing runs where the runner has died.
    glance: Glance
    #: What the runner told; of earlier runs the percentage alone.
    outlook: Outlook | None = None

    @property
    def is_leased(self) -> bool:
        """Whether a runner has it."""
        return self.record.is_leased(self.at)

    @property
    def is_live(self) -> bool:
        """Whether somebody works in it: a runner, or clients in one of their own."""
        if self.record.workflow is None:
            return not self.status.is_complete
        return self.is_leased

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known of it yet: a runner makes it, then says what it runs."""
        return self.record.workflow is None and not self.glance.tallies

    @property
    def stands(self) -> Piece:
        """The status to show."""
        return tables.stands(self.record, self.status, self.at)

    @property
    def remark(self) -> str:
        """Who runs the container, or what to do next."""
        record = self.record
        if self.is_leased:
            return tables.run_by(record)
        if record.finish_reason is not None:
            return f"finished early: {record.finish_reason}"
        if record.workflow is None or self.status is Status.DONE:
            return ""
        if tables.is_orphan(record, self.status, self.at):
            return "its runner is gone; run it again to continue"
        return "run it again to continue"

    @cached_property
    def board(self) -> Board:
        """The state that screens draw; where no runner lives, no clock runs."""
        record = self.record
        if not self.is_leased:
            record = replace(record, owner=None)
        return board_of_glance(record, self.glance, self.at, self.outlook)

    def frame(self, now: int, *, width: int, height: int, remark: str) -> list[Line]:
        """Return what the runner's own screen shows; see `layout.frame`."""
        return layout.frame(
            self.board,
            now,
            width=width,
            height=height,
            stands=self.stands,
            remark=remark,
            hint=ENDS_WATCHING,
        )

    def objects(self) -> list[as_json.Json]:
        """Return what `list --json` prints of it."""
        record, tallies = self.record, self.glance.tallies
        return [as_json.container(record, tallies, now=self.at, outlook=self.outlook)]

    def changes(self, before: Self | None) -> Iterator[tuple[str, str]]:
        """Yield what changed since the look before, as lines: a name, and what is said.

        The first look tells of the container alone.
        """
        said = (
            self.record.name,
            tables.in_a_line(self.record, self.glance.tallies, self.at, self.outlook),
        )
        if before is None:
            yield said
            return
        yield from _of_tasks(before.glance, self.glance, self.at)
        for name, step in self.board.steps.items():
            if step.summary.each is not None:
                text = _of_step(before.board.steps.get(name), step)
                if text:
                    yield name, text
        if before.due() != self.due():
            yield said

    def due(self) -> tuple[str, int]:
        """Return what has a line of the whole container when it changes."""
        return self.stands.text, int(self.board.percentage) // _EVERY_POINTS


def unknown(tasks: Iterable[TaskRecord]) -> str:
    """Say how to settle tasks whose outcome is unknown."""
    names = [task.name for task in tasks if task.cause is Cause.UNKNOWN]
    if not names:
        return ""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"nobody knows what {names[0]} did{more}: mark it done, or pending to run it again"


def _of_tasks(before: Glance, after: Glance, now: int) -> Iterator[tuple[str, str]]:
    """Yield changed tasks that are no items, and items that failed."""
    known = {task.name: task for task in (*before.plain, *before.failed)}
    for task in (*after.plain, *after.failed):
        earlier = known.get(task.name)
        if _is_other(earlier, task):
            text = plain.change_text(earlier, task, now)
            if text:
                yield task.name, text


def _is_other(before: TaskRecord | None, after: TaskRecord) -> bool:
    if before is None:
        return after.status is not Status.PENDING
    return (before.status, before.attempt) != (after.status, after.attempt)


def _of_step(before: StepBoard | None, after: StepBoard) -> str:
    """Return how the items of a step stand, if the step got a whole point further."""
    if before is not None and _far(before) == _far(after):
        return ""
    if not after.total:
        return ""
    percentage = fmt.nearly(after.percentage, is_complete=after.is_settled)
    return f"{fmt.percent(percentage)}  {fmt.in_words(after.counts)}"


def _far(step: StepBoard) -> tuple[int, Status, int]:
    return int(step.percentage), step.status, step.counts[Status.FAILED]
