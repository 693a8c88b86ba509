"""The percentage of a container never falls, whatever happens to its runs.

Random runs in one container: attempts fail and begin at 0 again, skipped items open again,
lists grow, and runners are killed around any of their writes. After each write the
percentage is what screens make of the store: the largest that was told, or what the tasks
tell if that is more.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from ptsflow import Client, Fail, Retry, TaskHandle, Workflow, step
from ptsflow.client import admin
from ptsflow.client.lease import acquire
from ptsflow.core.insight import Outlook, RunStatus
from ptsflow.core.model import Status
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.host.process_identity import this_process
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox, TaskOutcome
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.session import HeldRun
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.testing import ManualClock

WRITES = ("commit", "touch", "tell", "save", "release")


class Killed(BaseException):
    """The process was killed."""


class Watched(MemoryStore):
    """A store that is looked at after each write, and that dies with its process."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        #: The percentages that were seen, and how many writes the process still makes.
        self.seen: list[float] = []
        self.left = math.inf

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._watched(found) if name in WRITES else found

    def _watched(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.left < 1:
                raise Killed
            self.left -= 1
            done = write(*args, **kwargs)
            self.seen.append(self.percentage())
            if self.left < 1:
                raise Killed
            return done

        return watched

    def percentage(self) -> float:
        (record,) = self.containers()
        if record.status is not Status.DONE and not record.plan:
            return 0.0
        container = Client(self).get_task_container("c")
        assert container is not None
        return container.percentage_complete


class Circumstances(Struct, frozen=True):
    """What happens in one run."""

    #: How many more items there are than in the run before.
    more: int
    #: How often the attempts of each item fail after what share; of others none.
    failing: dict[int, list[int]]
    #: After how many writes the runner is killed.
    killed_after: int | None


def workflow_of(size: int, failing: dict[int, list[int]], clock: ManualClock) -> Any:
    class Varied(Workflow):
        @step(version=str(size))
        def numbers(self) -> list[int]:
            return list(range(size))

        @step(each=numbers, retry=Retry(2, delay=0), tolerate=1)
        def load(self, number: int, task: TaskHandle) -> int:
            for done in (10, 50, 90):
                clock.now += (300, 20_000)[number % 2]
                task.progress(done)
                reached = failing.get(number, [])[task.attempt - 1 : task.attempt]
                if reached and done >= reached[0]:
                    raise OSError
            return number

        @step(each=load)
        def check(self, number: int) -> int:
            clock.now += 500
            return number

        @step
        def total(self, check: list[int], task: TaskHandle) -> int:
            task.progress(40)
            if failing:
                raise Fail("not yet")
            return len(check)

    return Varied()


def run(
    store: Watched,
    clock: ManualClock,
    workflow: Workflow,
    *,
    looks: bool = True,
    **options: Any,
) -> None:
    given = RunOptions(container="c", jobs=2, clock=clock, **options)
    planned = plan_run(workflow, given)
    bus = Bus([], clock)
    found = planned.find_or_make(store, bus.notice)
    claimed, _ = acquire(store, found, this_process(clock), 30_000)
    with HeldRun(planned, store, claimed, bus) as held:
        loop = held.prepare(Mailbox("c"), lambda: math.inf)
        drive(loop, looks=looks)
        held.conclude(loop, None, lambda: contextlib.nullcontext(store))


def drive(loop: Loop, *, looks: bool) -> None:
    calls: deque[Call] = deque()
    loop.mailbox.open(loop.tasks, lambda: calls.extend(loop.turn()))
    foresight = loop.foresight
    while not loop.is_over:
        calls.extend(loop.turn())
        if looks:
            foresight._look_at = foresight.telling._tell_at = 0.0
            foresight.look(loop.schedule, loop.tasks, loop.work.gauge.value)
            foresight.expect(2, loop.clock())
            foresight.telling.tell(loop.store)
        if calls:
            call = calls.popleft()
            outcome = attempt.run(call)
            loop.write_progress()
            loop.mailbox.arrived.append(TaskOutcome(call.handle.name, outcome))


runs = st.lists(
    st.builds(
        Circumstances,
        more=st.sampled_from([0, 0, 1, 3]),
        failing=st.dictionaries(
            st.integers(0, 4), st.lists(st.sampled_from([10, 50, 90]), max_size=4)
        ),
        killed_after=st.none() | st.integers(1, 40),
    ),
    min_size=1,
    max_size=6,
)


@given(runs=runs, looks=st.booleans(), has_history=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_percentage_of_a_container_never_falls(
    runs: list[Circumstances], *, looks: bool, has_history: bool
) -> None:
    clock = ManualClock()
    store = Watched(clock)
    size = 2
    if has_history:
        with_history(store, clock)
    for now in runs:
        if store.container("c") and is_done(store):
            break
        size += now.more
        store.left = math.inf if now.killed_after is None else now.killed_after
        with contextlib.suppress(Killed):
            run(store, clock, workflow_of(size, now.failing, clock), looks=looks)
        store.left = math.inf
        clock.now += 60_000
    seen = store.seen
    falls = [(a, b) for a, b in pairwise(seen) if b < a - 1e-5]

    assert not falls, seen
    assert all(0 <= percentage <= 100 for percentage in seen)


@pytest.fixture
def failed() -> tuple[Watched, ManualClock]:
    """Return a store whose container failed at its last step, after much of it."""
    clock = ManualClock()
    store = Watched(clock)
    run(store, clock, workflow_of(4, {0: [90] * 4}, clock))
    return store, clock


def least_shown(store: Watched, act: Callable[[], object]) -> tuple[float, float]:
    """Return the percentage before `act`, and the least that was shown in it."""
    before = store.percentage()
    store.seen.clear()
    act()
    return before, min(store.seen)


def test_what_a_person_retries_takes_nothing_from_the_percentage(
    failed: tuple[Watched, ManualClock],
) -> None:
    store, clock = failed
    (record,) = store.containers()
    # check[0] was skipped, as load[0] failed; now it waits again.
    again: list[str] = []
    before, least = least_shown(
        store, lambda: again.extend(admin.retry(store, record, clock=clock))
    )

    assert "check[0]" in again
    assert before == least > 50


@pytest.mark.parametrize("what", ["reset", "fresh", "from", "changed", "client"])
def test_who_wants_it_done_again_sees_how_far_it_is(
    failed: tuple[Watched, ManualClock], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = failed
    (record,) = store.containers()
    held, _ = acquire(store, record, this_process(clock), 30_000)
    store.tell(held.uid, held.fence, Outlook(at=clock(), percentage=99.0))
    store.release(held)
    assert store.percentage() == 99.0
    if what == "reset":
        admin.reset(store, record, step="check", clock=clock)
    elif what == "client":
        container = Client(store).get_task_container("c")
        assert container is not None
        container.add_task("more")
    else:
        options: dict[str, Any] = {what: True}
        if what == "from":
            options = {"from_step": "load"}
        monkeypatch.setattr("ptsflow.runner.planned_run.changed", lambda *_: ["load"])
        run(store, clock, workflow_of(4, {0: [90] * 4}, clock), **options)

    assert 10 < store.percentage() < 99


def test_a_complete_container_that_is_opened_again_begins_with_what_is_done() -> None:
    clock = ManualClock()
    store = Watched(clock)
    run(store, clock, workflow_of(2, {}, clock))
    assert store.percentage() == 100
    run(store, clock, workflow_of(9, {8: [90] * 4}, clock))

    assert 10 < store.percentage() < 100


def with_history(store: Watched, clock: ManualClock) -> None:
    run(store, clock, workflow_of(2, {}, clock), looks=False)
    assert store.delete(store.containers()[0].uid)
    assert [row.status for row in store.runs()] == [RunStatus.DONE]
    store.seen.clear()


def is_done(store: Watched) -> bool:
    return store.containers()[0].status is Status.DONE
