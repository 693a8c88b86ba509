"""The schedules of workflows in memory."""

from __future__ import annotations

from threading import Lock

from ptsflow.core.insight import ScheduleRecord


class MemorySchedules:
    """Schedules by the names of their workflows, under one lock."""

    __slots__ = ("_kept", "_lock")

    def __init__(self) -> None:
        self._kept: dict[str, ScheduleRecord] = {}
        self._lock = Lock()

    def all(self) -> list[ScheduleRecord]:
        """Return all schedules, by the names of their workflows."""
        with self._lock:
            return [schedule for _, schedule in sorted(self._kept.items())]

    def swap(self, before: ScheduleRecord | None, after: ScheduleRecord) -> bool:
        """Keep a schedule in place of the one before; False if another one is there."""
        with self._lock:
            if self._kept.get(after.workflow) not in (before, after):
                return False
            self._kept[after.workflow] = after
            return True
