"""Bodies in threads, with no hand-over between a body and the one after it.

Who finishes a body takes its turn at the loop and gets the next job back from it. In a
chain of steps one thread does everything: no queue, no wake-up, no switch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ptsflow.errors import PtsflowError

J = TypeVar("J")


class ThreadExecutor(Generic[J]):
    """Daemon threads, started as they are needed.

    Args:
        work: does one job, and returns the next one for the same thread, or None.
        size: how many threads at the most; may be set anew.
    """

    def __init__(self, work: Callable[[J], J | None], size: int) -> None:
        self._work = work
        self.size = size
        self._queue: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, jobs: list[J], wanted: int) -> None:
        """Hand over jobs.

        Args:
            jobs: what to do.
            wanted: how many jobs are under way in all: as many threads are needed.

        Raises:
            PtsflowError: not even one thread can be started.
        """
        for job in jobs:
            self._queue.put(job)
        while len(self._threads) < min(self.size, wanted):
            thread = threading.Thread(
                target=self._serve, name=f"ptsflow-{len(self._threads)}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                if not self._threads:
                    raise PtsflowError(
                        f"no thread can be started for a body: {error}; raise what "
                        "limits the processes and threads of this user (ulimit -u)"
                    ) from None
                self.size = len(self._threads)  # the others do with what there is
                return
            self._threads.append(thread)

    def stop(self) -> None:
        """Let idle threads end; a thread in a body ends after it."""
        self._queue.put(None)

    def join(self) -> None:
        """Return when all threads have ended, after `stop`."""
        # One that ends may have started more of them just before.
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            following: J | None = job
            while following is not None:
                following = self._work(following)
        # Each tells the next one: a body that ends late may have started more of them.
        self._queue.put(None)
