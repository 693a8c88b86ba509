"""Any order of claims, writes, deaths and ticks, on a store and on the oracle alike.

Three owners and two clients act on what they last read, however old it is. After every
act the store has given the oracle's answer, and holds what the oracle holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core.model import (
    Change,
    ContainerRecord,
    Progress,
    Status,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.errors import ContainerNotFound, LeaseLost, PtsflowError
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.stores.making import Ticker, attempt, owner
from tests.stores.oracle import Oracle

#: Longer than a claim takes on a busy machine: a claim that takes long renews its lease.
LEASE = 600_000

actors = st.sampled_from("abc")
clients = ("client", "other client")
#: Most often whoever may write just now, under whatever lease it thinks it has.
writers = st.sampled_from(["holder"] * 4 + ["a", "b", "c", *clients, *clients])
task_names = st.sampled_from(["load", "load.x", "$end"])
turns = st.integers(0, 5)
statuses = st.sampled_from(Status)
texts = st.sampled_from([None, '"one"', '"two"', UNSET])


def answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except PtsflowError as error:
        return type(error)


class Machine(RuleBasedStateMachine):
    """One store and the oracle, side by side."""

    #: MongoDB recognises what is already as an owner wants it, even where that lost the
    #: lease meanwhile. It writes nothing then, which the invariant sees.
    is_lenient = False

    def __init__(self, opened: Callable[[Ticker], Store]) -> None:
        super().__init__()
        self.clock = Ticker()
        self.store = opened(self.clock)
        self.oracle = Oracle(self.clock.now)
        self.uid = ""
        #: What each remembers: its fence, and the tasks as it read them last.
        self.fences: dict[str, int] = {}
        self.seen: dict[str, dict[str, TaskRecord]] = {}
        self.last: tuple[str, Change] | None = None
        self.highest = 0

    def teardown(self) -> None:
        self.store.close()

    @initialize()
    def begin(self) -> None:
        self.create()

    @rule()
    def create(self) -> None:
        record, is_new = self.store.create("feed")

        assert is_new is self.oracle.create()
        if is_new:
            assert record.uid != self.uid
            self.uid, self.highest = record.uid, 0
            self.fences.clear()
            self.seen.clear()

    @precondition(lambda self: not self.oracle.is_leased)
    @rule(really=st.sampled_from([False, False, False, True]))
    def delete(self, *, really: bool) -> None:
        if not really:
            return

        assert self.store.delete(self.uid) is self.oracle.delete()

    @precondition(lambda self: self.oracle.is_leased)
    @rule()
    def delete_what_is_leased(self) -> None:
        assert not self.store.delete(self.uid)

    @rule(by=actors)
    def claim(self, by: str) -> None:
        self._claim(by, None)

    @precondition(lambda self: self.oracle.owner)
    @rule(by=actors, of_earlier=st.sampled_from([0, 0, 1]))
    def take_over_from_the_dead(self, by: str, of_earlier: int) -> None:
        self._claim(by, self.oracle.fence - of_earlier)

    def _claim(self, by: str, dead: int | None) -> None:
        record = self.store.claim(self.uid, owner(by), LEASE, dead=dead)
        fence = self.oracle.claim(by, LEASE, dead)

        assert (record and record.fence) == fence
        if fence is not None:
            self.fences[by] = fence
            self.read(by, payloads=True)

    @rule(by=actors)
    def crash(self, by: str) -> None:
        self.fences.pop(by, None)
        self.seen.pop(by, None)

    @rule(millis=st.sampled_from([1, LEASE * 2 // 5, LEASE - 1, LEASE]))
    def tick(self, millis: int) -> None:
        self.clock.now += millis
        self.oracle.now += millis

    @rule(by=actors)
    def renew(self, by: str) -> None:
        fence = self.fences.get(by, 0)

        assert self.store.renew(self.uid, fence, LEASE) is self.oracle.renew(
            fence, LEASE
        )

    @rule(by=actors, reason=st.sampled_from(["nothing new", ""]))
    def save(self, by: str, reason: str) -> None:
        record = self._record(by, reason)
        expected = self.oracle.save(record.fence, reason)

        assert answer(lambda: self.store.save(record)) is expected

    @rule(by=actors, reason=st.sampled_from(["ended", ""]))
    def release(self, by: str, reason: str) -> None:
        if by in self.fences:
            record = self._record(by, reason)
            expected = self.oracle.release(record.fence, reason)

            assert self.store.release(record) is expected

    @rule(by=actors, how=st.sampled_from(Stop))
    def ask_to_stop(self, by: str, how: Stop) -> None:
        fence = self.fences.get(by, 0)
        expected = self.oracle.ask_to_stop(fence, how)

        assert self.store.ask_to_stop(self.uid, fence, how) is expected
        assert self.store.stop_asked(self.uid, fence) is self.oracle.stop_asked(fence)

    def _record(self, by: str, reason: str) -> ContainerRecord:
        fence = self.fences.get(by, 0)
        return ContainerRecord(
            uid=self.uid, name="feed", fence=fence, finish_reason=reason
        )

    @rule(by=writers, payloads=st.booleans())
    def read(self, by: str, *, payloads: bool) -> None:
        tasks = self.store.tasks(self.uid, payloads=payloads)
        self.seen[self._who(by)] = {task.name: task for task in tasks}

    def _who(self, by: str) -> str:
        if by != "holder":
            return by
        return str(self.oracle.owner) if self.oracle.is_leased else clients[0]

    @rule(by=writers, name=task_names, status=statuses, text=texts)
    def insert(self, by: str, name: str, status: Status, text: Any) -> None:
        task = TaskRecord(name=name, version=1, status=status, result=text)
        self._commit(by, None, task)

    @rule(by=writers, turn=turns, status=statuses, text=texts)
    def change(self, by: str, turn: int, status: Status, text: Any) -> None:
        for task in self._seen(by, turn):
            self._commit(by, task, _next(task, status=status, result=text))

    @rule(by=writers, turn=turns, status=statuses)
    def end_an_attempt(self, by: str, turn: int, status: Status) -> None:
        for task in self._seen(by, turn):
            after = _next(task, status=status, invoke_count=task.invoke_count + 1)
            self._commit(by, task, after, ends=True)

    @rule(by=writers, turn=turns, to=task_names)
    def rename(self, by: str, turn: int, to: str) -> None:
        for task in self._seen(by, turn):
            self._commit(by, task, _next(task, name=to))

    @rule(by=writers, turn=turns)
    def remove(self, by: str, turn: int) -> None:
        for task in self._seen(by, turn):
            self._commit(by, task, None)

    @precondition(lambda self: self.last)
    @rule()
    def commit_again(self) -> None:
        assert self.last is not None
        self._send(*self.last)

    def _seen(self, by: str, turn: int) -> list[TaskRecord]:
        """Return one task as it knows it, if it knows any."""
        seen = list(self.seen.get(self._who(by), {}).values())
        return [seen[turn % len(seen)]] if seen else []

    def _commit(
        self,
        by: str,
        before: TaskRecord | None,
        after: TaskRecord | None,
        *,
        ends: bool = False,
    ) -> None:
        who = self._who(by)
        if who not in clients and after is not None:
            after = replace(after, fence=self.fences.get(who, 0))
        ended = attempt(after.invoke_count) if ends and after is not None else None
        self.last = who, Change(before, after, ended)
        self._send(*self.last)

    def _send(self, by: str, change: Change) -> None:
        fence = None if by in clients else self.fences.get(by, 0)
        after = change.after
        if fence is not None and after is not None and after.fence != fence:
            return
        found = answer(lambda: self.store.commit(self.uid, [change], fence=fence))

        expected = self.oracle.commit(change, fence)
        if self.is_lenient and found is None and self.oracle.is_as_wanted(change):
            expected = None if expected in {LeaseLost, ContainerNotFound} else expected
        assert found is expected
        if found is None:
            self._remember(by, change)

    def _remember(self, by: str, change: Change) -> None:
        """Let it know what it wrote, and nothing of what others did."""
        seen = self.seen.setdefault(by, {})
        if change.before is not None:
            seen.pop(change.before.name, None)
        if change.after is not None:
            seen |= {t.name: t for t in self.store.tasks(self.uid, [change.after.name])}

    @rule(by=writers, name=task_names, percentage=st.sampled_from([0.5, 33, 100.0]))
    def touch(self, by: str, name: str, percentage: float) -> None:
        fence = self.fences.get(self._who(by), 0)
        expected = self.oracle.touch(fence, name, percentage)
        progress = [Progress(name, percentage, "")]

        assert (
            answer(lambda: self.store.touch(self.uid, progress, fence=fence))
            is expected
        )

    @invariant()
    def the_store_holds_what_the_oracle_holds(self) -> None:
        oracle = self.oracle
        record = self.store.container("feed")
        found = self.store.tasks(self.uid, payloads=True)

        assert [replace(task, position=-1) for task in found] == [
            replace(task, position=-1) for task in oracle.tasks
        ]
        # The store alone gives positions; what it gave tells a task from a former one.
        oracle.tasks = [
            replace(task, position=read.position)
            for task, read in zip(oracle.tasks, found, strict=True)
        ]
        assert {
            task.name: numbers for task in found if (numbers := self._ledger(task.name))
        } == oracle.ledgers
        opened = next((task for task in found if not task.is_complete), None)
        assert self.store.next_open(self.uid) == opened
        assert _counts(self.store.tallies([self.uid])[self.uid]) == _expected(oracle)
        if record is None:
            assert not oracle.exists
            return
        holder = record.owner and record.owner.id
        till = oracle.till if oracle.owner else None
        assert oracle.exists
        assert (holder, record.leased_till) == (oracle.owner, till)
        assert (record.fence, record.finish_reason) == (oracle.fence, oracle.reason)
        assert record.stop_asked is oracle.stop
        assert record.fence >= self.highest
        self.highest = record.fence

    def _ledger(self, name: str) -> list[int]:
        return [each.number for each in self.store.attempts(self.uid, name)]


def _next(task: TaskRecord, **fields: Any) -> TaskRecord:
    return replace(task, version=task.version + 1, **fields)


def _counts(tallies: list[Tally]) -> dict[Status, tuple[int, float]]:
    return {each.status: (each.count, each.percentage) for each in tallies}


def _expected(oracle: Oracle) -> dict[Status, tuple[int, float]]:
    counts: dict[Status, tuple[int, float]] = {}
    for task in oracle.tasks:
        count, total = counts.get(task.status, (0, 0.0))
        counts[task.status] = (count + 1, total + task.percentage_complete)
    return counts


@contextmanager
def _stores(
    kind: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[Ticker], Store]]:
    """Yield what opens a store that nobody used before."""
    with ExitStack() as stack:
        if kind == "memory":
            yield lambda clock: open_store("memory:", clock=clock)
        elif kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            yield lambda clock: open_store(
                f"sqlite:///{folder}/{uuid4().hex}.db", clock=clock
            )
        else:
            server = str(request.getfixturevalue("mongod_url"))
            client = stack.enter_context(pymongo.MongoClient[dict[str, Any]](server))
            address, _, query = server.partition("?")
            database = f"ptsflow_machine_{uuid4().hex}"
            stack.callback(client.drop_database, database)
            url = f"{address.rstrip('/')}/{database}?{query}"

            def opened(clock: Ticker) -> Store:
                client.drop_database(database)
                return open_store(url, clock=clock)

            yield opened


def _run(kind: str, request: pytest.FixtureRequest, examples: int) -> None:
    with _stores(kind, request) as opened:

        class Opened(Machine):
            """The machine on such a store."""

            is_lenient = kind == "mongod"

            def __init__(self) -> None:
                super().__init__(opened)

        run_state_machine_as_test(
            Opened,
            settings=settings(
                max_examples=examples,
                stateful_step_count=100,
                # On a server, making a failure small takes longer than a test may.
                phases=[Phase.generate] if kind == "mongod" else list(Phase),
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                derandomize=True,
            ),
        )


_KINDS = [
    pytest.param("memory", 100),
    pytest.param("sqlite", 60),
    pytest.param("mongod", 25, marks=pytest.mark.mongod),
]


@pytest.mark.parametrize(("kind", "examples"), _KINDS)
def test_a_store_answers_as_the_oracle_does(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    _run(kind, request, examples)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "examples"), _KINDS)
def test_a_store_answers_as_the_oracle_does_for_long(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    _run(kind, request, examples * 50)
