"""What `stores/base.py` promises, in the plainest Python: one container, no store.

Every method answers what a store must answer: a value, or the error's class.
"""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core.model import LEDGER_LENGTH, Change, Status, Stop, TaskRecord
from ptsflow.errors import (
    Conflict,
    ContainerBusy,
    ContainerNotFound,
    LeaseLost,
    PtsflowError,
)

Refusal = type[PtsflowError]

_PAYLOADS = ("task_data", "processing_data", "result")


class Oracle:
    """The container named "feed", if it exists, and its tasks in order."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.exists = False
        self._forget()

    def _forget(self) -> None:
        self.fence = 0
        self.owner: str | None = None
        self.till = 0
        self.reason: str | None = None
        self.stop: Stop | None = None
        self.tasks: list[TaskRecord] = []
        #: The numbers of the attempts in the ledgers of tasks.
        self.ledgers: dict[str, list[int]] = {}

    @property
    def is_leased(self) -> bool:
        return self.owner is not None and self.till > self.now

    def get(self, name: str | None) -> TaskRecord | None:
        return next((task for task in self.tasks if task.name == name), None)

    def create(self) -> bool:
        is_new, self.exists = not self.exists, True
        return is_new

    def delete(self) -> bool:
        if not self.exists or self.is_leased:
            return False
        self.exists = False
        self._forget()
        return True

    def claim(self, owner: str, lease: int, dead: int | None) -> int | None:
        if not self.exists:
            return None
        if self.is_leased and self.owner == owner:
            return self.fence
        if self.is_leased and self.fence != dead:
            return None
        self.fence += 1
        self.owner, self.till, self.stop = owner, self.now + lease, None
        return self.fence

    def holds(self, fence: int) -> bool:
        return self.exists and self.owner is not None and self.fence == fence

    def renew(self, fence: int, lease: int) -> bool:
        if not self.holds(fence):
            return False
        self.till = self.now + lease
        return True

    def save(self, fence: int, reason: str) -> Refusal | None:
        if not self.holds(fence):
            return LeaseLost
        self.reason = reason
        return None

    def release(self, fence: int, reason: str) -> bool:
        if not self.exists or self.fence != fence:
            return False
        if self.owner is not None:
            self.owner, self.reason, self.stop = None, reason, None
        return True

    def ask_to_stop(self, fence: int, how: Stop) -> bool:
        if not self.holds(fence):
            return False
        if self.stop is not Stop.NOW:
            self.stop = how
        return True

    def stop_asked(self, fence: int) -> Stop | None:
        return self.stop if self.holds(fence) else None

    def touch(self, fence: int, name: str, percentage: float) -> Refusal | None:
        if not self.holds(fence):
            return LeaseLost
        task = self.get(name)
        if task is not None and task.status is Status.RUNNING:
            self._put(task, replace(task, percentage_complete=percentage))
        return None

    def commit(self, change: Change, fence: int | None) -> Refusal | None:
        if not self.exists:
            return ContainerNotFound
        if fence is None and self.is_leased:
            return ContainerBusy
        if fence is not None and not self.holds(fence):
            return LeaseLost
        before, after = change.before, change.after
        old = self.get(before.name if before else None)
        new = self.get(after.name if after else None)
        is_match = before is None or (
            old is not None
            and (old.version, old.fence, old.position)
            == (before.version, before.fence, before.position)
        )
        is_free = new is None or (before is not None and new is old)
        if is_match and is_free:
            self._put(old, after and _merged(old, after))
            self._enter(change)
            return None
        is_ours = fence is not None and self.is_as_wanted(change)
        return None if is_ours else Conflict

    def is_as_wanted(self, change: Change) -> bool:
        """Return whether all is as it is after the change, whoever made it."""
        if change.after is None:
            return self.get(change.before.name if change.before else None) is None
        found = self.get(change.after.name)
        return found is not None and _alike(found) == _alike(change.after)

    def _enter(self, change: Change) -> None:
        before, after = change.before, change.after
        ledger = self.ledgers.pop(before.name, []) if before else []
        if change.ended is not None:
            entries = {*ledger, change.ended.number}
            ledger = sorted(entries)[-LEDGER_LENGTH:]
        if after is not None and ledger:
            self.ledgers[after.name] = ledger

    def _put(self, old: TaskRecord | None, new: TaskRecord | None) -> None:
        if old is None:
            assert new is not None
            self.tasks.append(new)
        else:
            place = self.tasks.index(old)
            self.tasks[place : place + 1] = [] if new is None else [new]


def _merged(old: TaskRecord | None, after: TaskRecord) -> TaskRecord:
    kept = {}
    for field in _PAYLOADS:
        if getattr(after, field) is UNSET:
            kept[field] = getattr(old, field) if old else None
    return replace(after, **kept)


def _alike(task: TaskRecord) -> TaskRecord:
    loose = {"position": 0, "percentage_complete": 0.0, "status_text": ""}
    return replace(task, **loose, **dict.fromkeys(_PAYLOADS))
