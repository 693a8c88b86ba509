"""What each promise rests on, taken out: by name, a function that takes it out.

They are put into a runner's process alone, right before it runs. `test_mutants` says
which test notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace
from pymongo import WriteConcern

from ptsflow import clock, lease, resume, transitions
from ptsflow.loop import Loop
from ptsflow.model import ContainerRecord, TaskRecord
from ptsflow.stores import mongo, mongo_connection, mongo_tasks, rules, sqlite
from ptsflow.stores.sqlite import SqliteStore

#: How wrong the clock of a runner is that has a wrong one, in milliseconds.
SKEW = 3_600_000


def _no_fence() -> None:
    """The fence is not in the filter: whoever holds the container may write."""

    def is_held(stored: ContainerRecord | None, _fence: int) -> bool:
        return stored is not None

    sqlite.is_held = is_held  # type: ignore[attr-defined] # imported there
    rules.is_held = is_held
    SqliteStore._check_writer = lambda *_: None  # type: ignore[method-assign]

    def held(container: object, _fence: int) -> dict[str, object]:
        return {"_id": container}

    mongo._held = held
    mongo_tasks.MongoTasks.hold = lambda *_: None  # type: ignore[method-assign]


def _no_journal() -> None:
    """A write is acknowledged when it is in the server's memory."""
    mongo_connection._DURABLE = WriteConcern(w=1, j=False)


def _own_clock() -> None:
    """The lease is compared with the runner's clock, not the server's."""

    def now(_store: object) -> dict[str, Any]:
        return {"$literal": mongo.DatetimeMS(time.time_ns() // 1_000_000)}

    mongo.MongoStore._time = now  # type: ignore[method-assign,assignment]


def _plain() -> None:
    """No mutant, even where all others are one."""


def _skewed() -> None:
    """No mutant: this runner's clock is an hour ahead."""
    now = time.time_ns
    time.time_ns = lambda: now() + SKEW * 1_000_000
    assert clock.system_clock() > now() // 1_000_000 + SKEW - 1000


def _skewed_own_clock() -> None:
    _skewed()
    _own_clock()


def _no_crash_count() -> None:
    """An attempt that a crash ended does not count."""
    crash = transitions.crash

    def uncounted(task: TaskRecord, **fields: Any) -> TaskRecord:  # noqa: ANN401
        return crash(replace(task, attempt=task.attempt - 1), **fields)

    transitions.crash = uncounted


def _launch_first() -> None:
    """Bodies start before the commit that says so."""
    commit = Loop._commit

    def late(loop: Loop) -> None:
        if loop.is_over or not loop.schedule.running:
            commit(loop)

    Loop._commit = late  # type: ignore[method-assign]


def _no_deadline() -> None:
    """A runner that cannot renew its lease goes on."""
    lease.STOP_AFTER = 3.0


def _no_dead() -> None:
    """A runner of this host that died is not recognised."""
    lease.is_dead = lambda _owner: False


def _no_resume() -> None:
    """What was done is not looked at."""
    done = resume.resume

    def forgetful(plan: Any, container: Any, tasks: Any, **given: Any) -> Any:  # noqa: ANN401
        return done(plan, container, tasks, **(given | {"again": list(plan.by_name)}))

    from ptsflow import runner  # noqa: PLC0415 - what it imported

    runner.resume = forgetful


MUTANTS: Mapping[str, Callable[[], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _plain,
        _no_fence,
        _no_journal,
        _skewed,
        _skewed_own_clock,
        _no_crash_count,
        _launch_first,
        _no_deadline,
        _no_dead,
        _no_resume,
    )
}
