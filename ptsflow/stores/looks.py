"""The contract of stores about history and looks; `Store` includes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ptsflow.core.insight import (
    Glance,
    Outlook,
    RunRecord,
    RunStatus,
    ScheduleRecord,
    Spans,
)
from ptsflow.core.model import Attempt, ContainerRecord, Status, TaskRecord

#: What `ScreenReads.page` sorts tasks by: their positions, or their durations, the longest
#: first and those without one last.
Order = Literal["position", "duration"]

#: How many of a client's own tasks are in a `Glance`, which are of no step.
OWN_TASKS = 1_000


class PageWindow(Struct, frozen=True, kw_only=True):
    """Which of the tasks that fit `ScreenReads.page` returns."""

    order: Order
    offset: int
    limit: int
    #: How many there are in all, if that is known.
    total: int | None


class RunLedger(Protocol):
    """The runs that held containers. They outlive their containers."""

    def runs(
        self,
        workflow: str | None = None,
        name: str | None = None,
        limit: int = 50,
        before: RunRecord | None = None,
        status: RunStatus | None = None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first.

        Args:
            workflow: return the runs of this workflow only.
            name: return the runs of containers of this name only.
            limit: return so many at the most.
            before: the last run of the page before.
            status: return the runs with this status only.
        """

    def add_run(self, run: RunRecord) -> None:
        """Put a run of another store into the ledger, or replace it.

        Earlier runs of its container that have no end are marked as lost. Of a container
        that is there, MongoDB returns the run as one without an end unless a later run
        has given the lease back. An ordinal that another run has is left out.
        """

    def numbered_runs(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, the largest first.

        The last is the newest of them that ended well, where there is one: older ones are
        left out.
        """

    def number_run(
        self, uid: str, fence: int, ordinal: int, *, told_at: int | None
    ) -> bool:
        """Keep the ordinal of a run, and when somebody was told of its end.

        Return False, and write nothing, if another run of its workflow has that ordinal,
        or if there is no such run.
        """

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        """Keep what the owner of that fence expects, in place of what was told before.

        None forgets it. Return False, and keep nothing, if the lease was lost.
        """

    def outlooks(
        self, uids: Iterable[str], *, of_earlier_runs: bool = False
    ) -> Mapping[str, Outlook]:
        """Return the outlooks of containers by uid; not all of them have one.

        One that was told under an earlier fence is returned only with `of_earlier_runs`:
        its percentage still counts. Whether the owner lives, the container says.
        """


class Schedules(Protocol):
    """The schedules of workflows, each by the name of its workflow."""

    def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""

    def swap_schedule(
        self, before: ScheduleRecord | None, after: ScheduleRecord
    ) -> bool:
        """Keep a schedule in place of the one that was there before, or of none.

        Return False, and write nothing, if something else is there than `before`. If
        `after` is there already, it has been kept.
        """


class ScreenReads(Protocol):
    """What screens read, however many containers and tasks there are.

    In SQLite and memory, all that a call returns is of one commit.
    """

    def recent(
        self,
        limit: int = 200,
        before: ContainerRecord | None = None,
        workflow: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        damaged: list[str] | None = None,
    ) -> list[ContainerRecord]:
        """Return containers, those that were made last first.

        Args:
            limit: return so many at the most.
            before: the last container of the page before.
            workflow: return the containers of this workflow only.
            status: return the containers that are stored with this status only.
            part: return the containers with this text in their names only.
            damaged: what is said of each container that is damaged is added to this
                list, and the others are returned; without it, the first one is raised.
        """

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Glance:
        """Return what a screen shows of a container.

        Args:
            uid: the container's uid.
            active: return so many items that run or wait at the most.
            failed: return so many failed items at the most.
        """

    def page(  # noqa: PLR0913 - three of them say which
        self,
        uid: str,
        step: str | None = None,
        status: Status | None = None,
        part: str | None = None,
        *,
        order: Order = "position",
        offset: int = 0,
        limit: int = 200,
        total: int | None = None,
    ) -> tuple[list[TaskRecord], int]:
        """Return some tasks without payloads, and how many there are in all.

        Args:
            uid: the container's uid.
            step: tasks of this step only.
            status: tasks with this status only.
            part: tasks with this text in their names only.
            order: what they are sorted by.
            offset: leave out so many of the first ones.
            limit: return so many at the most.
            total: how many there are in all, if the caller knows: then the store need
                not count them, and returns this number.
        """

    def names(self, uid: str) -> list[str]:
        """Return the names of all tasks by position, also of damaged ones.

        They are read without the rest of the tasks, for a screen that shows what is left.
        A name that is damaged itself may be another one.
        """

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone.

        Done items of a wide fan-out may be packed.
        """

    def spans(self, uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""

    def ledgers(
        self, uid: str, names: Iterable[str]
    ) -> Mapping[str, Sequence[Attempt]]:
        """Return what `attempts` returns for each task, of tasks that have attempts."""
