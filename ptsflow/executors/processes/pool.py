"""Bodies in child processes: each can be limited, watched and really killed.

The thread that would run a body supervises a child instead: it passes the attempt on,
takes in what the child reports, and sees it end, however it ends. Children are used
again; one that died or was killed is replaced by a fork of the nursery, and a nursery
that died by another one.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from pathlib import Path

from msgspec.json import encode

from ptsflow.core.outcome import Outcome
from ptsflow.errors import ProcessDied, TimedOut
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.executors.processes.fork_client import Child, Nursery, how_ended
from ptsflow.executors.processes.messages import (
    Began,
    Cancel,
    Checkpoint,
    Ended,
    Progressing,
    Setting,
    pack,
    read_report,
)
from ptsflow.executors.processes.output import Lines, Output
from ptsflow.executors.processes.transport import assignment, save
from ptsflow.host.clock import since_boot, system_clock
from ptsflow.workflow.loading import Reference, refer
from ptsflow.workflow.workflow import Workflow

#: How often a supervisor looks whether the run is cancelled, in seconds.
_LOOK_EVERY = 0.25
#: How long a nursery that could not import the workflow is not begun anew, in seconds.
_AGAIN = 5.0
#: Starts the nursery with the import path of this process, and its environment.
_NURSERY = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from ptsflow.executors.processes.fork_server import main; main()"
)


def begin(workflow: Workflow, container: str, lock: Path) -> Processes:
    """Start the processes in which a run's bodies run.

    Args:
        workflow: whose steps they are.
        container: the container's name.
        lock: the file that `presence` watches.

    Raises:
        LoadError: another process could not find the workflow's class.
    """
    setting = Setting(container, workflow.encoded_parameters())
    return Processes(refer(type(workflow)), setting, lock)


class Processes:
    """Children of one run.

    Args:
        reference: the workflow class, as `loading.refer` wrote it.
        setting: what every child is told first.
        lock: a file whose shared lock they hold as long as they live.
    """

    def __init__(self, reference: Reference, setting: Setting, lock: Path) -> None:
        self.room: int | None = None
        told = [json.dumps(sys.path), str(lock), encode(reference).decode()]
        self._command = [sys.executable, "-c", _NURSERY, *told]
        self._setting = setting
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._is_stopped = False
        self._nursery = Nursery(self._command, setting)

    def run(self, call: Call) -> Outcome:
        """Have a child make the attempt; return how it ended."""
        try:
            nursery, child = self._take()
        except OSError as error:
            return attempt.failed(call, _unstarted(str(error)))
        supervision = _Supervision(nursery, child, call)
        outcome = supervision.run()
        if outcome is not None:
            with self._lock:
                self._idle.append(child)
            return outcome
        ended = supervision.autopsy()
        if supervision.overdue:
            return attempt.failed(call, TimedOut(supervision.overdue + ended))
        if child.exited is None and nursery.problem:
            return attempt.failed(call, _unstarted(nursery.problem))
        return attempt.failed(call, ProcessDied(_how(child, nursery) + ended))

    def stop(self) -> None:
        """End the nursery, and its children with it; they are gone when this returns."""
        with self._lock:
            self._is_stopped = True
        self._nursery.stop()
        with self._lock:
            # The others are closed by the threads that supervise them.
            for child in self._idle:
                child.close()
            self._idle.clear()

    def _take(self) -> tuple[Nursery, Child]:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if not child.has_exited.is_set():
                    return self._nursery, child
                child.close()
            try:
                return self._nursery, self._nursery.spawn()
            except BrokenPipeError:
                self._nursery.has_ended.wait()
                self._begin_anew()
                return self._nursery, self._nursery.spawn()

    @property
    def problem(self) -> str:
        """Why the nursery could not import the workflow; "" if it could."""
        return self._nursery.problem

    def _begin_anew(self) -> None:
        """Replace the nursery that has ended, and its children with it."""
        ended = self._nursery
        if self._is_stopped:
            raise OSError("the run has ended")
        # It would most likely fail again; of a wide fan-out every item would wait for it.
        if ended.problem and since_boot() < ended.began + _AGAIN:
            raise OSError(ended.problem)
        ended.stop()
        self._nursery = Nursery(self._command, self._setting)


def _unstarted(why: str) -> ProcessDied:
    return ProcessDied(f"no process could be started for it: {why}")


def _how(child: Child, nursery: Nursery) -> str:
    if child.exited is not None:
        return f"the process {how_ended(child.exited.status)}"
    how = nursery.how_it_ended()
    return f"the process ended with the nursery of child processes, which {how}"


class _Supervision:
    """One attempt in a child, from the runner's side."""

    def __init__(self, nursery: Nursery, child: Child, call: Call) -> None:
        self._nursery = nursery
        self._child = child
        self._call = call
        self._output = Output()
        self._told = False
        #: Why the child was killed, if it was.
        self.overdue = ""

    def run(self) -> Outcome | None:
        """Return the outcome, or None if the child died before there was one."""
        child, connection = self._child, self._child.connection
        try:
            child.drain()  # what threads of earlier bodies printed is nobody's
            connection.send_bytes(pack(assignment(self._call)))
            self._begin()
            # Not multiprocessing's `wait`, which makes a selector for every call.
            watched = select.poll()
            watched.register(connection, select.POLLIN)
            if not child.is_silent:
                watched.register(child.output, select.POLLIN)
            while True:
                has_exited = child.has_exited.is_set()
                pause = 0 if has_exited else round(_LOOK_EVERY * 1000)
                ready = [number for number, _ in watched.poll(pause)]
                if child.output in ready:
                    self._drain()
                    if child.is_silent:
                        watched.unregister(child.output)
                if connection.fileno() in ready:
                    message = read_report(connection.recv_bytes())
                    if isinstance(message, Ended):
                        self._drain(is_last=True)
                        return self._judged(message.outcome)
                    self._take_in(message)
                elif has_exited:
                    return None  # though what it forked keeps the connection open
                self._look()
        except (EOFError, OSError):
            return None

    def autopsy(self) -> str:
        """Return what is known of a child's end, beside how it ended."""
        child = self._child
        child.has_exited.wait()  # nobody may begin the task again before
        self._drain(is_last=True)
        child.close()
        text = ""
        if child.exited is not None:
            text += f"; peak memory {child.exited.memory / 1e6:.0f} MB"
        last = self._output.last
        return f"{text}; it printed last: {last}" if last else text

    def _begin(self) -> None:
        """Count the time from now on; who runs the body may not be known yet."""
        handle = self._call.handle
        handle.watch.begin()
        if self._child.pid is not None:
            handle.ran_by = f"{os.uname().nodename}:{self._child.pid}"

    def _drain(self, *, is_last: bool = False) -> None:
        """Pass on what it printed."""
        at = system_clock()
        self._pass_on(self._output.feed(self._child.drain(), at))
        if is_last:
            self._pass_on(self._output.end(at))

    def _pass_on(self, lines: Lines) -> None:
        if lines:
            handle = self._call.handle
            handle.reporter.logged(handle.name, lines)

    def _judged(self, outcome: Outcome) -> Outcome | None:
        """Return what an outcome that came counts for; None if its child dies."""
        if self.overdue:
            return None
        overdue = self._call.handle.watch.overdue()
        return attempt.failed(self._call, TimedOut(overdue)) if overdue else outcome

    def _take_in(self, message: Began | Progressing | Checkpoint) -> None:
        handle = self._call.handle
        # Not `hear`: the message may have waited for this process, not for the body.
        handle.watch.excuse()
        if isinstance(message, Began):
            self._child.pid = message.pid
            self._begin()
            return
        if isinstance(message, Progressing):
            handle.reporter.progressed(handle.name, message.percentage, message.text)
            return
        self._child.connection.send_bytes(pack(save(handle, message)))

    def _look(self) -> None:
        """See whether it takes too long, or is to be cancelled."""
        if self.overdue:
            return
        if self._child.pid is None:
            self._begin()
        self.overdue = self._call.handle.watch.overdue()
        if self.overdue:
            self._nursery.kill(self._child)
        elif self._call.handle.cancelled and not self._told:
            self._told = True
            self._child.connection.send_bytes(pack(Cancel()))
