"""What screens read, from every store: as one would pick it out of all tasks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core.counts import tallies_of
from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import (
    PAYLOADS,
    Cause,
    Change,
    ContainerRecord,
    Status,
    TaskRecord,
)
from ptsflow.core.packed import ORIGIN
from ptsflow.stores.base import Store
from tests.stores.making import LEASE, Ticker, ended, filled, held, new, swap

NOW = 1_700_000_000_000


def called(parameter: object) -> str:
    """Return how a test is called; a function has another address in each process."""
    return "" if callable(parameter) else str(parameter)


def item(number: int, status: Status, **fields: object) -> TaskRecord:
    begun = status is not Status.PENDING
    made = TaskRecord(
        name=f"load[{number}]",
        step="load",
        key=str(number),
        position=number,
        version=1,
        status=status,
        last_invoked_at=NOW + 7 * number % 50 if begun else None,
        task_ended_at=NOW + 11 * number % 60 if begun else None,
        task_duration_ms=(number * 37) % 101 if begun else None,
        result='"x"',
    )
    return replace(made, **fields)


def used(store: Store, tasks: list[TaskRecord]) -> str:
    """Return the uid of a container of a workflow with these tasks."""
    record = held(store, store.create("feed")[0].uid)
    store.release(replace(record, workflow="Feed"))
    store.commit(record.uid, [Change(None, task) for task in tasks], fence=None)
    return record.uid


def bare(tasks: list[TaskRecord]) -> list[TaskRecord]:
    return [replace(task, **dict.fromkeys(PAYLOADS, UNSET)) for task in tasks]


def many(seed: int = 1) -> list[TaskRecord]:
    """Return two plain steps, a wide one, and a client's own task, in some order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    tasks = [item(n, chance.choice(list(Status))) for n in range(2, 90)]
    tasks += [
        TaskRecord(name="look", step="look", position=0, version=1),
        TaskRecord(
            name="join",
            step="join",
            position=100,
            version=1,
            status=Status.FAILED,
            last_invoked_at=NOW - 5,
            task_ended_at=NOW + 500,
        ),
        TaskRecord(name="own", position=50, version=1),
    ]
    tasks = [replace(t, position=t.position + 1000 * (t.name == "own")) for t in tasks]
    chance.shuffle(tasks)
    return tasks


def expected(tasks: list[TaskRecord], active: int, failed: int) -> Glance:
    """Return the glance at tasks, in the plainest way."""
    ordered = sorted(bare(tasks), key=lambda task: task.position)

    def items(status: Status, field: str) -> list[TaskRecord]:
        found = [t for t in ordered if t.key is not None and t.status is status]
        return sorted(found, key=lambda t: (getattr(t, field), t.position))

    times = {}
    for step in {task.step for task in ordered}:
        of_step = [task for task in ordered if task.step == step]
        began = [t.last_invoked_at for t in of_step if t.last_invoked_at is not None]
        over = [t.task_ended_at for t in of_step if t.task_ended_at is not None]
        times[step] = min(began, default=None), max(over, default=None)
    running = items(Status.RUNNING, "last_invoked_at")
    waiting = items(Status.WAITING, "task_ended_at")
    return Glance(
        tallies=tallies_of(ordered),
        plain=[task for task in ordered if task.key is None],
        active=[*running, *waiting][:active],
        failed=items(Status.FAILED, "task_ended_at")[:failed],
        times=times,
    )


def same(found: Glance, wanted: Glance) -> None:
    """Compare two glances; the order of tallies of one step is nobody's business."""
    assert set(found.tallies) == set(wanted.tallies)
    assert list(dict.fromkeys(t.step for t in found.tallies)) == list(
        dict.fromkeys(t.step for t in wanted.tallies)
    )
    assert list(found.plain) == list(wanted.plain)
    assert list(found.active) == list(wanted.active)
    assert list(found.failed) == list(wanted.failed)
    assert found.times == wanted.times


