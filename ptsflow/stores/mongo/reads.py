"""The calls of a MongoDB store about history, and for screens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ptsflow.core.insight import (
    Glance,
    Outlook,
    RunRecord,
    RunStatus,
    ScheduleRecord,
    Spans,
)
from ptsflow.core.model import Attempt, ContainerRecord, Status, TaskRecord
from ptsflow.stores.looks import Order, PageWindow
from ptsflow.stores.mongo.containers import MongoContainers
from ptsflow.stores.mongo.looks import MongoLooks
from ptsflow.stores.mongo.place import Place
from ptsflow.stores.mongo.records import object_id
from ptsflow.stores.mongo.runs import MongoRuns
from ptsflow.stores.mongo.schedules import MongoSchedules
from ptsflow.stores.mongo.tasks import MongoTasks


class MongoReads:
    """A part of `MongoStore`, which makes the collections."""

    _containers: MongoContainers
    _tasks: MongoTasks
    _looks: MongoLooks
    _runs: MongoRuns
    _schedules: MongoSchedules
    _place: Place

    # -- runs ---------------------------------------------------------------

    def runs(
        self,
        workflow: str | None = None,
        name: str | None = None,
        limit: int = 50,
        before: RunRecord | None = None,
        status: RunStatus | None = None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first."""
        return self._runs.find(workflow, name, limit, before, status)

    def add_run(self, run: RunRecord) -> None:
        """Put a run of another store into the ledger, or replace it."""
        self._runs.lose_before(run.uid, run.fence)
        self._runs.put(run)
        if run.ended_at is not None:
            self._runs.prune(run.workflow)

    def numbered_runs(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        return self._runs.numbered(workflow)

    def number_run(
        self, uid: str, fence: int, ordinal: int, *, told_at: int | None
    ) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        return self._runs.number(uid, fence, ordinal, told_at)

    def tell(self, uid: str, fence: int, outlook: Outlook | None) -> bool:
        """Keep what the owner of that fence expects; False if the lease was lost."""
        return self._containers.tell(object_id(uid), fence, outlook)

    def outlooks(
        self, uids: Iterable[str], *, of_earlier_runs: bool = False
    ) -> Mapping[str, Outlook]:
        """Return the outlooks of containers by uid; not all of them have one."""
        return self._containers.outlooks(uids, of_earlier=of_earlier_runs)

    def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        found = self._schedules.all()
        if not found:
            self._place.check()
        return found

    def swap_schedule(
        self, before: ScheduleRecord | None, after: ScheduleRecord
    ) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        self._place.check()
        return self._schedules.swap(before, after)

    # -- reads for screens --------------------------------------------------

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
        """Return containers, those that were made last first."""
        recent = self._containers.recent
        return recent(limit, before, workflow, status, part, damaged)

    def glance(self, uid: str, active: int = 50, failed: int = 50) -> Glance:
        """Return what a screen shows of a container."""
        found = self._looks.glance(object_id(uid), active, failed)
        if not found.tallies:
            self._place.check()
        return found

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
        """Return some tasks without payloads, and how many there are in all."""
        wanted = {"step": step, "status": status}
        window = PageWindow(order=order, offset=offset, limit=limit, total=total)
        return self._looks.page(object_id(uid), wanted, part, window)

    def origins(self, uid: str, steps: Collection[str]) -> Sequence[TaskRecord]:
        """Return the tasks of steps by position, with the fields of `ORIGIN` alone."""
        return self._looks.origins(object_id(uid), steps)

    def spans(self, uid: str, step: str) -> Spans:
        """Return when the last attempts of a step's tasks ran, as far as they began."""
        return self._looks.spans(object_id(uid), step)

    def ledgers(
        self, uid: str, names: Iterable[str]
    ) -> Mapping[str, Sequence[Attempt]]:
        """Return what `attempts` returns for each task, of tasks that have attempts."""
        return self._tasks.ledgers(object_id(uid), names)
