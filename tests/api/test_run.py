"""`ptsflow.run`: what runs when, on what, and what is known of it afterwards."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Status, TaskHandle, Workflow, step
from ptsflow.client import Task
from ptsflow.errors import (
    ContainerBusy,
    FrozenWorkflow,
    InvalidName,
    ParameterError,
    TaskNotFound,
    UsageError,
)
from tests.api.conftest import main_stores

#: Seconds after which something that should have happened will not.
PATIENCE = 20


@dataclass
class FeedFile:
    name: str
    size: int
    tags: set[str] = field(default_factory=set)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Have all of these on SQLite, unless a test says otherwise."""
    return getattr(request, "param", "sqlite")


# -- order ---------------------------------------------------------------------------


@main_stores
def test_steps_run_in_the_order_they_are_declared(url: str, name: str) -> None:
    ran: list[str] = []

    class Three(Workflow):
        @step
        def first(self) -> None:
            ran.append("first")

        @step
        def second(self) -> None:
            ran.append("second")

        @step
        def third(self) -> None:
            ran.append("third")

    report = ptsflow.run(Three(), url, name)

    assert ran == ["first", "second", "third"]
    assert report.ok
    assert report.container == name
    assert [(task.name, task.status) for task in report.tasks] == [
        (each, Status.DONE) for each in ran
    ]
    assert report.failed == []


@main_stores
def test_parallel_steps_run_at_the_same_time(url: str, name: str) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    seen: list[str] = []

    class Pair(Workflow):
        @step
        def before(self) -> None:
            seen.append("before")

        @step(parallel=True)
        def left(self) -> None:
            both.wait()

        @step(parallel=True)
        def right(self) -> None:
            both.wait()

        @step
        def after(self) -> None:
            seen.append("after")

    assert ptsflow.run(Pair(), url, name, jobs=2).ok
    assert seen == ["before", "after"]


def test_a_plain_step_waits_for_the_whole_group_above_it(url: str) -> None:
    quick_is_done = threading.Event()
    ran: list[str] = []

    class Group(Workflow):
        @step(parallel=True)
        def slow(self) -> None:
            assert quick_is_done.wait(PATIENCE)
            ran.append("slow")

        @step(parallel=True)
        def quick(self) -> None:
            ran.append("quick")

        @step(after=quick)
        def behind_quick(self) -> None:
            ran.append("behind quick")
            quick_is_done.set()

        @step
        def last(self) -> None:
            ran.append("last")

    assert ptsflow.run(Group(), url, jobs=3).ok
    assert ran == ["quick", "behind quick", "slow", "last"]


def test_two_groups_of_parallel_steps_are_told_apart_by_a_plain_step(url: str) -> None:
    running: set[str] = set()
    together: set[frozenset[str]] = set()
    pairs = {name: threading.Barrier(2, timeout=PATIENCE) for name in ("one", "two")}

    def meet(group: str, name: str) -> None:
        running.add(name)
        pairs[group].wait()
        together.add(frozenset(running))
        pairs[group].wait()
        running.discard(name)

    class Groups(Workflow):
        @step(parallel=True)
        def a(self) -> None:
            meet("one", "a")

        @step(parallel=True)
        def b(self) -> None:
            meet("one", "b")

        @step
        def between(self) -> None:
            together.add(frozenset(running))

        @step(parallel=True)
        def c(self) -> None:
            meet("two", "c")

        @step(parallel=True)
        def d(self) -> None:
            meet("two", "d")

    assert ptsflow.run(Groups(), url, jobs=8).ok
    assert together == {frozenset("ab"), frozenset(), frozenset("cd")}


def test_after_nothing_starts_at_once(url: str) -> None:
    other_ran = threading.Event()

    class AtOnce(Workflow):
        @step
        def first(self) -> None:
            assert other_ran.wait(PATIENCE)

        @step(after=())
        def at_once(self) -> None:
            other_ran.set()

    assert ptsflow.run(AtOnce(), url).ok


