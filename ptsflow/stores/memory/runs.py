"""The ledger of runs in memory."""

from __future__ import annotations

from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.stores.rules import (
    RUNS_KEPT,
    RUNS_PRUNED,
    STEPS_KEPT,
    back_to_good,
    lost,
    with_free_ordinal,
    without_steps,
)

_Key = tuple[int, str, int]


class MemoryRuns:
    """Runs by the uid of their container and their fence; the caller holds the lock."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], RunRecord] = {}

    def put(self, run: RunRecord) -> None:
        """Keep a run; mark earlier ones of its container without an end as lost."""
        self.lose(run.uid, run.fence)
        self._runs[run.uid, run.fence] = with_free_ordinal(
            run, self._having_ordinal(run.workflow)
        )
        if run.ended_at is not None:
            self._prune(run.workflow)

    def lose(self, uid: str, before: int) -> None:
        """Mark the runs of a container under earlier fences that have no end as lost."""
        for key, run in self._runs.items():
            if (
                run.status is RunStatus.RUNNING
                and run.uid == uid
                and run.fence < before
            ):
                self._runs[key] = lost(run)

    def _prune(self, workflow: str) -> None:
        kept = [run for run in self._runs.values() if run.workflow == workflow]
        surplus = min(RUNS_PRUNED, len(kept) - RUNS_KEPT)
        for run in sorted(kept, key=_age)[: max(0, surplus)]:
            del self._runs[run.uid, run.fence]
        done = self.find(workflow, None, len(kept), None, RunStatus.DONE)
        for run in done[STEPS_KEPT : STEPS_KEPT + RUNS_PRUNED]:
            self._runs[run.uid, run.fence] = without_steps(run)

    def find(
        self,
        workflow: str | None,
        name: str | None,
        limit: int,
        before: RunRecord | None,
        status: RunStatus | None,
    ) -> list[RunRecord]:
        """Return runs, those that began last first."""
        found = [
            run
            for run in self._runs.values()
            if workflow in (None, run.workflow)
            and name in (None, run.container)
            and status in (None, run.status)
            and (before is None or _age(run) < _age(before))
        ]
        return sorted(found, key=_age, reverse=True)[:limit]

    def numbered(self, workflow: str) -> list[RunRecord]:
        """Return the runs of a workflow that have an ordinal, back to a good one."""
        return back_to_good(self._having_ordinal(workflow))

    def number(self, uid: str, fence: int, ordinal: int, told_at: int | None) -> bool:
        """Keep the ordinal of a run, unless another run of its workflow has it."""
        run = self._runs.get((uid, fence))
        if run is None:
            return False
        numbered = replace(run, ordinal=ordinal, told_at=told_at)
        if with_free_ordinal(numbered, self._having_ordinal(run.workflow)) != numbered:
            return False
        self._runs[uid, fence] = numbered
        return True

    def _having_ordinal(self, workflow: str) -> list[RunRecord]:
        return [
            run
            for run in self._runs.values()
            if run.workflow == workflow and run.ordinal is not None
        ]


def _age(run: RunRecord) -> _Key:
    return run.began_at, run.uid, run.fence
