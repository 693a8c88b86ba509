"""Bodies in child processes: each can be limited, watched and really killed.

The thread that would run a body supervises a child instead: it passes the attempt on,
takes in what the child reports, and sees it end, however it ends. Children are used
again; one that died or was killed is replaced by a fork of the nursery.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path

from msgspec.json import encode

from ptsflow import attempt
from ptsflow.attempt import Call, Element, Outcome, Value, Values
from ptsflow.context import TaskHandle
from ptsflow.errors import LeaseLost, ProcessDied, TimedOut
from ptsflow.executors.wire import (
    Assignment,
    Cancel,
    Checkpoint,
    Ended,
    Exited,
    Kept,
    Kill,
    Progressing,
    Setting,
    Spawn,
    pack,
    read_exit,
    read_report,
)
from ptsflow.loading import Reference, refer
from ptsflow.workflow import Workflow

#: How often a supervisor looks whether the run is cancelled, in seconds.
_LOOK_EVERY = 0.25
#: How much of what a body printed last is kept, in bytes.
_TAIL = 4_000
#: How many parts of what a body printed are taken in before looking at it again.
_DRAIN = 16
#: How long the nursery may take to end, in seconds.
_END = 10.0
#: Starts the nursery with the import path of this process, and its environment.
_NURSERY = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from ptsflow.executors.nursery import main; main()"
)


class Child:
    """The runner's side of one child process."""

    def __init__(self, number: int, connection: Connection, output: int) -> None:
        self.number = number
        self.connection = connection
        self.output = output
        self.printed = b""
        #: Whether it has closed its output; there is nothing to wait for, then.
        self.is_silent = False
        self.exited: Exited | None = None
        self.has_exited = threading.Event()

    def drain(self) -> None:
        """Take in what it printed; not for ever, as it may print all the time."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DRAIN):
                part = os.read(self.output, 65536)
                if not part:
                    self.is_silent = True
                    return
                self.printed = (self.printed + part)[-_TAIL:]

    def close(self) -> None:
        """Let go of it; it ends by itself."""
        self.connection.close()
        os.close(self.output)


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
        self._setting = setting
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._children: dict[int, Child] = {}
        self._next = 0
        #: Whether the nursery has ended: nobody tells of a child's end any more.
        self._is_gone = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        command = [sys.executable, "-c", _NURSERY, encode(sys.path).decode()]
        told = [str(theirs.fileno()), str(lock), encode(reference).decode()]
        self._nursery = subprocess.Popen(  # noqa: S603 - this very interpreter
            [*command, *told], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._hearing = threading.Thread(
            target=self._hear, name="ptsflow-nursery", daemon=True
        )
        self._hearing.start()

    def run(self, call: Call) -> Outcome:
        """Have a child make the attempt; return how it ended."""
        try:
            child = self._take()
        except OSError as error:
            status = self._nursery.poll()
            why = str(error)
            if status is not None:
                why = f"their nursery ended with exit status {status}"
            text = f"no process could be started for it: {why}"
            return attempt.failed(call, ProcessDied(text))
        supervision = _Supervision(self, child, call)
        outcome = supervision.run()
        if outcome is not None:
            with self._lock:
                self._idle.append(child)
            return outcome
        ended = self._autopsy(child)
        if supervision.overdue:
            return attempt.failed(call, TimedOut(supervision.overdue + ended))
        return attempt.failed(call, ProcessDied(_how(child.exited) + ended))

    def kill(self, child: Child) -> None:
        """End a child at once."""
        with contextlib.suppress(OSError):
            self._socket.sendall(pack(Kill(child.number)))

    def stop(self) -> None:
        """End the nursery, and its children with it; they are gone when this returns."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._nursery.wait(timeout=_END)
        except subprocess.TimeoutExpired:
            self._nursery.kill()
            self._nursery.wait()
        self._hearing.join()
        self._socket.close()
        with self._lock:
            # The others are closed by the threads that supervise them.
            for child in self._idle:
                child.close()
            self._idle.clear()

    def _take(self) -> Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.exited is None:
                    return child
                child.close()
            if self._is_gone:
                raise OSError("the nursery of child processes has ended")
            ours, theirs = socket.socketpair()
            read, write = os.pipe()
            self._next += 1
            child = Child(self._next, Connection(ours.detach()), read)
            os.set_blocking(read, False)
            self._children[child.number] = child
            try:
                order = [pack(Spawn(child.number))]
                socket.send_fds(self._socket, order, [theirs.fileno(), write])
                child.connection.send_bytes(pack(self._setting))
            except OSError:
                del self._children[child.number]
                child.close()
                raise
            finally:
                theirs.close()
                os.close(write)
        return child

    def _hear(self) -> None:
        """Take in which children ended; in a thread of its own."""
        with contextlib.suppress(OSError):
            while data := self._socket.recv(4096):
                exited = read_exit(data)
                with self._lock:
                    child = self._children.pop(exited.number)
                child.exited = exited
                child.has_exited.set()
        # Without the nursery they are ended by the kernel.
        with self._lock:
            self._is_gone = True
            for child in self._children.values():
                child.has_exited.set()

    def _autopsy(self, child: Child) -> str:
        """Return what is known of a child's end, beside how it ended."""
        child.has_exited.wait()  # nobody may begin the task again before
        child.drain()
        child.close()
        text = ""
        if child.exited is not None:
            text += f"; peak memory {child.exited.memory / 1e6:.0f} MB"
        printed = child.printed.decode(errors="backslashreplace").strip()
        return f"{text}; it printed last: {printed[-500:]}" if printed else text