def test_a_parameter_named_like_a_step_waits_for_it(url: str) -> None:
    ran: list[str] = []

    class Named(Workflow):
        @step(parallel=True)
        def value(self) -> int:
            ran.append("value")
            return 5

        @step(after=())
        def uses(self, value: int) -> int:
            ran.append("uses")
            return value + 1

    assert ptsflow.run(Named(), url).result("uses") == 6
    assert ran == ["value", "uses"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_that_always_runs_is_last_whatever_happened(
    url: str, *, fails: bool
) -> None:
    ran: list[object] = []

    class Tidy(Workflow):
        @step(always=True)
        def clean_up(self, work: int | None) -> None:
            ran.append(("clean up", work))

        @step(retry=0)
        def work(self) -> int:
            ran.append("work")
            if fails:
                raise OSError("no")
            return 1

        @step
        def more(self) -> None:
            ran.append("more")

    # Declared above what it takes: only steps above a step can be named.
    assert ptsflow.run(Tidy(), url).ok is not fails
    assert ran == (
        ["work", ("clean up", None)] if fails else ["work", "more", ("clean up", 1)]
    )


def test_jobs_says_how_many_bodies_run_at_once(url: str) -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    def body() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    class Wide(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(30))

        @step(each=numbers)
        def use(self, _number: int) -> None:
            body()

    assert ptsflow.run(Wide(), url, jobs=3).ok
    assert most == 3


def test_one_job_runs_parallel_steps_one_after_the_other(url: str) -> None:
    threads: list[threading.Thread] = []

    class Pair(Workflow):
        @step(parallel=True)
        def left(self) -> None:
            threads.append(threading.current_thread())

        @step(parallel=True)
        def right(self) -> None:
            threads.append(threading.current_thread())

    assert ptsflow.run(Pair(), url, jobs=1).ok
    assert threads[0] is threads[1]


# -- values --------------------------------------------------------------------------


@main_stores
def test_results_are_handed_over_by_name(url: str, name: str) -> None:
    received: list[Any] = []

    class Values(Workflow):
        @step
        def files(self) -> list[FeedFile]:
            return [FeedFile("a", 1, {"x"}), FeedFile("b", 2**70)]

        @step
        def scalars(self) -> dict[str, Any]:
            return {
                "at": datetime(2011, 9, 30, 1, 2, 3, 4, tzinfo=UTC),
                "sum": (Decimal("1.10"), b"\0", None, frozenset({1})),
                "path": Path("a/b"),
            }

        @step
        def use(self, scalars: dict[str, Any], files: list[FeedFile]) -> int:
            received.extend([scalars, files])
            return 1

    report = ptsflow.run(Values(), url, name)
    scalars, files = received

    assert files == [FeedFile("a", 1, {"x"}), FeedFile("b", 2**70)]
    assert scalars == {
        "at": datetime(2011, 9, 30, 1, 2, 3, 4, tzinfo=UTC),
        "sum": (Decimal("1.10"), b"\0", None, frozenset({1})),
        "path": Path("a/b"),
    }
    assert report.result("files") == files
    assert report.result("scalars") == scalars
    assert report.tasks[0].result == files


def test_what_one_body_does_to_a_value_no_other_body_sees(url: str) -> None:
    original = {"list": [1]}
    seen: list[Any] = []

    class Mutating(Workflow):
        @step
        def value(self) -> dict[str, list[int]]:
            return original

        @step
        def spoil(self, value: dict[str, list[int]]) -> None:
            original["list"].append(2)
            value["list"].append(3)

        @step(retry=ptsflow.Retry(1, delay=0))
        def use(self, value: dict[str, list[int]]) -> None:
            seen.append(list(value["list"]))
            value["list"].append(4)
            if len(seen) == 1:
                raise OSError("once more")

    report = ptsflow.run(Mutating(), url)

    assert report.ok
    assert seen == [[1], [1]]
    assert report.result("value") == {"list": [1]}


def test_a_step_sees_what_a_resumed_run_would_show_it(url: str) -> None:
    class Odd(Workflow):
        @step
        def pair(self) -> tuple[int, ...]:
            return (1, 2)

        @step
        def kind(self, pair: tuple[int, ...]) -> str:
            return type(pair).__name__

    assert ptsflow.run(Odd(), url).result("kind") == "tuple"


def test_large_results_are_read_from_the_store_when_needed(url: str) -> None:
    class Large(Workflow):
        @step
        def text(self) -> str:
            return "é" * 3_000_000

        @step
        def length(self, text: str) -> int:
            return len(text)

        @step
        def again(self, text: str, length: int) -> bool:
            return len(text) == length

    report = ptsflow.run(Large(), url)

    assert (report.result("length"), report.result("again")) == (3_000_000, True)


def test_async_steps_are_awaited(url: str) -> None:
    class Async(Workflow):
        @step
        async def first(self) -> int:
            await asyncio.sleep(0)
            return 1

        @step(retry=0)
        async def second(self, first: int, task: TaskHandle) -> int:
            both = await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, first))
            task.progress(1, 2)
            return sum(both)

        @step
        async def third(self) -> None:
            raise ptsflow.Skip("not today")

    report = ptsflow.run(Async(), url)

    assert report.ok
    assert report.result("second") == 2
    assert report.tasks[2].status is Status.SKIPPED


