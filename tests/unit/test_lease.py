"""Keeping a lease, and leaving a container alone whose bodies may still run here."""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from ptsflow import Client, Workflow, run, step
from ptsflow.client import lease
from ptsflow.client.lease import acquire, mark, still_working
from ptsflow.client.looking import seen
from ptsflow.core.model import ContainerRecord, Owner, Status, Stop
from ptsflow.errors import ContainerBusy, LeaseLost, StoreError, StoreUnavailable
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot, system_clock
from ptsflow.host.process_identity import this_process
from ptsflow.runner.heartbeat import Heartbeat
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.report import Stopped
from ptsflow.runner.run import run_planned
from ptsflow.stores.memory.store import MemoryStore
from tests.support.processes import state_of
from tests.support.waiting import until

LEASE_MS = 1_000


class Away(MemoryStore):
    """A store that says at once that it cannot be reached, whenever a lease is renewed."""

    asked = 0

    def sibling(self) -> Away:
        return self

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:  # noqa: ARG002 - a Store's
        self.asked += 1
        raise StoreUnavailable("away")


def test_a_store_that_refuses_at_once_is_not_asked_without_a_pause() -> None:
    store = Away()
    record, _ = store.create("box")
    claimed, asked_at = acquire(store, record, this_process(system_clock), LEASE_MS)
    lost: queue.SimpleQueue[str | StoreError] = queue.SimpleQueue()
    heartbeat = Heartbeat(store, claimed, LEASE_MS, asked_at=asked_at, on_lost=lost.put)
    heartbeat.start()
    why = lost.get(timeout=10)
    heartbeat.stop()

    assert why == "its lease could not be renewed in time"
    assert since_boot() >= heartbeat.deadline
    assert 2 <= store.asked <= 20


class Short(MemoryStore):
    """A store to which bodies that use up memory or files leave no second connection."""

    def __init__(self, error: Exception) -> None:
        super().__init__(clock=system_clock)
        self.error = error

    def sibling(self) -> Short:
        raise self.error


@pytest.mark.parametrize("error", [MemoryError(), StoreUnavailable("too many files")])
def test_a_lease_outlives_bodies_that_use_up_memory_or_files(error: Exception) -> None:
    store = Short(error)
    record, _ = store.create("box")
    claimed, asked_at = acquire(store, record, this_process(system_clock), LEASE_MS)
    lost: list[str | StoreError] = []
    heartbeat = Heartbeat(
        store, claimed, LEASE_MS, asked_at=asked_at, on_lost=lost.append
    )
    first = heartbeat.deadline
    heartbeat.start()
    until(lambda: lost or heartbeat.deadline > first)
    heartbeat.stop()

    assert lost == []


class Slow(MemoryStore):
    """A store that takes a quarter of a lease to claim a container."""

    def claim(
        self,
        uid: str,
        owner: Owner,
        lease_ms: int,
        *,
        dead: int | None = None,
        above: int = 0,
    ) -> ContainerRecord | None:
        claimed = super().claim(uid, owner, lease_ms, dead=dead, above=above)
        self.renew(uid, 1, LEASE_MS)
        time.sleep(LEASE_MS / 4000)
        return claimed


def test_the_lease_of_a_claim_that_took_long_counts_from_a_renewal() -> None:
    store = Slow()
    record, _ = store.create("box")
    began = since_boot()
    claimed, asked_at = acquire(store, record, this_process(system_clock), LEASE_MS)
    stored = store.container("box")

    assert asked_at >= began + LEASE_MS / 4000
    assert stored is not None
    assert claimed.leased_till is not None
    assert (stored.leased_till or 0) >= claimed.leased_till + LEASE_MS / 4


