"""The tasks of one container in memory: reading, swapping and counting them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.stores.rules import ledger_of, matches, recognise


class Shelf:
    """One container with its tasks, payloads included."""

    __slots__ = ("ledgers", "next_position", "record", "tasks")

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.tasks: dict[str, TaskRecord] = {}
        #: The attempts of those tasks that have any.
        self.ledgers: dict[str, list[Attempt]] = {}
        self.next_position = 0

    def in_order(self, names: Iterable[str] | None = None) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        if names is None:
            return sorted(self.tasks.values(), key=_place)
        found = [self.tasks[name] for name in set(names) & self.tasks.keys()]
        return sorted(found, key=_place)

    def first_open(self, unleased_at: int | None) -> TaskRecord | None:
        """Return the first task that is neither complete nor leased at that time."""
        return min(
            (
                task
                for task in self.tasks.values()
                if not task.is_complete
                and (unleased_at is None or (task.leased_till or 0) <= unleased_at)
            ),
            key=_place,
            default=None,
        )

    def commit(self, changes: Sequence[Change], fence: int | None) -> None:
        """Make all changes, or none of them."""
        batch = _Swaps(self, fence)
        for change in changes:
            batch.add(change)
        batch.apply()

    def touch(self, progress: Iterable[Progress]) -> None:
        """Write the progress of running tasks."""
        for each in progress:
            task = self.tasks.get(each.name)
            if task is not None and task.status is Status.RUNNING:
                self.tasks[each.name] = replace(
                    task, percentage_complete=each.percentage, status_text=each.text
                )

    def tally(self) -> list[Tally]:
        """Return the tasks counted by step and status."""
        counts: Counter[tuple[str, Status]] = Counter()
        sums: defaultdict[tuple[str, Status], float] = defaultdict(float)
        for task in self.in_order():
            counts[task.step, task.status] += 1
            sums[task.step, task.status] += task.percentage_complete
        return [
            Tally(step=step, status=status, count=count, percentage=sums[step, status])
            for (step, status), count in counts.items()
        ]


class _Swaps:
    """The changes of one batch, which take effect together once all of them fit."""

    __slots__ = ("fence", "ledgers", "next_position", "shelf", "staged")

    def __init__(self, shelf: Shelf, fence: int | None) -> None:
        self.shelf = shelf
        self.fence = fence
        self.next_position = shelf.next_position
        self.staged: dict[str, TaskRecord | None] = {}
        self.ledgers: dict[str, list[Attempt]] = {}

    def add(self, change: Change) -> None:
        """Take in one change, or raise Conflict."""
        before, after = change.before, change.after
        stored = self._get(before.name) if before else None
        taken = self._get(after.name) if after else None
        renames = before is None or (after is not None and after.name != before.name)
        if not matches(before, stored) or (renames and taken is not None):
            recognise(
                self.shelf.record.name,
                change,
                self.fence,
                at_before=stored,
                at_after=taken,
            )
            return
        ledger = self._ledger(before.name) if before else []
        if change.ended is not None:
            ledger = ledger_of([*ledger, change.ended])
        if before is not None and (after is None or renames):
            self.staged[before.name] = None
            self.ledgers[before.name] = []
        if after is not None:
            self.staged[after.name] = self._merged(before, after, stored)
            if change.ended is not None or (renames and ledger):
                self.ledgers[after.name] = ledger

    def apply(self) -> None:
        """Let all changes take effect."""
        tasks = self.shelf.tasks
        for name, task in self.staged.items():
            if task is None:
                tasks.pop(name, None)
            else:
                tasks[name] = task
        for name, ledger in self.ledgers.items():
            if ledger:
                self.shelf.ledgers[name] = ledger
            else:
                self.shelf.ledgers.pop(name, None)
        self.shelf.next_position = self.next_position

    def _get(self, name: str) -> TaskRecord | None:
        if name in self.staged:
            return self.staged[name]
        return self.shelf.tasks.get(name)

    def _ledger(self, name: str) -> list[Attempt]:
        found = self.ledgers.get(name)
        return self.shelf.ledgers.get(name, []) if found is None else found

    def _merged(
        self, before: TaskRecord | None, after: TaskRecord, stored: TaskRecord | None
    ) -> TaskRecord:
        position = self.next_position if after.position < 0 else after.position
        self.next_position = max(self.next_position, position + 1)
        seen, kept = before or _EMPTY, stored or _EMPTY
        return replace(
            after,
            position=position,
            task_data=_pick(seen.task_data, after.task_data, kept.task_data),
            processing_data=_pick(
                seen.processing_data, after.processing_data, kept.processing_data
            ),
            result=_pick(seen.result, after.result, kept.result),
        )


_EMPTY = TaskRecord(name="", task_data=None, processing_data=None, result=None)

_Payload = str | None | UnsetType


def _pick(before: _Payload, after: _Payload, stored: _Payload) -> _Payload:
    return stored if after is UNSET or after is before else after


def _place(task: TaskRecord) -> tuple[int, str]:
    return task.position, task.name
