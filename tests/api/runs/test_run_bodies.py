"""What a body may be, what it sees of other bodies, and what its errors mean."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import loky
import pytest

import ptsflow
from ptsflow import Fail, Finish, Retry, RetryLater, Skip, Task, Workflow, step
from ptsflow.testing import run_inline

# -- contexts ---------------------------------------------------------------------------

tenant = contextvars.ContextVar("tenant", default="unset")


class Leaking(Workflow):
    @step
    def first(self) -> None:
        tenant.set("first's")
        decimal.getcontext().prec = 4

    @step
    def second(self) -> list[str]:
        return [tenant.get(), str(decimal.Decimal(1) / 3)]


def run_as(workflow: Workflow, how: str, url: str, **given: Any) -> ptsflow.Report:
    if how == "inline":
        return run_inline(workflow, **given)
    return ptsflow.run(workflow, url, executor=how, **given)


@pytest.mark.parametrize("how", ["thread", "process", "inline"])
def test_what_a_body_sets_in_its_context_is_not_seen_by_the_next(
    how: str, url: str
) -> None:
    assert run_as(Leaking(), how, url).result("second") == [
        "unset",
        "0.3333333333333333333333333333",
    ]


@pytest.mark.parametrize("how", ["thread", "inline"])
def test_a_body_sees_the_context_of_who_called_run(how: str, url: str) -> None:
    def call() -> ptsflow.Report:
        tenant.set("the caller's")
        return run_as(Leaking(), how, url)

    report = contextvars.copy_context().run(call)

    assert report.result("second")[0] == "the caller's"


# -- awaitables -------------------------------------------------------------------------


def logged(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


class Later:
    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return 7


class Awaiting(Workflow):
    @step
    @logged
    async def behind_a_decorator(self) -> int:
        await asyncio.sleep(0)
        return 5

    @step
    def returns_an_awaitable(self) -> Any:
        return Later()


@pytest.mark.parametrize("how", ["thread", "process", "inline"])
def test_what_can_be_awaited_is_awaited(how: str, url: str) -> None:
    report = run_as(Awaiting(), how, url)

    assert report.result("behind_a_decorator") == 5
    assert report.result("returns_an_awaitable") == 7


def test_async_steps_run_inline_in_a_test_that_is_async_itself() -> None:
    async def test() -> Any:
        return run_inline(Awaiting()).result("behind_a_decorator")

    assert asyncio.run(test()) == 5


# -- exception groups -------------------------------------------------------------------


def attempted(errors: list[BaseException], **given: Any) -> Task:
    """Return the task of a step whose body raises a group of these errors."""

    class Raising(Workflow):
        @step(retry=Retry(2, delay=0, **given))
        async def work(self) -> None:
            async def fail(error: BaseException) -> None:
                raise error

            async with asyncio.TaskGroup() as group:
                for error in errors:
                    group.create_task(fail(error))

    (task,) = run_inline(Raising()).tasks
    return task


@pytest.mark.parametrize(
    ("errors", "given", "attempts"),
    [
        ([OSError("reset")], {}, 3),
        ([OSError("reset"), OSError("again")], {"on": OSError}, 3),
        ([OSError("reset"), ValueError("bad")], {"on": OSError}, 1),
        ([TypeError("bug"), TypeError("bug")], {}, 1),
        ([TypeError("bug"), OSError("reset")], {}, 1),
        ([OSError("reset"), ValueError("bad")], {"give_up_on": ValueError}, 1),
        ([ExceptionGroup("inner", [OSError("reset")])], {"on": OSError}, 3),
        ([Fail("never"), OSError("reset")], {}, 1),
        ([Skip("nothing"), OSError("reset")], {"on": OSError}, 3),
    ],
)
def test_a_group_is_tried_again_if_each_of_its_errors_would_be(
    errors: list[BaseException], given: dict[str, Any], attempts: int
) -> None:
    task = attempted(errors, **given)

    assert task.has_failed
    assert task.invoke_count == attempts


@pytest.mark.parametrize(
    ("errors", "status", "text"),
    [
        ([Skip("nothing to do")], "skipped", "nothing to do"),
        ([Skip("nothing to do"), Skip("nothing to do")], "skipped", "nothing to do"),
        ([ExceptionGroup("deep", [Skip("nothing to do")])], "skipped", "nothing to do"),
        ([Finish("nothing new")], "done", "nothing new"),
    ],
)
def test_a_signal_that_is_alone_in_a_group_is_that_signal(
    errors: list[BaseException], status: str, text: str
) -> None:
    task = attempted(errors)

    assert (task.status, task.status_text) == (status, text)


def test_fail_alone_in_a_group_fails_the_task_with_its_reason() -> None:
    task = attempted([Fail("never again")])

    assert (task.error, task.invoke_count) == ("never again", 1)


def test_several_waits_in_a_group_are_the_longest() -> None:
    asked: list[int] = []

    class Waiting(Workflow):
        @step
        def work(self) -> None:
            asked.append(1)
            if len(asked) == 1:
                raise ExceptionGroup("both", [RetryLater(10), RetryLater(600, "busy")])

    waits = [
        event.after.due - event.at
        for event in events_of(Waiting())
        if event.after.status == "waiting"
    ]

    assert waits == [600_000]


def events_of(workflow: Workflow) -> list[Any]:
    events: list[Any] = []
    run_inline(workflow, listeners=[events.append])
    return [event for event in events if isinstance(event, ptsflow.events.TaskChanged)]


def test_the_error_of_a_group_names_its_leaves() -> None:
    task = attempted([OSError(f"reset {number}") for number in range(5)], on=ValueError)

    assert (task.error or "").startswith(
        "ExceptionGroup of OSError: reset 0; OSError: reset 1; OSError: reset 2; and 2 more"
    )


# -- signals across pools ---------------------------------------------------------------


def skip(_: int) -> None:
    raise Skip("nothing to do")


def later(_: int) -> None:
    raise RetryLater(600, "not posted")


def in_pool(function: Callable[[int], None]) -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(function, [1])


def in_executor(function: Callable[[int], None]) -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        list(pool.map(function, [1]))


def in_loky(function: Callable[[int], None]) -> None:
    pool = loky.ProcessPoolExecutor(1)
    try:
        list(pool.map(function, [1]))
    finally:
        pool.shutdown(kill_workers=True)


@pytest.mark.parametrize("pool", [in_pool, in_executor, in_loky])
@pytest.mark.parametrize(
    ("function", "status", "text"),
    [(skip, "skipped", "nothing to do"), (later, "waiting", "not posted")],
)
def test_a_signal_crosses_the_pools_of_a_body(
    pool: Callable[[Any], None], function: Any, status: str, text: str
) -> None:
    asked: list[int] = []

    class Pooled(Workflow):
        @step
        def work(self) -> None:
            asked.append(1)
            if len(asked) == 1:
                pool(function)

    seen = [(e.after.status, e.after.status_text) for e in events_of(Pooled())]

    assert (status, text) in seen
