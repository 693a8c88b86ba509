"""Bodies in threads of the runner, and the pool of these threads.

The thread that ends a body turns the runner's loop and gets its next job from the loop.
So a chain of steps stays in one thread: no queue, no wake-up, no switch.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.errors import NoThread
from ptsflow.executors import attempt, capture, fork_guard
from ptsflow.executors.attempt import Call
from ptsflow.workflow.handle import TaskHandle

J = TypeVar("J")


class ThreadExecutor:
    """Makes attempts in the thread that asks for them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        #: The tasks whose bodies run in threads now.
        self._running: dict[str, TaskHandle] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a body runs in a thread."""
        return bool(self._running)

    def late(self) -> dict[str, str]:
        """Return the tasks whose attempts are overdue, and for how long they are."""
        handles = list(self._running.items())
        found = {name: handle.watch.lateness() for name, handle in handles}
        return {name: text for name, text in found.items() if text}

    def run(self, call: Call, must_not_begin: Callable[[], bool]) -> Outcome:
        """Make the attempt, unless it must not begin; return how it ended."""
        name = call.handle.name
        # Register before asking: if the run is stopped meanwhile, either the runner sees
        # this thread as busy, or this thread sees that the body must not begin.
        self._running[name] = call.handle
        try:
            if must_not_begin():
                return Interrupted()
            with capture.Capture(call.handle):
                outcome = attempt.run(call)
                fork_guard.exit_if_forked(self._pid, outcome)
                return outcome
        finally:
            self._running.pop(name, None)


class ThreadPool(Generic[J]):
    """Daemon threads that do jobs; each is started when it is first needed.

    Args:
        work: does a job, and returns the next job for the same thread, or None.
    """

    def __init__(self, work: Callable[[J], J | None]) -> None:
        self._work = work
        self._queue: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, jobs: list[J], wanted: int) -> int:
        """Hand over jobs; return how many threads there are.

        If the system grants fewer threads than wanted, these threads do all jobs.

        Args:
            jobs: the jobs.
            wanted: how many threads are needed: as many as jobs are under way in all.

        Raises:
            NoThread: not even one thread can be started.
        """
        for job in jobs:
            self._queue.put(job)
        while len(self._threads) < wanted:
            # Bodies see the context of the thread that called `run`.
            thread = threading.Thread(
                target=contextvars.copy_context().run,
                args=(self._serve,),
                name=f"ptsflow-{len(self._threads)}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:
                if not self._threads:
                    raise NoThread.for_("a body", error) from None
                break
            self._threads.append(thread)
        return len(self._threads)

    def stop(self) -> None:
        """Let idle threads end; a thread that does a job ends after the job."""
        self._queue.put(None)

    def join(self) -> None:
        """Return when all threads have ended, after `stop`."""
        # A thread that ends may have started more threads just before.
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (job := self._queue.get()) is not None:
            following: J | None = job
            while following is not None:
                following = self._work(following)
        # Pass the None on to the next thread: how many threads there are is not known
        # when `stop` is called, as a body that ends late may start more.
        self._queue.put(None)
