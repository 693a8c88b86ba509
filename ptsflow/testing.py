"""For users' tests: run a workflow without threads, without sleeping, without a file.

```python
from ptsflow.testing import ManualClock, run_inline

def test_the_import():
    report = run_inline(EpfImport(hour=datetime(2011, 9, 30, 13)))
    assert report.ok and report.result("verify") == 5
```
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Sequence

from ptsflow.client import Client
from ptsflow.client.lease import acquire
from ptsflow.core.outcome import Raised
from ptsflow.events import Listener
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.host.process_identity import this_process
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox, TaskOutcome
from ptsflow.runner.options import RunOptions, names_of
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.report import Report
from ptsflow.runner.session import HeldRun
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.workflow.workflow import Workflow, hiding

#: What Ctrl-C raises inside the body, as bodies run in the main thread here.
_INTERRUPT = KeyboardInterrupt.__name__
#: 2020-01-01T00:00:00Z, in milliseconds: a day that no test mistakes for today.
_START = 1_577_836_800_000


class ManualClock:
    """A clock that stands still until it is told to move.

    Args:
        now: where it begins, in milliseconds since the epoch.
    """

    def __init__(self, now: int = _START) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the time, in milliseconds since the epoch."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += round(seconds * 1000)


def run_inline(  # noqa: PLR0913 - the options of run that make sense here
    workflow: Workflow,
    *,
    client: Client | None = None,
    clock: ManualClock | None = None,
    container: str | None = None,
    from_step: str | None = None,
    only: Sequence[str] | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Run a workflow in this thread, one body after the other; return its report.

    If all that is left is to wait for the next attempt of a task, the clock is moved
    there: a retry in an hour takes no time. Results go through the codec as in a real run.

    Args:
        workflow: the workflow object, with its parameters.
        client: keeps the container, to run it again or to look at it; without it, one
            in memory that is gone with the report.
        clock: tells the time; waits move it forward.
        container: the container's name, instead of the workflow's own.
        from_step: run this step, or this item such as "load[a]", again, and all that waits
            for it.
        only: run these steps and items alone.
        listeners: called with every event.

    Raises:
        PtsflowError: as `ptsflow.run` does.
        KeyboardInterrupt: Ctrl-C; what ran is recorded as interrupted.
    """
    clock = clock or ManualClock()
    options = RunOptions(
        container=container,
        jobs=1,
        clock=clock,
        from_step=from_step,
        only=names_of(only),
    )
    planned = plan_run(workflow, options)
    store = MemoryStore(clock=clock) if client is None else client.store
    bus = Bus(listeners, clock)
    seen = planned.find_or_make(store, bus.notice)
    claimed, _ = acquire(store, seen, this_process(clock), options.lease_ms)
    with HeldRun(planned, store, claimed, bus) as held:
        loop = held.prepare(
            Mailbox(claimed.name, hide=hiding(workflow)), lambda: math.inf
        )
        _drive(loop, clock)
        return held.conclude(loop, None, lambda: contextlib.nullcontext(store))


def _drive(loop: Loop, clock: ManualClock) -> None:
    calls: deque[Call] = deque()
    loop.mailbox.open(loop.tasks, lambda: calls.extend(loop.turn()))
    while not loop.is_over:
        calls.extend(loop.turn())
        if calls:
            call = calls.popleft()
            outcome = attempt.run(call)
            if isinstance(outcome, Raised) and outcome.error_type == _INTERRUPT:
                loop.interrupt()
                raise KeyboardInterrupt
            name, took_ms = call.handle.name, call.handle.took_ms
            ended = TaskOutcome(name, outcome, took_ms=took_ms)
            loop.mailbox.arrived.append(ended)
            loop.show_progress()
            loop.write_progress()
            continue
        due = loop.schedule.next_due()
        if due is not None:
            clock.now = max(clock.now, due)
