"""What `stores/base.py` says of stores, containers and leases, on every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow.core.model import ContainerRecord, Progress, Status, StepSummary
from ptsflow.errors import ContainerBusy, LeaseLost
from ptsflow.host.workdirs import root_in_cache
from ptsflow.stores.base import Store
from tests.stores.making import (
    LEASE,
    Ticker,
    filled,
    held,
    names,
    new,
    one,
    owner,
    swap,
)


def test_now_is_the_clock_that_was_given(store: Store, clock: Ticker) -> None:
    clock.now += 5

    assert store.now() == clock.now


def test_a_second_close_does_nothing(store: Store) -> None:
    store.close()

    store.close()


def test_a_sibling_sees_what_was_written_and_the_other_way_round(
    store: Store, other: Store
) -> None:
    uid = filled(store, "one")
    other.commit(uid, [new("two")], fence=None)

    assert names(other, uid) == names(store, uid) == ["one", "two"]


def test_a_container_has_one_name_on_this_host_and_no_other_has_it(
    store: Store,
) -> None:
    one, two = (store.create(name)[0] for name in ("one", "two"))
    sibling = store.sibling()
    sibling.close()

    assert sibling.key_of(one) == store.key_of(one)
    assert store.key_of(two) != store.key_of(one)


def test_a_store_says_where_files_of_its_tasks_lie(
    store: Store,
    other: Store,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    roots = {
        "memory": None,
        "sqlite": tmp_path / "pts.db.work",
        "mongod": root_in_cache(store.url),
        "mongod-rs": root_in_cache(store.url),
    }

    assert store.work_root == other.work_root == roots[kind]
    assert store.is_in_memory is other.is_in_memory is (kind == "memory")


def test_a_container_is_made_once(store: Store, other: Store, clock: Ticker) -> None:
    made, is_new = store.create("feed")
    found, is_new_again = other.create("feed")

    assert made == ContainerRecord(uid=made.uid, name="feed", created_at=clock.now)
    assert (is_new, is_new_again) == (True, False)
    assert found == made == store.container("feed")


def test_a_container_that_nobody_made_is_none(store: Store) -> None:
    assert store.container("feed") is None
    assert store.containers() == []


def test_containers_are_listed_oldest_first(store: Store, clock: Ticker) -> None:
    for name in ("zoo", "ant", "mid"):
        store.create(name)
        clock.now += 1

    assert [each.name for each in store.containers()] == ["zoo", "ant", "mid"]


def test_what_is_written_unsynced_is_seen_by_others_at_once(
    store: Store, other: Store
) -> None:
    with store.unsynced():
        uid = filled(store, "one")
        assert names(other, uid) == ["one"]

    assert names(store, uid) == ["one"]


def test_a_deleted_container_takes_its_tasks_along(store: Store) -> None:
    uid = filled(store, "one")

    assert store.delete(uid)
    assert store.container("feed") is None
    assert store.tasks(uid) == []
    assert not store.delete(uid)


def test_a_container_made_again_has_a_new_uid_and_none_of_the_old_tasks(
    store: Store,
) -> None:
    old = filled(store, "one")
    store.delete(old)
    again, is_new = store.create("feed")

    assert is_new
    assert again.uid != old
    assert store.tasks(again.uid) == store.tasks(old) == []


def test_a_leased_container_is_not_deleted_until_its_lease_ends(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    clock.now += LEASE - 1

    assert not store.delete(uid)
    clock.now += 1
    assert store.delete(uid)


def test_the_holder_of_a_lease_deletes_the_container_unless_the_lease_was_lost(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store, "one")
    first = held(store, uid)
    clock.now += LEASE
    second = held(store, uid, "b")

    assert not store.delete(uid, fence=first.fence)
    assert store.release(second)
    assert not store.delete(uid, fence=second.fence)
    third = held(store, uid, "c")
    assert store.delete(uid, fence=third.fence)
    assert store.container("feed") is None
    assert store.tasks(uid) == []


def test_a_container_says_that_it_was_made_when_it_is_told_so(
    store: Store, clock: Ticker
) -> None:
    made, _ = store.create("feed", created_at=clock.now - 5)
    again, is_new = store.create("feed", created_at=clock.now - 9)

    assert made.created_at == clock.now - 5
    assert (again, is_new) == (made, False)


def test_a_claim_raises_the_fence_above_what_it_is_told(store: Store) -> None:
    uid = filled(store, "one")
    first = store.claim(uid, owner(), LEASE, above=41)
    assert first is not None
    assert store.claim(uid, owner(), LEASE, above=50) == first
    assert store.release(first)
    second = store.claim(uid, owner("b"), LEASE, above=3)

    assert second is not None
    assert (first.fence, second.fence) == (42, 43)
    store.commit(uid, [swap(one(store, uid, "one"), fence=43)], fence=43)


@pytest.mark.parametrize(
    "uid", ["", "0", "999", "nobody's", "65a1b2c3d4e5f60718293a4b"]
)
def test_a_uid_of_nothing_is_answered_like_a_deleted_one(
    store: Store, uid: str
) -> None:
    assert not store.delete(uid)
    assert store.claim(uid, owner(), LEASE) is None
    assert not store.renew(uid, 1, LEASE)
    assert store.tasks(uid) == []
    assert store.next_open(uid) is None
    assert store.tallies([uid]) == {uid: []}


# -- leases --------------------------------------------------------------------


def test_a_claim_takes_what_nobody_has(store: Store, clock: Ticker) -> None:
    made, _ = store.create("feed")
    claimed = store.claim(made.uid, owner(), LEASE)

    assert claimed == replace(
        made, owner=owner(), fence=1, leased_till=clock.now + LEASE
    )
    assert store.container("feed") == claimed


def test_a_live_lease_is_not_taken(store: Store, other: Store, clock: Ticker) -> None:
    uid = filled(store)
    record = held(store, uid, "a")
    clock.now += LEASE - 1

    assert other.claim(uid, owner("b"), LEASE) is None
    assert other.container("feed") == record


def test_a_lease_that_ended_is_taken(store: Store, clock: Ticker) -> None:
    uid = filled(store)
    held(store, uid, "a")
    clock.now += LEASE

    assert held(store, uid, "b").fence == 2


def test_the_lease_of_an_owner_known_dead_is_taken_at_once(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid, "a")
    taken = store.claim(uid, owner("b"), LEASE, dead=record.fence)

    assert taken is not None
    assert (taken.fence, taken.owner) == (2, owner("b"))


def test_knowing_that_an_earlier_owner_died_takes_nothing(store: Store) -> None:
    uid = filled(store)
    dead = held(store, uid, "a").fence
    store.claim(uid, owner("b"), LEASE, dead=dead)

    assert store.claim(uid, owner("c"), LEASE, dead=dead) is None


@pytest.mark.parametrize("dead", [None, 1])
def test_a_claim_made_again_is_recognised(
    store: Store, clock: Ticker, dead: int | None
) -> None:
    uid = filled(store)
    held(store, uid, "a")
    clock.now += 0 if dead else LEASE
    first = store.claim(uid, owner("b"), LEASE, dead=dead)
    again = store.claim(uid, owner("b"), LEASE, dead=dead)

    assert first == again
    assert first is not None
    assert first.fence == 2


def test_fences_only_grow_over_claims_releases_and_takeovers(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store)
    fences = []
    for turn in range(6):
        record = held(store, uid, f"owner {turn}")
        fences.append(record.fence)
        if turn % 2:
            store.release(record)
        else:
            clock.now += LEASE

    assert fences == [1, 2, 3, 4, 5, 6]


def test_a_renewed_lease_ends_later(store: Store, clock: Ticker) -> None:
    uid = filled(store)
    record = held(store, uid)
    clock.now += LEASE - 1

    assert store.renew(uid, record.fence, LEASE)
    clock.now += LEASE - 1
    assert store.claim(uid, owner("b"), LEASE) is None
    clock.now += 1
    assert store.claim(uid, owner("b"), LEASE) is not None


def test_a_lease_that_another_took_is_neither_renewed_nor_given_back(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store)
    mine = held(store, uid, "a")
    clock.now += LEASE
    theirs = held(store, uid, "b")

    assert not store.renew(uid, mine.fence, LEASE)
    assert not store.release(replace(mine, status=Status.DONE))
    assert store.container("feed") == theirs


def test_a_lease_given_back_is_not_renewed(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)

    assert store.release(record)
    assert not store.renew(uid, record.fence, LEASE)
    assert held(store, uid, "b").fence == 2


_WRITTEN = {
    "workflow": "Import",
    "params": '{"hour": "2011-09-30T13"}',
    "plan": (
        StepSummary(name="check", text="Look for files."),
        StepSummary(name="load", needs=("check",), each="check", tolerate="2%"),
        StepSummary(name="end", always=True, tolerate=3, weight=0.5, parallel=True),
    ),
    "status": Status.RUNNING,
    "finish_reason": "nothing new",
    "target": "flow.py:Feed",
    "started_at": 5,
    "ended_at": 6,
}


def test_save_writes_all_but_name_and_lease(store: Store, clock: Ticker) -> None:
    uid = filled(store)
    record = held(store, uid)
    clock.now += 1000
    store.renew(uid, record.fence, LEASE)
    store.save(replace(record, name="other", **_WRITTEN))

    expected = replace(record, leased_till=clock.now + LEASE, **_WRITTEN)
    assert store.container("feed") == expected


def test_release_saves_and_gives_back(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)

    assert store.release(replace(record, **_WRITTEN))
    assert store.container("feed") == replace(
        record, owner=None, leased_till=None, **_WRITTEN
    )


def test_a_release_made_again_is_recognised(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)
    store.release(record)

    assert store.release(record)


def test_a_lease_that_ended_is_still_held_until_another_takes_it(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    clock.now += LEASE
    store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)

    assert store.renew(uid, record.fence, LEASE)
    assert store.claim(uid, owner("b"), LEASE) is None


def test_whoever_lost_the_lease_can_write_nothing(store: Store, clock: Ticker) -> None:
    uid = filled(store, "one")
    lost = held(store, uid, "a")
    clock.now += LEASE
    held(store, uid, "b")
    task = one(store, uid, "one")
    before = (store.container("feed"), store.tasks(uid, payloads=True))
    message = (
        "container 'feed': the lease under fence 1 was lost: the fence is 2 now; "
        "run it again to go on"
    )

    writes: list[Callable[[], None]] = [
        lambda: store.commit(uid, [swap(task, fence=1)], fence=1),
        lambda: store.commit(uid, [new("two", fence=1)], fence=1),
        lambda: store.touch(uid, [Progress("one", 50.0, "")], fence=1),
        lambda: store.save(lost),
    ]
    for write in writes:
        with pytest.raises(LeaseLost) as caught:
            write()
        assert str(caught.value) == message
    assert (store.container("feed"), store.tasks(uid, payloads=True)) == before


def test_whoever_gave_the_lease_back_can_write_nothing(store: Store) -> None:
    uid = filled(store, "one")
    record = held(store, uid)
    store.release(record)
    message = (
        "container 'feed': the lease under fence 1 was lost: it was given back; "
        "run it again to go on"
    )

    with pytest.raises(LeaseLost) as caught:
        store.commit(uid, [swap(one(store, uid, "one"), fence=1)], fence=1)
    assert str(caught.value) == message
    with pytest.raises(LeaseLost) as caught:
        store.save(record)
    assert str(caught.value) == message


def test_a_client_waits_for_the_lease_to_end(store: Store, clock: Ticker) -> None:
    uid = filled(store, "one")
    held(store, uid)
    clock.now += LEASE - 1
    change = swap(one(store, uid, "one"), status_text="by hand")

    with pytest.raises(ContainerBusy) as caught:
        store.commit(uid, [change], fence=None)

    assert str(caught.value) == (
        "container 'feed' is held by pid 42 on box since 2023-11-14T22:13:20+00:00 "
        "until 2023-11-14T22:14:20+00:00; wait until it has ended, or stop it"
    )
    clock.now += 1
    store.commit(uid, [change], fence=None)
    assert one(store, uid, "one").status_text == "by hand"