def _how(exited: Exited | None) -> str:
    if exited is None:
        return "the process ended with the nursery of child processes"
    if exited.status < 0:
        name = signal.Signals(-exited.status).name
        return f"the process was killed by {name}"
    return f"the process ended with exit status {exited.status}"


class _Supervision:
    """One attempt in a child, from the runner's side."""

    def __init__(self, pool: Processes, child: Child, call: Call) -> None:
        self._pool = pool
        self._child = child
        self._call = call
        self._told = False
        #: Why the child was killed, if it was.
        self.overdue = ""

    def run(self) -> Outcome | None:
        """Return the outcome, or None if the child died before there was one."""
        child, connection = self._child, self._child.connection
        try:
            child.drain()
            child.printed = b""
            connection.send_bytes(pack(self._assignment()))
            while True:
                has_exited = child.has_exited.is_set()
                watched: list[Connection | int] = [connection]
                if not child.is_silent:
                    watched.append(child.output)
                ready = wait(watched, timeout=0 if has_exited else _LOOK_EVERY)
                if child.output in ready:
                    child.drain()
                if connection in ready:
                    message = read_report(connection.recv_bytes())
                    if isinstance(message, Ended):
                        return self._judged(message.outcome)
                    self._take_in(message)
                elif has_exited:
                    return None  # though what it forked keeps the connection open
                self._look()
        except (EOFError, OSError):
            return None

    def _judged(self, outcome: Outcome) -> Outcome | None:
        """Return what an outcome that came counts for; None if its child dies."""
        if self.overdue:
            return None
        overdue = self._call.handle.watch.overdue()
        return attempt.failed(self._call, TimedOut(overdue)) if overdue else outcome

    def _take_in(self, message: Progressing | Checkpoint) -> None:
        handle = self._call.handle
        handle.watch.hear()
        if isinstance(message, Progressing):
            handle.reporter.progressed(handle.name, message.percentage, message.text)
            return
        is_kept = True
        try:
            handle.reporter.save(handle.name, message.text)
        except LeaseLost:
            is_kept = False
        self._child.connection.send_bytes(pack(Kept(is_kept)))

    def _look(self) -> None:
        """See whether it takes too long, or is to be cancelled."""
        if self.overdue:
            return
        self.overdue = self._call.handle.watch.overdue()
        if self.overdue:
            self._pool.kill(self._child)
        elif self._call.handle.cancelled and not self._told:
            self._told = True
            self._child.connection.send_bytes(pack(Cancel()))

    def _assignment(self) -> Assignment:
        call, handle = self._call, self._call.handle
        return Assignment(
            task=handle.name,
            key=handle.key,
            step=call.step.name,
            attempt=call.attempt,
            fence=handle.fence,
            elapsed=max(0, call.clock() - call.began_at) / 1000,
            arguments={
                name: _text(source)
                for name, source in call.arguments.items()
                if not isinstance(source, TaskHandle)
            },
            saved=handle.saved,
            memory=call.step.memory,
        )


def _text(source: Value | Values | Element) -> str | list[str] | None:
    if isinstance(source, Values):
        return source.texts
    if isinstance(source, Element):
        return encode(source.tree).decode()
    return source.text
