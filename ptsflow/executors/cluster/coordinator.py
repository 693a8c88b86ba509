"""Bodies on a cluster, on any backend that can call a function on another machine.

The backend calls `worker.serve` with a token. The cluster worker that is called connects
to the runner, sends the token and receives an attempt; from then on the two talk to each
other. A token is good once, so a call that the backend repeats by itself gets nothing.
No object of the user is pickled, and only the runner writes to the store.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.errors import WorkerLost
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster import worker
from ptsflow.executors.cluster.backends import (
    Backend,
    BackendFuture,
    BackendSpec,
    backend_spec,
)
from ptsflow.executors.cluster.connection import MessageConnection, runner_end
from ptsflow.executors.cluster.messages import (
    NoMoreWork,
    RunDescription,
    WorkerJoined,
    read_call,
)
from ptsflow.executors.cluster.queue import LOOK_EVERY, AttemptQueue, QueuedAttempt
from ptsflow.executors.processes.messages import Setting
from ptsflow.host.clock import since_boot
from ptsflow.version import VERSION
from ptsflow.workflow.loading import Reference, refer
from ptsflow.workflow.workflow import Workflow

#: How long one call of the backend makes one attempt after another, in seconds.
_CALL_TIME = 1.0
#: How long a call waits for its next attempt, in seconds.
_NEXT_ATTEMPT_WAIT = 0.02
#: How long cluster workers may take to end their worker processes, in seconds.
_END_TIMEOUT = 5.0
#: How long a backend may take to end, in seconds.
_SHUTDOWN_TIMEOUT = 10.0
#: How long after a failure to make the backend again the next try is, in seconds.
_PAUSE = 1.0
#: The most handshakes at a time: others than cluster workers may connect.
_MOST_HANDSHAKES = 64


def begin(
    executor: str | Callable[[], Any],
    kind: type[Workflow],
    setting: Setting,
    lock: Path,
) -> Coordinator:
    """Start to listen for the cluster workers of a run.

    Args:
        executor: "dask", `dask://HOST:PORT`, or a function that makes a backend.
        kind: the class of the workflow.
        setting: the container that the run holds, and the parameters.
        lock: the lock file; on each host the worker processes hold a file of its name.

    Raises:
        LoadError: another process could not find the workflow's class.
        UsageError: the backend is unknown, or cannot be reached.
        ExtraMissing: the backend is not installed.
    """
    return Coordinator(refer(kind), setting, lock, backend_spec(executor))


class Coordinator:
    """The cluster workers of one run, from the runner's side.

    Args:
        reference: the workflow class, as `loading.refer` wrote it.
        setting: what every worker process is told first.
        lock: the lock file; on each host the worker processes hold a file of its name.
        backend: the backend that calls the cluster workers.
    """

    def __init__(
        self,
        reference: Reference,
        setting: Setting,
        lock: Path,
        backend: BackendSpec,
    ) -> None:
        self._description = RunDescription(VERSION, reference, setting, _import_path())
        self._lock = lock
        self._spec = backend
        self._secret = secrets.token_bytes(32)
        self._making = threading.Lock()
        self._backend: Backend | None = backend.make()
        self.room = backend.room(self._backend)
        #: When the backend could not be made again, in seconds since the machine booted.
        self._failed_at = -_PAUSE
        self._queue = AttemptQueue()
        self._connections: set[MessageConnection] = set()
        #: The control connection of each cluster worker -> whether it has ended.
        self._controls: dict[MessageConnection, threading.Event] = {}
        self._handshakes = threading.BoundedSemaphore(_MOST_HANDSHAKES)
        self._is_over = threading.Event()
        host = backend.host(self._backend)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        _coordinators.add(self)
        threading.Thread(
            target=self._listen, name="ptsflow-coordinator", daemon=True
        ).start()

    def run(self, call: Call) -> Outcome:
        """Have a cluster worker make the attempt; return how it ended."""
        queued = QueuedAttempt(call, self._spec, self._is_over)
        backend_call = self._queue.put(queued, secrets.token_hex(16))
        if backend_call is not None:
            try:
                backend_call.future = self._submit(backend_call.token)
            except Exception as error:  # noqa: BLE001 - whatever a backend raises
                self._queue.forget(backend_call)
                if self._queue.withdraw(queued):
                    queued.lose(self._spec.why(error))
        while not queued.has_ended.wait(LOOK_EVERY):
            self._look(queued)
        assert queued.outcome is not None  # noqa: S101 - it has ended
        return queued.outcome

    def _look(self, queued: QueuedAttempt) -> None:
        """End attempts that no cluster worker will make."""
        if not queued.is_running:
            must_not_begin = queued.call.handle.cancelled or self._is_over.is_set()
            # Only one side can remove the attempt from the queue: this thread, which
            # then ends it, or a cluster worker's thread, which then makes it.
            if must_not_begin and self._queue.withdraw(queued):
                queued.end(Interrupted())
        for backend_call, other in self._queue.fallen_through():
            if other is not None and backend_call.future is not None:
                other.lose(self._spec.why_ended(backend_call.future))

    def stop(self) -> None:
        """End the run on its cluster workers, which kill the bodies that still run.

        Returns once the bodies are dead, or after `_END_TIMEOUT`.
        """
        self._is_over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        until = since_boot() + _END_TIMEOUT
        controls = list(self._controls.items())
        for control, _ in controls:
            control.hang_up(socket.SHUT_WR)
        for _, has_ended in controls:
            has_ended.wait(max(0.0, until - since_boot()))
        for connection in list(self._connections):
            connection.hang_up()
        with self._making:
            backend, self._backend = self._backend, None
        if backend is not None:
            _begin_shutdown(backend).join(_SHUTDOWN_TIMEOUT)

    def close_in_fork(self) -> None:
        """Close the inherited sockets, in a process that was forked from this one."""
        self._listener.close()
        for connection in self._connections:
            connection.close()

    # -- the backend ------------------------------------------------------------------

    def _submit(self, token: str) -> BackendFuture:
        given = (self._address, self._secret, self._lock.name, token)
        backend = self._usable(None)
        try:
            return backend.submit(worker.serve, *given)
        except (BrokenExecutor, RuntimeError):
            return self._usable(backend).submit(worker.serve, *given)

    def _usable(self, broken: Backend | None) -> Backend:
        """Return the backend, made again if it is the broken one."""
        with self._making:
            if self._is_over.is_set():
                raise WorkerLost("the run is over")
            if broken is not None and self._backend is broken:
                self._backend = None
                _begin_shutdown(broken)
            if self._backend is None:
                if since_boot() < self._failed_at + _PAUSE:
                    raise WorkerLost(f"{self._spec.name} was lost")
                self._failed_at = since_boot()
                self._backend = self._spec.make()
                self._failed_at = -_PAUSE
            return self._backend

    # -- connections of cluster workers -------------------------------------------------

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                if not self._handshakes.acquire(blocking=False):
                    end.close()
                    continue
                threading.Thread(
                    target=self._serve, args=[end], name="ptsflow-worker", daemon=True
                ).start()

    def _serve(self, end: socket.socket) -> None:
        """Serve one connection of a cluster worker, in a thread of its own."""
        try:
            connection = runner_end(end, self._secret)
        except (AuthenticationError, AssertionError, EOFError, OSError):
            return
        finally:
            self._handshakes.release()
        self._connections.add(connection)
        try:
            if not self._is_over.is_set():
                self._converse(connection)
        except (EOFError, OSError):
            pass  # the cluster worker has ended
        finally:
            self._connections.discard(connection)
            connection.close()

    def _converse(self, connection: MessageConnection) -> None:
        while True:
            message = connection.receive(read_call)
            if isinstance(message, WorkerJoined):
                self._control(connection)
                return
            if not self._give_attempts(connection, message.token, message.worker):
                return
            connection.send(NoMoreWork())

    def _control(self, connection: MessageConnection) -> None:
        """Describe the run to a cluster worker; return when either of the two ends."""
        has_ended = self._controls[connection] = threading.Event()
        try:
            connection.send(self._description)
            if not self._is_over.is_set():
                connection.receive(read_call)
        finally:
            del self._controls[connection]
            has_ended.set()

    def _give_attempts(
        self, connection: MessageConnection, token: str, worker: str
    ) -> bool:
        """Have a cluster worker make attempts; return False once it is lost."""
        backend_call = self._queue.start(token)
        if backend_call is None:
            return True
        since = since_boot()
        patience = 0.0
        while (queued := self._queue.take(patience)) is not None:
            if not queued.make(connection, worker, backend_call):
                return False
            if since_boot() - since >= _CALL_TIME:
                break
            self._queue.add_idle_worker()
            patience = _NEXT_ATTEMPT_WAIT
        return True


def _import_path() -> list[str]:
    """Return the folders where this process finds modules that are not installed."""
    installed = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    folders = [Path(entry).resolve() for entry in sys.path]
    return [
        str(folder)
        for folder in folders
        if folder.is_dir() and not installed.intersection((folder, *folder.parents))
    ]


def _begin_shutdown(backend: Backend) -> threading.Thread:
    def shutdown() -> None:
        with contextlib.suppress(Exception):
            backend.shutdown(wait=True, cancel_futures=True)

    thread = threading.Thread(target=shutdown, name="ptsflow-backend", daemon=True)
    thread.start()
    return thread


_coordinators: WeakSet[Coordinator] = WeakSet()


def _after_fork() -> None:
    for coordinator in list(_coordinators):
        coordinator.close_in_fork()


# A backend may fork its workers. Sockets of the runner that stay open in them would hide
# the end of the runner from its cluster workers.
os.register_at_fork(after_in_child=_after_fork)
