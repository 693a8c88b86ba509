"""The ledger of runs, as every store keeps it."""

from __future__ import annotations

from contextlib import closing

import pytest
from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus, StepStats
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.errors import LeaseLost
from ptsflow.stores import rules
from ptsflow.stores.base import Store
from tests.stores.making import LEASE, Ticker, held, new, owner

NOW = 1_700_000_000_000


def begun(record: ContainerRecord, at: int = NOW, **fields: object) -> RunRecord:
    """Return the run that holds a container, as it begins."""
    run = RunRecord(
        uid=record.uid,
        fence=record.fence,
        container=record.name,
        workflow="Feed",
        began_at=at,
    )
    return replace(run, **fields)


def over(run: RunRecord, status: RunStatus = RunStatus.DONE) -> RunRecord:
    """Return a run that ended a second after it began."""
    return replace(run, status=status, ended_at=run.began_at + 1000)


def claimed(store: Store, name: str = "feed") -> ContainerRecord:
    return held(store, store.create(name)[0].uid, name)


def run_through(
    store: Store,
    name: str,
    at: int,
    status: RunStatus = RunStatus.DONE,
    **fields: object,
) -> RunRecord:
    """Begin and end a run in a container that is free."""
    record = claimed(store, name)
    run = begun(record, at, **fields)
    store.save(record, run)
    ended = over(run, status)
    assert store.release(record, ended)
    return ended


def test_a_store_that_nobody_ran_anything_in_has_no_runs(store: Store) -> None:
    record = claimed(store)
    store.save(record)
    assert store.release(record)

    assert store.runs() == []
    assert store.runs("Feed", name="feed") == []
    assert not store.number_run(record.uid, record.fence, 1, told_at=NOW)
    assert store.numbered_runs("Feed") == []


def test_a_run_is_there_from_its_beginning_and_once(store: Store, other: Store) -> None:
    record = claimed(store)
    run = begun(record)
    store.save(record, run)
    assert other.runs() == [run]

    store.save(record, run)
    assert other.runs() == [run]

    assert store.release(record, over(run))
    assert store.release(record, over(run))
    assert other.runs() == [over(run)]


def test_a_run_that_died_is_lost_when_the_next_begins(
    store: Store, clock: Ticker
) -> None:
    first = claimed(store)
    store.save(first, begun(first))
    clock.now += LEASE
    second = held(store, first.uid, "b")
    assert store.runs() == [begun(first)]

    store.save(second, begun(second, NOW + 1))
    lost = begun(first, status=RunStatus.LOST)
    assert store.runs() == [begun(second, NOW + 1), lost]

    assert store.release(second, over(begun(second, NOW + 1)))
    assert store.runs() == [over(begun(second, NOW + 1)), lost]


def test_several_runs_that_died_are_lost_and_those_of_others_are_not(
    store: Store, clock: Ticker
) -> None:
    ended = run_through(store, "feed", NOW)
    elsewhere = claimed(store, "other")
    store.save(elsewhere, begun(elsewhere))
    died = []
    for number in range(3):
        clock.now += LEASE
        record = held(store, ended.uid, str(number))
        # Runs of versions that keep no history hold containers too.
        store.save(record, begun(record) if number != 1 else None)
        died.append(record)
    clock.now += LEASE
    last = held(store, ended.uid, "last")
    store.save(last, begun(last))

    assert {(r.container, r.fence): r.status for r in store.runs()} == {
        ("feed", ended.fence): RunStatus.DONE,
        ("feed", died[0].fence): RunStatus.LOST,
        ("feed", died[2].fence): RunStatus.LOST,
        ("feed", last.fence): RunStatus.RUNNING,
        ("other", elsewhere.fence): RunStatus.RUNNING,
    }


def test_an_owner_that_was_overtaken_writes_no_run(store: Store, clock: Ticker) -> None:
    first = claimed(store)
    store.save(first, begun(first))
    clock.now += LEASE
    second = held(store, first.uid, "b")
    store.save(second, begun(second, NOW + 1))

    with pytest.raises(LeaseLost):
        store.save(first, begun(first))
    assert not store.release(first, over(begun(first)))
    assert store.release(second, over(begun(second, NOW + 1)))
    assert [(run.fence, run.status) for run in store.runs()] == [
        (second.fence, RunStatus.DONE),
        (first.fence, RunStatus.LOST),
    ]


