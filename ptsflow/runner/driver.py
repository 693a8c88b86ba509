"""The driver: the thread that sleeps, and obeys signals, requests to stop and the clock.

The driver takes a turn at the loop at the start, when a wait is over and after each of
its acts. All other turns are taken by the threads of the bodies.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable

from ptsflow.core.model import Stop
from ptsflow.errors import LeaseLost, StoreError
from ptsflow.executors import capture
from ptsflow.host.clock import since_boot
from ptsflow.runner import signals
from ptsflow.runner.body_threads import BodyThreads
from ptsflow.runner.late import LateAttempts
from ptsflow.runner.loop import Loop
from ptsflow.runner.mailbox import LeaseEnded
from ptsflow.runner.report import Halt

#: The longest sleep of the driver, in seconds.
_LONGEST_SLEEP = 1.0
#: How often progress is written, in seconds.
_WRITE_PROGRESS_EVERY = 1.0
#: How often progress is shown to listeners, in seconds.
_SHOW_PROGRESS_EVERY = 0.25
#: How long running bodies may take to end after the run's timeout, in seconds.
_GRACE = 10.0


class Driver:
    """Drives one loop to its end, in the thread that calls `run`.

    Args:
        loop: the loop of the run.
        stop_at: when the run is stopped as if by a signal, SIGALRM, in seconds since
            boot.
    """

    def __init__(self, loop: Loop, *, stop_at: float = math.inf) -> None:
        self._loop = loop
        self._mailbox = loop.mailbox
        self._threads = BodyThreads(loop)
        self._late = LateAttempts(loop.plan.steps, loop.work, loop.placement)
        self._stop_at = stop_at
        #: Why the lease is lost, if it is; an error if the store is gone.
        self._lost: str | StoreError | None = None
        #: The signals that came; the first one stops gently, the second one at once.
        self._signals: list[int] = []
        #: What stopped the run, if no signal did.
        self._by = ""
        #: When progress was last written and shown, in seconds since boot.
        self._written_at = 0.0
        self._shown_at = 0.0

    def run(self) -> Halt | None:
        """Drive the loop until it is over; return what stopped it, if anything did.

        Raises:
            LeaseLost: the lease ended, or another runner took it.
            PtsflowError: an executor cannot be had; what ran elsewhere has ended, and is
                recorded.
            StoreError: the store is damaged or full.
        """
        loop = self._loop
        self._mailbox.open(loop.tasks, self._threads.take_turns)
        try:
            mailbox = self._mailbox
            kept = capture.installed(mailbox if mailbox.shows_lines else None)
            with signals.handled(self._note_signal), kept:
                # Something may have been asked before the loop was made.
                self._listen(0.0)
                self._obey()
                while not loop.is_over:
                    self._listen(self._time_to_sleep())
                    self._obey()
        finally:
            loop.abandon()
            self._threads.stop()
            loop.placement.stop()
        if loop.failure is not None:
            raise loop.failure
        if self._threads.refusal is not None:
            raise self._threads.refusal
        return Halt(self._signals[0], self._by) if self._signals else None

    def when_idle(self, act: Callable[[], None]) -> None:
        """Call `act` when no body is in a thread, unless the process ends before."""
        self._threads.when_idle(act)

    # -- sleep --------------------------------------------------------------------------

    def _time_to_sleep(self) -> float:
        loop, now = self._loop, since_boot()
        until = [now + _LONGEST_SLEEP, loop.work.deadline(), self._stop_at]
        due = loop.schedule.next_due()
        if due is not None:
            until.append(now + (due - loop.clock()) / 1000)
        if self._mailbox.progress:
            until.append(self._written_at + _WRITE_PROGRESS_EVERY)
            if loop.bus:
                until.append(self._shown_at + _SHOW_PROGRESS_EVERY)
        return max(0.0, min(until) - now)

    def _listen(self, patience: float) -> None:
        """Wait for news at most `patience` seconds, and look at the clock."""
        # Python handles signals in this thread only, and the kernel may give a signal to
        # another thread, so that this one sleeps on: hence the limit on each sleep.
        news = self._mailbox.next_news(patience)
        if isinstance(news, Stop):
            self._note_request(news)
        elif isinstance(news, LeaseEnded):
            self._lost = self._lost or news.why
        if since_boot() >= self._stop_at:
            self._by = self._by or ("" if self._signals else "its timeout")
            self._signals.append(signal.SIGALRM)
            self._stop_at = since_boot() + _GRACE
        # The heartbeat may itself be waiting for the store's answer now.
        if since_boot() >= self._loop.work.deadline():
            self._lost = self._lost or "it could not be renewed in time"

    def _note_signal(self, number: int) -> None:
        self._signals.append(number)
        self._mailbox.wake()

    def _note_request(self, how: Stop) -> None:
        """Do what `ptsflow cancel` asks for, as if by SIGTERM."""
        wanted = 1 if how is Stop.GENTLY else 2
        missing = max(0, wanted - len(self._signals))
        self._by = self._by or ("" if self._signals else "cancel")
        self._signals += [signal.SIGTERM] * missing

    # -- obey ---------------------------------------------------------------------------

    def _obey(self) -> None:
        """Do what is due now: end or stop the run, write progress, take a turn."""
        loop = self._loop
        if isinstance(self._lost, StoreError):
            loop.fail(self._lost)
            return
        if self._lost is not None:
            error = LeaseLost(
                f"container {loop.container.name!r}: the lease was lost, {self._lost}; "
                "what was recorded is safe, run again"
            )
            loop.fail(error)
            return
        # The thread that holds the lock may be waiting for a store that is away, and the
        # lease may end meanwhile.
        left = max(0.0, min(_LONGEST_SLEEP, loop.work.deadline() - since_boot()))
        if loop.lock.acquire(timeout=left):
            try:
                if not loop.is_over:
                    self._act()
            except BaseException as error:  # noqa: BLE001 - `run` raises it
                loop.fail(error)
            finally:
                loop.lock.release()
            self._threads.take_turns()
            self._foresee(
                lambda: loop.foresight.expect(loop.placement.jobs, loop.clock())
            )

    def _act(self) -> None:
        """Do what is due, while this thread holds the loop's lock."""
        loop = self._loop
        if len(self._signals) > 1:
            loop.interrupt()
            return
        if self._signals and not loop.is_stopping():
            loop.stop()
            loop.bus.stopping(self._stopping())
        self._late.tell()
        loop.foresight.pass_on(loop.bus, loop.clock())
        if self._mailbox.progress:
            self._pass_on_progress()
        self._threads.launch(loop.turn())
        if not loop.is_stopping():
            self._foresee(
                lambda: loop.foresight.look(
                    loop.schedule, loop.tasks, loop.work.gauge.value
                )
            )

    def _foresee(self, act: Callable[[], None]) -> None:
        foresight = self._loop.foresight
        try:
            act()
        except Exception as error:  # noqa: BLE001 - no run fails because of its outlook.
            foresight.give_up(error, self._loop.bus)

    def _pass_on_progress(self) -> None:
        loop, now = self._loop, since_boot()
        if loop.bus and now >= self._shown_at + _SHOW_PROGRESS_EVERY:
            self._shown_at = now
            loop.show_progress()
        if now >= self._written_at + _WRITE_PROGRESS_EVERY:
            self._written_at = now
            loop.write_progress()

    def _stopping(self) -> str:
        count = len(self._loop.schedule.running)
        if not count:
            return "stopping"
        if self._signals[0] == signal.SIGALRM:
            return f"stopping: waiting for {count} running, {_GRACE:g} s at the most"
        return f"stopping: waiting for {count} running; once more stops at once"
