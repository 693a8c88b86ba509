"""Driving the loop with threads: bodies run, the main thread sleeps until it is needed.

The main thread takes a turn at the start, when a wait is over, when progress is to be
written and when a signal came. All other turns are taken by the threads of the bodies.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ptsflow.core.model import Stop
from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.core.plan import Executor as Place
from ptsflow.errors import LeaseLost, PtsflowError
from ptsflow.events import Notice
from ptsflow.executors import attempt, begin, capture, fork_guard
from ptsflow.executors.base import Executor
from ptsflow.executors.threads import ThreadExecutor
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.runner.loop import Job, Loop
from ptsflow.runner.mailbox import Ended
from ptsflow.runner.signals import _elsewhere, _is_taken, _let_go

#: How long the main thread sleeps at the most, in seconds.
_LOOK_EVERY = 1.0
#: How often progress is written, in seconds.
_WRITE_EVERY = 1.0
#: How long running bodies may take to end after the run's timeout, in seconds.
_GRACE = 10.0
#: How often it is shown to those who listen.
_SHOW_EVERY = 0.25


# What a body forks has to end by it: `multiprocessing.Pool` waits until it does. SIGINT
# is for the runner alone, though the terminal sends it to all; so is SIGTERM where a
# service manager sends it to all, for workers.
os.register_at_fork(after_in_child=_let_go)


class Driver:
    """Runs the bodies of one loop in threads.

    Args:
        loop: the run.
        inbox: what the main thread sleeps on, as putting to it is safe in a signal
            handler. None wakes it; a `Stop` is what somebody asked for; another text
            is why the lease was lost.
        stop_at: when the run is stopped as if by a signal, SIGALRM, in seconds since
            boot.
    """

    def __init__(
        self,
        loop: Loop,
        inbox: queue.SimpleQueue[Stop | str | None],
        *,
        stop_at: float = math.inf,
    ) -> None:
        self._loop = loop
        self._inbox = inbox
        self._pid = os.getpid()
        self._lost: str | None = None
        self._signals: list[int] = []
        self._stop_at = stop_at
        self._written = 0.0
        #: Where bodies run but for threads: made when first needed.
        self._elsewhere: dict[object, Executor] = {}
        self._starting = threading.Lock()
        #: Why there is no place where a body could run.
        self._refusal: PtsflowError | None = None
        self._shown = 0.0
        self._pool = ThreadExecutor[Job](self._work, loop.jobs)
        #: The tasks whose bodies are in threads just now.
        self._in_threads: set[str] = set()
        loop.on_progress = lambda: inbox.put(None)
        loop.on_arrival = lambda: self._pump(keep=False)

    def run(self) -> int | None:
        """Take turns until the loop is over; return the signal that ended it, if any.

        Raises:
            LeaseLost: the lease ended, or another runner took it.
            PtsflowError: where a body was to run cannot be had; what ran elsewhere has
                ended, and is recorded.
            StoreError: the store is damaged or full.
        """
        loop = self._loop
        try:
            with self._listening(), capture.installed():
                # Something may have been said while nothing could begin.
                self._hear(0.0)
                self._look()
                while not loop.is_over:
                    self._sleep()
                    self._look()
        finally:
            loop.let_go()
            self._pool.stop()
            self._end_elsewhere()
        self._raise_failure()
        return self._signals[0] if self._signals else None

    def when_idle(self, act: Callable[[], None]) -> None:
        """Call `act` when no body is in a thread any more, unless the process ends before."""
        if not self._in_threads:
            act()
            return

        def after() -> None:
            self._pool.join()
            act()

        threading.Thread(target=after, name="ptsflow-ending", daemon=True).start()

    # -- the main thread ----------------------------------------------------------

    def _sleep(self) -> None:
        pauses = []
        due = self._loop.schedule.next_due()
        if due is not None:
            pauses.append((due - self._loop.clock()) / 1000)
        if self._loop.records.progress:
            pauses.append(self._written + _WRITE_EVERY - since_boot())
            if self._loop.bus:
                pauses.append(self._shown + _SHOW_EVERY - since_boot())
        pauses.append(self._loop.records.deadline() - since_boot())
        pauses.append(self._stop_at - since_boot())
        # Of signals in quick succession the kernel may give the first one to another
        # thread too, and this one sleeps on; Python handles them only here.
        self._hear(max(0.0, min([*pauses, _LOOK_EVERY])))

    def _hear(self, patience: float) -> None:
        """Take in what was said, waiting so many seconds for it, and the time."""
        with contextlib.suppress(queue.Empty):
            message = self._inbox.get(timeout=patience)
            if isinstance(message, Stop):
                self._heed(message)
            else:
                self._lost = self._lost or message
        if since_boot() >= self._stop_at:
            self._signals.append(signal.SIGALRM)
            self._stop_at = since_boot() + _GRACE
        # The keeper may itself be waiting for an answer just now.
        if since_boot() >= self._loop.records.deadline():
            self._lost = self._lost or "it could not be renewed in time"

    def _heed(self, asked: Stop) -> None:
        """Do what `ptsflow cancel` asks for, as if by SIGTERM."""
        wanted = 1 if asked is Stop.GENTLY else 2
        missing = max(0, wanted - len(self._signals))
        self._signals += [signal.SIGTERM] * missing

    def _look(self) -> None:
        loop = self._loop
        if self._lost is not None:
            error = LeaseLost(
                f"container {loop.container.name!r}: the lease was lost, {self._lost}; "
                "what was recorded is safe, run again"
            )
            loop.fail(error)
            return
        # Whoever has it may be waiting for a store that is away: the lease may end.
        left = max(0.0, min(_LOOK_EVERY, loop.records.deadline() - since_boot()))
        if loop.lock.acquire(timeout=left):
            try:
                self._attend()
            finally:
                loop.lock.release()
            self._pump(keep=False)

    def _attend(self) -> None:
        """Do what is to be done, holding the loop's lock."""
        loop = self._loop
        if loop.is_over:
            return
        if len(self._signals) > 1:
            self._guarded(loop.interrupt)
            return
        if self._signals and not loop.is_cancelled:
            loop.stop()
            loop.bus.emit(Notice(at=loop.clock(), text=self._stopping()))
        now = since_boot()
        if loop.records.progress and loop.bus and now >= self._shown + _SHOW_EVERY:
            self._shown = now
            loop.show_progress()
        if loop.records.progress and now >= self._written + _WRITE_EVERY:
            self._written = now
            self._guarded(loop.flush_progress)
        if not loop.is_over:
            jobs = self._guarded(loop.turn) or []
            self._launch(jobs)

    def _stopping(self) -> str:
        count = len(self._loop.schedule.running)
        if not count:
            return "stopping"
        if self._signals[0] == signal.SIGALRM:
            return f"stopping: waiting for {count} running, {_GRACE:g} s at the most"
        return f"stopping: waiting for {count} running; once more stops at once"

    def _raise_failure(self) -> None:
        if self._loop.failure is not None:
            raise self._loop.failure
        if self._refusal is not None:
            raise self._refusal

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the loop runs, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append(number)
            self._inbox.put(None)

        before = {
            number: signal.signal(number, note)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        _is_taken.set()
        try:
            yield
        finally:
            _is_taken.clear()
            for number, handler in before.items():
                signal.signal(number, handler)

    # -- the bodies' threads --------------------------------------------------------

    def _work(self, job: Job) -> Job | None:
        outcome = self._guarded(lambda: self._outcome(job))
        if outcome is None:
            return None
        self._loop.arrived.append(Ended(job.task, outcome, job.call.handle.ran_by))
        return self._pump(keep=True)

    def _outcome(self, job: Job) -> Outcome:
        where = self._place(job.call.step.executor)
        if where == "thread":
            self._in_threads.add(job.task)
            try:
                if self._is_needless():
                    return Interrupted()
                with capture.around(job.call.handle):
                    outcome = attempt.run(job.call)
                    fork_guard.end_if_copy(self._pid, outcome)
                    return outcome
            finally:
                self._in_threads.discard(job.task)
        try:
            executor = self._executor(where)
        except PtsflowError as error:
            self._refusal = self._refusal or error
            self._loop.stop()
            return Interrupted()
        if executor is None or self._is_needless():
            return Interrupted()
        _elsewhere.is_here = True
        try:
            return executor.run(job.call)
        finally:
            _elsewhere.is_here = False

    def _is_needless(self) -> bool:
        """Whether a body must not begin though its start was recorded.

        The run is being stopped; or this process was frozen for so long since then that
        another runner may have the task by now.
        """
        loop = self._loop
        return loop.is_cancelled or since_boot() >= loop.records.deadline()

    def _pump(self, *, keep: bool) -> Job | None:
        """Take turns while something has come in and nobody else takes them.

        Whoever appended to `arrived` and finds the lock taken may leave: the one who
        holds it looks at `arrived` again after giving it back.
        """
        loop = self._loop
        kept: Job | None = None
        while loop.arrived:
            if kept is not None:
                # The job in hand must not wait: the main thread takes the next turn.
                self._inbox.put(None)
                break
            if not loop.lock.acquire(blocking=False):
                break
            try:
                if loop.is_over:
                    loop.let_go()
                    break
                jobs = self._guarded(loop.turn) or []
                if keep and jobs:
                    kept, *jobs = jobs
                if jobs:
                    self._launch(jobs)
                if self._loop.is_over or loop.schedule.next_due() is not None:
                    self._inbox.put(None)
            finally:
                loop.lock.release()
        return kept

    def _executor(self, where: Place) -> Executor | None:
        """Return where bodies run that do not run in threads; None if none must begin."""
        loop = self._loop
        with self._starting:
            executor = self._elsewhere.get(where)
            # What began after `_end_elsewhere` nobody would end.
            if executor is None and not self._is_needless():
                executor = self._elsewhere[where] = begin(
                    where, loop.workflow, loop.container, loop.store.identity
                )
                # What runs beside the runner must not be more than was meant for it.
                if executor.room and self._places() == {where}:
                    loop.make_room(executor.room)
                    self._pool.size = loop.jobs
                    self._inbox.put(None)
            return executor

    def _place(self, of_step: Place | None) -> Place:
        """Return where a step's bodies run."""
        of_run = self._loop.executor
        has_address = isinstance(of_run, str) and of_run.startswith("dask:")
        if of_step is None or (of_step == "dask" and has_address):
            return of_run
        return of_step

    def _places(self) -> set[Place]:
        return {self._place(step.executor) for step in self._loop.plan.steps}

    def _end_elsewhere(self) -> None:
        with self._starting:
            for executor in self._elsewhere.values():
                executor.stop()
            if self._elsewhere:
                uid = self._loop.container.uid
                container_lock.remove(
                    container_lock.file_of(self._loop.store.identity, uid)
                )

    def _launch(self, jobs: list[Job]) -> None:
        wanted = len(self._loop.schedule.running)
        self._guarded(lambda: self._pool.submit(jobs, wanted))

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._loop.fail(error)
            self._inbox.put(None)
            return None
