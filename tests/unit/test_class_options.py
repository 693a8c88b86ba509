"""What a class says for all its steps: limits that they share, and where bodies run."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from ptsflow.errors import DeclarationError
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.step_options import check_executor


def refused(declare: Callable[[], object]) -> str:
    """Return the one line that a declaration is refused with."""
    with pytest.raises(DeclarationError) as raised:
        declare()

    message = str(raised.value)
    assert "\n" not in message
    return message


# -- limits that steps share -------------------------------------------------------


class Sharing(Workflow):
    limits = {"db": 2, "disk": 5}  # noqa: RUF012 - as users write it

    @step(uses="db")
    def one(self) -> None: ...

    @step(uses={"db": 2, "disk": 5})
    def two(self) -> None: ...


def sharing(limits: object, uses: Any = None, base: type = Workflow) -> type[Workflow]:
    """Return a class W with these limits, and a step `load` that uses some of them."""

    def load(self: object) -> object:
        return self

    made: type[Workflow] = type(
        "W", (base,), {"limits": limits, "load": step(uses=uses)(load)}
    )
    return made


class Bare(Workflow):
    @step
    def work(self) -> None: ...


def test_limits_are_inherited_and_may_be_said_anew() -> None:
    class Same(Sharing):
        @step(uses="disk")
        def three(self) -> None: ...

    class More(Sharing):
        limits = Sharing.limits | {"net": 1}

        @step(uses="net")
        def three(self) -> None: ...

    assert Same.limits == {"db": 2, "disk": 5}
    assert plan_of(More).limits == {"db": 2, "disk": 5, "net": 1}
    assert plan_of(Bare).limits == {}


COUNTS = 'expected a mapping of names to whole numbers of 1 or more such as {"db": 2}'


@pytest.mark.parametrize(
    "limits",
    [
        *(None, 5, "db", ["db"], {"db": 0}, {"db": -1}, {"db": "2"}, {"db": 2.0}),
        *({"db": True}, {"db": None}, {"": 1}, {1: 1}),
    ],
    ids=repr,
)
def test_limits_that_are_none_are_refused_when_the_class_is_made(
    limits: object,
) -> None:
    message = refused(lambda: sharing(limits))

    assert message == f"W.limits: {COUNTS}, found {limits!r}"


@pytest.mark.parametrize(
    ("limits", "uses", "message"),
    [
        pytest.param(
            {},
            {"db": 3},
            "names 'db', which is not in limits; add limits = {\"db\": 3} to the class",
            id="no limits",
        ),
        pytest.param(
            {"disk": 1, "net": 1},
            "disc",
            (
                "names 'disc' (did you mean 'disk'?), which is not in limits; "
                "it may name disk, net"
            ),
            id="a typo",
        ),
        pytest.param(
            {"db": 1},
            {"db": 1, "tape": 1},
            "names 'tape', which is not in limits; it may name db",
            id="one of two",
        ),
        pytest.param(
            {"db": 2},
            {"db": 3},
            "wants 3 of 'db', and limits has 2; want less, or raise the limit",
            id="more than there is",
        ),
    ],
)
def test_a_step_that_uses_what_is_not_there_is_refused(
    limits: Mapping[str, int], uses: Any, message: str
) -> None:
    assert refused(lambda: sharing(limits, uses)) == f"W.load: uses= {message}"


def test_an_inherited_step_must_find_what_it_uses() -> None:
    message = refused(lambda: sharing({"disk": 5}, base=Sharing))

    assert message == (
        "W.one: uses= names 'db', which is not in limits; it may name disk"
    )


@pytest.mark.parametrize("name", ["limits", "executor"])
def test_the_names_of_what_holds_for_all_steps_are_reserved(name: str) -> None:
    def body(self: object) -> object:
        return self

    body.__name__ = name
    annotated = {"__annotations__": {name: dict}}

    for what, declared in (("step", {name: step(body)}), ("parameter", annotated)):
        said = refused(partial(type, "W", (Workflow,), declared))
        own = f"W.{name}: {name!r} has a meaning of its own in a workflow"
        assert said.startswith(f"{own} (did you mean {name} = ")
        assert said.endswith(
            f", without def and annotation?); give the {what} another name"
        )


# -- where bodies run ----------------------------------------------------------------


def make_pool() -> concurrent.futures.Executor:
    return concurrent.futures.ThreadPoolExecutor(2)


def test_a_class_s_executor_is_a_name_an_address_or_what_makes_a_pool() -> None:
    class Named(Bare):
        executor = "dask"

    class Addressed(Bare):
        executor = "dask://scheduler:8786"

    class Made(Bare):
        executor = staticmethod(make_pool)

    class Plain(Bare):
        executor = make_pool

    class Kind(Bare):
        executor = concurrent.futures.ProcessPoolExecutor

    found = [plan_of(kind).executor for kind in (Named, Addressed, Made, Plain, Kind)]

    assert found == [
        "dask",
        "dask://scheduler:8786",
        make_pool,
        make_pool,
        concurrent.futures.ProcessPoolExecutor,
    ]


def test_a_class_s_executor_may_be_a_classmethod_and_is_inherited() -> None:
    class Sized(Bare):
        size: ClassVar[int] = 3

        @classmethod
        def executor(cls) -> concurrent.futures.Executor:
            return concurrent.futures.ThreadPoolExecutor(cls.size)

    class Larger(Sized):
        size = 4

    made = plan_of(Larger).executor
    assert callable(made)
    with made() as pool:
        assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        assert pool._max_workers == 4


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("moon", id="a name"),
        pytest.param("dask://host", id="no port"),
        pytest.param(lambda self: self, id="a method"),
        pytest.param(None, id="nothing"),
    ],
)
def test_another_executor_is_refused_when_the_class_is_made(value: object) -> None:
    message = refused(lambda: type("W", (Workflow,), {"executor": value}))

    assert message == f"W.executor: {check_executor(value)}"


def measured(where: str | None) -> Any:
    """Return a step that limits its memory and says where it runs."""

    def body(self: object) -> object:
        return self

    return step(memory="1GB", executor=where)(body)


@pytest.mark.parametrize(
    ("executor", "where"),
    [
        pytest.param("process", None, id="the class's processes"),
        pytest.param("dask", None, id="the class's cluster"),
        pytest.param("dask://host:8786", None, id="a cluster with an address"),
        pytest.param(staticmethod(make_pool), None, id="a pool of the user's"),
        pytest.param("thread", "process", id="the step's process"),
        pytest.param("thread", "dask", id="the step's cluster"),
    ],
)
def test_memory_can_be_limited_in_every_worker_process(
    executor: object, where: str | None
) -> None:
    made: type[Workflow] = type(
        "W", (Workflow,), {"executor": executor, "body": measured(where)}
    )

    assert plan_of(made).steps[0].memory == 10**9


@pytest.mark.parametrize(
    ("executor", "where"),
    [
        pytest.param("thread", None, id="the class's threads"),
        pytest.param("process", "thread", id="the step's thread"),
        pytest.param(staticmethod(make_pool), "thread", id="beside a pool"),
    ],
)
def test_memory_cannot_be_limited_in_a_thread(
    executor: object, where: str | None
) -> None:
    members = {"executor": executor, "body": measured(where)}

    assert refused(lambda: type("W", (Workflow,), members)) == (
        'W.body: memory= limits a process; add executor="process", or leave memory= out'
    )


# -- in a run ------------------------------------------------------------------------


LEVELS: list[int] = []
_ACTIVE: set[str] = set()
_PAIR = threading.Barrier(2, timeout=30)


class Crowded(Workflow):
    limits = {"db": 2}  # noqa: RUF012 - as users write it

    @step
    def numbers(self) -> list[int]:
        return [0, 1, 2, 3]

    @step(each=numbers, uses="db")
    def left(self, number: int, task: TaskHandle) -> int:
        return meet(task.name, number)

    @step(each=numbers, uses={"db": 1})
    def right(self, number: int, task: TaskHandle) -> int:
        return meet(task.name, number)


def meet(name: str, number: int) -> int:
    """Wait for another body, so that as many run together as may."""
    _ACTIVE.add(name)
    LEVELS.append(len(_ACTIVE))
    _PAIR.wait()
    _ACTIVE.discard(name)
    return number


def test_no_more_run_at_the_same_time_than_their_limit_lets() -> None:
    LEVELS.clear()

    report = ptsflow.run(Crowded(), "memory:", jobs=8)

    assert report.ok
    assert len(LEVELS) == 8
    assert max(LEVELS) == 2


ORDER: list[str] = []


class Ranked(Workflow):
    @step(parallel=True)
    def low(self) -> None:
        ORDER.append("low")

    @step(parallel=True, priority=-1)
    def lowest(self) -> None:
        ORDER.append("lowest")

    @step(parallel=True, priority=10)
    def high(self) -> None:
        ORDER.append("high")


def test_the_higher_priority_runs_first() -> None:
    ORDER.clear()

    ptsflow.run(Ranked(), "memory:", jobs=1)

    assert ORDER == ["high", "low", "lowest"]