@pytest.mark.parametrize(
    ("active", "failed"), [(50, 50), (20, 3), (8, 0), (0, 1), (100, 100)]
)
def test_a_glance_shows_what_a_screen_needs(
    store: Store, active: int, failed: int
) -> None:
    tasks = many()
    uid = used(store, tasks)

    same(store.glance(uid, active, failed), expected(tasks, active, failed))


def test_a_glance_at_nothing_is_empty(store: Store) -> None:
    nothing = Glance(tallies=[], plain=[], active=[], failed=[])

    assert store.glance(filled(store)) == nothing
    assert store.glance("17") == nothing


def test_a_glance_shows_some_of_a_clients_own_tasks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(store).__module__.split(".")[-2]
    monkeypatch.setattr(f"ptsflow.stores.{kind}.looks.OWN_TASKS", 3)
    uid = filled(store, *(f"t{number}" for number in range(9)))
    found = store.glance(uid)

    assert [task.name for task in found.plain] == ["t0", "t1", "t2"]
    assert [(tally.step, tally.count) for tally in found.tallies] == [("", 9)]


def test_a_glance_shows_a_step_whose_task_was_renamed(store: Store) -> None:
    uid = used(store, many())
    (look,) = store.tasks(uid, ["look"])
    store.commit(uid, [swap(look, name="seen")], fence=None)

    plain = store.glance(uid).plain
    assert [task.name for task in plain] == ["seen", "join", "own"]


def test_pages_show_all_tasks_in_order(store: Store) -> None:
    tasks = many()
    uid = used(store, tasks)
    ordered = sorted(bare(tasks), key=lambda task: task.position)

    pages = [store.page(uid, offset=at, limit=40) for at in (0, 40, 80, 120)]
    assert [task for page, _ in pages for task in page] == ordered
    assert [total for _, total in pages] == [91] * 4
    assert store.page(uid, limit=0) == ([], 91)
    assert store.page("17") == ([], 0)
    assert store.names(uid) == [task.name for task in ordered]
    assert store.names("17") == []


_CHOICES: list[tuple[dict[str, object], Callable[[TaskRecord], bool]]] = [
    ({"step": "load"}, lambda t: t.step == "load"),
    ({"step": ""}, lambda t: t.name == "own"),
    ({"step": "$ne"}, lambda _: False),
    ({"status": Status.FAILED}, lambda t: t.status is Status.FAILED),
    ({"part": "d[3"}, lambda t: "d[3" in t.name),
    ({"part": "."}, lambda _: False),
    ({"part": "LOAD"}, lambda _: False),
    (
        {"step": "load", "status": Status.DONE, "part": "1"},
        lambda t: t.step == "load" and t.status is Status.DONE and "1" in t.name,
    ),
]


@pytest.mark.parametrize(("wanted", "fits"), _CHOICES, ids=called)
def test_a_page_shows_the_tasks_that_are_wanted(
    store: Store, wanted: dict[str, object], fits: Callable[[TaskRecord], bool]
) -> None:
    tasks = many()
    uid = used(store, tasks)
    ordered = sorted(filter(fits, bare(tasks)), key=lambda task: task.position)
    page: Callable[..., object] = store.page

    assert page(uid, **wanted) == (ordered, len(ordered))
    assert page(uid, **wanted, offset=1, limit=2) == (ordered[1:3], len(ordered))


def test_a_page_shows_the_slowest_first(store: Store) -> None:
    tasks = many()
    uid = used(store, tasks)
    last = 10**9

    def slowness(task: TaskRecord) -> tuple[int, int]:
        took = task.task_duration_ms
        return last if took is None else -took, task.position

    ordered = sorted(bare(tasks), key=slowness)
    assert store.page(uid, order="duration") == (ordered, 91)
    assert store.page(uid, order="duration", offset=5, limit=9)[0] == ordered[5:14]
    # What the caller says need not be counted.
    known = store.page(uid, order="duration", offset=5, limit=9, total=99)
    assert known == (ordered[5:14], 99)


def coded(number: int) -> TaskRecord:
    """Return one of 300 items that are done, made from other results, of two codes."""
    return item(
        number,
        Status.DONE,
        name=f"wide[{number}]",
        step="wide",
        made_from=number % 7,
        result_hash=number * number,
        code_hash=f"3.11:{'b' if number == 5 else 'c'}" if number else "",
    )


