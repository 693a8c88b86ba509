"""One attempt on a cluster worker: reports of its worker process go on to the runner."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ptsflow.core.log_window import KEPT, ends_of
from ptsflow.core.model import LogLine
from ptsflow.core.outcome import Outcome
from ptsflow.errors import LeaseLost
from ptsflow.executors.cluster.connection import MessageConnection
from ptsflow.executors.cluster.messages import Logged, MakeAttempt, RanBy, read_answer
from ptsflow.executors.processes.messages import (
    Checkpoint,
    CheckpointAnswer,
    Lost,
    Progressing,
)
from ptsflow.executors.processes.pool import Processes
from ptsflow.executors.processes.transport import handle_of
from ptsflow.workflow.handle import Watch


class WorkerAttempt:
    """One attempt on a cluster worker; the reporter of its handle.

    Args:
        connection: the connection to the runner.
        given: the runner's order.
        container: the container's name.
    """

    def __init__(
        self, connection: MessageConnection, given: MakeAttempt, container: str
    ) -> None:
        self._connection = connection
        self._assignment = given.assignment
        self._is_cancelled = False
        self._is_runner_gone = False
        self._reported_ran_by = ""
        self._head_left = KEPT
        self._handle = handle_of(
            given.assignment,
            container,
            reporter=self,
            cancelled=lambda: self._is_cancelled,
            watch=_RunnerWatch(self, given.timeout, given.stall),
        )

    def run(self, processes: Processes) -> Outcome | Lost:
        """Make the attempt in a worker process; return how it ended."""
        ended = processes.make(self._assignment, self._handle)
        self.look()
        return ended

    @property
    def took_ms(self) -> int | None:
        """How long the attempt took, in milliseconds; None before its end."""
        return self._handle.took_ms

    def look(self) -> bool:
        """Exchange news with the runner; return whether the runner is gone."""
        if self._handle.ran_by != self._reported_ran_by:
            self._reported_ran_by = self._handle.ran_by
            self._send(RanBy(self._reported_ran_by))
        try:
            while not self._is_runner_gone and self._connection.poll(0):
                self._connection.receive(read_answer)
                self._is_cancelled = True
        except (EOFError, OSError):
            self._is_runner_gone = True
        return self._is_runner_gone

    def progressed(self, _name: str, percentage: float, text: str) -> None:
        """Send progress to the runner."""
        self._send(Progressing(percentage, text))

    def logged(self, _name: str, lines: Sequence[LogLine]) -> None:
        """Send the lines that the runner would keep."""
        ends = ends_of(lines, self._head_left)
        self._head_left -= ends.head_size
        self._send(Logged(len(lines), ends.head, ends.tail))

    def save(self, name: str, text: str) -> None:
        """Have processing data saved by the runner; it is durable when this returns.

        Raises:
            LeaseLost: it was not saved.
        """
        self._send(Checkpoint(text))
        is_saved = False
        with contextlib.suppress(EOFError, OSError):
            while not isinstance(
                answer := self._connection.receive(read_answer), CheckpointAnswer
            ):
                self._is_cancelled = True
            is_saved = answer.is_saved
        if not is_saved:
            raise LeaseLost(f"the checkpoint of {name} was not saved")

    def _send(self, message: Progressing | Logged | Checkpoint | RanBy) -> None:
        try:
            self._connection.send(message)
        except OSError:
            self._is_runner_gone = True


class _RunnerWatch(Watch):
    """Ends an attempt also when its runner is gone."""

    __slots__ = ("_attempt",)

    def __init__(
        self, attempt: WorkerAttempt, timeout: float | None, stall: float | None
    ) -> None:
        super().__init__(timeout, stall)
        self._attempt = attempt

    def overdue(self) -> str:
        is_runner_gone = self._attempt.look()
        return super().overdue() or ("the runner is gone" if is_runner_gone else "")
