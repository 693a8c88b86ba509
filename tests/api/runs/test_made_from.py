"""What was made from a result that a person reset is made again if the result changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ptsflow
from ptsflow import Fail, Skip, Workflow, step
from ptsflow.client import Client, admin
from ptsflow.events import Event, Notice
from ptsflow.runner.report import Report
from ptsflow.stores import open_store
from tests.api.conftest import main_stores
from tests.support.containers import container_of


class World:
    """What the bodies of `Lab` find, and what they did."""

    def __init__(self) -> None:
        self.samples: Any = {"A": 1, "B": 2}
        self.factor = 10
        self.fails: set[str] = set()
        self.ran: list[str] = []
        self.notices: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


WORLD = World()


@pytest.fixture(autouse=True)
def world() -> World:
    WORLD.__init__()  # type: ignore[misc]
    return WORLD


def _note(name: str) -> None:
    WORLD.ran.append(name)
    if name in WORLD.fails:
        raise Fail("as it was told")


class Lab(Workflow):
    container = "lab"

    @step
    def samples(self) -> list[tuple[str, int]]:
        _note("samples")
        return list(WORLD.samples.items())

    @step
    def factor(self) -> int:
        _note("factor")
        return WORLD.factor

    @step(each=samples, key=lambda sample: sample[0], tolerate=1)
    def measure(self, sample: tuple[str, int], factor: int) -> int:
        _note(f"measure {sample[0]}")
        return sample[1] * factor // 10 * 10

    @step(each=measure)
    def weigh(self, measured: int) -> int:
        _note(f"weigh {measured}")
        if measured == 0:
            raise Skip("nothing there")
        return measured + 1

    @step
    def join(self, weigh: list[int]) -> int:
        _note("join")
        return sum(weigh) // 2

    @step
    def report(self, join: int) -> str:
        _note("report")
        return f"sum {join}"

    @step
    def goodbye(self) -> None:
        _note("goodbye")

    @step(always=True)
    def clean_up(self) -> None:
        _note("clean_up")


Reset = Callable[..., Report]


@pytest.fixture
def again(url: str, name: str, world: World) -> Reset:
    """Run the lab to its end, and return what resets a step of it and runs it again.

    One body runs at a time, so that what ran has one order.
    """
    assert ptsflow.run(Lab(), url, name, jobs=1).ok

    def reset(what: str, *, downstream: bool = False, **changes: Any) -> Report:
        with Client(open_store(url)) as client:
            record = client.store.container(name)
            assert record is not None
            admin.reset(client.store, record, step=what, with_downstream=downstream)
        vars(world).update({"ran": [], "notices": []} | changes)
        return ptsflow.run(Lab(), url, name, jobs=1, listeners=[world])

    return reset


@main_stores
def test_a_new_list_brings_its_items_to_the_joined_step(
    again: Reset, world: World
) -> None:
    report = again("samples", samples={"A": 1, "B": 2, "C": 3})

    assert world.ran == [
        *("samples", "measure C", "weigh 30", "join", "report", "clean_up")
    ]
    assert report.result("report") == "sum 31"
    assert len(report.result("measure")) == 3


@main_stores
def test_an_item_that_is_not_in_the_list_any_more_is_gone(
    url: str, name: str, again: Reset, world: World
) -> None:
    report = again("samples", samples={"B": 2})

    assert world.ran == ["samples", "join", "report", "clean_up"]
    assert report.result("report") == "sum 10"
    with ptsflow.connect(url) as client:
        tasks = [task.name for task in container_of(client, name).get_tasks()]
    assert [task for task in tasks if "[" in task] == ["measure[B]", "weigh[B]"]


@pytest.mark.parametrize(
    ("what", "changes", "ran"),
    [
        pytest.param("samples", {}, ["samples"], id="the same list"),
        pytest.param(
            "samples",
            {"samples": {"B": 2, "A": 1}},
            ["samples", "join"],
            id="another order",
        ),
        pytest.param(
            "samples",
            {"samples": {"A": 1, "B": 3}},
            ["samples", "measure B", "weigh 30", "join", "report"],
            id="another element of the same key",
        ),
        pytest.param("factor", {"factor": 10}, ["factor"], id="the same result"),
        pytest.param(
            "factor",
            {"factor": 12},
            ["factor", "measure A", "measure B"],
            id="another result that makes no difference further on",
        ),
        pytest.param(
            "measure[A]", {}, ["measure A"], id="one item that comes out the same"
        ),
        pytest.param("join", {}, ["join"], id="a joined step"),
        pytest.param("goodbye", {}, ["goodbye"], id="a step that nothing is made from"),
    ],
)
def test_what_is_made_from_equal_results_is_current(
    again: Reset, world: World, what: str, changes: dict[str, Any], ran: list[str]
) -> None:
    assert again(what, **changes).ok
    assert world.ran == [*ran, "clean_up"]
    # Nobody doubts it any more.
    world.ran.clear()
    assert again("goodbye").ok
    assert world.ran == ["goodbye", "clean_up"]


def test_downstream_of_an_item_leaves_its_neighbours_alone(
    again: Reset, world: World
) -> None:
    assert again("measure[A]", downstream=True).ok

    assert world.ran == [
        *("measure A", "weigh 10", "join", "report", "goodbye", "clean_up")
    ]


def test_what_was_reset_is_still_in_doubt_after_a_run_that_broke_off(
    url: str, name: str, again: Reset, world: World
) -> None:
    first = again("samples", samples={"A": 1, "B": 5}, fails={"weigh 50"})
    world.ran.clear()
    world.fails = set()
    second = ptsflow.run(Lab(), url, name, jobs=1)

    assert (first.ok, second.ok) == (False, True)
    assert world.ran == ["weigh 50", "join", "report", "clean_up"]


def test_a_step_that_skipped_itself_is_asked_again(again: Reset, world: World) -> None:
    assert again("samples", samples={"A": 0, "B": 2}).ok
    world.ran.clear()

    assert again("samples", samples={"A": 4, "B": 2}).ok
    assert "weigh 40" in world.ran


def test_only_leaves_what_is_in_doubt_as_it_is(
    url: str, name: str, world: World
) -> None:
    assert ptsflow.run(Lab(), url, name, jobs=1).ok
    with Client(open_store(url)) as client:
        record = client.store.container(name)
        assert record is not None
        admin.reset(client.store, record, step="samples")
        admin.reset(client.store, record, step="report")
    world.ran.clear()
    ptsflow.run(Lab(), url, name, jobs=1, only=["samples"])

    assert world.ran == ["samples"]


@main_stores
def test_what_nobody_reset_is_named_and_left_alone(
    url: str, name: str, world: World
) -> None:
    world.fails = {"measure B"}
    assert ptsflow.run(Lab(), url, name, jobs=1).ok
    world.fails = set()
    with Client(open_store(url)) as client:
        record = client.store.container(name)
        assert record is not None
        admin.retry(client.store, record)
    world.ran.clear()
    assert ptsflow.run(Lab(), url, name, jobs=1, listeners=[world]).ok

    assert world.ran == ["measure B", "weigh 20", "clean_up"]
    (notice,) = world.notices
    assert notice == (
        "made from other results than its sources have now: join; reset it to run it "
        "again"
    )
