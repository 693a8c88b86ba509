"""What runs in a child process: one attempt after another, until the runner is done."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import msgspec

from ptsflow import codec
from ptsflow.core import outcome
from ptsflow.core.model import LogLine
from ptsflow.core.plan import Binding, Plan, PlanStep
from ptsflow.errors import LeaseLost
from ptsflow.executors import attempt, capture, fork_guard
from ptsflow.executors.attempt import Call, Element, Value, Values
from ptsflow.executors.processes.messages import (
    Assignment,
    Began,
    Cancel,
    Checkpoint,
    Ended,
    Kept,
    Progressing,
    Setting,
    pack,
    read_task,
)
from ptsflow.executors.processes.output import frame
from ptsflow.executors.processes.transport import began_at, handle_of, value_of
from ptsflow.host.clock import system_clock
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.loading import Reference
from ptsflow.workflow.loading import find as find_class
from ptsflow.workflow.workflow import Workflow

if TYPE_CHECKING:
    import logging

_LINES: dict[str, Any] = {"errors": "backslashreplace", "line_buffering": True}
#: Progress is passed on so often at the most, in seconds.
_TELL_EVERY = 0.25


def find(reference: str) -> type[Workflow]:
    """Return the workflow class that a reference made by `loading.refer` names."""
    kind = find_class(msgspec.json.decode(reference, type=Reference))
    assert issubclass(kind, Workflow)  # noqa: S101 - a workflow referred to it
    return kind


class _Outlet(capture.Outlet):
    """A stream on which nothing is printed of a record that was logged already."""

    def write(self, text: str) -> int:
        return len(text) if capture.is_handled() else super().write(text)


_outlets = (_Outlet(sys.stdout), _Outlet(sys.stderr))


def cover_streams() -> None:
    """Stand before the streams, so that a child's are also those of old handlers."""
    for name, outlet in zip(("stdout", "stderr"), _outlets, strict=True):
        if outlet.stream is not None:
            setattr(sys, name, outlet)


def serve(workflow: type[Workflow], connection: int, output: int) -> None:
    """Make attempts until the runner closes the connection."""
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # New ones, as the nursery's may be of a file; a line reaches the runner at once, so
    # that it has it when the process dies.
    for number, outlet in enumerate(_outlets, 1):
        outlet.stream = TextIOWrapper(os.fdopen(number, "wb", closefd=False), **_LINES)
    sys.stdout, sys.stderr = _outlets
    child = Child(workflow, Connection(connection), output)
    capture.LogHook(child.log).begin()
    child.serve()


