"""`executor=`, `timeout=`, `stall=` and `memory=`: what is taken, refused and watched."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ptsflow import Workflow, step
from ptsflow.errors import DeclarationError
from ptsflow.workflow import handle
from ptsflow.workflow.handle import Watch
from tests.support.reports import Reports, handle_of

DURATION = 'seconds above 0, or a text such as "2h"'
SIZE = 'bytes above 0, or a text such as "2GB"'
PLACES = "'thread', 'process' or 'dask'"
ANYWHERE = (
    "expected 'thread', 'process', 'dask', 'dask://HOST:PORT' or a callable without "
    "parameters that returns a concurrent.futures.Executor"
)


def body(self: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"executor": "moon"}, f"executor= expects {PLACES}, found 'moon'"),
        ({"executor": 1}, f"executor= expects {PLACES}, found 1"),
        ({"executor": ["thread"]}, f"executor= expects {PLACES}, found ['thread']"),
        ({"timeout": 0}, f"timeout= expects {DURATION}, found 0"),
        ({"timeout": -1}, f"timeout= expects {DURATION}, found -1"),
        ({"timeout": True}, f"timeout= expects {DURATION}, found True"),
        ({"timeout": "2"}, f"timeout= expects {DURATION}, found '2'"),
        ({"timeout": math.inf}, f"timeout= expects {DURATION}, found inf"),
        ({"stall": "soon"}, f"stall= expects {DURATION}, found 'soon'"),
        ({"stall": ""}, f"stall= expects {DURATION}, found ''"),
        ({"memory": 0}, f"memory= expects {SIZE}, found 0"),
        ({"memory": 1.5}, f"memory= expects {SIZE}, found 1.5"),
        ({"memory": "2TB"}, f"memory= expects {SIZE}, found '2TB'"),
    ],
)
def test_what_is_no_limit_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        step(**given)(body)

    assert str(caught.value) == f"body: {message}"


def test_limits_are_kept_in_seconds_and_bytes() -> None:
    options = step(executor="process", timeout="2h", stall="90s", memory="2GB")(
        body
    ).options

    assert (options.executor, options.timeout) == ("process", 7200.0)
    assert (options.stall, options.memory) == (90.0, 2 * 10**9)


def test_a_class_names_an_executor_that_there_is() -> None:
    with pytest.raises(DeclarationError) as caught:
        type("Far", (Workflow,), {"executor": "moon", "__module__": __name__})

    assert str(caught.value) == f"Far.executor: {ANYWHERE}, found 'moon'"


@pytest.mark.parametrize("where", [None, "thread"])
def test_memory_is_limited_in_processes_alone(where: str | None) -> None:
    with pytest.raises(DeclarationError) as caught:
        type(
            "Big",
            (Workflow,),
            {"body": step(memory=1, executor=where)(body), "__module__": __name__},
        )

    assert str(caught.value).endswith('executor="process", or leave memory= out'), str(
        caught.value
    )


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(handle, "since_boot", made)
    return made


def test_a_watch_without_limits_never_ends(clock: Clock) -> None:
    watch = Watch()
    clock.now += 1e9

    assert watch.overdue() == ""


def test_a_timeout_ends_whatever_is_reported(clock: Clock) -> None:
    watch = Watch(timeout=60)
    clock.now += 59.9
    watch.hear()
    early = watch.overdue()
    clock.now += 0.1

    assert early == ""
    assert watch.overdue() == "timed out after 60 s"


def test_a_stall_is_put_off_by_every_sign_of_life(clock: Clock) -> None:
    watch = Watch(timeout=600, stall=1.5)
    seen = []
    for _ in range(3):
        clock.now += 1.4
        seen.append(watch.overdue())
        watch.hear()
    clock.now += 1.5

    assert seen == ["", "", ""]
    assert watch.overdue() == "stalled: no progress was reported for 1.5 s"


def test_what_was_overdue_once_stays_so_whatever_is_reported(clock: Clock) -> None:
    watch = Watch(stall=1.5)
    clock.now += 2
    watch.hear()
    late = watch.overdue()
    watch.excuse()
    still = watch.overdue()
    watch.begin()

    assert late == still == "stalled: no progress was reported for 1.5 s"
    assert watch.overdue() == ""


def test_waiting_for_the_store_is_no_stall(clock: Clock) -> None:
    class Slow(Reports):
        def save(self, name: str, text: str) -> None:
            assert (name, text) == ("task", "1")
            clock.now += 10

    watch = Watch(stall=1.5)
    task = handle_of(Slow(), watch=watch)
    task.checkpoint(1)
    after = watch.overdue()
    clock.now += 2
    task.checkpoint(1)

    assert after == ""
    assert watch.overdue() == "stalled: no progress was reported for 1.5 s"
