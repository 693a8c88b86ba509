"""The threads that bodies run in: they end, whatever is handed over late."""

from __future__ import annotations

import threading
import time

from ptsflow.executors.threads import ThreadExecutor


def test_threads_that_a_late_body_starts_end_too() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(number: int) -> int | None:
        if number == 0:
            begun.set()
            assert go_on.wait(10)
            executor.submit([1, 2], 3)
        return None

    executor = ThreadExecutor[int](work, 4)
    executor.submit([0], 1)
    assert begun.wait(10)
    executor.stop()
    go_on.set()
    waits = threading.Thread(target=executor.join, daemon=True)
    waits.start()
    waits.join(10)

    assert not waits.is_alive()


def test_a_thread_takes_what_its_work_returns() -> None:
    done: list[int] = []

    def work(number: int) -> int | None:
        done.append(number)
        return number - 1 if number else None

    executor = ThreadExecutor[int](work, 1)
    executor.submit([3], 1)
    until = time.monotonic() + 10
    while len(done) < 4 and time.monotonic() < until:
        time.sleep(0.001)
    executor.stop()
    executor.join()

    assert done == [3, 2, 1, 0]
