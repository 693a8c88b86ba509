"""One attempt in a worker process, as the thread sees it that supervises the process."""

from __future__ import annotations

import select

from ptsflow.core.outcome import Outcome
from ptsflow.executors import capture
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
    WorkerReady,
    pack,
    read_report,
)
from ptsflow.executors.processes.output import Output, OutputLines
from ptsflow.executors.processes.transport import save
from ptsflow.host import process_identity
from ptsflow.host.clock import since_boot, system_clock
from ptsflow.workflow.handle import TaskHandle

#: How often a supervisor looks at the limits and whether the run is being stopped, in
#: seconds.
_LOOK_EVERY = 0.25
_HOST = process_identity.host()


def not_imported(why: str) -> Lost:
    """Return how an attempt ended whose workflow no process could import."""
    return Lost("ImportFailed", f"no process could be started for it: {why}")


def _how(worker: WorkerProcess, fork_client: ForkClient) -> str:
    if worker.refusal:
        return worker.refusal
    if worker.exited is not None:
        return f"the process {how_ended(worker.exited.status)}"
    how = fork_client.how_it_ended()
    return f"the process ended with the fork server that began it, which {how}"


class Supervisor:
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
        #: When the body began, or was given to the process, in seconds since boot.
        self._began_at = since_boot()
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
            # It looks at the connection first: when the end of the body is there, so is
            # all that the body printed.
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
                        self._end_output()
                        worker.is_clean, worker.held = message.is_clean, message.held
                        self._handle.took_ms = message.took_ms
                        return self._judged(message.outcome)
                    self._take_in(message)
                elif has_exited:
                    # Forks of the body may hold the connection open: do not wait for
                    # its end.
                    return None
                self._look()
        except (EOFError, OSError):
            return None

    def lost(self) -> Lost:
        """Return how the attempt ended of which the process died or was killed."""
        self._handle.took_ms = round((since_boot() - self._began_at) * 1000)
        details = self._autopsy()
        if self.overdue:
            return Lost("TimedOut", self.overdue + details)
        if self._worker.exited is None and self._fork_client.problem:
            return not_imported(self._fork_client.problem)
        return Lost("ProcessDied", _how(self._worker, self._fork_client) + details)

    def _autopsy(self) -> str:
        """Return what is known of a dead process beside how it ended."""
        worker = self._worker
        worker.has_exited.wait()  # the next attempt must not begin before
        self._drain()
        self._end_output()
        worker.close()
        text = ""
        if worker.exited is not None:
            text += f"; peak memory {worker.exited.memory / 1e6:.0f} MB"
        last = self._output.last
        return f"{text}; it printed last: {last}" if last else text

    def _begin(self) -> None:
        """Start the watch anew, and note which process runs the body if that is known."""
        self._handle.watch.begin()
        self._began_at = since_boot()
        if self._worker.pid is not None:
            self._handle.ran_by = f"{_HOST}:{self._worker.pid}"

    def _drain(self) -> None:
        """Pass on what the body printed."""
        self._pass_on(self._output.feed(self._worker.drain(), system_clock()))
        capture.tell_bar(self._handle, self._output.bar)

    def _end_output(self) -> None:
        """Pass on the last line of the body if no newline ended it."""
        self._pass_on(self._output.end(system_clock()))

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
            handle.reports_progress = True
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
