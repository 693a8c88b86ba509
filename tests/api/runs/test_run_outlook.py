"""What a run learns of earlier runs, and what it tells of its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import pytest

import ptsflow
from ptsflow import Client, Fail, Workflow, run, step
from ptsflow.core import outlook
from ptsflow.core.insight import Outlook, RunRecord, RunStatus, StepStats
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreDamaged, StoreFull, StoreUnavailable
from ptsflow.events import Event, Notice, OutlookChanged
from ptsflow.host.clock import system_clock
from ptsflow.runner import foresight, heartbeat, telling
from ptsflow.runner.telling import Telling
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.testing import ManualClock, run_inline
from tests.api.conftest import main_stores
from tests.stores.making import LEASE, held
from tests.support.waiting import until


class Two(Workflow):
    fails: bool = False

    @step
    def short(self) -> None: ...

    @step
    def long(self) -> None:
        if self.fails:
            raise Fail("not today")


def history_of(store: Any, workflow: type[Workflow], runs: int = 5, **ms: int) -> None:
    """Put runs into the ledger in which each step had a task that took so long."""
    for number in range(runs):
        made, _ = store.create(f"earlier{number}")
        record = held(store, made.uid)
        run = RunRecord(
            uid=record.uid,
            fence=record.fence,
            container=record.name,
            workflow=workflow.__name__,
            began_at=number,
            ended_at=number + sum(ms.values()),
            status=RunStatus.DONE,
            outlook_errors=(0.1, 0.1, 0.1, 0.1),
            steps=tuple(
                StepStats(name=name, count=1, busy_ms=took, wall_ms=took)
                for name, took in ms.items()
            ),
        )
        assert store.release(record, run)
        assert store.delete(record.uid)


def weights(store: MemoryStore, name: str) -> dict[str, float]:
    record = store.container(name)
    assert record is not None
    return {planned.name: planned.weight for planned in record.plan}


# -- weights ------------------------------------------------------------------


def test_weights_are_learned_when_a_container_begins_and_kept() -> None:
    store = MemoryStore()
    history_of(store, Two, short=1_000, long=9_000)
    client = Client(store)
    ptsflow.run(Two(fails=True), client, "one")
    assert weights(store, "one") == {"short": 1_000, "long": 9_000}
    history_of(store, Two, runs=9, short=5_000, long=5_000)

    ptsflow.run(Two(fails=True), client, "one")
    assert weights(store, "one") == {"short": 1_000, "long": 9_000}
    ptsflow.run(Two(), client, "two")
    assert weights(store, "two") == {"short": 5_000, "long": 5_000}
    ptsflow.run(Two(fails=True), client, "one", fresh=True)
    assert weights(store, "one")["short"] == 5_000


def test_a_container_that_began_without_a_history_keeps_equal_weights() -> None:
    store = MemoryStore()
    ptsflow.run(Two(fails=True), Client(store), "one")
    history_of(store, Two, short=1_000, long=9_000)
    ptsflow.run(Two(fails=True), Client(store), "one")

    assert weights(store, "one") == {"short": 1.0, "long": 1.0}


def test_a_declared_weight_holds_and_a_new_step_gets_the_mean_of_the_others() -> None:
    store = MemoryStore()
    history_of(store, Two, short=1_000, long=9_000)
    ptsflow.run(Two(fails=True), Client(store), "one")

    class Three(Two):
        @step
        def more(self) -> None: ...

    Three.__name__ = "Two"
    ptsflow.run(Three(fails=True), Client(store), "one")
    assert weights(store, "one") == {"short": 1_000, "long": 9_000, "more": 5_000}

    class Declared(Two):
        @step(weight=3)
        def more(self) -> None: ...

    Declared.__name__ = "Two"
    ptsflow.run(Declared(fails=True), Client(store), "one")
    assert weights(store, "one") == {"short": 1.0, "long": 1.0, "more": 3.0}


# -- order ----------------------------------------------------------------------


class Beside(Workflow):
    @step(parallel=True)
    def short(self) -> None: ...

    @step(parallel=True)
    def long(self) -> None: ...


@pytest.mark.parametrize(
    ("members", "expected"),
    [({}, ["long", "short"]), ({"order": "plan"}, ["short", "long"])],
)
def test_the_longest_path_starts_first_unless_the_class_says_as_declared(
    members: dict[str, Any], expected: list[str]
) -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    workflow = type("Beside", (Beside,), members)
    begun: list[str] = []

    def listen(event: Event) -> None:
        after = getattr(event, "after", None)
        if after is not None and after.status == "running":
            begun.append(after.name)

    run_inline(workflow(), client=Client(store), container="before", listeners=[listen])
    assert begun == ["short", "long"]
    history_of(store, workflow, short=10, long=900)
    begun.clear()
    run_inline(workflow(), client=Client(store), container="after", listeners=[listen])

    assert begun == expected


# -- outlooks -------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that happens now and then happen soon."""
    monkeypatch.setattr(foresight, "_FIRST_AFTER", 0.0)
    monkeypatch.setattr(foresight, "_EVERY", 0.05)
    monkeypatch.setattr(heartbeat, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(telling, "_TELL_EVERY", 0.0)


class Slow(Workflow):
    """Ends when it is told to."""

    may_end = threading.Event()

    @step
    def work(self) -> None:
        assert self.may_end.wait(60)

    @step
    def rest(self) -> None: ...


class Half(Workflow):
    """Is half done when it waits to be told to end."""

    @step
    def work(self) -> None: ...

    @step
    def rest(self) -> None:
        assert Slow.may_end.wait(60)


@pytest.fixture
def slow() -> Iterator[threading.Event]:
    Slow.may_end.clear()
    yield Slow.may_end
    Slow.may_end.set()


@pytest.mark.usefixtures("hasty")
@main_stores
def test_what_a_run_expects_is_told_to_the_store_and_then_to_listeners(
    url: str, name: str, slow: threading.Event
) -> None:
    told: list[Outlook] = []
    with ptsflow.connect(url) as client:
        history_of(client.store, Slow, work=300_000, rest=100_000)

        def listen(event: Event) -> None:
            if isinstance(event, OutlookChanged):
                with ptsflow.connect(url) as another:
                    record = another.store.container(name)
                    assert record is not None
                    kept = another.store.outlooks([record.uid])[record.uid]
                assert kept.percentage >= event.outlook.percentage
                told.append(event.outlook)
                slow.set()

        ptsflow.run(Slow(), url, name, listeners=[listen])
        (run,) = client.store.runs(name=name)

    first = told[0]
    assert first.runs == 5
    assert first.eta_at is not None
    assert first.low_at is not None
    assert first.low_at < first.eta_at
    assert 250_000 < first.eta_at - run.began_at < 500_000
    # It ended far earlier than was said.
    assert any(error is not None and error > 1 for error in run.outlook_errors)


@pytest.mark.usefixtures("hasty")
def test_how_far_off_a_guess_by_the_rate_alone_was_is_not_kept(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would count as the error of what later runs foretell, which know more."""
    monkeypatch.setattr(outlook, "_RATE_AFTER_MS", 0)
    monkeypatch.setattr(outlook, "_RATE_AFTER_PERCENT", 1.0)
    told: list[Outlook] = []

    def listen(event: Event) -> None:
        if isinstance(event, OutlookChanged):
            told.append(event.outlook)
            slow.set()

    store = MemoryStore()
    ptsflow.run(Half(), Client(store), "one", listeners=[listen])
    (run,) = store.runs(name="one")

    assert told[0].eta_at is not None
    assert run.outlook_errors == ()


@pytest.mark.usefixtures("hasty")
def test_an_error_in_it_is_one_notice_and_not_the_runs(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptsflow.core.run_observer.RunObserver.look", lambda *_: 1 / 0)
    events, _ = ended_by_notice(MemoryStore(), slow)

    (text,) = events
    assert text.startswith("nothing is said of when the run will be over: ZeroDiv")


class Untold(MemoryStore):
    """A store that keeps no outlooks."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.asked = 0

    def tell(self, *_: Any) -> bool:
        self.asked += 1
        raise self._error

    def sibling(self) -> Untold:
        return self


@pytest.mark.usefixtures("hasty")
def test_a_store_that_is_full_keeps_no_outlook_and_the_run_goes_on(
    slow: threading.Event,
) -> None:
    store = Untold(StoreFull("no room"))
    events, record = ended_by_notice(store, slow)

    assert events == [
        "nothing is said of when the run will be over: StoreFull: no room"
    ]
    assert (record.status, store.asked) == ("done", 1)


@pytest.mark.usefixtures("hasty")
def test_a_store_that_is_away_is_told_later(slow: threading.Event) -> None:
    store = Untold(StoreUnavailable("away"))
    history_of(store, Slow, work=300_000, rest=100_000)
    runner = threading.Thread(target=ptsflow.run, args=(Slow(), Client(store), "c"))
    runner.start()
    until(lambda: store.asked > 2)
    slow.set()
    runner.join(60)

    record = store.container("c")
    assert record is not None
    assert record.status == "done"


def ended_by_notice(
    store: MemoryStore, slow: threading.Event
) -> tuple[list[str], ContainerRecord]:
    """Run until a notice comes; return the notices and the container."""
    history_of(store, Slow, work=300_000, rest=100_000)
    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)
            slow.set()

    assert ptsflow.run(Slow(), Client(store), "c", listeners=[listen]).ok
    record = store.container("c")
    assert record is not None
    return told, record


def test_a_history_that_cannot_be_read_is_one_notice() -> None:
    class Damaged(MemoryStore):
        def runs(self, *_: Any, **__: Any) -> Any:
            raise StoreDamaged("a run")

    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    assert ptsflow.run(Two(), Client(Damaged()), listeners=[listen]).ok
    assert told == ["nothing is learned of earlier runs: StoreDamaged: a run"]


# -- two who tell ---------------------------------------------------------------


def test_the_heartbeat_takes_nothing_from_what_the_loop_told() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    record = held(store, store.create("c")[0].uid)
    told = Telling(record, clock)
    told.propose(Outlook(at=1, percentage=20.0, eta_at=9))
    told.hold(store, 25.0)
    told.tell(store)

    assert store.outlooks([record.uid])[record.uid] == Outlook(
        at=1, percentage=25.0, eta_at=9
    )
    told.hold(store, 24.0)
    told.hold(store, 26.0)
    assert store.outlooks([record.uid])[record.uid] == Outlook(
        at=1, percentage=26.0, eta_at=9
    )


def test_nothing_is_told_within_ten_seconds_nor_without_news() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    record = held(store, store.create("c")[0].uid)
    told = Telling(record, clock)

    def kept() -> int:
        return store.outlooks([record.uid])[record.uid].at

    told.propose(Outlook(at=1, percentage=20.0, eta_at=9))
    told.tell(store)
    told.propose(Outlook(at=2, percentage=50.0, eta_at=900))
    told.tell(store)
    assert kept() == 1
    told._tell_at = 0.0
    told.tell(store)
    assert kept() == 2
    told._tell_at = 0.0
    told.propose(Outlook(at=3, percentage=50.0, eta_at=900))
    told.tell(store)
    assert kept() == 2


def test_another_end_is_told_at_once_where_the_one_that_was_told_has_passed() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    record = held(store, store.create("c")[0].uid)
    told = Telling(record, clock)
    ends = []
    for at, eta_at in ((100, 200), (199, 900), (200, 900), (899, 990), (950, 1200)):
        told.propose(Outlook(at=at, percentage=20.0, eta_at=eta_at))
        told.tell(store)
        ends.append(store.outlooks([record.uid])[record.uid].eta_at)

    assert ends == [200, 200, 900, 900, 1200]


class Sleepy(Workflow):
    """Sleeps far longer than it usually does."""

    takes: ClassVar[float] = 0.05

    @step
    def first(self) -> None: ...

    @step
    def work(self) -> None:
        time.sleep(self.takes)


def test_a_step_that_takes_far_longer_than_usual_always_has_an_end_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(MemoryStore())
    for number in range(3):
        run(Sleepy(), store=client, container=str(number))
    monkeypatch.setattr(Sleepy, "takes", 9.0)
    began = system_clock()
    told: list[Outlook] = []

    def note(event: Event) -> None:
        if isinstance(event, OutlookChanged):
            told.append(event.outlook)

    run(Sleepy(), store=client, container="slow", listeners=[note])

    assert told[-1].at > began + 5_000
    # A look, and the heartbeat's next beat, which are a second each where nothing else runs.
    gaps = [after.at - (before.eta_at or 0) for before, after in pairwise(told)]
    assert max(gaps) < 6_000


def test_a_runner_that_lost_its_lease_tells_nothing() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    record = held(store, store.create("c")[0].uid)
    told = Telling(record, clock)
    clock.now += LEASE + 1
    held(store, record.uid, "b")
    told.propose(Outlook(at=1, percentage=20.0))
    told.tell(store)

    assert told.told is None
    assert store.outlooks([record.uid], of_earlier_runs=True) == {}
