"""Runs in virtual time whose runners are killed, frozen and overtaken at random.

The real loop drives them, in one thread and on a clock that is moved by hand. So a seed
is one story, the same each time: `python -m tests.crash.simulation SEED` plays it again.
"""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import contextlib
import heapq
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from ptsflow import Fail, Retry, RetryLater, Skip, TaskHandle, Workflow, step
from ptsflow.client.lease import acquire
from ptsflow.core.model import Change, Status, TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.host.process_identity import this_process
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import Mailbox, TaskOutcome
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.session import HeldRun
from ptsflow.stores.base import Store
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.testing import ManualClock
from ptsflow.workflow.step import Step

_LEASE = 60.0
#: How often a step may fail. Most crashes of one story are fewer.
_BUDGET = 12
#: How often a body that kills its runner may be begun.
_DEADLY_BUDGET = 2
_MOST_CRASHES = 6
_WRITES = frozenset({"create", "claim", "commit", "save", "release", "touch", "renew"})


class Died(BaseException):
    """The runner was killed here."""


class CheckedStore(MemoryStore):
    """Notes what is acknowledged, and that nothing which is done is ever run again."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        #: Steps that belong to each run.
        self.always: set[str] = set()

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Commit, and compare."""
        super().commit(uid, changes, fence=fence)
        for before, after in ((c.before, c.after) for c in changes):
            if before and before.step not in self.always:
                was_done = before.status is Status.DONE
                assert not was_done or (after and after.status is Status.DONE), before


class Life:
    """A store as one runner sees it, until the runner is killed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_over = False

    def __getattr__(self, name: str) -> Any:
        """Return what the store has, with deaths around its writes."""
        found = getattr(self._world.store, name)
        if not callable(found) or name in ("key_of", "now"):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.is_over:
                raise Died
            if name not in _WRITES:
                return found(*args, **kwargs)
            self.perhaps(0.03)
            answer = found(*args, **kwargs)
            self.perhaps(0.03)
            return answer

        return call

    def perhaps(self, chance: float) -> None:
        """Die here, or do not."""
        if self._world.strikes(chance):
            self.die()

    def die(self) -> None:
        self.is_over = True
        raise Died


class World:
    """One story: a workflow, its runners, and what becomes of them."""

    def __init__(self, seed: int, *, is_calm: bool) -> None:
        self.chance = random.Random(seed)
        self.is_calm = is_calm
        self.clock = ManualClock()
        self.store = CheckedStore(self.clock)
        self.workflow = _workflow(seed, self)
        declared = self.workflow.declared_steps.values()
        self.store.always = {s.name for s in declared if s.options.always}
        self.crashes = 0
        self.lives = 0
        self.depth = 0
        self.fences: list[int] = []
        #: How often each body was begun.
        self.begun = Counter[str]()
        #: By task, what it may have saved last: one value, once it was told to be durable.
        self.saved: dict[str, tuple[object, ...]] = {}
        #: What bodies found that must not be.
        self.wrong: list[str] = []

    def strikes(self, chance: float) -> bool:
        if self.is_calm or self.crashes >= _MOST_CRASHES:
            return False
        strikes = self.chance.random() < chance
        self.crashes += strikes
        return strikes

    def may_have_saved(self, task: str) -> tuple[object, ...]:
        """Return the values of which a task must be given one."""
        saved = self.saved.get(task, (None,))
        # What always runs begins anew in each run.
        return (None, *saved) if task in self.store.always else saved

    def tasks(self) -> dict[str, TaskRecord]:
        record = self.store.container("c")
        found = self.store.tasks(record.uid, payloads=True) if record else []
        return {task.name: task for task in found}

    def play(self) -> None:
        """Run again and again, until a run comes to its end."""
        while not self.live():
            assert self.lives <= 40, "no run comes to its end"

    def live(self) -> bool:
        """Begin a runner; return whether it came to its end."""
        self.lives += 1
        self.clock.advance(_LEASE + 1)  # The runner before it may be on another host.
        life = Life(self)
        try:
            Runner(self, life).run()
        except Died:
            life.is_over = True
            return False
        except LeaseLost:
            return False
        return True

    def interlude(self) -> None:
        """Freeze the runner that calls this, and have another one overtake it."""
        if self.depth < 2 and self.strikes(0.05):
            self.depth += 1
            self.live()
            self.depth -= 1


class Runner:
    """One runner, whose bodies take their time on the clock of its world."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life
        #: What runs: when it ends, in which order it began.
        self._running: list[tuple[int, int, Call]] = []

    def run(self) -> None:
        world = self._world
        clock, store = world.clock, cast("Store", self._life)
        options = RunOptions(
            container="c", jobs=world.chance.randint(1, 4), clock=clock, lease=_LEASE
        )
        planned = plan_run(world.workflow(), options)
        bus = Bus((), clock)
        seen = planned.find_or_make(store, bus.notice)
        owner = replace(this_process(clock), host=f"host{world.lives}")
        claimed, _ = acquire(store, seen, owner, options.lease_ms)
        assert claimed.fence > max(world.fences, default=0)
        world.fences.append(claimed.fence)
        with HeldRun(planned, store, claimed, bus) as held:
            loop = held.prepare(Mailbox(claimed.name), lambda: math.inf)
            loop.mailbox.open(loop.tasks, lambda: self._begin(loop))
            self._drive(loop)
            report = held.conclude(loop, None, lambda: contextlib.nullcontext(store))
            assert report.ok, report.errors

    def _drive(self, loop: Loop) -> None:
        clock, turns = self._world.clock, 0
        while not loop.is_over:
            turns += 1
            assert turns < 2000, "the loop goes on for ever"
            self._begin(loop)
            if self._running:
                self._end(loop)
            elif (due := loop.schedule.next_due()) is not None:
                clock.now = max(clock.now, due)

    def _begin(self, loop: Loop) -> None:
        world = self._world
        for call in loop.turn():
            handle = call.handle
            stored = world.tasks().get(handle.name)
            # What is begun is recorded before, by this runner and nobody else.
            assert stored is not None
            assert stored.status is Status.RUNNING
            assert stored.fence == world.fences[-1]
            world.begun[handle.name] += 1
            takes = world.clock.now + world.chance.randrange(20_000)
            heapq.heappush(self._running, (takes, sum(world.begun.values()), call))
        self._life.perhaps(0.02)

    def _end(self, loop: Loop) -> None:
        world = self._world
        world.interlude()
        at, _, call = heapq.heappop(self._running)
        world.clock.now = max(world.clock.now, at)
        self._life.perhaps(0.02)
        name = call.handle.name
        if name == "deadly" and not world.is_calm:
            self._life.die()
        outcome = attempt.run(call)
        assert world.wrong == []
        self._life.perhaps(0.02)
        ended = TaskOutcome(name, outcome, took_ms=call.handle.took_ms)
        loop.mailbox.arrived.append(ended)
        loop.show_progress()
        loop.write_progress()


