"""The attempts that wait for a cluster worker, and each attempt while a worker makes it.

A call of the backend is not for one attempt: the cluster worker that is called gets the
oldest waiting attempt, and further ones for a second. So many short bodies share few
calls, and long bodies leave the backend's scheduling as it is.

One call per attempt would need no such queue, but costs short bodies too much. With 200
empty bodies on Dask, the CPU time of runner, scheduler and Dask workers together rose
from 1.56 to 1.97 times that of 200 bare calls of Dask (medians of 12 rounds).
"""

from __future__ import annotations

import contextlib
import threading

from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.errors import AttemptLost, WorkerLost
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster.backends import BackendFuture, BackendSpec
from ptsflow.executors.cluster.connection import MessageConnection
from ptsflow.executors.cluster.messages import (
    Logged,
    LoggedLines,
    MakeAttempt,
    RanBy,
    Report,
    read_report,
)
from ptsflow.executors.processes.messages import (
    BodyEnded,
    Cancel,
    Checkpoint,
    Lost,
    Progressing,
)
from ptsflow.executors.processes.transport import assignment, save
from ptsflow.host.clock import since_boot
from ptsflow.workflow.handle import UNWATCHED, Watch

#: How often a waiting thread looks whether the run is being stopped, in seconds.
LOOK_EVERY = 0.25
#: How long killing the worker process of a lost cluster worker may take, in seconds.
_KILL_TIME = 0.5
#: How long a cluster worker may take to end an attempt that is overdue, or whose call the
#: backend has given up, in seconds.
_PATIENCE = 10.0


class BackendCall:
    """One call of the backend."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.future: BackendFuture | None = None

    def is_done(self) -> bool:
        """Return whether the backend says that the call has ended."""
        return self.future is not None and self.future.done()

    def cancel(self) -> None:
        """Prevent that the backend makes the call again."""
        if self.future is not None:
            self.future.cancel()


class AttemptQueue:
    """The waiting attempts, the pending calls, and the idle cluster workers.

    Invariant: pending calls + idle workers >= waiting attempts.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[QueuedAttempt, None] = {}
        self._pending: dict[str, BackendCall] = {}
        self._idle_workers = 0
        self._looked_at = 0.0

    def put(self, queued: QueuedAttempt, token: str) -> BackendCall | None:
        """Add an attempt; return the call to make for it, if the invariant needs one."""
        with self._changed:
            self._waiting[queued] = None
            self._changed.notify()
            if self._is_enough():
                return None
            call = self._pending[token] = BackendCall(token)
            return call

    def withdraw(self, queued: QueuedAttempt) -> bool:
        """Remove an attempt; return False if a cluster worker has it already."""
        with self._changed:
            return self._waiting.pop(queued, self) is None

    def start(self, token: str) -> BackendCall | None:
        """Note that a pending call has reached a cluster worker, which is now idle.

        Returns:
            The call of this token; None if no pending call has it.
        """
        with self._changed:
            call = self._pending.pop(token, None)
            if call is not None:
                self._idle_workers += 1
            return call

    def take(self, patience: float) -> QueuedAttempt | None:
        """Return the oldest attempt for an idle worker, which is then no longer idle.

        Args:
            patience: how long to wait for an attempt, in seconds.
        """
        with self._changed:
            if not self._waiting:
                self._changed.wait(patience)
            self._idle_workers -= 1
            if not self._waiting:
                return None
            queued = next(iter(self._waiting))
            del self._waiting[queued]
            return queued

    def add_idle_worker(self) -> None:
        """Note that a cluster worker is idle again."""
        with self._changed:
            self._idle_workers += 1

    def forget(self, call: BackendCall) -> None:
        """Remove a call that the backend refused."""
        with self._changed:
            self._pending.pop(call.token, None)

    def fallen_through(self) -> list[tuple[BackendCall, QueuedAttempt | None]]:
        """Remove the calls that ended before they reached the runner.

        Returns:
            Each call with the attempt that fails for it, if the invariant needs that.
        """
        with self._changed:
            now = since_boot()
            if now < self._looked_at + LOOK_EVERY:
                return []
            self._looked_at = now
            ended = [call for call in self._pending.values() if call.is_done()]
            found: list[tuple[BackendCall, QueuedAttempt | None]] = []
            for call in ended:
                del self._pending[call.token]
                queued = None
                if not self._is_enough():
                    queued = next(iter(self._waiting))
                    del self._waiting[queued]
                found.append((call, queued))
            return found

    def _is_enough(self) -> bool:
        return len(self._pending) + self._idle_workers >= len(self._waiting)