def test_the_lease_of_a_claim_that_may_be_an_earlier_one_counts_from_a_renewal() -> (
    None
):
    store = MemoryStore()
    record, _ = store.create("box")
    own = this_process(system_clock)
    earlier = since_boot()
    # The answer to this claim was lost.
    store.claim(record.uid, own, LEASE_MS)
    time.sleep(LEASE_MS / 4000)
    claimed, asked_at = acquire(store, record, own, LEASE_MS, since=earlier)
    stored = store.container("box")

    assert claimed.fence == 1
    assert asked_at >= earlier + LEASE_MS / 4000
    assert stored is not None
    assert claimed.leased_till is not None
    assert (stored.leased_till or 0) >= claimed.leased_till + LEASE_MS / 5


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def lapsed(store: MemoryStore) -> ContainerRecord:
    """A container whose owner is this process, and whose lease has ended."""
    record, _ = store.create("box")
    claimed = store.claim(record.uid, this_process(system_clock), 1)
    assert claimed is not None
    time.sleep(0.005)
    return claimed


def marked(
    store: MemoryStore, record: ContainerRecord, who: bytes
) -> container_lock.Mark:
    return container_lock.Mark(container_lock.file_of(store.key_of(record)), who)


def test_a_runner_of_this_process_that_is_still_in_a_body_is_not_overtaken(
    store: MemoryStore, lapsed: ContainerRecord
) -> None:
    told: list[str] = []
    its = mark(store, lapsed)
    with pytest.raises(ContainerBusy) as caught:
        acquire(
            store,
            lapsed,
            this_process(system_clock),
            LEASE_MS,
            wait=0.01,
            notice=told.append,
        )
    its.remove()
    claimed, _ = acquire(store, lapsed, this_process(system_clock), LEASE_MS)

    said = (
        f"container 'box': this process on {os.uname().nodename} may still be in a body of "
        "it, though its lease has ended"
    )
    assert told == [f"waiting: {said}"]
    assert str(caught.value) == f"{said}; wait until that has ended"
    assert claimed.fence == lapsed.fence + 1


def test_a_runner_that_let_its_container_go_but_not_its_body_is_not_joined(
    store: MemoryStore, lapsed: ContainerRecord
) -> None:
    its = mark(store, lapsed)
    store.release(lapsed)
    with pytest.raises(ContainerBusy, match="may still be in a body of it"):
        acquire(store, lapsed, this_process(system_clock), LEASE_MS)
    its.remove()


