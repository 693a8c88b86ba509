"""Real processes on one store at once: one winner each time, and nothing lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ptsflow.core.model import Progress, Status
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.stores.making import LEASE, filled, names, new, one, owner, swap
from tests.support.processes import ROOT

#: Opens the store, says so, and begins when all others have said so too.
_BEGIN = """
import sys
from ptsflow.errors import *
from ptsflow.core.model import *
from ptsflow.stores import open_store
from tests.stores.making import *

url, uid, me = sys.argv[1:]
store = open_store(url)
print("ready", flush=True)
sys.stdin.readline()
"""

_SHARED = pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        *(pytest.param(k, marks=pytest.mark.mongod) for k in ("mongod", "mongod-rs")),
    ],
    indirect=True,
)


class Worker:
    """A process that runs a program on the store."""

    def __init__(self, program: str, url: str, uid: str, me: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN + program, url, uid, str(me)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self) -> list[str]:
        out, _ = self.process.communicate(timeout=100)
        assert self.process.returncode == 0
        return out.split()


@contextmanager
def working(program: str, url: str, uid: str, count: int) -> Iterator[list[Worker]]:
    """Start that many processes, and let all of them go at once."""
    workers = [Worker(program, url, uid, me) for me in range(count)]
    try:
        assert [worker.line() for worker in workers] == ["ready"] * count
        for worker in workers:
            worker.go()
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()


def told(program: str, url: str, uid: str, count: int) -> list[list[str]]:
    with working(program, url, uid, count) as workers:
        return [worker.told() for worker in workers]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Open the store on the clock that the processes have."""
    opened = open_store(url)
    yield opened
    opened.close()


@_SHARED
def test_of_processes_that_claim_at_once_one_wins(store: Store, url: str) -> None:
    uid = filled(store, *(f"task {i}" for i in range(20)))
    program = "print((record := store.claim(uid, owner(me), LEASE)) and record.fence)"
    answers = told(program, url, uid, 6)
    record = store.container("feed")

    assert sorted(answers) == [["1"], *[["None"]] * 5]
    assert record is not None
    assert record.owner == owner(str(answers.index(["1"])))


@_SHARED
def test_of_processes_that_take_over_from_the_dead_one_wins(
    store: Store, url: str
) -> None:
    uid = filled(store)
    store.claim(uid, owner("dead"), LEASE)
    program = "print(store.claim(uid, owner(me), LEASE, dead=1) is not None)"

    assert sorted(told(program, url, uid, 6)) == [*[["False"]] * 5, ["True"]]


@_SHARED
def test_of_processes_that_create_at_once_one_made_it(store: Store, url: str) -> None:
    program = "for i in range(20): print(int(store.create(f'feed {i}')[1]))"
    answers = told(program, url, "", 4)

    assert [sum(map(int, column)) for column in zip(*answers, strict=True)] == [1] * 20
    assert len(store.containers()) == 20


@_SHARED
def test_of_inserts_by_several_processes_none_is_lost(store: Store, url: str) -> None:
    uid = filled(store)
    program = """
for i in range(40):
    store.commit(uid, [new(f"{me} {i}")], fence=None)
    if i % 4 == 0:
        store.commit(uid, [drop(one(store, uid, f"{me} {i}"))], fence=None)
"""
    told(program, url, uid, 3)
    tasks = store.tasks(uid)

    assert {task.name for task in tasks} == {
        f"{me} {i}" for me in range(3) for i in range(40) if i % 4
    }
    assert len({task.position for task in tasks}) == 90


@_SHARED
def test_of_processes_that_insert_the_same_task_one_wins(
    store: Store, url: str
) -> None:
    uid = filled(store)
    program = """
for i in range(20):
    try:
        store.commit(uid, [new(f"task {i}")], fence=None)
        print(1)
    except Conflict:
        print(0)
"""
    answers = told(program, url, uid, 3)

    assert [sum(map(int, column)) for column in zip(*answers, strict=True)] == [1] * 20


@_SHARED
def test_of_swaps_by_several_processes_none_is_lost(store: Store, url: str) -> None:
    uid = filled(store)
    store.commit(uid, [new("count", result="0")], fence=None)
    program = """
for i in range(30):
    while True:
        task = one(store, uid, "count", payloads=True)
        change = swap(task, result=str(int(task.result) + 1))
        try:
            store.commit(uid, [change], fence=None)
            break
        except Conflict:
            pass
"""
    told(program, url, uid, 3)
    task = one(store, uid, "count", payloads=True)

    assert (task.result, task.version) == ("90", 91)


_RUNNER = """
record = store.claim(uid, owner(me), LEASE)
count = 0
try:
    while True:
        tasks = store.tasks(uid)
        store.commit(uid, [swap(t, fence=record.fence) for t in tasks], fence=record.fence)
        store.touch(uid, [Progress("b", float(count % 100), "")], fence=record.fence)
        count += 1
        if count == 20:
            print("busy", flush=True)
except LeaseLost:
    print("lost")
"""


@_SHARED
def test_when_a_claim_returns_the_former_owner_writes_no_more(
    store: Store, url: str
) -> None:
    uid = filled(store, "a")
    store.commit(uid, [new("b", status=Status.RUNNING)], fence=None)
    with working(_RUNNER, url, uid, 1) as (runner,):
        assert runner.line() == "busy"
        assert store.claim(uid, owner("heir"), LEASE, dead=1) is not None
        before = store.tasks(uid, payloads=True)

        assert runner.told() == ["lost"]
    assert store.tasks(uid, payloads=True) == before
    changes = [swap(task, fence=2) for task in before]
    store.commit(uid, changes, fence=2)
    store.touch(uid, [Progress("b", 1.0, "")], fence=2)


@_SHARED
def test_inserts_that_meet_a_delete_leave_nothing(store: Store, url: str) -> None:
    uid = filled(store)
    program = """
try:
    for i in range(100_000):
        store.commit(uid, [new(f"{me} {i}", result="1")], fence=None)
        if i == 20:
            print("busy", flush=True)
except ContainerNotFound:
    print("gone")
"""
    with working(program, url, uid, 2) as workers:
        assert [worker.line() for worker in workers] == ["busy", "busy"]
        assert store.delete(uid)

        assert [worker.told() for worker in workers] == [["gone"], ["gone"]]
    assert names(store, uid) == []
    assert store.tallies([uid]) == {uid: []}
