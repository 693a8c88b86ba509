"""Packed items behave as records: in what a run starts from, and in the run itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import ptsflow
from ptsflow import Workflow, step
from ptsflow.core.attempt_ledger import with_entries
from ptsflow.core.changed_code import changed
from ptsflow.core.counts import accepted_steps, tallies_of
from ptsflow.core.history import begun, record_of
from ptsflow.core.insight import RunStatus
from ptsflow.core.model import (
    Attempt,
    Cause,
    Change,
    ContainerRecord,
    Ending,
    Status,
    Tally,
    TaskRecord,
    item_name,
)
from ptsflow.core.pack import Pack
from ptsflow.core.packed import PackedTasks, listing, tasks_of
from ptsflow.core.plan import Plan
from ptsflow.core.resume import STRIDE, new_task, resume
from ptsflow.core.sources import outdated
from ptsflow.display.run_state import board_of
from ptsflow.errors import PtsflowError
from ptsflow.events import Event, RunStarted
from ptsflow.host.process_identity import this_process
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.workflow.compile import plan_of
from tests.support.packs import PackingStore, pack, with_packs

NOW = 1_000_000
KEYS = ("a", "b", "c", "d]", "e[1]")


class Lab(Workflow):
    """A list, a chain behind it that may lose some, a second fan-out, and a join."""

    container = "lab"
    keys: str = "abc"

    @step
    def listed(self) -> list[str]:
        """List the keys."""
        return [KEYS["abcde".index(letter)] for letter in self.keys]

    @step(each=listed, tolerate=1)
    def load(self, item: str) -> str:
        """Fail for one of them."""
        if item == "b":
            raise ptsflow.Fail("b cannot be had")
        return item

    @step(each=load)
    def check(self, load: str) -> str:
        """Leave one out."""
        if load == "c":
            raise ptsflow.Skip("not needed")
        return load * 2

    @step(each=listed, optional=True, version="2")
    def look(self, item: str) -> None:
        """Look at one of them."""

    @step
    def join(self, check: list[str]) -> list[str]:
        """Return what is left."""
        return check

    @step(always=True)
    def tidy(self) -> None:
        """Run always."""


PLAN = plan_of(Lab)
STATES: list[dict[str, Any] | None] = [
    {"status": Status.DONE},
    {"status": Status.DONE},
    {"status": Status.DONE},
    {"status": Status.DONE, "made_from": -5},
    {"status": Status.DONE, "code_version": "old"},
    {"status": Status.DONE, "code_hash": "ast:0"},
    {"status": Status.DONE, "name": "renamed"},
    {"status": Status.DONE, "percentage_complete": 40.0, "status_text": "nearly"},
    {"status": Status.DONE, "cause": Cause.FINISH},
    {"status": Status.FAILED, "error": "no"},
    {"status": Status.FAILED, "error": "who knows", "cause": Cause.UNKNOWN},
    {"status": Status.SKIPPED, "cause": Cause.BODY},
    {"status": Status.SKIPPED, "cause": Cause.UPSTREAM},
    {"status": Status.SKIPPED, "cause": Cause.REMOVED},
    {"status": Status.RUNNING, "attempt": 1},
    {"status": Status.WAITING, "due": NOW + 50, "task_ended_at": NOW - 50},
    {"status": Status.PENDING},
    None,
]


@st.composite
def stored_tasks(draw: st.DrawFn) -> list[TaskRecord]:
    """Return tasks that earlier runs may have left, as a store lists them."""
    found: list[TaskRecord] = []
    usual = draw(st.sampled_from([3, len(STATES)]))
    states = st.sampled_from(STATES[:usual])
    for planned in PLAN.steps:
        keys = [None] if planned.each is None else draw(st.permutations(KEYS))
        count = draw(st.integers(0, len(keys)))
        shift = draw(st.sampled_from([0, 0, 0, 1, STRIDE]))
        for index, key in enumerate(keys[:count]):
            state = draw(states)
            if state is None:
                continue
            new = new_task(planned, fence=1, key=key, index=index)
            ran: dict[str, Any] = {
                "invoke_count": draw(st.integers(0, 3)),
                "result_hash": draw(st.integers(1, 3)),
                "made_from": draw(st.integers(0, 3)),
                "last_invoked_at": draw(st.none() | st.integers(1, NOW)),
                "task_ended_at": draw(st.none() | st.integers(1, NOW)),
                "code_version": planned.version,
                "percentage_complete": 100.0,
                "result": "1",
                "version": draw(st.integers(1, 3)),
                "position": new.position + shift,
            }
            found.append(replace(new, **(ran | state)))
    kept = {task.name: task for task in found}.values()
    return sorted(kept, key=lambda task: (task.position, task.name))


def bare(tasks: list[TaskRecord]) -> list[TaskRecord]:
    """Return tasks as a run reads them."""
    unset = ptsflow.core.model.without_payloads
    return list(map(unset, tasks))


plans = st.sampled_from(
    [
        PLAN,
        replace(
            PLAN,
            steps=(one := PLAN.steps[:2]),
            by_name={each.name: each for each in one},
            usual=2,
        ),
    ]
)
again = st.lists(
    st.sampled_from(["listed", "load", "look", "load[a]", "check[e[1]]", "join"]),
    max_size=2,
)


@settings(max_examples=100, deadline=None)
@given(stored_tasks(), plans, again, st.sampled_from(Status))
def test_a_run_starts_from_the_same(
    stored: list[TaskRecord], plan: Plan, again: list[str], status: Status
) -> None:
    tasks = bare(stored)
    container = ContainerRecord(
        uid="1", name="lab", fence=2, status=status, plan=plan.summary()
    )
    expected = resume(plan, container, tasks, now=NOW, again=again)
    found = resume(plan, container, with_packs(tasks), now=NOW, again=again)
    assert found.changes == expected.changes
    assert dict(found.tasks) == dict(expected.tasks)
    assert found.removed == expected.removed
    assert found.has_work is expected.has_work


@settings(max_examples=100, deadline=None)
@given(stored_tasks())
def test_what_is_said_of_tasks_is_the_same(stored: list[TaskRecord]) -> None:
    tasks, packed = bare(stored), with_packs(bare(stored))
    assert list(listing(packed)) == tasks
    assert len(listing(packed)) == len(tasks)
    mixed = listing({task.name: task for task in tasks[::-1]})
    assert [task.position for task in mixed] == [task.position for task in tasks]
    assert changed(PLAN.summary(), listing(packed)) == changed(PLAN.summary(), tasks)
    assert outdated(PLAN.summary(), listing(packed)) == outdated(PLAN.summary(), tasks)
    container = ContainerRecord(uid="1", name="lab", plan=PLAN.summary())
    boards = [board_of(container, tasks, NOW), ptsflow.display.run_state.Board()]
    boards[1](RunStarted(at=NOW, container=container, tasks=listing(packed)))
    shown = [
        {
            name: (one.counts, one.sum, one.begun, one.ended, one.status)
            for name, one in board.steps.items()
        }
        for board in boards
    ]
    assert shown[0] == shown[1]
    assert counted(packed) == counted(tasks)


def counted(tasks: Any) -> set[Tally]:
    """Return tasks counted by step and status, without an order."""
    return set(tallies_of(tasks))


@settings(max_examples=100, deadline=None)
@given(stored_tasks(), st.integers(0, NOW))
def test_the_history_keeps_the_same(stored: list[TaskRecord], began_at: int) -> None:
    tasks = bare(stored)
    container = ContainerRecord(
        uid="1", name="lab", status=Status.DONE, plan=PLAN.summary(), workflow="Lab"
    )
    # Packed is what was done before the run.
    since = max((task.last_invoked_at or 0 for task in tasks), default=0) + began_at
    fresh = done("load", 9, "new", last_invoked_at=since + 3, task_ended_at=since + 7)
    tasks.append(fresh)
    names = sorted(task.name for task in with_entries(tasks, ()))
    ledgers = {name: [lost(number) for number in (1, 2)] for name in names}
    run = begun(container, now=since)
    packed = with_packs(tasks[:-1])
    packed[fresh.name] = fresh
    rows = [
        record_of(
            run, container, found, ledgers, now=NOW + since, status=RunStatus.DONE
        )
        for found in (tasks, packed)
    ]
    steps = [sorted(row.steps, key=lambda stats: stats.name) for row in rows]
    assert steps[0] == steps[1]
    assert "load" in [stats.name for stats in steps[0]]
    assert replace(rows[0], steps=()) == replace(rows[1], steps=())


def lost(number: int) -> Attempt:
    """Return an attempt that failed."""
    at = number * 1_000
    return Attempt(number=number, began_at=at, ended_at=at + 9, ending=Ending.FAILED)


def resumed(
    kind: type[MemoryStore], stored: list[TaskRecord], keys: str, **options: Any
) -> list[Any]:
    """Run the lab where `stored` was left; return all that came of it, but for times."""
    store = kind()
    record, _ = store.create("lab")
    held = store.claim(record.uid, this_process(store.now), 60_000)
    assert held
    listed = [replace(task, fence=held.fence, version=1) for task in stored]
    changes = [Change(None, task) for task in listed]
    store.commit(held.uid, changes, fence=held.fence)
    plan = PLAN.summary()
    store.release(
        replace(held, status=Status.PENDING, owner=None, plan=plan, workflow="Lab")
    )
    events: list[Event] = []
    board = ptsflow.display.run_state.Board()
    try:
        report = ptsflow.run(
            Lab(keys=keys),
            store=ptsflow.Client(store),
            listeners=[events.append, board],
            jobs=1,
            **options,
        )
    except PtsflowError as error:
        return [str(error)]
    tasks = [
        (
            *(task.name, task.step, task.key, task.position, task.status, task.cause),
            *(task.invoke_count, task.result, task.result_hash, task.made_from),
            *(task.version, task.error, task.percentage_complete),
        )
        for task in store.tasks(held.uid, payloads=True)
    ]
    told = sorted(
        getattr(event, "text", "") or type(event).__name__ for event in events
    )
    steps = {name: (s.counts, round(s.sum, 6)) for name, s in board.steps.items()}
    return [tasks, told, steps, report.ok, report.failed, report.result("load")]


@settings(max_examples=60, deadline=None)
@given(
    stored_tasks(),
    st.sampled_from(["abc", "ab", "cab", "", "abcde"]),
    st.sampled_from(
        [
            {},
            {"fresh": True},
            {"changed": True},
            {"from_step": "load"},
            {"from_step": "load[a]"},
            {"only": ["load"]},
            {"only": ["check[a]"]},
        ]
    ),
)
def test_a_run_does_the_same(
    stored: list[TaskRecord], keys: str, options: dict[str, Any]
) -> None:
    # An attempt that is waited for would take its time.
    quick = [task for task in stored if task.due is None]
    expected = resumed(MemoryStore, quick, keys, **options)
    assert resumed(PackingStore, quick, keys, **options) == expected


def done(step: str, index: int, key: str, **fields: Any) -> TaskRecord:
    """Return an item that is done, as a run reads it."""
    planned = PLAN.by_name[step]
    new = new_task(planned, fence=1, key=key, index=index)
    own = {"status": Status.DONE, "result_hash": index, "code_version": planned.version}
    (task,) = bare([replace(new, **(own | fields))])
    return task


def test_a_packed_task_that_changes_makes_records_of_its_step() -> None:
    tasks = with_packs(
        [done(s, i, k) for s in ("load", "look") for i, k in enumerate("ab")]
    )
    assert isinstance(tasks, PackedTasks)
    other = replace(tasks["load[a]"], version=7)
    tasks["load[a]"] = other
    assert tasks["load[a]"] is other
    assert tasks["load[b]"] is tasks["load[b]"]
    assert list(tasks.packs) == ["look"]
    del tasks["look[b]"]
    assert sorted(tasks) == ["load[a]", "load[b]", "look[a]"]
    assert not tasks.packs


@pytest.mark.parametrize(
    "name", ["load", "load[]", "load[c]", "load[a", "load[ab", "other[a]"]
)
def test_a_name_that_no_packed_task_has_is_none(name: str) -> None:
    tasks = with_packs([done("load", 0, "a"), done("load", 1, "b")])
    assert name not in tasks
    assert tasks.get(name) is None
    with pytest.raises(KeyError):
        del tasks[name]


def test_packs_of_one_step_are_joined_by_position() -> None:
    items = [done("load", index, f"{index}") for index in range(9)]
    parts = [pack(items[6:]), pack(items[2:4]), pack(items[4:6]), pack(items[:2])]
    tasks = tasks_of([], parts)
    assert list(tasks.values()) == items
    assert list(tasks) == [item_name("load", f"{index}") for index in range(9)]


def test_packs_that_differ_are_joined_as_they_are() -> None:
    # Two items make a pack: alike in each, or different in the last one alone.
    texts = [
        *(("code_hash", "xxxxyy"), ("status_text", "aabbcc")),
        *(("ran_by", "pppppq"), ("error", "abbbbb")),
    ]
    items = [
        replace(done("load", index, f"{index}"), **{f: t[index] for f, t in texts})
        for index in range(6)
    ]
    tasks = tasks_of([], [pack(items[:2]), pack(items[2:4]), pack(items[4:])])
    assert list(tasks.values()) == items


def test_packed_items_of_one_position_are_listed_by_name() -> None:
    items = [done("load", 0, key) for key in "abc"]
    assert list(tasks_of([], [pack(items[::-1])]).values()) == items


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(
            [done("load", 0, "a"), done("load", 1 + STRIDE, "b")], id="elsewhere"
        ),
        pytest.param([done("listed", 0, "a"), done("listed", 1, "b")], id="no fan-out"),
        pytest.param([done("load", 0, "a", code_version="old")], id="another version"),
    ],
)
def test_a_pack_that_does_not_fit_its_step_is_opened(items: list[TaskRecord]) -> None:
    container = ContainerRecord(uid="1", name="lab", fence=2, plan=PLAN.summary())
    expected = resume(PLAN, container, items, now=NOW)
    found = resume(PLAN, container, with_packs(items), now=NOW)
    assert found.changes == expected.changes
    assert dict(found.tasks) == dict(expected.tasks)
    assert not isinstance(found.tasks, PackedTasks)


def test_packed_items_count_where_failures_are_tolerated() -> None:
    items = [done("load", index, f"{index}") for index in range(9)]
    failed = replace(done("load", 9, "9"), status=Status.FAILED)
    step = replace(PLAN.by_name["load"], tolerate="10%")
    assert accepted_steps([step], [failed], [pack(items)]) == {"load"}
    assert accepted_steps([step], [failed], [pack(items[1:])]) == set()


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("made_from", [0, -5])
def test_items_that_moved_or_are_in_doubt_are_seen_to(
    shift: int, made_from: int
) -> None:
    (listed,) = resumed(MemoryStore, [], "abc", only=["listed"])[0][:1]
    source = replace(
        done("load", 0, "a"),
        name="listed",
        step="listed",
        key=None,
        position=listed[3],
        result=listed[7],
        result_hash=listed[8],
    )
    stored = [
        source,
        *(
            replace(done("look", index + shift, key, made_from=made_from), result="1")
            for index, key in enumerate(KEYS[:3])
        ),
    ]
    expected = resumed(MemoryStore, stored, "abc")
    assert resumed(PackingStore, stored, "abc") == expected


class Failing(Workflow):
    """A fan-out, and a step after it that fails."""

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return [1, 2, 3]

    @step(each=numbers)
    def item(self, number: int) -> int:
        """Return the item."""
        return number

    @step(after=item)
    def last(self) -> None:
        """Fail."""
        raise ptsflow.Fail("so that it can be run again")


def test_a_run_makes_no_records_of_packed_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = ptsflow.Client(PackingStore())
    assert ptsflow.run(Failing(), store=client, jobs=1).failed == ["last"]
    monkeypatch.setattr(Pack, "record", None)

    assert ptsflow.run(Failing(), store=client, jobs=1).failed == ["last"]
