"""While the failure of a body is made, nothing that the body held is held any more."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from ptsflow import Retry, Workflow, step
from ptsflow.core.outcome import Raised
from ptsflow.executors.attempt import Call, run
from ptsflow.workflow.compile import plan_of
from tests.support.reports import Reports, handle_of

#: What the body holds; weak references to it are dead when nothing holds it.
_held: list[weakref.ref[Any]] = []


class Rows(list[int]):
    """What takes memory."""


class Away(Exception):
    """Tells whether the rows are still held when its text is asked for."""

    def __str__(self) -> str:
        return "held" if any(rows() is not None for rows in _held) else "let go"


def made() -> Rows:
    rows = Rows()
    _held.append(weakref.ref(rows))
    return rows


def breaks(rows: Rows) -> None:
    raise Away(len(rows))


def numbers(rows: Rows) -> Any:
    breaks(rows)
    yield 1


class Holds(Workflow):
    """Every way to hold something."""

    @step
    def plainly(self) -> None:
        rows = made()
        breaks(rows)

    @step
    def in_its_cause(self) -> None:
        rows = made()
        try:
            breaks(rows)
        except Away as error:
            raise Away from error

    @step
    def in_a_group(self) -> None:
        errors = []
        for _ in range(2):
            try:
                breaks(made())
            except Away as error:
                errors.append(error)
        raise ExceptionGroup("both", errors)

    @step
    def in_a_generator(self) -> None:
        list(numbers(made()))

    @step
    async def in_a_coroutine(self) -> None:
        rows = made()
        breaks(rows)


@pytest.mark.parametrize("name", [step.name for step in plan_of(Holds).steps])
def test_the_frames_of_a_failed_body_are_let_go_first(name: str) -> None:
    _held.clear()
    call = Call(
        workflow=Holds(),
        step=plan_of(Holds).by_name[name],
        arguments={},
        handle=handle_of(Reports()),
        attempt=1,
        began_at=0,
        clock=lambda: 0,
    )
    outcome = run(call)

    assert isinstance(outcome, Raised)
    assert "let go" in outcome.error
    assert "breaks" in outcome.traceback


def test_the_waits_of_attempts_that_failed_together_differ() -> None:
    class Away2(Workflow):
        @step(retry=Retry(delay=10))
        def load(self) -> None:
            raise OSError

    call = Call(
        workflow=Away2(),
        step=plan_of(Away2).steps[0],
        arguments={},
        handle=handle_of(Reports()),
        attempt=1,
        began_at=0,
        clock=lambda: 0,
    )
    waits = {
        outcome.again_in for _ in range(20) if isinstance(outcome := run(call), Raised)
    }

    assert len(waits) > 1
