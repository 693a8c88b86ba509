"""What could be left behind: open tasks, waiting bodies, half of a decision."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow import Client, Finish, RetryLater, TaskHandle, Workflow, connect, run, step
from ptsflow.core.model import Cause, Change, ContainerRecord, Status
from ptsflow.errors import LeaseLost, StoreFull
from ptsflow.stores.memory.store import MemoryStore
from tests.crash.faulty import Died, Fault, FaultyStore
from tests.support.waiting import PATIENCE


class FullStore(FaultyStore):
    """A store that has no room left from some commit on."""

    left = 2

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        if self.left == 0:
            raise StoreFull("no room left")
        self.left -= 1
        super().commit(uid, changes, fence=fence)


def test_a_step_that_asks_for_later_is_skipped_once_the_rest_is_not_needed() -> None:
    class Ending(Workflow):
        @step(parallel=True)
        def late(self) -> None:
            finished.wait(PATIENCE)
            raise RetryLater(3600, "not posted yet")

        @step(parallel=True)
        def ends(self) -> None:
            raise Finish("nothing new")

    finished = threading.Event()

    def listen(event: object) -> None:
        after = getattr(event, "after", None)
        if after is not None and after.cause is Cause.FINISH:
            finished.set()

    report = run(Ending(), "memory:", listeners=[listen])

    assert report.ok
    assert [task.status for task in report.tasks] == ["skipped", "done"]


def test_a_body_whose_checkpoint_cannot_be_saved_is_told() -> None:
    class Saves(Workflow):
        @step
        def body(self, task: TaskHandle) -> None:
            store._data.shelves["1"].record = _overtaken(store)
            try:
                task.checkpoint(1)
            except LeaseLost as error:
                told.append(error)
            ended.set()

    store = MemoryStore()
    told: list[LeaseLost] = []
    ended = threading.Event()
    with pytest.raises(LeaseLost):
        run(Saves(), Client(store))

    assert ended.wait(PATIENCE)
    assert len(told) == 1


def _overtaken(store: MemoryStore) -> ContainerRecord:
    record = store._data.shelves["1"].record
    return replace(record, fence=record.fence + 1)


def test_a_checkpoint_of_a_thread_that_outlived_its_body_is_refused() -> None:
    class Leaves(Workflow):
        @step
        def body(self, task: TaskHandle) -> None:
            def late() -> None:
                over.wait(PATIENCE)
                try:
                    task.checkpoint(1)
                except LeaseLost as error:
                    told.append(error)
                ended.set()

            threading.Thread(target=late, daemon=True).start()

        @step
        def then(self) -> None:
            over.set()
            ended.wait(PATIENCE)

    over, ended = threading.Event(), threading.Event()
    told: list[LeaseLost] = []
    report = run(Leaves(), "memory:")

    assert report.ok
    assert len(told) == 1
    assert report.tasks[0].processing_data is None


def test_a_signal_that_the_system_gives_to_a_body_s_thread_is_heard() -> None:
    class Signalled(Workflow):
        @step
        def body(self, task: TaskHandle) -> None:
            time.sleep(0.1)  # Until the main thread sleeps.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            while not task.cancelled:
                time.sleep(0.005)

        @step
        def then(self) -> None:
            pass

    client = Client(MemoryStore())
    with pytest.raises(SystemExit) as ended:
        run(Signalled(), client)
    record = client.store.container("Signalled")

    assert ended.value.code == 143
    assert record is not None
    assert [t.status.value for t in client.store.tasks(record.uid)] == [
        "done",
        "pending",
    ]


def test_a_run_that_a_full_store_ended_is_not_left_running() -> None:
    class Fills(Workflow):
        @step
        def first(self) -> int:
            return 1

        @step
        def second(self) -> int:
            return 2

    store = FullStore(MemoryStore(), None)
    client = Client(store)
    with pytest.raises(StoreFull):
        run(Fills(), client, container="full")
    record = store.container("full")

    assert record is not None
    assert record.owner is None
    assert record.status is Status.PENDING
    assert record.workflow == "Fills"
    assert len(record.plan) == 2


@pytest.mark.parametrize("when", ["first", "last"])
def test_half_a_decision_to_repeat_steps_is_made_again_as_a_whole(
    when: str, tmp_path: Path
) -> None:
    ran: list[str] = []

    def make(version: int) -> type[Workflow]:
        class Versioned(Workflow):
            container = "versioned"

            @step(version=version)
            def begin(self) -> int:
                ran.append("begin")
                return version

            @step
            def middle(self, begin: int) -> int:
                ran.append("middle")
                return begin

            @step
            def end(self, middle: int) -> int:
                ran.append("end")
                return middle

        return Versioned

    url = f"sqlite:///{tmp_path}/pts.db"
    run(make(1)(), url)
    with connect(url) as client:
        # After create, claim and save comes the commit that reopens the steps.
        faulty = FaultyStore(client.store, Fault(4, when, "raise"))
        with pytest.raises(Died):
            run(make(2)(), Client(faulty))
        held = client.store.container("versioned")
        assert held is not None
        client.store.release(held)
    del ran[:]
    report = run(make(2)(), url)

    assert report.result("end") == 2
    assert ran == ["begin", "middle", "end"]


def test_an_item_that_is_not_in_the_list_any_more_gives_no_work() -> None:
    class Shrinks(Workflow):
        @step
        def names(self) -> list[str]:
            return list(known)

        @step(each=names)
        def load(self, name: str) -> str:
            return name

        @step(always=True)
        def clean_up(self) -> None:
            cleaned.append(1)

    known = ["a", "b"]
    cleaned: list[int] = []
    client = Client(MemoryStore())
    run(Shrinks(), client)
    known.remove("b")
    run(Shrinks(), client, from_step="names")
    del cleaned[:]
    report = run(Shrinks(), client)
    statuses = {task.name: task.status for task in report.tasks}

    assert report.ok
    assert cleaned == []
    assert statuses["load[a]"] is Status.DONE
    assert statuses.get("load[b]", Status.SKIPPED) is Status.SKIPPED
