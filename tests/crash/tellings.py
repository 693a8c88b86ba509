"""Whether each trouble of a workflow was told once, and its end once, by what was written.

The runs are those of the ledger. Beside it each hook wrote a line of what it was told, and
each runner a line when it was done with the hooks of a run. A runner that was killed
before that may have told nothing, and whatever it noted may not have been told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.trouble import FAILURES, HookName

#: How far the clocks of a server and of this host may differ, in milliseconds.
_NEAR = 50
_EVER = 1 << 60


class Telling(Struct, frozen=True):
    """What a hook was told."""

    hook: str
    container: str
    ended_at: int


class Trouble(Struct):
    """Runs that failed, and the run that ended the trouble, if it is over."""

    failures: list[RunRecord]
    recovery: RunRecord | None = None


class Hearing(Struct, frozen=True, kw_only=True):
    """What is known when all is over."""

    runs: Sequence[RunRecord]
    tellings: Sequence[Telling]
    #: When the runner of a run was done with its hooks, by uid and fence.
    done_at: Mapping[tuple[str, int], int]
    #: The process ids of callers that were killed.
    killed: Collection[str]

    def check(self) -> str:
        """Check all; return figures."""
        troubles = self._troubles()
        lost = self._check_tellings()
        over = [run for run in self.runs if run.status in (*FAILURES, RunStatus.DONE)]
        undecided = [run for run in over if self._key(run) not in self.done_at]
        for run in undecided:
            assert self._was_killed_in(run), f"no hooks of {_named(run)}"
        for run in over:
            if run.ordinal is None and run not in undecided:
                assert run.status is RunStatus.DONE, f"{_named(run)} failed, untold"
                assert self._is_no_recovery(run, troubles), f"{_named(run)} untold"
        for trouble in troubles:
            self._check_recovery(trouble)
        ended = sum(trouble.recovery is not None for trouble in troubles)
        return (
            f"{len(troubles)} troubles, {ended} of them over, {len(undecided)} runs "
            f"killed before their hooks were done, {lost} tellings lost by that"
        )

    def _troubles(self) -> list[Trouble]:
        """Return the troubles by the ordinals of their runs: failures, then a recovery."""
        numbered = [run for run in self.runs if run.ordinal is not None]
        numbered.sort(key=lambda run: run.ordinal or 0)
        ordinals = [run.ordinal for run in numbered]
        assert ordinals == list(range(1, len(numbered) + 1)), f"ordinals {ordinals}"
        found: list[Trouble] = []
        for run in numbered:
            is_open = bool(found) and found[-1].recovery is None
            if run.status in FAILURES:
                if not is_open:
                    found.append(Trouble([]))
                found[-1].failures.append(run)
                assert (run.told_at is None) == is_open, f"{_named(run)} in a trouble"
            else:
                assert (run.status, is_open) == (RunStatus.DONE, True), _named(run)
                assert run.told_at is not None, _named(run)
                found[-1].recovery = run
        return found

    def _check_tellings(self) -> int:
        """Check that hooks were told what was noted, and no more; return how many were lost."""
        noted = {_telling(run): run for run in self.runs if run.told_at is not None}
        heard = Counter(self.tellings)
        assert heard.keys() <= noted.keys(), "told, and not noted"
        assert set(heard.values()) <= {1}, "told twice"
        lost = noted.keys() - heard.keys()
        for telling in lost:
            assert self._key(noted[telling]) not in self.done_at, f"untold: {telling}"
        return len(lost)

    def _was_killed_in(self, run: RunRecord) -> bool:
        """Whether the runner was killed, and this was its last run."""
        later = [r for r in self.runs if r.ran_by == run.ran_by and _later(r, run)]
        return not later and run.ran_by.rpartition(":")[2] in self.killed

    def _is_no_recovery(self, run: RunRecord, troubles: Iterable[Trouble]) -> bool:
        """Whether there was no trouble, or something unfinished, when this run ended."""
        begin, end = _ended(run) - _NEAR, self.done_at[self._key(run)] + _NEAR
        over_at = -_EVER
        for trouble in troubles:
            first = trouble.failures[0]
            if begin <= self.done_at.get(self._key(first), _EVER) and end >= over_at:
                return True
            over_at = _EVER
            if trouble.recovery is not None:
                over_at = trouble.recovery.told_at or 0
        if end >= over_at:
            return True
        return any(
            _ended(failed) <= end
            and failed.container != run.container
            and self._completed_at(failed) > _ended(run)
            for failed in self.runs
            if failed.status in FAILURES
        )

    def _check_recovery(self, trouble: Trouble) -> None:
        """Check that nothing that failed was unfinished when it was told as over."""
        recovery = trouble.recovery
        if recovery is None:
            return
        began = min(map(_ended, trouble.failures))
        known = [
            run
            for run in self.runs
            if run.status in FAILURES
            and run.ordinal is None
            and began <= _ended(run) < recovery.began_at
        ]
        until = self.done_at.get(self._key(recovery), _EVER) + _NEAR
        for failed in [*trouble.failures, *known]:
            at = self._completed_at(failed)
            assert at <= until, f"{_named(recovery)} ends it before {_named(failed)}"

    def _completed_at(self, failed: RunRecord) -> int:
        ends = [
            _ended(run)
            for run in self.runs
            if run.container == failed.container and run.status is RunStatus.DONE
        ]
        return min(ends, default=_EVER)

    def _key(self, run: RunRecord) -> tuple[str, int]:
        return run.uid, run.fence


def _telling(run: RunRecord) -> Telling:
    hook = HookName.RECOVERY if run.status is RunStatus.DONE else HookName.FAILURE
    return Telling(hook.value, run.container, _ended(run))


def _ended(run: RunRecord) -> int:
    return run.began_at if run.ended_at is None else run.ended_at


def _later(run: RunRecord, other: RunRecord) -> bool:
    return run.began_at >= _ended(other) and run is not other


def _named(run: RunRecord) -> str:
    return f"{run.container} under fence {run.fence} ({run.status})"
