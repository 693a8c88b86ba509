"""Bodies in worker processes, which can be limited, watched and really killed.

The thread that would otherwise run a body supervises a worker process: it sends the
attempt, receives the reports, and sees the process end, however it ends. Worker
processes are used again, unless a body left something in one (see `leftovers`). One that
died or was killed is replaced by a new fork, and a fork server that died by a new one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

from msgspec.json import encode

from ptsflow.core.outcome import Interrupted, Outcome, Raised
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.executors.processes.fork_client import (
    ForkClient,
    WorkerProcess,
)
from ptsflow.executors.processes.messages import (
    Assignment,
    Lost,
    Setting,
)
from ptsflow.executors.processes.supervisor import Supervisor, not_imported
from ptsflow.executors.processes.transport import assignment
from ptsflow.host.clock import since_boot
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.loading import Reference, refer
from ptsflow.workflow.workflow import Workflow

#: The longest wait for a worker process that gets free, in seconds.
_WAIT = 0.25
#: How long a process is asked for while none is known to be there, in seconds.
_PATIENCE = 2.0
#: How much of the memory that an attempt may ask for may be held by the bodies before it
#: in the process. An attempt might use again what they gave back, and get so much more.
_HELD = 0.25
#: How long after a failed import no new fork server is started, in seconds.
_PAUSE_AFTER_PROBLEM = 5.0
#: Starts the fork server with the import path and the environment of this process.
_FORK_SERVER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from ptsflow.executors.processes.fork_server import main; main()"
)


def begin(
    kind: type[Workflow], setting: Setting, lock: Path, folder: str | None
) -> Processes:
    """Start the processes in which the bodies of a run will run.

    Args:
        kind: the class of the workflow.
        setting: the container that the run holds, and the parameters.
        lock: the container's lock file (see `host.container_lock`).
        folder: the folder in which bodies begin; None for the current one.

    Raises:
        LoadError: another process could not find the workflow's class.
    """
    return Processes(refer(kind), setting, lock, folder)


class Processes:
    """The worker processes of one run.

    Args:
        reference: the workflow class, as `loading.refer` wrote it.
        setting: the first message to every worker process.
        lock: a file of which every worker process holds a shared lock while it lives.
        folder: the folder in which bodies begin; None for the current one.
    """

    def __init__(
        self,
        reference: Reference,
        setting: Setting,
        lock: Path,
        folder: str | None = None,
    ) -> None:
        self.room: int | None = None
        arguments = [json.dumps(sys.path), str(lock), encode(reference).decode()]
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001 - as multiprocessing does
        self._command = [sys.executable, *flags, "-c", _FORK_SERVER, *arguments]
        self._folder = folder
        self._setting = setting
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        #: The worker processes that make an attempt, or are about to.
        self._busy: set[WorkerProcess] = set()
        #: Notified whenever one leaves `_busy`.
        self._changed = threading.Condition(self._lock)
        self._is_stopped = False
        #: None until the system grants a fork server.
        self._fork_client: ForkClient | None = None
        with contextlib.suppress(OSError):  # the first attempt tries again
            self._fork_client = ForkClient(self._command, setting, folder)

    def run(self, call: Call) -> Outcome:
        """Have a worker process make the attempt; return how it ended."""
        ended = self.make(assignment(call), call.handle)
        if not isinstance(ended, Lost):
            return ended
        if ended.kind == "ImportFailed":
            # The import would most likely fail again, for every step and item.
            return Raised(ended.why, None, "ImportError")
        return attempt.failed(call, ended.error())

    def make(self, given: Assignment, handle: TaskHandle) -> Outcome | Lost:
        """Have a worker process make the attempt.

        Args:
            given: the attempt.
            handle: takes the reports of the body; its watch limits the attempt.

        Returns:
            How the body ended; `Lost` if the process died, or was killed as overdue.
        """
        since: float | None = None
        while True:
            try:
                fork_client, worker = self._take(given.memory)
            except _NotImportedError as error:
                return not_imported(str(error))
            except OSError as error:
                refusal = str(error)
            else:
                ended = self._made(fork_client, worker, given, handle)
                if ended is not None:
                    return ended
                refusal = worker.refusal
            # The system grants no more processes: make do with those that there are.
            if handle.is_stopping:
                return Interrupted()
            since = since_boot() if since is None else since
            if not self._await_change(since):
                return _not_started(refusal)

    def _made(
        self,
        fork_client: ForkClient,
        worker: WorkerProcess,
        given: Assignment,
        handle: TaskHandle,
    ) -> Outcome | Lost | None:
        """Make an attempt in a worker process; None if the system refused the process."""
        supervisor = Supervisor(fork_client, worker, given, handle)
        ended = supervisor.run()
        is_alive = ended is not None
        if ended is None:
            lost = supervisor.lost()
            ended = None if worker.refusal else lost
        with self._changed:
            self._busy.discard(worker)
            if is_alive and worker.is_clean:
                self._idle.append(worker)
            elif is_alive:
                fork_client.retire(worker)
            if ended is not None:
                self._changed.notify_all()
        return ended

    def _await_change(self, since: float) -> bool:
        """Wait, for a moment at most, until an attempt ends; False if none will.

        Args:
            since: when the system first refused a process for the attempt, in seconds
                since boot.
        """
        with self._changed:
            if not self._idle:
                self._changed.wait(_WAIT)
            is_one_there = any(worker.pid is not None for worker in self._busy)
            may_come = bool(self._busy) and since_boot() < since + _PATIENCE
            return bool(self._idle) or is_one_there or may_come

    def stop(self) -> None:
        """End the fork server and its worker processes; all are gone on return."""
        with self._lock:
            self._is_stopped = True
        if self._fork_client is not None:
            self._fork_client.stop()
        with self._lock:
            # The busy ones are closed by the threads that supervise them.
            for worker in self._idle:
                worker.close()
            self._idle.clear()

    @property
    def problem(self) -> str:
        """Why the fork server could not import the workflow; "" if it could."""
        return "" if self._fork_client is None else self._fork_client.problem

    def _take(self, memory: int | None) -> tuple[ForkClient, WorkerProcess]:
        """Return a worker process for an attempt with that limit of its memory."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                client = self._fork_client
                if client is None or worker.has_exited.is_set():
                    worker.close()
                elif memory is not None and worker.held > memory * _HELD:
                    client.retire(worker)
                else:
                    self._busy.add(worker)
                    return client, worker
            try:
                taken = self._spawned()
            except BrokenPipeError:
                taken = self._spawned()
            self._busy.add(taken[1])
            return taken

    def _spawned(self) -> tuple[ForkClient, WorkerProcess]:
        """Return a new worker process, of a new fork server if the last one has ended."""
        client = self._fork_client
        if client is None:
            if self._is_stopped:
                raise OSError("the run has ended")
            client = self._fork_client = ForkClient(
                self._command, self._setting, self._folder
            )
        try:
            return client, client.spawn()
        except BrokenPipeError:
            client.has_ended.wait()
            # An import that failed would most likely fail again, and every item of a
            # wide fan-out would wait for it.
            if client.problem and since_boot() < client.began + _PAUSE_AFTER_PROBLEM:
                raise _NotImportedError(client.problem) from None
            client.stop()
            self._fork_client = None
            raise


class _NotImportedError(Exception):
    """The fork server could not import the workflow a moment ago."""


def _not_started(why: str) -> Lost:
    return Lost("ProcessDied", f"no process could be started for it: {why}")
