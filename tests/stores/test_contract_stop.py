"""Asking whoever holds a container to end, on every kind of store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ptsflow.core.model import ContainerRecord, Stop
from ptsflow.stores.base import Store
from tests.stores.making import LEASE, Ticker, filled, held, owner


def stored(store: Store) -> ContainerRecord:
    record = store.container("feed")
    assert record is not None
    return record


@pytest.mark.parametrize("how", list(Stop))
def test_anybody_may_leave_word_for_the_holder(
    store: Store, other: Store, how: Stop
) -> None:
    uid = filled(store)
    record = held(store, uid)

    assert store.stop_asked(uid, 1) is None
    assert other.ask_to_stop(uid, 1, how)
    assert store.stop_asked(uid, 1) is how
    assert stored(store) == replace(record, stop_asked=how)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (Stop.GENTLY, Stop.NOW, Stop.NOW),
        (Stop.NOW, Stop.GENTLY, Stop.NOW),
        (Stop.GENTLY, Stop.GENTLY, Stop.GENTLY),
        (Stop.NOW, Stop.NOW, Stop.NOW),
    ],
)
def test_what_is_to_end_now_is_not_given_more_time(
    store: Store, first: Stop, second: Stop, word: Stop
) -> None:
    uid = filled(store)
    held(store, uid)

    assert store.ask_to_stop(uid, 1, first)
    assert store.ask_to_stop(uid, 1, second)
    assert store.stop_asked(uid, 1) is word


def test_what_nobody_holds_cannot_be_asked(store: Store) -> None:
    uid = filled(store)

    assert not store.ask_to_stop(uid, 0, Stop.NOW)
    assert stored(store).stop_asked is None


@pytest.mark.parametrize("fence", [0, 1, 3])
def test_only_the_holder_of_that_fence_is_asked(store: Store, fence: int) -> None:
    uid = filled(store)
    store.claim(uid, owner("a"), LEASE)
    store.claim(uid, owner("b"), LEASE, dead=1)

    assert not store.ask_to_stop(uid, fence, Stop.NOW)
    assert store.stop_asked(uid, 2) is None
    assert store.ask_to_stop(uid, 2, Stop.GENTLY)
    assert store.stop_asked(uid, fence) is None


def test_a_container_that_is_gone_cannot_be_asked(store: Store) -> None:
    uid = filled(store)
    store.delete(uid)

    for each in (uid, "nobody's"):
        assert not store.ask_to_stop(each, 1, Stop.NOW)
        assert store.stop_asked(each, 1) is None


def test_a_holder_whose_lease_ended_is_asked_as_long_as_nobody_took_it(
    store: Store, clock: Ticker
) -> None:
    uid = filled(store)
    held(store, uid)
    clock.now += LEASE + 1

    assert store.ask_to_stop(uid, 1, Stop.GENTLY)
    assert store.stop_asked(uid, 1) is Stop.GENTLY


def test_a_release_takes_the_word_away(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)
    store.ask_to_stop(uid, 1, Stop.NOW)

    assert store.release(record)
    assert stored(store).stop_asked is None
    assert store.stop_asked(uid, 1) is None
    assert not store.ask_to_stop(uid, 1, Stop.NOW)


def test_the_next_holder_is_not_asked_what_the_last_one_was(store: Store) -> None:
    uid = filled(store)
    held(store, uid)
    store.ask_to_stop(uid, 1, Stop.NOW)
    taken = store.claim(uid, owner("b"), LEASE, dead=1)

    assert taken is not None
    assert taken.stop_asked is None
    assert stored(store) == taken
    assert store.stop_asked(uid, 2) is None


def test_a_claim_that_is_made_again_leaves_the_word(store: Store) -> None:
    uid = filled(store)
    held(store, uid)
    store.ask_to_stop(uid, 1, Stop.GENTLY)
    again = store.claim(uid, owner(), LEASE)

    assert again is not None
    assert (again.fence, again.stop_asked) == (1, Stop.GENTLY)


def test_renewing_and_saving_leave_the_word(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)
    store.ask_to_stop(uid, 1, Stop.GENTLY)
    store.renew(uid, 1, LEASE)
    store.save(replace(record, workflow="Import"))

    assert store.stop_asked(uid, 1) is Stop.GENTLY
    assert stored(store) == replace(
        record, workflow="Import", stop_asked=Stop.GENTLY, leased_till=_till(store)
    )


def test_saving_leaves_no_word_by_itself(store: Store) -> None:
    uid = filled(store)
    record = held(store, uid)
    store.save(replace(record, stop_asked=Stop.NOW))

    assert store.stop_asked(uid, 1) is None


def _till(store: Store) -> int | None:
    return stored(store).leased_till