class Child:
    """The child's side of the connection; its main thread runs the bodies."""

    def __init__(
        self, workflow: type[Workflow], connection: Connection, output: int
    ) -> None:
        self._plan: Plan = plan_of(workflow)
        self._connection = connection
        #: Where it prints to, whatever bodies do to the streams.
        self._output = output
        self._sending = threading.Lock()
        setting = read_task(connection.recv_bytes())
        assert isinstance(setting, Setting)  # noqa: S101 - the runner sends it first
        self._setting = setting
        self._workflow = workflow.from_encoded(setting.parameters)
        #: How much memory may be asked for where the step does not say.
        self._memory = resource.getrlimit(resource.RLIMIT_DATA)
        self._pid = os.getpid()
        self._here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._assigned: list[Assignment] = []
        self._has_work = threading.Semaphore(0)
        self._is_kept: bool | None = None
        self._answered = threading.Semaphore(0)
        self._is_cancelled = False
        self._progress: Progressing | None = None
        self._told_at = 0.0

    def serve(self) -> None:
        """Run bodies as they are assigned."""
        self._send(Began(os.getpid()))
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            self._has_work.acquire()
            self._told_at = 0.0
            outcome = self._attempt(self._assigned.pop())
            self._flush()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(
                    Exception
                ):  # bodies may replace and close them
                    stream.flush()
            self._send(Ended(outcome))

    def _listen(self) -> None:
        """Take in what the runner says; end with it."""
        try:
            while True:
                if not self._connection.poll(1.0):
                    self._flush()
                    continue
                message = read_task(self._connection.recv_bytes())
                if isinstance(message, Assignment):
                    self._is_cancelled = False
                    self._assigned.append(message)
                    self._has_work.release()
                elif isinstance(message, Cancel):
                    self._is_cancelled = True
                elif isinstance(message, Kept):
                    self._is_kept = message.is_kept
                    self._answered.release()
        except (EOFError, OSError):
            os._exit(0)

    def _send(self, message: Began | Checkpoint | Ended) -> None:
        with self._sending:
            self._connection.send_bytes(pack(message))

    # -- what the body reports ------------------------------------------------------

    def progressed(self, _name: str, percentage: float, text: str) -> None:
        """Pass progress on, now or a little later."""
        self._progress = Progressing(percentage, text)
        if time.monotonic() - self._told_at >= _TELL_EVERY:
            self._flush()

    def _flush(self) -> None:
        with self._sending:  # so that nothing is sent after its attempt has ended
            progress, self._progress = self._progress, None
            if progress is not None:
                self._told_at = time.monotonic()
                self._connection.send_bytes(pack(progress))

    def save(self, name: str, text: str) -> None:
        """Have processing data saved; durable when this returns."""
        self._send(Checkpoint(text))
        self._answered.acquire()
        if not self._is_kept:
            raise LeaseLost(f"the checkpoint of {name} was not saved, as the run ended")

    def log(self, record: logging.LogRecord) -> None:
        """Write a record among what is printed."""
        self.logged("", capture.lines_of(record))

    def logged(self, _name: str, lines: Sequence[LogLine]) -> None:
        """Write logged lines among what is printed."""
        data = b"".join(frame(line) for line in lines)
        with contextlib.suppress(OSError):  # the runner is gone: seen next
            while data:
                data = data[os.write(self._output, data) :]

    # -- the attempt ----------------------------------------------------------------

    def _attempt(self, given: Assignment) -> outcome.Outcome:
        step = self._plan.by_name[given.step]
        handle = handle_of(
            given,
            self._setting.container,
            reporter=self,
            cancelled=lambda: self._is_cancelled,
        )
        call = Call(
            workflow=self._workflow,
            step=step,
            arguments=self._arguments(step, given.arguments, handle),
            handle=handle,
            attempt=given.attempt,
            began_at=began_at(given),
            clock=system_clock,
        )
        with self._limited(given.memory), self._placed():
            outcome = attempt.run(call)
            fork_guard.end_if_copy(self._pid, outcome)
            return outcome

    @contextlib.contextmanager
    def _limited(self, memory: int | None) -> Iterator[None]:
        """Limit what may be asked for; the next attempt here has a limit of its own."""
        if memory is None:
            yield
            return
        usual, most = self._memory
        if most != resource.RLIM_INFINITY:
            memory = min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (usual, most))

    @contextlib.contextmanager
    def _placed(self) -> Iterator[None]:
        """Undo what the next attempt here would fall over: a body may change folders."""
        mask = os.umask(0o77)
        os.umask(mask)
        try:
            yield
        finally:
            os.umask(mask)
            with contextlib.suppress(OSError):  # a body may close what it did not open
                os.fchdir(self._here)

    def _arguments(
        self,
        step: PlanStep,
        texts: Mapping[str, str | list[str] | None],
        handle: TaskHandle,
    ) -> dict[str, Value | Values | Element | TaskHandle]:
        arguments: dict[str, Value | Values | Element | TaskHandle] = {}
        for binding in step.bindings:
            if binding.kind == "task":
                arguments[binding.parameter] = handle
            else:
                text = texts[binding.parameter]
                hint = self._hint(step, binding)
                arguments[binding.parameter] = value_of(text, hint)
        return arguments

    def _hint(self, step: PlanStep, binding: Binding) -> Any:
        if binding.kind == "result":
            return self._plan.by_name[binding.step].returns
        source = self._plan.by_name[step.each or ""]
        if source.each is not None:
            return source.returns
        found = codec.elements([], source.returns)
        return Any if found is None else found[1]
