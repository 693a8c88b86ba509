"""Steps that fail are tried again, and block only what depends on them."""

from __future__ import annotations

from typing import Any

import pytest
from tenacity import retry_if_exception_message, stop_after_attempt, wait_fixed

import ptsflow
from ptsflow import Fail, Retry, Status, TaskHandle, Workflow, step
from tests.api.conftest import main_stores
from tests.api.runs.flows import statuses

AT_ONCE = Retry(3, delay=0)


@main_stores
def test_a_failed_attempt_is_tried_again(url: str, name: str) -> None:
    attempts: list[int] = []

    class Flaky(Workflow):
        @step(retry=AT_ONCE)
        def work(self, task: TaskHandle) -> str:
            attempts.append(task.attempt)
            if len(attempts) < 3:
                raise OSError("no route")
            return "at last"

    report = ptsflow.run(Flaky(), url, name)
    (task,) = report.tasks

    assert report.ok
    assert report.result("work") == "at last"
    assert attempts == [1, 2, 3]
    assert (task.invoke_count, task.error, task.max_retries) == (3, None, 3)


def test_a_step_fails_for_good_when_its_retries_are_used_up(url: str) -> None:
    attempts: list[int] = []

    class Failing(Workflow):
        @step(retry=Retry(2, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            raise OSError("no route")

        @step
        def more(self) -> None:
            attempts.append(99)

    report = ptsflow.run(Failing(), url)
    task = report.tasks[0]

    assert not report.ok
    assert attempts == [1, 2, 3]
    assert report.failed == ["work"]
    assert (task.status, task.invoke_count) == (Status.FAILED, 3)
    assert str(task.error).startswith("OSError: no route (test_run_failures.py:")
    assert str(task.error).endswith(" in work)")
    assert repr(report) == "<report of 'Failing': failed>"


def test_the_next_run_tries_what_failed_with_a_fresh_budget(url: str) -> None:
    attempts: list[int] = []

    class Failing(Workflow):
        @step
        def before(self) -> None:
            attempts.append(0)

        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) < 6:
                raise OSError("no route")

    oks = [ptsflow.run(Failing(), url).ok for _ in range(3)]
    report = ptsflow.run(Failing(), url)

    assert oks == [False, False, True]
    assert attempts == [0, 1, 2, 1, 2, 1]
    assert report.tasks[1].invoke_count == 5


@pytest.mark.parametrize(
    ("error", "retry", "attempts"),
    [
        pytest.param(OSError("x"), AT_ONCE, 4, id="an error"),
        pytest.param(TypeError("x"), AT_ONCE, 1, id="a bug"),
        pytest.param(NotImplementedError("x"), AT_ONCE, 1, id="another bug"),
        pytest.param(TypeError("x"), Retry(3, delay=0, on=TypeError), 4, id="on"),
        pytest.param(OSError("x"), Retry(3, delay=0, on=ValueError), 1, id="not on"),
        pytest.param(
            OSError("x"), Retry(3, delay=0, give_up_on=OSError), 1, id="give up"
        ),
        pytest.param(
            TypeError("x"), Retry(3, delay=0, give_up_on=OSError), 4, id="no bugs"
        ),
        pytest.param(OSError("x"), 0, 1, id="no retries"),
        pytest.param(Fail("x"), AT_ONCE, 1, id="Fail"),
        pytest.param(SystemExit("x"), AT_ONCE, 1, id="SystemExit"),
        pytest.param(KeyboardInterrupt("x"), AT_ONCE, 1, id="KeyboardInterrupt"),
        pytest.param(GeneratorExit("x"), AT_ONCE, 1, id="GeneratorExit"),
        pytest.param(
            OSError("x"),
            Retry(stop=stop_after_attempt(2), wait=wait_fixed(0)),
            2,
            id="stop",
        ),
        pytest.param(
            OSError("x"),
            Retry(3, delay=0, retry=retry_if_exception_message(match="y")),
            1,
            id="tenacity's retry",
        ),
    ],
)
def test_how_often_an_error_is_tried(
    url: str, error: BaseException, retry: Retry | int, attempts: int
) -> None:
    class Failing(Workflow):
        @step(retry=retry)
        def work(self) -> None:
            raise error

    report = ptsflow.run(Failing(), url)

    assert report.failed == ["work"]
    assert report.tasks[0].invoke_count == attempts


def test_fail_says_why_and_nothing_else(url: str) -> None:
    class Failing(Workflow):
        @step
        def work(self) -> None:
            raise Fail("the file is not ours")

    assert ptsflow.run(Failing(), url).tasks[0].error == "the file is not ours"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(OSError(), "OSError (", id="without a message"),
        pytest.param(
            Unreadable(), "Unreadable: (its message cannot be read) (", id="unreadable"
        ),
        pytest.param(OSError("\ud800\0"), "OSError: \\ud800\0 (", id="no valid text"),
        pytest.param(OSError("x" * 10**6), "OSError: xxx", id="very long"),
    ],
)
def test_any_error_can_be_recorded(url: str, error: Exception, text: str) -> None:
    class Failing(Workflow):
        @step(retry=0)
        def work(self) -> None:
            raise error

    (task,) = ptsflow.run(Failing(), url).tasks

    assert str(task.error).startswith(text)
    assert len(str(task.error)) <= 16_000