def test_origins_say_of_what_results_tasks_were_made(store: Store) -> None:
    tasks = many() + [coded(number) for number in range(300)]
    tasks = [replace(task, position=place) for place, task in enumerate(tasks)]
    uid = used(store, tasks)
    for steps in ({"wide", "join"}, {"load", "look", "absent"}, {"wide"}, set()):
        wanted = [
            TaskRecord(**{name: getattr(task, name) for name in ORIGIN})
            for task in tasks
            if task.step in steps
        ]

        found = list(store.origins(uid, steps))
        assert found == wanted
        assert {type(task.made_from) for task in found} <= {int}
    assert list(store.origins("17", {"load"})) == []


def test_a_glance_says_what_code_finished_tasks_ran(store: Store) -> None:
    tasks = [coded(number) for number in range(300)]
    hashes = {"code_hash": "3.11:a", "step": "each"}
    unfinished = {**hashes, "name": "each[1]"}
    skipped = {**hashes, "name": "each[2]", "cause": Cause.BODY, "code_hash": "3.11:d"}
    upstream = {**hashes, "name": "each[4]", "cause": Cause.UPSTREAM}
    tasks += [
        item(4, Status.SKIPPED, **upstream),
        item(1, Status.WAITING, **unfinished),
        item(2, Status.SKIPPED, **skipped),
        item(3, Status.FAILED, **hashes, name="each[3]"),
    ]
    tasks = [replace(task, position=place) for place, task in enumerate(tasks)]
    code = store.glance(used(store, tasks)).code

    assert code == {"wide": {"", "3.11:b", "3.11:c"}, "each": {"3.11:d"}}


def test_spans_say_when_tasks_ran(store: Store) -> None:
    tasks = many()
    uid = used(store, tasks)
    begun = [t for t in tasks if t.step == "load" and t.last_invoked_at is not None]
    found = store.spans(uid, "load")

    assert sorted(zip(found.began, found.ended, found.statuses, strict=True)) == sorted(
        (t.last_invoked_at, (t.task_ended_at or 0) if t.is_complete else 0, t.status)
        for t in begun
    )
    assert list(store.spans(uid, "look").began) == []
    assert list(store.spans(uid, "absent").began) == []


def test_ledgers_are_read_together(store: Store) -> None:
    uid = filled(store, "none", "other")
    store.commit(uid, [ended(new("one"), 1), ended(new("two"), 3)], fence=None)
    (one,) = store.tasks(uid, ["one"])
    store.commit(uid, [ended(swap(one), 2)], fence=None)

    wanted = ["two", "one", "none", "absent"]
    found = store.ledgers(uid, wanted)
    assert found == {name: store.attempts(uid, name) for name in ("one", "two")}
    assert [attempt.number for attempt in found["one"]] == [1, 2]
    assert store.ledgers(uid, []) == {}
    assert store.ledgers("17", wanted) == {}


# -- containers --------------------------------------------------------------------------


def several(store: Store, clock: Ticker) -> list[ContainerRecord]:
    """Make containers, of which some are made at the same time; the newest first."""
    made: list[ContainerRecord] = []
    for number in range(11):
        record = held(store, store.create(f"feed:{number}")[0].uid)
        status = list(Status)[number % 3]
        record = replace(record, workflow=f"W{number % 2}", status=status)
        store.save(record)
        made.insert(0, record)
        clock.now += number % 2
    return made