def _workflow(seed: int, world: World) -> type[Workflow]:
    """Return the workflow of a seed."""
    chance = random.Random(seed)
    steps: dict[str, Step[..., Any]] = {}
    lists: list[Step[..., Any]] = []
    for number in range(chance.randrange(3, 9)):
        name = f"step{number}"
        options: dict[str, Any] = {
            "retry": Retry(_BUDGET, delay=chance.choice([0, 3, 300])),
            "priority": chance.choice([0, 0, 1]),
        }
        kind = chance.choice(["plain", "parallel", "after", "each", "each"])
        if kind == "parallel":
            options["parallel"] = True
        elif kind == "after" and steps:
            options["after"] = chance.choice(list(steps.values()))
        elif kind == "each" and lists:
            options["each"] = chance.choice(lists)
            options["limit"] = chance.choice([None, 1, 2])
            options["tolerate"] = "100%"
        fans_out = "each" in options
        steps[name] = made = step(**options)(
            _body(name, seed, world, fans_out=fans_out)
        )
        if fans_out or chance.random() < 0.6:
            lists.append(made)
    if chance.random() < 0.2:
        retry = Retry(_DEADLY_BUDGET, delay=1)
        deadly = step(optional=True, after=(), retry=retry)
        steps["deadly"] = deadly(_body("deadly", seed, world, fans_out=False))
    if chance.random() < 0.3:
        last = step(always=True, retry=_BUDGET)
        steps["last"] = last(_body("last", seed, world, fans_out=False))
    return type(f"Simulated{seed}", (Workflow,), dict(steps))


def _body(name: str, seed: int, world: World, *, fans_out: bool) -> Any:
    def work(task: TaskHandle) -> list[int]:
        chance = random.Random(f"{seed}{task.name}")
        is_owner = task.fence == world.fences[-1]
        saved = world.may_have_saved(task.name)
        if is_owner and task.processing_data not in saved:
            world.wrong.append(f"{task.name} was not given what it saved")
        if name == "deadly":
            raise Fail("too deadly")
        if chance.random() < 0.4:
            # If the runner dies in the call, nobody was told whether this is durable.
            world.saved[task.name] = (*saved, task.attempt)
            task.checkpoint(task.attempt)
            world.saved[task.name] = (task.attempt,)
        if chance.random() < 0.2 and world.begun[task.name] == 1:
            raise chance.choice([OSError("not yet"), RetryLater(100)])
        if fans_out and chance.random() < 0.1:
            raise chance.choice([Skip("nothing to do"), Fail("never")])
        return [chance.randrange(10**6) for _ in range(chance.randrange(4))]

    def plain(_self: Workflow, task: TaskHandle) -> list[int]:
        return work(task)

    def each(_self: Workflow, item: Any, task: TaskHandle) -> list[int]:
        if not isinstance(item, int | list):
            world.wrong.append(f"{task.name} was given {item!r}")
        return work(task)

    body: Any = each if fans_out else plain
    body.__name__ = body.__qualname__ = name
    return body


def _outcome(world: World) -> dict[str, tuple[object, ...]]:
    return {
        task.name: (task.step, task.position, task.status, task.result)
        for task in world.tasks().values()
    }


def simulate(seed: int) -> World:
    """Play the story of a seed; fail if it does not end as the one without faults."""
    calm, stormy = World(seed, is_calm=True), World(seed, is_calm=False)
    calm.play()
    stormy.play()

    assert calm.lives == 1
    assert _outcome(stormy) == _outcome(calm)
    record = stormy.store.container("c")
    assert record is not None
    assert record.status is Status.DONE
    assert record.owner is None
    return stormy


def main(first: int, last: int) -> None:
    """Play stories, and print what was in them."""
    crashes, lives, begun = 0, 0, 0
    for seed in range(first, last):
        try:
            world = simulate(seed)
        except BaseException as error:
            error.add_note(f"again: python -m tests.crash.simulation {seed}")
            raise
        crashes += world.crashes
        lives += world.lives
        begun += sum(world.begun.values())
    print(f"{last - first} stories: {lives} runners, {crashes} faults, {begun} bodies")  # noqa: T201


if __name__ == "__main__":
    start = int(sys.argv[1])
    main(start, int(sys.argv[2]) if len(sys.argv) > 2 else start + 1)
