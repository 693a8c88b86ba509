"""`run(executor=...)`: what is taken, and what is refused before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ptsflow import Workflow, connect, run, step
from ptsflow.core.model import Status
from ptsflow.errors import LoadError, UsageError

ALLOWED = (
    "executor: expected 'thread', 'process', 'dask', 'dask://HOST:PORT' or a callable "
    "without parameters that returns a concurrent.futures.Executor, found "
)


class Places(Workflow):
    """Tells in which process its bodies run."""

    @step
    def usual(self) -> int:
        return os.getpid()

    @step(executor="thread")
    def here(self) -> int:
        return os.getpid()


class Big(Workflow):
    """Has a limit that threads do not have."""

    executor = "process"

    @step(memory="1GB")
    def load(self) -> int:
        return 1


@pytest.mark.parametrize(
    "executor",
    ["moon", "dask://", "dask://host", "dask://host:0", 5, ThreadPoolExecutor(1)],
    ids=["a word", "no address", "no port", "no such port", "a number", "an executor"],
)
def test_what_is_no_executor_is_refused(executor: Any) -> None:
    client = connect("memory:")
    with pytest.raises(UsageError) as caught:
        run(Places(), client, executor=executor)

    assert str(caught.value) == f"{ALLOWED}{executor!r}"
    assert client.store.containers() == []


def test_threads_are_refused_where_memory_is_limited() -> None:
    with pytest.raises(UsageError) as caught:
        run(Big(), connect("memory:"), executor="thread")

    assert str(caught.value) == (
        "executor: expected one with processes, as Big.load has memory=, found "
        "'thread'; choose 'process'"
    )


def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


@pytest.mark.parametrize("executor", ["process", pool], ids=["process", "a pool"])
def test_a_step_says_more_than_the_run(
    executor: str | Callable[[], ThreadPoolExecutor],
) -> None:
    report = run(Places(), "memory:", executor=executor)

    assert report.result("here") == os.getpid()
    assert report.result("usual") != os.getpid()


def test_a_place_that_cannot_be_had_is_refused_and_nothing_is_left_running() -> None:
    class Hidden(Workflow):
        @step(executor="thread")
        def first(self) -> str:
            return "done"

        @step
        def second(self) -> str:
            return "never"

    client = connect("memory:")
    with pytest.raises(LoadError) as caught:
        run(Hidden(), client, executor="process", container="hidden")
    record = client.store.container("hidden")
    assert record is not None
    first, second = client.store.tasks(record.uid)

    assert str(caught.value).endswith(
        "a class made inside a function cannot be found by another process; move it to "
        "the top of its module"
    )
    assert (record.status, record.owner) == (Status.PENDING, None)
    assert first.status is Status.DONE
    assert (second.status, second.attempt) == (Status.PENDING, 0)
