"""What each promise rests on, taken out: by name, a function that takes it out.

They are put into a runner's process alone, right before it runs. `test_mutants` says
which test notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from bson.datetime_ms import DatetimeMS
from msgspec.structs import replace
from pymongo import WriteConcern

from ptsflow.client import lease
from ptsflow.core import transitions
from ptsflow.core.model import TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.resume import Resumption, resume
from ptsflow.executors.attempt import Call
from ptsflow.host.clock import system_clock
from ptsflow.runner import heartbeat, prepare
from ptsflow.runner.loop import Loop
from ptsflow.stores import leasing, rules
from ptsflow.stores.mongo import connection, containers
from ptsflow.stores.mongo import tasks as mongo_tasks
from ptsflow.stores.sqlite import commits as sqlite_commits
from ptsflow.stores.sqlite import store as sqlite_store

#: How wrong the clock of a runner is that has a wrong one, in milliseconds.
SKEW = 3_600_000


def _put(place: object, name: str, value: object) -> None:
    assert hasattr(place, name)
    setattr(place, name, value)


def _plain() -> None:
    """No mutant, even where all others are one."""


def _no_fence() -> None:
    """The fence is not in the filter: whoever holds the container may write."""
    for place in (sqlite_store, leasing, rules):
        _put(place, "is_held", lambda stored, _fence: stored is not None)
    _put(sqlite_commits.SqliteCommits, "_check_writer", lambda *_: None)
    _put(containers, "_held", lambda container, _fence: {"_id": container})
    _put(mongo_tasks.MongoTasks, "stamp", lambda *_: iter(()))


def _no_journal() -> None:
    """A write is acknowledged when it is in the server's memory."""
    _put(connection, "_DURABLE", WriteConcern(w=1, j=False))


def _skewed() -> None:
    """No mutant: this runner's clock is an hour ahead."""
    now = time.time_ns
    _put(time, "time_ns", lambda: now() + SKEW * 1_000_000)


def _own_clock() -> None:
    """The lease is compared with the runner's wrong clock, not the server's."""
    _skewed()
    _put(
        containers.MongoContainers,
        "_time",
        lambda _: {"$literal": DatetimeMS(system_clock())},
    )


def _no_crash_count() -> None:
    """An attempt that a crash ended does not count."""
    crash = transitions.crash

    def uncounted(task: TaskRecord, **fields: Any) -> TaskRecord:
        return crash(replace(task, attempt=task.attempt - 1), **fields)

    _put(transitions, "crash", uncounted)


def _launch_first() -> None:
    """Bodies start before the commit that says so."""
    turn = Loop.turn

    def early(loop: Loop) -> list[Call]:
        commit = loop.work.commit

        def late() -> None:
            if loop.is_over or not loop.schedule.running:
                commit()

        _put(loop.work, "commit", late)
        try:
            return turn(loop)
        finally:
            _put(loop.work, "commit", commit)

    _put(Loop, "turn", early)


def _no_deadline() -> None:
    """A runner that cannot renew its lease goes on."""
    _put(heartbeat, "STOP_AFTER", 10.0)


def _no_dead() -> None:
    """A runner of this host that died is not recognised."""
    _put(lease, "is_dead", lambda _: False)


def _no_mark() -> None:
    """Whether a runner of this host is still in a body is not looked at."""
    _put(lease, "still_working", lambda *_: None)


def _no_resume() -> None:
    """What is done is not looked at."""

    def forgetful(plan: Plan, container: Any, tasks: Any, **given: Any) -> Resumption:
        given["again"] = list(plan.by_name)
        return resume(plan, container, tasks, **given)

    _put(prepare, "resume", forgetful)


MUTANTS: Mapping[str, Callable[[], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _plain,
        _no_fence,
        _no_journal,
        _skewed,
        _own_clock,
        _no_crash_count,
        _launch_first,
        _no_deadline,
        _no_dead,
        _no_mark,
        _no_resume,
    )
}