def test_a_lease_of_another_host_is_not_taken_as_who_worked_here_dies(
    store: MemoryStore, lapsed: ContainerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lapsed.owner is not None
    overtaker = replace(lapsed.owner, id="overtaker", host="elsewhere")
    since = since_boot()
    assert store.claim(lapsed.uid, overtaker, LEASE_MS)
    # It worked here when that was asked, and has died since.
    ended = iter([replace(lapsed.owner, started=lapsed.owner.started - 1)])
    monkeypatch.setattr(lease, "still_working", lambda *_: next(ended, None))
    acquire(store, lapsed, this_process(system_clock), LEASE_MS)

    assert since_boot() - since >= LEASE_MS / 1000


@pytest.mark.parametrize("is_live", [False, True])
def test_a_lease_of_another_host_is_waited_for_no_longer_than_it_is(
    is_live: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    off = 0
    # A live one has renewed the lease long before its end.
    lease_ms = 20 * LEASE_MS if is_live else LEASE_MS
    store = MemoryStore(clock=lambda: system_clock() - off)
    record, _ = store.create("box")
    other = replace(this_process(system_clock), host="elsewhere", lease_ms=lease_ms)
    claimed = store.claim(record.uid, other, lease_ms)
    assert claimed is not None
    off = 3_600_000
    renewed = (lambda: store.renew(record.uid, 1, lease_ms)) if is_live else (lambda: 0)
    timer = threading.Timer(LEASE_MS / 4000, renewed)
    timer.start()
    me, began = this_process(system_clock), since_boot()
    if is_live:
        with pytest.raises(ContainerBusy):
            acquire(store, claimed, me, LEASE_MS, wait=0)
    else:
        assert acquire(store, claimed, me, LEASE_MS)[0].fence == 2
        assert LEASE_MS / 1000 <= since_boot() - began < 60
    timer.join()


def _elsewhere(owner: Owner) -> bytes:
    return msgspec.json.encode(replace(owner, host="elsewhere"))


def _dead(owner: Owner) -> bytes:
    return msgspec.json.encode(replace(owner, started=owner.started - 1))


@pytest.mark.parametrize("who", [_elsewhere, _dead, lambda _: b"", lambda _: b"[]"])
def test_a_mark_that_says_nothing_of_a_live_process_here_keeps_nobody_away(
    who: object, store: MemoryStore, lapsed: ContainerRecord
) -> None:
    assert callable(who)
    assert lapsed.owner is not None
    its = marked(store, lapsed, who(lapsed.owner))
    claimed, _ = acquire(store, lapsed, this_process(system_clock), LEASE_MS)
    its.remove()

    assert claimed.fence == lapsed.fence + 1


def test_a_stopped_process_keeps_nobody_away(
    store: MemoryStore, lapsed: ContainerRecord
) -> None:
    assert lapsed.owner is not None
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as it:
        stat = Path(f"/proc/{it.pid}/stat")
        started = int(stat.read_text().rpartition(")")[2].split()[19])
        owner = replace(lapsed.owner, pid=it.pid, started=started)
        its = marked(store, lapsed, msgspec.json.encode(owner))
        awake = still_working(store, lapsed)
        it.send_signal(signal.SIGSTOP)
        until(lambda: state_of(it.pid) == "T")
        stopped = still_working(store, lapsed)
        it.kill()
    its.remove()

    assert awake == owner
    assert stopped is None


def test_a_mark_stays_as_long_as_a_body_goes_on_after_its_run_broke_off() -> None:
    store = Overtaken()
    container, _ = store.create("Waits")
    with pytest.raises(LeaseLost):
        run(Waits(), store=Client(store), lease=5)
    before = still_working(store, container)
    go_on.set()
    until(lambda: still_working(store, container) is None)

    assert before is not None
    assert before.pid == os.getpid()
    assert list(container_lock.file_of(store.key_of(container)).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("timeout", "number"),
    [
        pytest.param(0.5, signal.SIGALRM, id="by --timeout"),
        pytest.param(None, signal.SIGTERM, id="by cancel"),
    ],
)
def test_who_waits_for_processes_of_an_earlier_run_can_be_stopped(
    timeout: float | None, number: signal.Signals, store: MemoryStore
) -> None:
    container, _ = store.create("Waits")

    def cancel() -> None:
        time.sleep(0.5)
        store.ask_to_stop(container.uid, 1, Stop.GENTLY)

    if timeout is None:
        threading.Thread(target=cancel, daemon=True).start()
    began = time.monotonic()
    with container_lock.file_of(store.key_of(container)).open("w") as left:
        fcntl.flock(left, fcntl.LOCK_SH)
        planned = plan_run(Waits(), RunOptions(timeout=timeout))
        with pytest.raises(Stopped) as caught:
            run_planned(planned, Client(store), ())
    took = time.monotonic() - began
    after = store.container("Waits")

    assert caught.value.number == number
    assert 0.5 <= took < 30
    assert after is not None
    assert (after.owner, after.status) == (None, Status.PENDING)
    assert [task.invoke_count for task in store.tasks(container.uid)] == [0]


def test_where_there_is_no_folder_for_it_no_container_is_made(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    with pytest.raises(StoreUnavailable, match="expected a folder that can be made"):
        run(Waits(), store=Client(store))

    assert store.containers() == []


def test_screens_show_who_is_at_work_in_a_container_that_nobody_owns(
    store: MemoryStore, lapsed: ContainerRecord
) -> None:
    its = mark(store, lapsed)
    store.release(lapsed)
    free = store.container("box")
    assert free is not None
    now = store.now()
    shown = seen(store, free, now)
    its.remove()

    assert shown.owner == lapsed.owner
    assert (shown.leased_till or 0) > store.now()
    assert seen(store, free, now) == free


go_on = threading.Event()


class Waits(Workflow):
    @step
    def wait(self) -> None:
        go_on.wait(30)


class Overtaken(MemoryStore):
    """A store in which every lease is lost when it is renewed."""

    def sibling(self) -> Overtaken:
        return self

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:  # noqa: ARG002 - a Store's
        return False
