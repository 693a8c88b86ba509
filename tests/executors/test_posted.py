"""Which attempt a worker gets, and what is sent of what its body prints."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import ptsflow
from ptsflow.core.model import LogLine, TaskRecord
from ptsflow.core.outcome import Interrupted
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster.backends import Place
from ptsflow.executors.cluster.connection import Line
from ptsflow.executors.cluster.messages import Ends, Logged, Work, ends_of
from ptsflow.executors.cluster.queue import Posted, Posts, Summons
from ptsflow.executors.cluster.worker_attempt import Errand
from ptsflow.executors.processes.messages import Assignment
from tests.executors.flows import One


def waiting(*, is_cancelled: bool = False) -> Posted:
    handle = ptsflow.TaskHandle(
        "c",
        TaskRecord(name="t"),
        saved=None,
        reporter=None,  # type: ignore[arg-type] # nothing is reported
        cancelled=lambda: is_cancelled,
    )
    call = Call(
        workflow=One(act="raises"),
        step=None,  # type: ignore[arg-type] # it is never made
        arguments={},
        handle=handle,
        attempt=1,
        began_at=0,
        clock=lambda: 0,
    )
    return Posted(call, Place(ThreadPoolExecutor, "e", "w"), threading.Event())


def test_a_worker_at_hand_saves_a_call() -> None:
    posts = Posts()
    first, second, third = waiting(), waiting(), waiting()
    summons = posts.post(first, "a")
    arrived = posts.arrive("a")
    taken = posts.take(0)
    posts.give_back()

    assert summons is arrived is not None
    assert taken is first
    assert posts.post(second, "b") is None
    assert posts.post(third, "c") is not None
    assert posts.take(0) is second


def test_a_token_is_good_once() -> None:
    posts = Posts()
    posts.post(waiting(), "a")

    assert posts.arrive("a") is not None
    assert posts.arrive("a") is None
    assert posts.arrive("guessed") is None


def test_a_call_that_ends_unanswered_costs_the_oldest_that_waits() -> None:
    posts = Posts()
    first, second = waiting(), waiting()
    ended: Future[str] = Future()
    ended.set_result("why")
    for each, token, promise in ((first, "a", Future[str]()), (second, "b", ended)):
        summons = posts.post(each, token)
        assert summons is not None
        summons.promise = promise
    found = posts.unanswered()

    assert [(summons.token, other) for summons, other in found] == [("b", first)]
    assert posts.withdraw(second)
    assert not posts.withdraw(first)


def test_a_call_too_many_that_ends_costs_nothing() -> None:
    posts = Posts()
    first = waiting()
    summons = posts.post(first, "a")
    assert summons is not None
    promise = summons.promise = Future[str]()
    assert posts.withdraw(first)
    promise.set_result("why")

    assert posts.unanswered() == [(summons, None)]


def test_a_worker_is_given_nothing_once_the_run_is_being_stopped() -> None:
    posted = waiting(is_cancelled=True)
    here, there = multiprocessing.Pipe()
    is_of_use = posted.make(Line(here), "worker", Summons("a"))
    was_told = there.poll(0)
    here.close()
    there.close()

    assert is_of_use
    assert posted.outcome == Interrupted()
    assert not was_told


@pytest.mark.parametrize(
    ("count", "head", "tail", "sent"),
    [
        pytest.param(5, 100, 100, 5, id="all of little"),
        pytest.param(1000, 20, 30, 20, id="the ends of much"),
        pytest.param(1000, 0, 30, 12, id="the last alone"),
        pytest.param(0, 20, 30, 0, id="nothing"),
    ],
)
def test_the_ends_of_long_output_are_sent(
    count: int, head: int, tail: int, sent: int
) -> None:
    lines = [LogLine(number, "", f"{number % 10}") for number in range(count)]
    logged = ends_of(lines, head, tail)
    came = Ends(logged)

    first, last = len(logged.head), len(logged.tail)
    assert len(came) == count
    assert came[:first] == lines[:first]
    assert came[count - last :] == lines[count - last :]
    assert first + last <= sent + 5
    assert all(came[place].text == "" for place in range(first, count - last))


class Recording:
    """A line that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Logged] = []

    def send(self, message: Logged) -> None:
        self.sent.append(message)


def test_of_output_without_end_little_is_sent() -> None:
    line = Recording()
    assignment = Assignment("t", None, "s", 1, 1, 0.0, {}, None, "", None)
    errand = Errand(line, Work(assignment, None, None), "c")  # type: ignore[arg-type] # it is like one
    lines = [LogLine(0, "", "x" * 99)] * 10_000
    for _ in range(20):
        errand.logged("t", lines)
    characters = sum(
        len(each.text) for sent in line.sent for each in (*sent.head, *sent.tail)
    )

    assert sum(sent.count for sent in line.sent) == 200_000
    assert characters < 22 * 64 * 1024
    assert len(line.sent[0].head) > 600