def test_the_newest_containers_come_first(store: Store, clock: Ticker) -> None:
    made = several(store, clock)

    assert store.recent() == made
    assert store.recent(3) == made[:3]
    assert store.recent(0) == []
    pages, last = [], None
    while page := store.recent(4, before=last):
        pages += page
        last = page[-1]
    assert pages == made


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"workflow": "W1"}, lambda r: r.workflow == "W1"),
        ({"workflow": "$W1"}, lambda _: False),
        ({"status": Status.RUNNING}, lambda r: r.status is Status.RUNNING),
        ({"part": ":1"}, lambda r: ":1" in r.name),
        ({"part": "feed."}, lambda _: False),
        (
            {"workflow": "W0", "status": Status.PENDING, "part": "0"},
            lambda r: r.name == "feed:0",
        ),
    ],
    ids=called,
)
def test_the_newest_containers_that_are_wanted_come_first(
    store: Store,
    clock: Ticker,
    wanted: dict[str, object],
    fits: Callable[[ContainerRecord], bool],
) -> None:
    made = list(filter(fits, several(store, clock)))
    recent: Callable[..., list[ContainerRecord]] = store.recent

    assert recent(**wanted) == made
    assert recent(2, **wanted) == made[:2]
    assert recent(2, made[0] if made else None, **wanted) == made[1:3]


# -- outlooks ----------------------------------------------------------------------------


OUTLOOK = Outlook(
    at=1, percentage=2.5, eta_at=NOW + 3, low_at=NOW + 4, high_at=NOW + 5, runs=6
)


def test_what_a_runner_expects_is_told(store: Store, other: Store) -> None:
    record = held(store, store.create("feed")[0].uid)
    assert store.outlooks([record.uid]) == {}

    assert store.tell(record.uid, record.fence, OUTLOOK)
    assert other.outlooks([record.uid, "17"]) == {record.uid: OUTLOOK}
    later = Outlook(at=NOW, percentage=7.0)
    assert store.tell(record.uid, record.fence, later)
    assert other.outlooks([record.uid]) == {record.uid: later}
    assert other.container("feed") == record
    assert store.outlooks([]) == {}


def test_what_was_told_under_an_earlier_fence_is_old(
    store: Store, clock: Ticker
) -> None:
    record = held(store, store.create("feed")[0].uid)
    assert store.tell(record.uid, record.fence, OUTLOOK)
    assert store.release(record)
    assert store.outlooks([record.uid]) == {record.uid: OUTLOOK}
    assert not store.tell(record.uid, record.fence, OUTLOOK)

    again = held(store, record.uid, "b")
    assert not store.tell(record.uid, record.fence, OUTLOOK)
    assert store.outlooks([record.uid]) == {}
    earlier = store.outlooks([record.uid], of_earlier_runs=True)
    assert earlier == {record.uid: OUTLOOK}
    clock.now += LEASE
    assert store.tell(record.uid, again.fence, replace(OUTLOOK, percentage=9.5))
    assert store.outlooks([record.uid])[record.uid].percentage == 9.5


def test_what_a_client_changes_makes_the_outlook_void(store: Store) -> None:
    record = held(store, store.create("feed")[0].uid)
    made = [
        Change(None, TaskRecord(name=name, version=1, position=-1)) for name in "ab"
    ]
    store.commit(record.uid, made[:1], fence=record.fence)
    assert store.tell(record.uid, record.fence, OUTLOOK)
    assert store.release(record)

    def told() -> Mapping[str, Outlook]:
        return store.outlooks([record.uid], of_earlier_runs=True)

    assert told()
    store.commit(record.uid, made[1:], fence=None)
    assert not told()
    assert not store.outlooks([record.uid])

    again = held(store, record.uid, "b")
    assert store.tell(record.uid, again.fence, OUTLOOK)
    store.commit(record.uid, [], fence=again.fence)
    assert store.release(again)
    task = store.tasks(record.uid)[0]
    after = replace(task, version=task.version + 1, percentage_complete=9.0)
    store.commit(record.uid, [Change(task, after)], fence=None)
    assert not told()


def test_what_was_told_is_forgotten(store: Store, clock: Ticker) -> None:
    record = held(store, store.create("feed")[0].uid)
    assert store.tell(record.uid, record.fence, None)
    assert store.tell(record.uid, record.fence, OUTLOOK)
    assert store.tell(record.uid, record.fence, None)
    assert store.outlooks([record.uid], of_earlier_runs=True) == {}

    assert store.tell(record.uid, record.fence, OUTLOOK)
    clock.now += LEASE
    assert store.delete(record.uid)
    assert not store.tell(record.uid, record.fence, OUTLOOK)
    assert store.outlooks([record.uid], of_earlier_runs=True) == {}
