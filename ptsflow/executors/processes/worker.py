"""The worker process: makes one attempt after another until the runner has no more."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from ptsflow import codec
from ptsflow.core.model import LogLine
from ptsflow.core.outcome import Outcome
from ptsflow.core.plan import Binding, Plan, PlanStep
from ptsflow.errors import LeaseLost
from ptsflow.executors import attempt, capture, fork_guard
from ptsflow.executors.attempt import Call
from ptsflow.executors.log_hook import LogHook, conceal, in_log_handler, lines_of
from ptsflow.executors.processes.leftovers import Leftovers, forget_unseen
from ptsflow.executors.processes.messages import (
    Assignment,
    BodyEnded,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    Progressing,
    Setting,
    WorkerReady,
    pack,
    read_task,
)
from ptsflow.executors.processes.output import frame
from ptsflow.executors.processes.transport import began_at, handle_of, value_of
from ptsflow.executors.values import Element, Shared, Value, Values
from ptsflow.host.clock import boot_millis, since_boot
from ptsflow.workflow.compile import plan_of
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.loading import Reference
from ptsflow.workflow.loading import find as find_class
from ptsflow.workflow.workflow import Workflow, hiding

if TYPE_CHECKING:
    import logging

#: Every line reaches the runner at once, so that the runner has it if the process dies.
_STREAM: dict[str, Any] = {"errors": "backslashreplace", "line_buffering": True}
#: The shortest time between two reports of progress, in seconds.
_REPORT_EVERY = 0.25
#: The longest time until progress that was not reported at once is, in milliseconds.
_FLUSH_EVERY = 1_000


def find(reference: str) -> type[Workflow]:
    """Return the workflow class that a reference made by `loading.refer` names."""
    kind = find_class(msgspec.json.decode(reference, type=Reference))
    assert issubclass(kind, Workflow)  # noqa: S101 - a workflow referred to it
    return kind


class _BodyStream(capture.StreamWrapper):
    """A stream that drops what log handlers print, as the log record is kept already."""

    def write(self, text: str) -> int:
        return len(text) if in_log_handler() else super().write(text)


_streams = (_BodyStream(None), _BodyStream(None))


def wrap_streams() -> None:
    """Wrap `sys.stdout` and `sys.stderr` of the fork server.

    Log handlers that are made while the workflow is imported keep these wrappers, and so
    write to the pipe of the worker process in which they run later. What the import
    prints is dropped: the runner has imported the same, and has shown it.
    """
    for name, wrapper in zip(("stdout", "stderr"), _streams, strict=True):
        wrapper.stream = open(os.devnull, "w")  # noqa: PTH123, SIM115 - replaced by `serve`
        setattr(sys, name, wrapper)


def serve(workflow: type[Workflow], connection: int, output: int) -> None:
    """Make attempts until the runner closes the connection."""
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # New streams: those of the fork server may be buffered for a file.
    for number, wrapper in enumerate(_streams, 1):
        wrapper.stream.close()
        wrapper.stream = TextIOWrapper(
            os.fdopen(number, "wb", closefd=False), **_STREAM
        )
    sys.stdout, sys.stderr = _streams
    worker = Worker(workflow, Connection(connection), output)
    LogHook(worker.log).begin()
    worker.serve()


#: How many results, besides the last one, are kept for the next items of a step.
_MOST_RESULTS = 7


class Worker:
    """The worker process's side of the connection; its main thread runs the bodies."""

    def __init__(
        self, workflow: type[Workflow], connection: Connection, output: int
    ) -> None:
        self._plan: Plan = plan_of(workflow)
        self._connection = connection
        #: The pipe to the runner, whatever bodies do to `sys.stdout`.
        self._output = output
        self._sending = threading.Lock()
        setting = read_task(connection.recv_bytes())
        assert isinstance(setting, Setting)  # noqa: S101 - the runner sends it first
        self._setting = setting
        self._workflow = workflow.from_encoded(setting.parameters)
        self._hide = hiding(self._workflow)
        #: The results that the last items of a step were given, with their texts.
        self._results_of = ""
        self._results: list[tuple[str | list[str] | None, Value | Values]] = []
        #: The memory limits of this process for steps without `memory=`.
        self._usual_memory = resource.getrlimit(resource.RLIMIT_DATA)
        self._pid = os.getpid()
        self._usual_folder = os.open(".", os.O_PATH | os.O_CLOEXEC)
        self._assignments: SimpleQueue[Assignment] = SimpleQueue()
        self._answers: SimpleQueue[CheckpointAnswer] = SimpleQueue()
        self._is_cancelled = False
        self._progress: Progressing | None = None
        self._reported_at = 0.0

    def serve(self) -> None:
        """Run bodies as they are assigned."""
        try:
            threading.Thread(target=self._listen, daemon=True).start()
        except RuntimeError:
            os._exit(os.EX_TEMPFAIL)  # as if the fork had been refused
        self._send(WorkerReady(os.getpid()))
        self._leftovers = leftovers = Leftovers()
        while True:
            given = self._assignments.get()
            self._reported_at = 0.0
            outcome, took_ms = self._attempt(given)
            self._flush()
            for stream in (sys.stdout, sys.stderr):
                try:  # noqa: SIM105 - `suppress` takes longer, here and below
                    stream.flush()
                except Exception:  # noqa: BLE001, S110 - bodies may replace or close it
                    pass
            self._send(BodyEnded(outcome, *leftovers.look(), took_ms))
            forget_unseen()  # while the runner records the end

    def _listen(self) -> None:
        """Receive the runner's messages; end this process when the runner ends."""
        # `Connection.poll` would make a new selector at every call.
        watched = select.poll()
        watched.register(self._connection, select.POLLIN)
        try:
            while True:
                if not watched.poll(_FLUSH_EVERY):
                    self._flush()
                    continue
                message = read_task(self._connection.recv_bytes())
                if isinstance(message, Assignment):
                    self._is_cancelled = False
                    self._assignments.put(message)
                elif isinstance(message, Cancel):
                    self._is_cancelled = True
                elif isinstance(message, CheckpointAnswer):
                    self._answers.put(message)
        except (EOFError, OSError):
            os._exit(0)

    def _send(self, message: WorkerReady | Checkpoint | BodyEnded) -> None:
        with self._sending:
            self._connection.send_bytes(pack(message))

    # -- what the body reports ------------------------------------------------------

    def progressed(self, _name: str, percentage: float, text: str) -> None:
        """Report progress, now or at the next look."""
        self._progress = Progressing(percentage, text)
        if since_boot() - self._reported_at >= _REPORT_EVERY:
            self._flush()

    def _flush(self) -> None:
        with self._sending:  # else progress could be sent after its attempt has ended
            progress, self._progress = self._progress, None
            if progress is not None:
                self._reported_at = since_boot()
                self._connection.send_bytes(pack(progress))

    def save(self, name: str, text: str) -> None:
        """Have processing data saved; it is durable when this returns.

        Raises:
            LeaseLost: it was not saved.
        """
        self._send(Checkpoint(text))
        if not self._answers.get().is_saved:
            raise LeaseLost(f"the checkpoint of {name} was not saved, as the run ended")

    def log(self, record: logging.LogRecord) -> None:
        """Write a log record into the pipe of the printed output."""
        if self._hide is not None:
            conceal(record, self._hide)
        self.logged("", lines_of(record))

    def logged(self, _name: str, lines: Sequence[LogLine]) -> None:
        """Write log lines into the pipe of the printed output."""
        data = b"".join(frame(line) for line in lines)
        with contextlib.suppress(
            OSError
        ):  # the runner is gone: `_listen` sees that next
            while data:
                data = data[os.write(self._output, data) :]

    # -- the attempt ----------------------------------------------------------------

    def _attempt(self, given: Assignment) -> tuple[Outcome, int | None]:
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
            clock=boot_millis,
        )
        if given.memory is not None:
            with self._memory_limited(given.memory):
                return self._made(call)
        return self._made(call)

    def _made(self, call: Call) -> tuple[Outcome, int | None]:
        """Make an attempt; restore folder and umask for the next one in this process."""
        mask = os.umask(0o77)
        os.umask(mask)
        try:
            outcome = attempt.run(call)
            fork_guard.exit_if_forked(self._pid, outcome)
            return outcome, call.handle.took_ms
        finally:
            os.umask(mask)
            try:  # noqa: SIM105
                os.fchdir(self._usual_folder)
            except OSError:  # a body may have closed this descriptor
                pass

    @contextlib.contextmanager
    def _memory_limited(self, memory: int) -> Iterator[None]:
        """Limit the memory of this process while an attempt runs."""
        usual, most = self._usual_memory
        # What earlier bodies left in this process is not charged to this one.
        memory += self._leftovers.held()
        if most != resource.RLIM_INFINITY:
            memory = min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
        try:
            yield
        finally:
            # A body that lowered the hard limit has left something: see `leftovers`.
            with contextlib.suppress(ValueError):
                resource.setrlimit(resource.RLIMIT_DATA, (usual, most))

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
                # What is kept would count in the memory of a limited body.
                is_kept = binding.kind == "result" and step.each and not step.memory
                give = partial(self._kept, step.name) if is_kept else value_of
                arguments[binding.parameter] = give(text, hint)
        return arguments

    def _kept(
        self, step: str, text: str | list[str] | None, hint: Any
    ) -> Value | Values:
        """Return a result that further items of a step are given as well."""
        if self._results_of != step:
            self._results_of, self._results = step, []
        for before, found in self._results:
            if before == text and found.hint is hint:
                return found
        found = value_of(text, hint, Shared())
        self._results = [*self._results[-_MOST_RESULTS:], (text, found)]
        return found

    def _hint(self, step: PlanStep, binding: Binding) -> Any:
        if binding.kind == "result":
            return self._plan.by_name[binding.step].returns
        source = self._plan.by_name[step.each or ""]
        if source.each is not None:
            return source.returns
        found = codec.elements([], source.returns)
        return Any if found is None else found[1]
