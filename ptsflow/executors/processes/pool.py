"""Bodies in worker processes, which can be limited, watched and really killed.

The thread that would otherwise run a body supervises a worker process: it sends the
attempt, receives the reports, and sees the process end, however it ends. Worker
processes are used again. One that died or was killed is replaced by a new fork, and a
fork server that died by a new fork server.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

from msgspec.json import encode

from ptsflow.core.model import ContainerRecord
from ptsflow.core.outcome import Outcome, Raised
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.executors.processes.fork_client import (
    ForkClient,
    WorkerProcess,
    how_ended,
)
from ptsflow.executors.processes.messages import (
    Assignment,
    BodyEnded,
    Cancel,
    Checkpoint,
    Lost,
    Progressing,
    Setting,
    WorkerReady,
    pack,
    read_report,
    setting_of,
)
from ptsflow.executors.processes.output import Output, OutputLines
from ptsflow.executors.processes.transport import assignment, save
from ptsflow.host.clock import since_boot, system_clock
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.loading import Reference, refer
from ptsflow.workflow.workflow import Workflow

#: How often a supervisor looks at the limits and whether the run is being stopped, in
#: seconds.
_LOOK_EVERY = 0.25
#: How long after a failed import no new fork server is started, in seconds.
_PAUSE_AFTER_PROBLEM = 5.0
#: Starts the fork server with the import path and the environment of this process.
_FORK_SERVER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from ptsflow.executors.processes.fork_server import main; main()"
)


def begin(
    kind: type[Workflow], container: ContainerRecord, lock: Path, folder: str | None
) -> Processes:
    """Start the processes in which the bodies of a run will run.

    Args:
        kind: the class of the workflow.
        container: the container that the run holds.
        lock: the container's lock file (see `host.container_lock`).
        folder: the folder in which bodies begin; None for the current one.

    Raises:
        LoadError: another process could not find the workflow's class.
    """
    return Processes(refer(kind), setting_of(container), lock, folder)


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
        self._is_stopped = False
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
        try:
            fork_client, worker = self._take()
        except _NotImportedError as error:
            return _not_imported(str(error))
        except OSError as error:
            return _not_started(str(error))
        supervisor = _Supervisor(fork_client, worker, given, handle)
        ended = supervisor.run()
        if ended is not None:
            with self._lock:
                self._idle.append(worker)
            return ended
        details = supervisor.autopsy()
        if supervisor.overdue:
            return Lost("TimedOut", supervisor.overdue + details)
        if worker.exited is None and fork_client.problem:
            return _not_imported(fork_client.problem)
        return Lost("ProcessDied", _how(worker, fork_client) + details)

    def stop(self) -> None:
        """End the fork server and its worker processes; all are gone on return."""
        with self._lock:
            self._is_stopped = True
        self._fork_client.stop()
        with self._lock:
            # The busy ones are closed by the threads that supervise them.
            for worker in self._idle:
                worker.close()
            self._idle.clear()

    @property
    def problem(self) -> str:
        """Why the fork server could not import the workflow; "" if it could."""
        return self._fork_client.problem

    def _take(self) -> tuple[ForkClient, WorkerProcess]:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if not worker.has_exited.is_set():
                    return self._fork_client, worker
                worker.close()
            try:
                return self._fork_client, self._fork_client.spawn()
            except BrokenPipeError:
                self._fork_client.has_ended.wait()
                self._replace_fork_server()
                return self._fork_client, self._fork_client.spawn()

    def _replace_fork_server(self) -> None:
        """Start a new fork server in place of the one that has ended."""
        ended = self._fork_client
        if self._is_stopped:
            raise OSError("the run has ended")
        # An import that failed would most likely fail again, and every item of a wide
        # fan-out would wait for it.
        if ended.problem and since_boot() < ended.began + _PAUSE_AFTER_PROBLEM:
            raise _NotImportedError(ended.problem)
        ended.stop()
        self._fork_client = ForkClient(self._command, self._setting, self._folder)


class _NotImportedError(Exception):
    """The fork server could not import the workflow a moment ago."""


def _not_imported(why: str) -> Lost:
    return Lost("ImportFailed", f"no process could be started for it: {why}")


def _not_started(why: str) -> Lost:
    return Lost("ProcessDied", f"no process could be started for it: {why}")


def _how(worker: WorkerProcess, fork_client: ForkClient) -> str:
    if worker.exited is not None:
        return f"the process {how_ended(worker.exited.status)}"
    how = fork_client.how_it_ended()
    return f"the process ended with the fork server that began it, which {how}"


class _Supervisor:
    """One attempt in a worker process, from the runner's side."""

    def __init__(
        self,
        fork_client: ForkClient,
        worker: WorkerProcess,
        given: Assignment,
        handle: TaskHandle,
    ) -> None:
        self._fork_client = fork_client
        self._worker = worker
        self._given = given
        self._handle = handle
        self._output = Output()
        self._has_sent_cancel = False
        #: Why the process was killed; "" if it was not.
        self.overdue = ""

    def run(self) -> Outcome | Lost | None:
        """Return how the attempt ended, or None if the worker process dies first."""
        worker, connection = self._worker, self._worker.connection
        try:
            worker.drain()  # threads of earlier bodies may have printed meanwhile
            connection.send_bytes(pack(self._given))
            self._begin()
            # `multiprocessing.connection.wait` would make a new selector at every call.
            watched = select.poll()
            watched.register(connection, select.POLLIN)
            if not worker.is_output_closed:
                watched.register(worker.output, select.POLLIN)
            while True:
                has_exited = worker.has_exited.is_set()
                pause = 0 if has_exited else round(_LOOK_EVERY * 1000)
                ready = [number for number, _ in watched.poll(pause)]
                if worker.output in ready:
                    self._drain()
                    if worker.is_output_closed:
                        watched.unregister(worker.output)
                if connection.fileno() in ready:
                    message = read_report(connection.recv_bytes())
                    if isinstance(message, BodyEnded):
                        self._drain(is_last=True)
                        return self._judged(message.outcome)
                    self._take_in(message)
                elif has_exited:
                    # Forks of the body may hold the connection open: do not wait for
                    # its end.
                    return None
                self._look()
        except (EOFError, OSError):
            return None

    def autopsy(self) -> str:
        """Return what is known of a dead process beside how it ended."""
        worker = self._worker
        worker.has_exited.wait()  # the next attempt must not begin before
        self._drain(is_last=True)
        worker.close()
        text = ""
        if worker.exited is not None:
            text += f"; peak memory {worker.exited.memory / 1e6:.0f} MB"
        last = self._output.last
        return f"{text}; it printed last: {last}" if last else text

    def _begin(self) -> None:
        """Start the watch anew, and note which process runs the body if that is known."""
        self._handle.watch.begin()
        if self._worker.pid is not None:
            self._handle.ran_by = f"{os.uname().nodename}:{self._worker.pid}"

    def _drain(self, *, is_last: bool = False) -> None:
        """Pass on what the body printed."""
        at = system_clock()
        self._pass_on(self._output.feed(self._worker.drain(), at))
        if is_last:
            self._pass_on(self._output.end(at))

    def _pass_on(self, lines: OutputLines) -> None:
        if lines:
            self._handle.reporter.logged(self._handle.name, lines)

    def _judged(self, outcome: Outcome) -> Outcome | Lost | None:
        """Return what an outcome counts for; None if its process is being killed."""
        if self.overdue:
            return None
        overdue = self._handle.watch.overdue()
        return Lost("TimedOut", overdue) if overdue else outcome

    def _take_in(self, message: WorkerReady | Progressing | Checkpoint) -> None:
        handle = self._handle
        # Not `hear`: the message may have waited for this process, not for the body.
        handle.watch.excuse()
        if isinstance(message, WorkerReady):
            self._worker.pid = message.pid
            self._begin()
            return
        if isinstance(message, Progressing):
            handle.reporter.progressed(handle.name, message.percentage, message.text)
            return
        self._worker.connection.send_bytes(pack(save(handle, message)))

    def _look(self) -> None:
        """Kill the process if the attempt is overdue; tell it if the run is stopping."""
        if self.overdue:
            return
        if self._worker.pid is None:
            self._begin()
        self.overdue = self._handle.watch.overdue()
        if self.overdue:
            self._fork_client.kill(self._worker)
        elif self._handle.cancelled and not self._has_sent_cancel:
            self._has_sent_cancel = True
            self._worker.connection.send_bytes(pack(Cancel()))