def test_an_owner_that_is_overtaken_before_anybody_noted_that_ends_no_run(
    store: Store, clock: Ticker
) -> None:
    first = claimed(store)
    store.save(first, begun(first))
    clock.now += LEASE
    second = held(store, first.uid, "b")
    assert not store.release(first, over(begun(first)))

    assert store.runs(status=RunStatus.DONE) == []
    assert [run.status for run in store.runs()] == [RunStatus.RUNNING]
    store.save(second, begun(second, NOW + 1))
    assert store.release(second, over(begun(second, NOW + 1)))
    assert [run.status for run in store.runs()] == [RunStatus.DONE, RunStatus.LOST]
    assert store.runs()[1] == begun(first, status=RunStatus.LOST)


def test_a_run_that_ends_otherwise_is_kept_as_it_ended(store: Store) -> None:
    for number, status in enumerate(
        (RunStatus.FAILED, RunStatus.STOPPED, RunStatus.TIMEOUT, RunStatus.DONE)
    ):
        record = claimed(store)
        run = begun(record, NOW + number)
        store.save(record, run)
        assert store.release(record, over(run, status))

    assert [run.status for run in store.runs()] == [
        *(RunStatus.DONE, RunStatus.TIMEOUT),
        *(RunStatus.STOPPED, RunStatus.FAILED),
    ]
    assert [run.fence for run in store.runs(status=RunStatus.STOPPED)] == [2]


def test_runs_outlive_their_container(store: Store, clock: Ticker) -> None:
    ended = run_through(store, "feed", NOW)
    died = held(store, ended.uid, "b")
    store.save(died, begun(died, NOW + 1))
    clock.now += LEASE
    assert store.delete(ended.uid)
    assert store.runs() == [begun(died, NOW + 1, status=RunStatus.LOST), ended]

    again = run_through(store, "feed", NOW + 2)
    assert again.uid != ended.uid
    assert [run.uid for run in store.runs(name="feed")] == [
        *(again.uid, ended.uid, ended.uid)
    ]


def test_runs_are_found_by_workflow_and_name_the_newest_first(store: Store) -> None:
    made = [
        run_through(store, name, NOW + at, workflow=workflow)
        for name, at, workflow in (
            *(("a", 5, "Feed"), ("b", 3, "Feed"), ("c", 9, "Other")),
            *(("a", 7, "Feed"), ("b", 3, "Feed"), ("a", 1, "")),
        )
    ]

    assert store.runs() == [made[i] for i in (2, 3, 0, 4, 1, 5)]
    assert store.runs("Feed") == [made[i] for i in (3, 0, 4, 1)]
    assert store.runs(name="a") == [made[i] for i in (3, 0, 5)]
    assert store.runs("Feed", "a", limit=1) == [made[3]]
    assert store.runs("") == [made[5]]
    assert store.runs("Nothing") == []
    assert store.runs(name="$a") == []