# -- workflow objects ----------------------------------------------------------------


class Base(Workflow):
    greeting: str = "hello"

    @step
    def first(self) -> str:
        return f"{self.greeting} from base"

    @step
    def second(self, first: str) -> str:
        return first.upper()

    @step(always=True)
    def tidy(self) -> str:
        return "tidy"


class Derived(Base):
    times: int = 2

    @step
    def first(self) -> str:
        return f"{self.greeting} from derived"

    @step
    def third(self, second: str) -> str:
        return second * self.times


def test_an_overridden_step_keeps_its_place_and_added_ones_come_after(url: str) -> None:
    report = ptsflow.run(Derived(greeting="hi"), url)

    assert [task.name for task in report.tasks] == ["first", "second", "third", "tidy"]
    assert report.result("third") == "HI FROM DERIVED" * 2
    assert report.container == "Derived:greeting=hi,times=2"


def test_an_overridden_step_can_call_the_one_it_overrides(url: str) -> None:
    class Calling(Base):
        @step
        def first(self) -> str:
            return super().first() + "!"

    assert ptsflow.run(Calling(), url).result("second") == "HELLO FROM BASE!"


def test_a_step_is_a_plain_method_outside_a_run() -> None:
    flow = Derived(greeting="hi", times=3)

    assert flow.first() == "hi from derived"
    assert flow.third("x") == "xxx"


def test_assigning_to_self_fails_the_step_with_advice(url: str) -> None:
    class Assigning(Workflow):
        @step
        def remember(self) -> None:
            self.found = 5

    report = ptsflow.run(Assigning(), url)

    assert not report.ok
    assert report.tasks[0].invoke_count == 1
    assert str(report.tasks[0].error).startswith(
        "FrozenWorkflow: Assigning.found: a workflow object is frozen, as a resumed run "
        "could not know what a step put there; return the value from the step, and take "
        "it in a later one by a parameter named like the step (test_run.py:"
    )


def test_assigning_to_a_workflow_object_is_refused() -> None:
    with pytest.raises(FrozenWorkflow):
        Base().greeting = "x"
    with pytest.raises(FrozenWorkflow):
        del Base().greeting


def test_the_container_is_named_by_the_template(url: str) -> None:
    class Hourly(Workflow):
        container = "epf:{hour:%Y%m%dT%H}"
        hour: datetime

        @step
        def nothing(self) -> None: ...

    report = ptsflow.run(Hourly(hour=datetime(2011, 9, 30, 13, tzinfo=UTC)), url)

    assert report.container == "epf:20110930T13"


def test_a_workflow_without_steps_is_complete(url: str) -> None:
    class Nothing(Workflow):
        pass

    report = ptsflow.run(Nothing(), url)

    assert report.ok
    assert (report.container, report.tasks) == ("Nothing", [])


# -- handles -------------------------------------------------------------------------