def test_a_failed_step_blocks_only_what_depends_on_it(url: str) -> None:
    class Branches(Workflow):
        @step(parallel=True, retry=0)
        def bad(self) -> int:
            raise OSError("no")

        @step(parallel=True)
        def good(self) -> int:
            return 1

        @step(after=bad)
        def behind_bad(self) -> None: ...

        @step(after=good)
        def behind_good(self) -> None: ...

        @step
        def behind_both(self) -> None: ...

    report = ptsflow.run(Branches(), url)

    assert statuses(report) == {
        "bad": "failed",
        "good": "done",
        "behind_bad": "pending",
        "behind_good": "done",
        "behind_both": "pending",
    }


def test_what_failed_is_listed_in_the_order_of_the_plan(url: str) -> None:
    class Several(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [2, 1]

        @step(each=numbers, retry=0, optional=True)
        def use(self, number: int) -> None:
            raise OSError(f"no {number}")

        @step(parallel=True, retry=0)
        def left(self) -> None:
            raise OSError("no")

        @step(parallel=True, retry=0)
        def right(self) -> None:
            raise OSError("no")

    assert ptsflow.run(Several(), url).failed == ["use[2]", "use[1]", "left", "right"]


def test_an_optional_step_that_failed_hands_on_none(url: str) -> None:
    class Optional(Workflow):
        @step(optional=True, retry=0)
        def extra(self) -> int:
            raise OSError("no")

        @step
        def use(self, extra: int | None) -> list[int | None]:
            return [extra]

    report = ptsflow.run(Optional(), url)

    assert report.ok
    assert report.failed == ["extra"]
    assert report.result("use") == [None]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param(
            {"rows": [1, object()]},
            "NotStorable: the result of step work: rows[1]: an object (class "
            "builtins.object) cannot be stored; store its data as a dict, or make it a "
            "dataclass",
            id="outside the closed set",
        ),
        pytest.param(
            "x" * (9 * 1024 * 1024),
            "TooLarge: the result of step work: 9.1 MiB of JSON text is over the limit "
            "of 8 MiB; write it to a file and return the file's path",
            id="over 8 MiB",
        ),
    ],
)
def test_a_result_that_cannot_be_stored_fails_the_step(
    url: str, value: object, line: str
) -> None:
    class Unstorable(Workflow):
        @step
        def work(self) -> Any:
            return value

        @step
        def use(self, work: object) -> None: ...

    report = ptsflow.run(Unstorable(), url)
    task = report.tasks[0]

    assert statuses(report) == {"work": "failed", "use": "pending"}
    assert (task.error, task.result, task.invoke_count) == (line, None, 1)


def test_a_strategy_that_raises_fails_the_step(url: str) -> None:
    def broken(_state: object) -> float:
        raise RuntimeError("no idea")

    class Failing(Workflow):
        @step(retry=Retry(wait=broken))
        def work(self) -> None:
            raise OSError("no route")

    assert str(ptsflow.run(Failing(), url).tasks[0].error).endswith(
        "; and its retry strategy raised RuntimeError: no idea"
    )
