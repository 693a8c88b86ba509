"""The loop where the schedule alone does not show it: finishes, refusals, lost items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ptsflow import Fail, Finish, Retry, RetryLater, Workflow, connect, step
from ptsflow.client import Client
from ptsflow.core.model import Change, Status
from ptsflow.events import Event, TaskChanged
from ptsflow.runner import expansion
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.testing import ManualClock, run_inline


@pytest.fixture
def client() -> Client:
    """Return a client whose containers are in memory."""
    return connect("memory:")


def statuses(client: Client, name: str) -> dict[str, Status]:
    """Return the status of every task."""
    container = client.get_task_container(name)
    assert container is not None
    return {task.name: task.status for task in container.get_tasks()}


class Late(Workflow):
    """Its second fan-out waits for items of which the last one is skipped."""

    @step
    def listed(self) -> list[int]:
        return [1]

    @step(each=listed, tolerate=1, retry=0)
    def fetch(self, number: int) -> int:
        raise OSError(number)

    @step(each=fetch)
    def unpack(self, number: int) -> int:
        return number

    @step(each=listed, after=unpack)
    def load(self, number: int) -> int:
        return number


class Watched(MemoryStore):
    """Remembers what was committed together."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock())
        self.commits: list[set[str]] = []

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Note the names of the tasks."""
        self.commits.append({change.after.name for change in changes if change.after})
        super().commit(uid, changes, fence=fence)


def test_a_fan_out_that_waits_for_skipped_items_starts_in_the_same_turn() -> None:
    """Nothing runs any more that would bring the next turn about."""
    store = Watched()

    report = run_inline(Late(), client=Client(store))

    assert report.ok
    assert {"fetch[1]", "unpack[1]", "load[1]"} in store.commits


class Finishing(Workflow):
    """Finishes early; what always runs fails as it was told to."""

    fails: str = "raise"

    @step
    def check(self) -> None:
        raise Finish("nothing new")

    @step
    def never(self) -> None: ...

    @step(always=True, retry=Retry(1, delay=5))
    def clean_up(self) -> None:
        if self.fails == "once" and self.calls:
            return
        self.calls.append(1)
        if self.fails == "later" and len(self.calls) == 1:
            raise RetryLater(5)
        if self.fails in ("raise", "once"):
            raise OSError("in use")

    @property
    def calls(self) -> list[int]:
        """What was called: kept outside, as the object is frozen."""
        return _CALLS


_CALLS: list[int] = []


@pytest.mark.parametrize(
    ("fails", "ok", "status", "calls"),
    [
        pytest.param(
            "raise", False, Status.FAILED, 2, id="it is tried again and fails"
        ),
        pytest.param("once", True, Status.DONE, 1, id="it is tried again and is done"),
        pytest.param("later", True, Status.DONE, 2, id="it is put off and is done"),
        pytest.param("never", True, Status.DONE, 1, id="it is done"),
    ],
)
def test_what_always_runs_counts_after_a_finish_too(
    client: Client, fails: str, *, ok: bool, status: Status, calls: int
) -> None:
    _CALLS.clear()

    report = run_inline(Finishing(fails=fails), client=client, container="c")

    assert report.ok is ok
    assert statuses(client, "c") == {
        "check": Status.DONE,
        "never": Status.SKIPPED,
        "clean_up": status,
    }
    assert len(_CALLS) == calls


def plain() -> type[Workflow]:
    """Return a workflow as it was before its step fanned out."""

    class Feed(Workflow):
        @step
        def listed(self) -> list[int]:
            return [1, 1]

        @step
        def fetch(self) -> None: ...

    return Feed


def fanned(
    numbers: list[int], key: Callable[[int], str | int] | None
) -> type[Workflow]:
    """Return the workflow as it fans out over `numbers`."""

    class Feed(Workflow):
        @step(version=len(numbers))
        def listed(self) -> list[int]:
            return numbers

        @step(each=listed, key=key)
        def fetch(self, number: int) -> int:
            if number == 13:
                raise Fail("bad luck")
            return number

        @step(always=True)
        def clean_up(self) -> None: ...

    return Feed


def test_a_list_that_is_refused_replaces_what_the_step_was_before(
    client: Client,
) -> None:
    assert run_inline(plain()(), client=client).ok

    report = run_inline(fanned([1, 1], None)(), client=client)

    assert report.failed == ["fetch"]
    assert statuses(client, "Feed")["fetch"] is Status.FAILED


def test_a_list_may_be_refused_again_and_again_until_it_is_not(client: Client) -> None:
    for _ in range(3):
        report = run_inline(fanned([1, 1], None)(), client=client)
        assert report.failed == ["fetch"]
    numbers = iter(range(9))

    report = run_inline(fanned([1, 1], lambda _: next(numbers))(), client=client)

    assert report.ok
    assert report.result("fetch") == [1, 1]
    assert "fetch" not in statuses(client, "Feed")


def test_a_signal_from_a_key_refuses_the_list(client: Client) -> None:
    def key(number: int) -> str:
        raise Fail(f"no key for {number}")

    report = run_inline(fanned([1], key)(), client=client)

    assert report.failed == ["fetch"]
    assert report.tasks[1].error == "no key for 1"


def test_items_that_left_the_list_are_gone_once_the_run_succeeds(
    client: Client,
) -> None:
    assert not run_inline(fanned([1, 2, 13], None)(), client=client).ok
    assert statuses(client, "Feed")["fetch[13]"] is Status.FAILED

    report = run_inline(fanned([1], None)(), client=client)

    assert report.ok
    assert statuses(client, "Feed") == {
        "listed": Status.DONE,
        "fetch[1]": Status.DONE,
        "clean_up": Status.DONE,
    }
    changed: list[Event] = []
    run_inline(fanned([1], None)(), client=client, listeners=[changed.append])
    assert not [event for event in changed if isinstance(event, TaskChanged)]


def test_a_client_s_own_open_task_outlives_the_run(client: Client) -> None:
    client.get_or_create_task_container("Feed")[0].add_task("mine")

    assert run_inline(fanned([1], None)(), client=client).ok

    assert statuses(client, "Feed")["mine"] is Status.PENDING


def test_a_forgotten_return_is_no_empty_list(client: Client) -> None:
    class Forgetful(Workflow):
        @step
        def listed(self) -> list[int]:
            return None  # type: ignore[return-value] # what it is about

        @step(each=listed)
        def fetch(self, number: int) -> int:
            return number

    report = run_inline(Forgetful(), client=client)

    assert report.failed == ["fetch"]
    assert report.tasks[1].error == (
        "fetch: each=listed needs a list from listed, found None; the stored "
        "result of listed does not fit: return a list, then reset listed"
    )


class Wide(Workflow):
    """Items, and as many behind them; a step beside them."""

    count: int

    @step
    def listed(self) -> list[int]:
        return list(range(self.count))

    @step(each=listed)
    def load(self, number: int) -> int:
        return number

    @step(each=load)
    def check(self, number: int) -> int:
        return number

    @step(after=())
    def beside(self) -> None:
        """Do nothing."""


def test_many_items_are_inserted_in_bites_and_start_when_all_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expansion, "_BITE", 4)
    store = Watched()
    report = run_inline(Wide(count=5), client=Client(store))

    items = [
        sum(name.startswith(("load", "check")) for name in names)
        for names in store.commits
    ]
    assert report.ok
    # The first item starts in the commit of the last two.
    assert items[:4] == [0, 4, 4, 2 + 1]
    assert report.result("check") == list(range(5))


def test_a_finish_while_items_are_inserted_skips_those_that_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expansion, "_BITE", 2)

    class Ended(Wide):
        @step(after=())
        def beside(self) -> None:
            raise Finish("enough")

    with connect("memory:") as client:
        report = run_inline(Ended(count=5), client=client)
        left = [task.status for task in report.tasks if task.key is not None]

        assert report.ok
        assert set(left) <= {Status.SKIPPED}
        assert run_inline(Ended(count=5), client=client).ok
