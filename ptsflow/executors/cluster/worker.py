"""A run as a cluster worker serves it: `serve` is the function that the backend calls.

The cluster worker connects to the runner, which alone writes to the store. Bodies run in
worker processes, as they do beside a runner, and the cluster worker passes their reports
on. A control connection lasts as long as the run: if the runner ends, in whatever way,
the connection ends, and with it every process that was started here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import AuthenticationError
from pathlib import Path

from msgspec.structs import replace

from ptsflow.executors.cluster.connection import MessageConnection, worker_end
from ptsflow.executors.cluster.messages import (
    CallStarted,
    MakeAttempt,
    NoMoreWork,
    WorkerJoined,
    read_description,
    read_order,
)
from ptsflow.executors.cluster.worker_attempt import WorkerAttempt
from ptsflow.executors.processes.messages import BodyEnded, Lost
from ptsflow.executors.processes.pool import Processes
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.version import VERSION

#: How long the worker processes of a run are kept after its last call, in seconds.
_IDLE_TIME = 10.0


def serve(runner: tuple[str, int], secret: bytes, lock: str, token: str) -> str:
    """Make attempts of a run, for one call of the backend.

    Args:
        runner: host and port of the runner.
        secret: the secret of the run, which runner and cluster workers know.
        lock: the name of the container's lock file (see `host.container_lock`).
        token: the token of the call; it is good once.

    Returns:
        Why no attempt could be made; "" if that was possible.
    """
    try:
        with _served(runner, secret, lock) as run:
            run.serve(token)
    except _OtherVersion as other:
        return (
            f"{this_worker()} has ptsflow {VERSION}, and the runner has {other}; install "
            "the same there"
        )
    except (AuthenticationError, AssertionError, EOFError, OSError) as error:
        where = f"{runner[0]}:{runner[1]}"
        why = str(error) or type(error).__name__
        return f"{this_worker()} could not talk to the runner at {where}: {why}"
    return ""


def this_worker() -> str:
    """Return `host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class _OtherVersion(Exception):
    """The runner has this other version of ptsflow."""


def _check_version(wanted: str) -> None:
    if wanted != VERSION:
        raise _OtherVersion(wanted)


class ServedRun:
    """One run on this cluster worker: connections to its runner, and worker processes.

    Args:
        runner: host and port of the runner.
        secret: the secret of the run.
        lock: the name of the container's lock file.
    """

    def __init__(self, runner: tuple[str, int], secret: bytes, lock: str) -> None:
        self._runner = runner
        self._secret = secret
        self._changing = threading.Lock()
        self._calls = 0
        #: When the last call ended, in seconds since the machine booted.
        self._last_call = since_boot()
        self.is_over = False
        self._file = container_lock.file_of("").with_name(Path(lock).name)
        #: Idle connections, each for the attempts of one call at a time.
        self._connections: list[MessageConnection] = []
        self._control: MessageConnection | None = None

    # -- begin and end --------------------------------------------------------------

    def enter(self) -> bool:
        """Begin a call; return False if the run is over here."""
        with self._changing:
            if self.is_over:
                return False
            self._calls += 1
            try:
                if self._control is None:
                    self._open()
            except BaseException:
                self.is_over = True
                raise
            return True

    def leave(self) -> None:
        """End a call."""
        with self._changing:
            self._calls -= 1
            self._last_call = since_boot()

    def _open(self) -> None:
        # Lock before connecting: the runner still lives after the lock was taken. So if
        # another runner takes the container over, it waits for what is started here.
        lock = container_lock.hold(self._file)
        try:
            control = self._connect()
            control.send(WorkerJoined(this_worker()))
            run = control.receive(read_description)
            _check_version(run.version)
            with _import_path(_joined(run.path)):
                self._processes = Processes(run.reference, run.setting, self._file)
        except BaseException:
            os.close(lock)
            raise
        self._description = run
        self._control, self._lock_descriptor = control, lock
        threading.Thread(
            target=self._watch, args=[control], name="ptsflow-served-run", daemon=True
        ).start()

    def _watch(self, control: MessageConnection) -> None:
        """End when the runner ends or sends no call; runs in a thread of its own."""
        with contextlib.suppress(OSError):
            while not control.poll(0.5) and not self._is_idle():
                pass
        self.end()

    def _is_idle(self) -> bool:
        with self._changing:
            since = since_boot() - self._last_call
            is_idle = not self._calls and (self.is_over or since >= _IDLE_TIME)
            self.is_over = self.is_over or is_idle
            return is_idle

    def end(self) -> None:
        """Kill the worker processes, and close all connections."""
        with self._changing:
            control, self._control = self._control, None
            if control is None:
                return
            self.is_over = True
        self._processes.stop()
        os.close(self._lock_descriptor)
        container_lock.remove(self._file)
        control.close()
        for connection in self._connections:
            connection.close()
        _forget(self._secret, self)

    def close_in_fork(self) -> None:
        """Close the inherited descriptors, in a process that was forked from this one."""
        for connection in (self._control, *self._connections):
            if connection is not None:
                connection.close()
        if self._control is not None:
            os.close(self._lock_descriptor)

    def _connect(self) -> MessageConnection:
        return worker_end(socket.create_connection(self._runner, 10.0), self._secret)

    # -- attempts ---------------------------------------------------------------------

    def serve(self, token: str) -> None:
        """Make attempts as long as the runner has attempts for the call of this token."""
        try:
            connection = self._connections.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.send(CallStarted(token, this_worker()))
            while not isinstance(order := connection.receive(read_order), NoMoreWork):
                # A Cancel that comes here was sent while the attempt before it ended.
                if isinstance(order, MakeAttempt):
                    connection.send(self._made(connection, order))
        except BaseException:
            connection.close()
            raise
        self._connections.append(connection)

    def _made(
        self, connection: MessageConnection, order: MakeAttempt
    ) -> BodyEnded | Lost:
        """Make an attempt; return the message that says how it ended."""
        container = self._description.setting.container
        made = WorkerAttempt(connection, order, container)
        ended = made.run(self._processes)
        if not isinstance(ended, Lost):
            return BodyEnded(ended, took_ms=made.took_ms)
        problem = self._processes.problem
        if ended.kind in {"ProcessDied", "ImportFailed"} and problem:
            module = self._description.reference.module
            why = f"{this_worker()} could not import {module}: {problem}; install it there"
            return Lost("WorkerLost", why)
        return replace(ended, took_ms=made.took_ms)


# -- the runs that this process serves ------------------------------------------------

#: The secret of a run -> the run.
_served_runs: dict[bytes, ServedRun] = {}
#: Held while `_served_runs` or `sys.path` changes.
_process_lock = threading.Lock()


@contextlib.contextmanager
def _served(runner: tuple[str, int], secret: bytes, lock: str) -> Iterator[ServedRun]:
    """Begin a call of a run, which is opened if need be; end the call on exit."""
    while True:
        with _process_lock:
            run = _served_runs.get(secret)
            if run is None or run.is_over:
                run = _served_runs[secret] = ServedRun(runner, secret, lock)
        try:
            if run.enter():
                break
        except BaseException:
            _forget(secret, run)
            raise
    try:
        yield run
    finally:
        run.leave()


def _forget(secret: bytes, run: ServedRun) -> None:
    with _process_lock:
        if _served_runs.get(secret) is run:
            del _served_runs[secret]


@atexit.register
def _end_all() -> None:
    for run in list(_served_runs.values()):
        run.end()


def _after_fork() -> None:
    global _process_lock  # noqa: PLW0603 - another thread of the parent may hold it
    _process_lock = threading.Lock()
    for run in _served_runs.values():
        run.close_in_fork()
    _served_runs.clear()


# Connections that stay open in a forked process would hide from the runner that this
# process has ended, and from this process that the runner has ended.
os.register_at_fork(after_in_child=_after_fork)


# -- the import path ----------------------------------------------------------------


def _joined(path: Sequence[str]) -> list[str]:
    """Return the import path of this process, followed by the folders of the runner."""
    return [*sys.path, *(p for p in path if p not in sys.path and Path(p).is_dir())]


@contextlib.contextmanager
def _import_path(path: list[str]) -> Iterator[None]:
    with _process_lock:
        before = list(sys.path)
        sys.path[:] = path
        try:
            yield
        finally:
            sys.path[:] = before
