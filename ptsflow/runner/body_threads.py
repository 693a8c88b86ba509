"""The threads that bodies run in, and that take the turns at the loop between them.

The thread that ends a body takes a turn by itself and goes on with the next body: to hand
the outcome to another thread costs more than the decision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ptsflow.core.outcome import Interrupted
from ptsflow.errors import PtsflowError
from ptsflow.executors.attempt import Call
from ptsflow.executors.threads import ThreadPool
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import TaskOutcome


class BodyThreads:
    """The threads of one run."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._mailbox = loop.mailbox
        self._placement = loop.placement
        self._pool = ThreadPool[Call](self._work)
        #: Why an executor could not be had; the run was stopped for it.
        self.refusal: PtsflowError | None = None

    def launch(self, calls: list[Call]) -> None:
        """Have attempts made whose starts are recorded.

        Raises:
            NoThread: not even one thread can be started.
        """
        wanted = len(self._loop.schedule.running)
        threads = self._pool.submit(calls, wanted)
        if threads < wanted:
            self._placement.limit_jobs(threads)

    def take_turns(self) -> None:
        """Take turns until nothing is left in the mailbox or another thread takes turns."""
        self._take_turns(keep=False)

    def stop(self) -> None:
        """Let idle threads end; a thread in a body ends after the body."""
        self._pool.stop()

    def when_idle(self, act: Callable[[], None]) -> None:
        """Call `act` when no body is in a thread, unless the process ends before."""
        if not self._placement.has_busy_threads:
            act()
            return

        def wait_and_act() -> None:
            self._pool.join()
            act()

        threading.Thread(
            target=wait_and_act, name="ptsflow-ending", daemon=True
        ).start()

    def _work(self, call: Call) -> Call | None:
        """Have an attempt made and take a turn; return the next one for this thread."""
        loop, handle = self._loop, call.handle
        try:
            outcome = self._placement.run(call, loop.must_not_begin)
        except PtsflowError as error:
            self.refusal = self.refusal or error
            loop.stop()
            outcome = Interrupted()
        except BaseException as error:  # noqa: BLE001 - the driver raises it
            loop.fail(error)
            return None
        message = TaskOutcome(handle.name, outcome, handle.ran_by, handle.took_ms)
        self._mailbox.arrived.append(message)
        return self._take_turns(keep=True)

    def _take_turns(self, *, keep: bool) -> Call | None:
        """Take turns; return the first attempt to launch if this thread is to keep one.

        A thread that finds the lock taken may leave: the thread that holds the lock looks
        into the mailbox again after giving the lock back.
        """
        loop, arrived = self._loop, self._mailbox.arrived
        kept: Call | None = None
        while arrived:
            if kept is not None:
                # The kept attempt must not wait: the driver takes the next turn.
                self._mailbox.wake()
                break
            if not loop.lock.acquire(blocking=False):
                break
            try:
                if loop.is_over:
                    loop.abandon()
                    break
                calls = loop.turn()
                if keep and calls:
                    kept = calls.pop(0)
                if calls:
                    self.launch(calls)
                if loop.schedule.next_due() is not None or loop.is_over:
                    self._mailbox.wake()
            except BaseException as error:  # noqa: BLE001 - the driver raises it
                loop.fail(error)
            finally:
                loop.lock.release()
        return kept