def test_runs_are_paged_and_none_is_left_out(store: Store) -> None:
    made = [run_through(store, f"c{n % 3}", NOW + n // 4) for n in range(11)]
    pages, last = [], None
    while page := store.runs("Feed", limit=2, before=last):
        pages += page
        last = page[-1]

    assert pages == store.runs(limit=20)
    assert sorted(run.fence for run in pages) == sorted(run.fence for run in made)


def test_it_is_noted_when_somebody_was_told(store: Store) -> None:
    ended = run_through(store, "feed", NOW)
    assert store.number_run(ended.uid, ended.fence, 1, told_at=NOW + 5)
    assert store.runs() == [replace(ended, ordinal=1, told_at=NOW + 5)]

    assert not store.number_run(ended.uid, ended.fence + 1, 2, told_at=NOW)
    assert not store.number_run("17", ended.fence, 2, told_at=NOW)
    assert store.runs() == [replace(ended, ordinal=1, told_at=NOW + 5)]


def test_one_run_of_a_workflow_has_an_ordinal(store: Store) -> None:
    first, second = (run_through(store, "feed", NOW + number) for number in range(2))
    other = run_through(store, "feed", NOW, workflow="Other")
    assert store.number_run(first.uid, first.fence, 1, told_at=None)
    assert not store.number_run(second.uid, second.fence, 1, told_at=NOW)
    assert store.number_run(first.uid, first.fence, 1, told_at=NOW), "once more"
    assert store.number_run(other.uid, other.fence, 1, told_at=None)
    assert store.number_run(second.uid, second.fence, 2, told_at=None)
    assert store.numbered_runs("Feed") == [replace(second, ordinal=2)]
    assert store.numbered_runs("Other") == [replace(other, ordinal=1)]
    assert store.numbered_runs("Nothing") == []

    store.add_run(replace(second, ordinal=1))
    assert store.runs("Feed")[0].ordinal is None, "it is taken"
    store.add_run(replace(second, ordinal=3))
    assert store.numbered_runs("Feed")[0].ordinal == 3


def test_numbered_runs_are_those_since_one_that_ended_well(store: Store) -> None:
    statuses = [RunStatus.FAILED, RunStatus.DONE, RunStatus.FAILED, RunStatus.TIMEOUT]
    made: list[RunRecord] = []
    for number, status in enumerate(statuses, 1):
        # The order is that of the ordinals, not of the beginnings.
        run = run_through(store, "feed", NOW - number)
        store.add_run(replace(run, status=status))
        assert store.number_run(run.uid, run.fence, number, told_at=None)
        made.insert(0, replace(run, status=status, ordinal=number))
    run_through(store, "feed", NOW)

    assert store.numbered_runs("Feed") == made[:3]


def test_the_newest_runs_of_a_workflow_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = run_through(store, "feed", NOW - 9, workflow="Other")
    made = [run_through(store, "feed", NOW + number) for number in range(9)]
    for module in _pruning(store):
        monkeypatch.setattr(f"{module}.RUNS_KEPT", 4)
        monkeypatch.setattr(f"{module}.RUNS_PRUNED", 3)

    made.append(run_through(store, "feed", NOW + 9))
    assert store.runs("Feed") == made[:2:-1]
    made.append(run_through(store, "feed", NOW + 10))
    assert store.runs("Feed") == made[:5:-1]
    made.append(run_through(store, "feed", NOW + 11))
    assert store.runs("Feed") == made[:7:-1]
    assert store.runs("Other") == [other]


def test_the_steps_of_runs_that_ended_long_ago_are_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in _pruning(store):
        monkeypatch.setattr(f"{module}.STEPS_KEPT", 2)
    told = (StepStats(name="load", count=3, keys={"a": 1}),)

    made = [
        run_through(store, "feed", NOW + number, steps=told, told_at=5)
        for number in range(3)
    ]
    failed = [
        run_through(store, "feed", NOW + number, RunStatus.FAILED)
        for number in range(3, 7)
    ]
    bare = replace(made[0], steps=())
    assert store.runs("Feed") == [*failed[::-1], *made[:0:-1], bare]

    made.append(run_through(store, "feed", NOW + 7, steps=told))
    bares = [replace(each, steps=()) for each in made[1::-1]]
    assert store.runs("Feed", status=RunStatus.DONE) == [*made[:1:-1], *bares]


def _pruning(store: Store) -> list[str]:
    """Return the modules that know how many runs are kept."""
    kind = type(store).__module__.split(".")[-2]
    return [f"ptsflow.stores.{kind}.runs"]


def test_two_thousand_runs_of_a_workflow_are_kept() -> None:
    assert (rules.RUNS_KEPT, rules.RUNS_PRUNED) == (2_000, 20)


def test_history_changes_nothing_of_the_container(store: Store) -> None:
    record = claimed(store)
    record = replace(record, workflow="Feed", status=Status.RUNNING)
    store.save(record, begun(record))
    store.commit(record.uid, [new("a", fence=record.fence)], fence=record.fence)
    assert store.container("feed") == record
    free = replace(record, owner=None, leased_till=None, status=Status.DONE)
    assert store.release(free, over(begun(record)))

    assert store.container("feed") == free
    assert [task.name for task in store.tasks(record.uid)] == ["a"]


def test_a_sibling_reads_and_writes_the_same_runs(store: Store) -> None:
    with closing(store.sibling()) as sibling:
        ended = run_through(sibling, "feed", NOW)
        assert store.runs() == [ended]
        again = store.claim(ended.uid, owner("b"), LEASE)
        assert again is not None
        store.save(again, begun(again, NOW + 1))
        assert sibling.runs()[0] == begun(again, NOW + 1)
