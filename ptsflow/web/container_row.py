"""A container as a row of a table, or a column of a grid, shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from ptsflow.core import counts
from ptsflow.core.insight import Outlook
from ptsflow.core.model import ContainerRecord, Status, Tally
from ptsflow.display import tables
from ptsflow.display.format import Piece
from ptsflow.display.step_board import StepBoard


class ContainerRow(Struct, frozen=True, kw_only=True):
    """A container as a row of a table shows it."""

    record: ContainerRecord
    status: Status
    stands: Piece
    percentage: float
    counts: Mapping[Status, int]
    #: By the names of its steps, in the order of the plan.
    steps: Mapping[str, Status]
    #: What is said of its end, or of a row of it that is damaged.
    expects: str
    is_live: bool
    #: How long its run took, or takes so far; None if nobody knows.
    took_ms: int | None
    is_killed: bool
    #: The steps that ran when it was killed.
    killed: Collection[str]

    @property
    def total(self) -> int:
        """How many tasks it has."""
        return sum(self.counts.values())


def row_of(
    record: ContainerRecord,
    tallies: Sequence[Tally],
    outlook: Outlook | None,
    now: int,
    problem: str,
) -> ContainerRow:
    """Return a container as a row shows it.

    Args:
        record: the container.
        tallies: its tasks, counted.
        outlook: what its runner told.
        now: the time.
        problem: what is said of a row of it that is damaged.
    """
    status = counts.status_of(record, tallies)
    shown = tables.seen_tallies(record, tallies, now)
    by_status = counts.count_by_status(shown)
    is_live = record.is_leased(now)
    said = tables.sayings(record, by_status, outlook, now) if is_live else []
    is_killed = tables.is_orphan(record, status, now)
    ran = {tally.step for tally in tallies if tally.status is Status.RUNNING}
    return ContainerRow(
        record=record,
        status=status,
        stands=tables.stands(record, status, now),
        percentage=counts.percentage_of(record, tallies, outlook),
        counts=by_status,
        steps=_steps(record, shown),
        expects=problem or next(iter(said), ""),
        is_live=is_live,
        took_ms=_took(record, now, is_live=is_live),
        is_killed=is_killed,
        killed=ran if is_killed else (),
    )


def _took(record: ContainerRecord, now: int, *, is_live: bool) -> int | None:
    ended = now if is_live else record.ended_at
    if record.started_at is None or ended is None:
        return None
    return ended - record.started_at


def _steps(record: ContainerRecord, tallies: Iterable[Tally]) -> dict[str, Status]:
    """Return how each step stands."""
    boards = {step.name: StepBoard(step) for step in record.plan}
    for tally in tallies:
        if tally.step in boards:
            boards[tally.step].counts[tally.status] += tally.count
    return {name: board.status for name, board in boards.items()}