class QueuedAttempt:
    """One attempt, from when it waits for a cluster worker until it has ended.

    Args:
        call: the attempt.
        backend: what messages call the backend and its workers.
        run_is_over: set when the run ends.
    """

    def __init__(
        self, call: Call, backend: BackendSpec, run_is_over: threading.Event
    ) -> None:
        self.call = call
        self._backend = backend
        self._run_is_over = run_is_over
        self.has_ended = threading.Event()
        self.outcome: Outcome | None = None
        self.is_running = False
        self._has_sent_cancel = False
        # The cluster worker watches the limits, because it is where the body is. The
        # runner gives it `_PATIENCE` longer, as the cluster worker may hang itself.
        watch = call.handle.watch
        self._limits = (watch.timeout, watch.stall)
        self._overdue = Watch(*(limit and limit + _PATIENCE for limit in self._limits))
        self._given_up = Watch(_PATIENCE)
        self._has_begun = False
        call.handle.watch = UNWATCHED

    def end(self, outcome: Outcome) -> None:
        """Note how the attempt ended."""
        self.outcome = outcome
        self.has_ended.set()

    def lose(self, why: str) -> None:
        """Note that the attempt ended, or could not begin, without a cluster worker."""
        self.end(attempt.failed(self.call, WorkerLost(why)))

    def make(
        self, connection: MessageConnection, worker: str, call: BackendCall
    ) -> bool:
        """Have a cluster worker make the attempt; return whether it can make others.

        Args:
            connection: the connection to the cluster worker.
            worker: `host:pid` of the cluster worker.
            call: the call that reached the cluster worker.
        """
        if self.call.handle.cancelled:
            self.end(Interrupted())  # no body begins once the run is being stopped
            return True
        self.call.handle.ran_by = worker
        self.is_running = True
        began_at = since_boot()
        outcome: Outcome | None = None
        with contextlib.suppress(EOFError, OSError):
            connection.send(MakeAttempt(assignment(self.call), *self._limits))
            outcome = self._followed(connection, call)
        if outcome is not None:
            self.end(outcome)
            return True
        self.call.handle.took_ms = round((since_boot() - began_at) * 1000)
        connection.hang_up()
        call.cancel()
        # The next attempt must not begin while the worker process of this one lives.
        self._run_is_over.wait(_KILL_TIME)
        self.lose(f"{self._backend.worker} {worker} was lost")
        return False

    def _followed(
        self, connection: MessageConnection, call: BackendCall
    ) -> Outcome | None:
        """Return how the attempt ended; None if the cluster worker is lost."""
        while not self._is_hopeless(call):
            if self.call.handle.cancelled and not self._has_sent_cancel:
                self._has_sent_cancel = True
                connection.send(Cancel())
            if not connection.poll(LOOK_EVERY):
                continue
            message = connection.receive(read_report)
            if isinstance(message, BodyEnded | Lost):
                self.call.handle.took_ms = message.took_ms
            if isinstance(message, BodyEnded):
                return message.outcome
            if isinstance(message, Lost):
                return attempt.failed(self.call, self._error_of(message))
            self._take_in(message, connection)
        return None

    def _is_hopeless(self, call: BackendCall) -> bool:
        """Return whether the attempt should have ended `_PATIENCE` ago."""
        if not self._has_begun:
            self._overdue.begin()
        if not call.is_done():
            self._given_up.begin()
        return bool(self._overdue.overdue() or self._given_up.overdue())

    def _error_of(self, lost: Lost) -> AttemptLost:
        if lost.kind == "WorkerLost":
            return WorkerLost(f"{self._backend.worker} {lost.why}")
        return lost.error()

    def _take_in(self, message: Report, connection: MessageConnection) -> None:
        handle = self.call.handle
        self._overdue.excuse()
        if isinstance(message, RanBy):
            handle.ran_by = message.ran_by
            self._has_begun = True
        elif isinstance(message, Logged):
            handle.reporter.logged(handle.name, LoggedLines(message))
        elif isinstance(message, Progressing):
            handle.reporter.progressed(handle.name, message.percentage, message.text)
        elif isinstance(message, Checkpoint):
            connection.send(save(handle, message))