def test_a_body_knows_its_task(url: str, name: str) -> None:
    seen: list[tuple[object, ...]] = []

    class Knowing(Workflow):
        @step
        def files(self, task: TaskHandle) -> list[str]:
            seen.append((task.name, task.key, task.attempt, task.idempotency_key))
            seen.append((task.fence, task.cancelled, task.processing_data))
            return ["a"]

        @step(each=files)
        def load(self, file: str, task: TaskHandle) -> None:
            seen.append((task.name, task.key, task.attempt, task.idempotency_key))

    ptsflow.run(Knowing(), url, name)

    assert seen == [
        ("files", None, 1, f"{name}/files"),
        (1, False, None),
        ("load[a]", "a", 1, f"{name}/load[a]"),
    ]


def test_the_fence_grows_with_every_run(url: str) -> None:
    fences: list[int] = []

    class Fenced(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            fences.append(task.fence)

    for _ in range(3):
        ptsflow.run(Fenced(), url, from_step="work")

    assert fences == [1, 2, 3]


def test_a_handle_logs_with_the_name_of_its_task(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Logging(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            task.log.warning("half of %d", 10)

    ptsflow.run(Logging(), url, name)
    (record,) = caplog.records

    assert (record.name, record.getMessage()) == ("ptsflow.task", "half of 10")
    assert vars(record)["task"] == f"{name}/work"


# -- where it runs -------------------------------------------------------------------


def test_a_body_may_run_another_workflow(url: str) -> None:
    class Inner(Workflow):
        number: int

        @step
        def double(self) -> int:
            return self.number * 2

    class Outer(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2, 3]

        @step(each=numbers)
        def run_inner(self, number: int) -> int:
            report = ptsflow.run(Inner(number=number), url)
            result: int = report.result("double")
            return result

    report = ptsflow.run(Outer(), url)

    assert report.result("run_inner") == [2, 4, 6]
    with ptsflow.connect(url) as client:
        names = sorted(each.name for each in client.get_task_containers())
    assert names == ["Inner:number=1", "Inner:number=2", "Inner:number=3", "Outer"]


def test_a_body_that_runs_its_own_container_is_told_who_holds_it(url: str) -> None:
    class Again(Workflow):
        @step(retry=0)
        def work(self) -> None:
            ptsflow.run(Again(), url)

    report = ptsflow.run(Again(), url)

    assert not report.ok
    assert str(report.tasks[0].error).startswith(
        "ContainerBusy: container 'Again' is run by pid "
    )


def test_runs_may_be_in_other_threads(url: str) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    reports: dict[int, ptsflow.Report] = {}

    class Threaded(Workflow):
        number: int

        @step
        def work(self) -> int:
            both.wait()
            return self.number

    def run(number: int) -> None:
        reports[number] = ptsflow.run(Threaded(number=number), url)

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert {n: report.result("work") for n, report in reports.items()} == {1: 1, 2: 2}


def test_a_client_can_be_given_instead_of_a_url(url: str) -> None:
    with ptsflow.connect(url) as client:
        report = ptsflow.run(Base(), client)
        container = client.get_task_container(report.container)

        assert container is not None
        assert container.is_complete
        assert (container.status, container.percentage_complete) == (Status.DONE, 100.0)
        assert container.get_tasks() == report.tasks


def test_a_container_that_another_runner_holds_is_not_run(url: str, name: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    class Holding(Workflow):
        @step
        def work(self) -> None:
            inside.set()
            assert leave.wait(PATIENCE)

    thread = threading.Thread(target=ptsflow.run, args=(Holding(), url, name))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        with pytest.raises(ContainerBusy, match="is run by pid "):
            ptsflow.run(Holding(), url, name)
        with ptsflow.connect(url) as client:
            container = client.get_task_container(name)
            assert container is not None
            with pytest.raises(ContainerBusy, match="is run by pid "):
                container.add_task("more")
    finally:
        leave.set()
        thread.join(PATIENCE)

    assert ptsflow.run(Holding(), url, name).ok


def test_a_run_may_wait_for_another_one_longer_than_its_own_lease(
    url: str, name: str
) -> None:
    inside = threading.Event()

    class Holding(Workflow):
        @step
        def work(self) -> None:
            inside.set()
            threading.Event().wait(4.5)

        @step
        def longer(self) -> None:
            threading.Event().wait(1)

    thread = threading.Thread(
        target=ptsflow.run, args=(Holding(), url, name), kwargs={"only": ["work"]}
    )
    thread.start()
    assert inside.wait(PATIENCE)
    report = ptsflow.run(Holding(), url, name, lease=5, wait=20)
    thread.join(PATIENCE)

    assert report.ok
    assert [task.invoke_count for task in report.tasks] == [1, 1]


# -- reports -------------------------------------------------------------------------


def test_a_report_shows_tasks_as_a_client_does(url: str) -> None:
    report = ptsflow.run(Base(), url)
    first = report.tasks[0]

    assert isinstance(first, Task)
    assert (first.name, first.step, first.key) == ("first", "first", None)
    assert (first.is_complete, first.percentage_complete) == (True, 100.0)
    assert (first.invoke_count, first.error) == (1, None)
    assert first.last_invoked_at is not None
    assert first.task_ended_at is not None
    assert first.task_duration_ms == round(
        (first.task_ended_at - first.last_invoked_at).total_seconds() * 1000
    )
    assert repr(report) == "<report of 'Base:greeting=hello': ok>"


def test_a_report_of_a_memory_store_can_be_read() -> None:
    assert ptsflow.run(Base(), "memory:").result("second") == "HELLO FROM BASE"


def test_a_result_that_there_is_not_is_refused(url: str) -> None:
    report = ptsflow.run(Base(), url)

    with pytest.raises(TaskNotFound) as refused:
        report.result("secund")
    assert str(refused.value) == (
        "container 'Base:greeting=hello': there is no step 'secund' (did you mean "
        "'second'?); it has first, second, tidy"
    )


# -- refusals ------------------------------------------------------------------------

BASE = "Base has no step"
HAS = "it has first, second, tidy"


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        pytest.param(
            {"lease": 4.9},
            UsageError,
            "lease: expected 5 to 86400 seconds, found 4.9",
            id="a lease too short",
        ),
        pytest.param(
            {"lease": float("nan")},
            UsageError,
            "lease: expected 5 to 86400 seconds, found nan",
            id="a lease of NaN",
        ),
        pytest.param(
            {"jobs": 0},
            UsageError,
            "jobs: expected a whole number of 1 or more, found 0",
            id="no jobs",
        ),
        pytest.param(
            {"jobs": 1.5},
            UsageError,
            "jobs: expected a whole number of 1 or more, found 1.5",
            id="half a job",
        ),
        pytest.param(
            {"from_step": "secund"},
            UsageError,
            f"{BASE} 'secund' (did you mean 'second'?); {HAS}",
            id="from a step that there is not",
        ),
        pytest.param(
            {"only": ["first", "zzz"]},
            UsageError,
            f"{BASE} 'zzz'; {HAS}",
            id="only a step that there is not",
        ),
        pytest.param(
            {"container": ""},
            InvalidName,
            "the name of a container must be a str of 1 to 200 bytes, found an empty one",
            id="an empty name",
        ),
        pytest.param(
            {"container": "x" * 201},
            InvalidName,
            "the name of a container must be a str of 1 to 200 bytes, found 201 bytes: "
            f"{'x' * 40!r}...",
            id="a long name",
        ),
    ],
)
def test_a_run_that_makes_no_sense_leaves_nothing(
    url: str, options: dict[str, Any], error: type[Exception], line: str
) -> None:
    with pytest.raises(error) as refused:
        ptsflow.run(Base(), url, **options)
    with ptsflow.connect(url) as client:
        containers = client.get_task_containers()

    assert str(refused.value) == line
    assert containers == []


def test_a_class_is_no_workflow_object(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        ptsflow.run(Base, url)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "run: expected a workflow object, found the class Base; call it with its "
        "parameters, e.g. Base(...)"
    )


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        pytest.param(
            {"greting": "x"},
            "Base: there is no parameter 'greting' (did you mean 'greeting'?); it takes "
            "greeting",
            id="unknown",
        ),
        pytest.param(
            {"greeting": 5},
            "Base: the parameter greeting: expected str, found 5 (Expected `str`, got "
            "`int`)",
            id="of another type",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    parameters: dict[str, Any], line: str
) -> None:
    with pytest.raises(ParameterError) as refused:
        Base(**parameters)

    assert str(refused.value) == line
