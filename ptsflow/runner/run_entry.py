"""A run in the ledger of runs: what is kept of it when it begins, and when it ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable
from heapq import nsmallest

from msgspec.structs import replace

from ptsflow.core.attempt_ledger import with_entries
from ptsflow.core.history import begun, errors_of, record_of
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.packed import Tasks, parts_of
from ptsflow.core.texts import one_line
from ptsflow.errors import LeaseLost, PtsflowError, StoreDamaged, StoreError
from ptsflow.events import RunEnding
from ptsflow.host.clock import to_datetime
from ptsflow.runner.report import Halt, Stopped
from ptsflow.stores.base import Store
from ptsflow.workflow.workflow import Workflow

#: Of how many tasks the ledgers are read at the end of a run. Of more, the numbers of
#: retries and failed attempts are too small.
_MOST_LEDGERS = 5_000

#: The endings that are neither "done" nor a failure.
_STATUSES = {
    RunEnding.DONE: RunStatus.DONE,
    RunEnding.STOPPED: RunStatus.STOPPED,
    RunEnding.TIMEOUT: RunStatus.TIMEOUT,
}


def status_of(container: Status, halt: Halt | None, *, is_ok: bool) -> RunStatus:
    """Return how a run ended whose loop is over.

    Args:
        container: the container's status as the run leaves it.
        halt: what stopped the run, if anything did.
        is_ok: whether all that was to be done is.
    """
    if container is Status.DONE:
        return RunStatus.DONE
    if halt is not None and halt.number == signal.SIGALRM:
        return RunStatus.TIMEOUT
    # Some of the steps may have been all that was to be done.
    return RunStatus.STOPPED if is_ok or halt is not None else RunStatus.FAILED


class RunEntry:
    """The entry of one run.

    Args:
        store: has the earlier runs of the container.
        container: the container as the run holds it when it begins.
        workflow: the workflow object of the run.
        now: the time.
        jobs: how many bodies may run at a time.
        tick: the tick that the run does, if it was begun for one.
    """

    def __init__(
        self,
        store: Store,
        container: ContainerRecord,
        workflow: Workflow,
        now: int,
        *,
        jobs: int,
        tick: int | None,
    ) -> None:
        #: The record of the run as it began.
        if tick is None:
            tick = _tick(store, workflow, container, now)
        self.begun = begun(container, now=now, jobs=jobs, tick=tick)

    def ended(  # noqa: PLR0913 - called in one place, most by keyword
        self,
        store: Store,
        container: ContainerRecord,
        tasks: Tasks,
        *,
        expected: Iterable[tuple[int, int]],
        status: RunStatus,
        now: int,
        notice: Callable[[str], None],
    ) -> RunRecord:
        """Return the record of the run as it ends.

        History is not worth a run: if an error keeps details from it, they are left out.

        Args:
            store: has the ledgers of the tasks.
            container: the container as the run leaves it.
            tasks: its tasks.
            expected: when an end was expected, and which.
            status: how the run ended.
            now: the time.
            notice: told in one line that details are missing.
        """
        try:
            names = _with_ledgers(tasks)
            ledgers = store.ledgers(container.uid, names) if names else {}
            run = self.begun
            if status is RunStatus.DONE:
                errors = errors_of(expected, run.began_at, now)
                run = replace(run, outlook_errors=errors)
            return record_of(run, container, tasks, ledgers, now=now, status=status)
        except Exception as error:  # noqa: BLE001 - of whatever kind it is.
            notice(f"the history lacks details of this run: {one_line(error)}")
            return replace(
                self.begun, status=status, ended_at=max(now, self.begun.began_at)
            )


def _tick(
    store: Store, workflow: Workflow, container: ContainerRecord, now: int
) -> int | None:
    """Return the tick of the workflow's schedule that a run by hand does the work of.

    It is that of the run before, which may have begun when the tick was not yet too old.
    """
    if type(workflow).declared_options.schedule is None:
        return None
    if container.fence > 1:
        # A run that cannot be read keeps no run from beginning.
        with contextlib.suppress(StoreDamaged):
            for run in store.runs(container.workflow, container.name, limit=1):
                if run.uid == container.uid and run.tick is not None:
                    return run.tick
    from ptsflow.workflow.schedule import tick_named  # noqa: PLC0415 - seldom used

    return tick_named(workflow, container.name, to_datetime(now))


def status_by(ending: RunEnding) -> RunStatus:
    """Return how a run ended that broke off."""
    return _STATUSES.get(ending, RunStatus.FAILED)


def _with_ledgers(tasks: Tasks) -> list[str]:
    """Return the names of the tasks that may have attempts in their ledgers."""
    tried = with_entries(*parts_of(tasks))
    # Failed ones come first: their errors are named.
    first = nsmallest(
        _MOST_LEDGERS, tried, key=lambda t: (not t.has_failed, t.position)
    )
    return [task.name for task in first]


def ending_by(error: BaseException) -> tuple[RunEnding, str]:
    """Return how a run ended that an error or a signal ended, and the error in one line."""
    match error:
        case Stopped(number=signal.SIGALRM, halt=halt):
            return RunEnding.TIMEOUT, str(halt)
        case Stopped(halt=halt):
            return RunEnding.STOPPED, str(halt)
        case KeyboardInterrupt() | SystemExit():
            return RunEnding.STOPPED, f"stopped by {type(error).__name__}"
        case LeaseLost():
            return RunEnding.LEASE_LOST, str(error)
        case StoreError():
            return RunEnding.STORE, str(error)
        case PtsflowError():
            return RunEnding.REFUSED, str(error)
        case _:
            return RunEnding.BUG, one_line(error)
