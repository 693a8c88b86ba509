"""Which attempt a cluster worker gets, and which lines of its body are sent."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

import ptsflow
from ptsflow.core.log_window import KEPT, Window, ends_of
from ptsflow.core.model import LogLine, TaskRecord
from ptsflow.core.outcome import Interrupted
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster.backends import BackendSpec
from ptsflow.executors.cluster.connection import MessageConnection
from ptsflow.executors.cluster.messages import Logged, LoggedLines, MakeAttempt
from ptsflow.executors.cluster.queue import AttemptQueue, BackendCall, QueuedAttempt
from ptsflow.executors.cluster.worker_attempt import WorkerAttempt
from ptsflow.executors.processes.messages import Assignment
from tests.executors.flows import One


def waiting(*, is_cancelled: bool = False) -> QueuedAttempt:
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
    return QueuedAttempt(
        call, BackendSpec(ThreadPoolExecutor, "e", "w"), threading.Event()
    )


def test_an_idle_worker_saves_a_call() -> None:
    queue = AttemptQueue()
    first, second, third = waiting(), waiting(), waiting()
    call = queue.put(first, "a")
    started = queue.start("a")
    taken = queue.take(0)
    queue.add_idle_worker()

    assert call is started is not None
    assert taken is first
    assert queue.put(second, "b") is None
    assert queue.put(third, "c") is not None
    assert queue.take(0) is second


def test_a_token_is_good_once() -> None:
    queue = AttemptQueue()
    queue.put(waiting(), "a")

    assert queue.start("a") is not None
    assert queue.start("a") is None
    assert queue.start("guessed") is None


def test_a_call_that_never_reached_the_runner_costs_the_oldest_attempt() -> None:
    queue = AttemptQueue()
    first, second = waiting(), waiting()
    ended: Future[str] = Future()
    ended.set_result("why")
    for each, token, future in ((first, "a", Future[str]()), (second, "b", ended)):
        call = queue.put(each, token)
        assert call is not None
        call.future = future
    found = queue.fallen_through()

    assert [(call.token, other) for call, other in found] == [("b", first)]
    assert queue.withdraw(second)
    assert not queue.withdraw(first)


def test_a_needless_call_that_ends_costs_nothing() -> None:
    queue = AttemptQueue()
    first = waiting()
    call = queue.put(first, "a")
    assert call is not None
    future = call.future = Future[str]()
    assert queue.withdraw(first)
    future.set_result("why")

    assert queue.fallen_through() == [(call, None)]


def test_a_worker_is_given_nothing_once_the_run_is_being_stopped() -> None:
    queued = waiting(is_cancelled=True)
    here, there = multiprocessing.Pipe()
    is_of_use = queued.make(MessageConnection(here), "worker", BackendCall("a"))
    was_told = there.poll(0)
    here.close()
    there.close()

    assert is_of_use
    assert queued.outcome == Interrupted()
    assert not was_told


@pytest.mark.parametrize(
    ("count", "text"),
    [
        pytest.param(5, "x", id="all of little"),
        pytest.param(20_000, "x" * 99, id="the ends of much"),
        pytest.param(40, "x" * 4_000, id="long lines"),
        pytest.param(40, "ä" * 3_000, id="long lines that are not ASCII"),
        pytest.param(0, "", id="nothing"),
    ],
)
def test_what_is_kept_of_sent_ends_is_what_is_kept_of_all_lines(
    count: int, text: str
) -> None:
    whole, sent = Window(1), Window(1)
    head_left = KEPT
    for begin in (0, count):
        lines = [LogLine(begin + number, "", text) for number in range(count)]
        ends = ends_of(lines, head_left)
        head_left -= ends.head_size
        whole.add(lines)
        sent.add(LoggedLines(Logged(count, ends.head, ends.tail)))

    assert sent.count == whole.count == 2 * count
    assert sent.take("t") == whole.take("t")


def test_lines_that_were_not_sent_are_empty() -> None:
    head, tail = [LogLine(1, "", "first")], [LogLine(9, "", "last")]
    came = LoggedLines(Logged(4, head, tail))

    assert [line.text for line in came] == ["first", "", "", "last"]
    assert came[-2:] == [came[2], tail[0]]


class Recording:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Logged] = []

    def send(self, message: Logged) -> None:
        self.sent.append(message)


def test_of_output_without_end_little_is_sent() -> None:
    connection = Recording()
    assignment = Assignment("t", None, "s", 1, 1, 0.0, {}, None, "", None)
    order = MakeAttempt(assignment, None, None)
    making = WorkerAttempt(connection, order, "c")  # type: ignore[arg-type] # it is like one
    lines = [LogLine(0, "", "x" * 99)] * 10_000
    for _ in range(20):
        making.logged("t", lines)
    characters = sum(
        len(each.text) for sent in connection.sent for each in (*sent.head, *sent.tail)
    )

    assert sum(sent.count for sent in connection.sent) == 200_000
    assert characters < 22 * 64 * 1024
    assert len(connection.sent[0].head) > 500
