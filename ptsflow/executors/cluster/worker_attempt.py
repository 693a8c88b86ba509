"""One attempt on a worker: its child reports to it, and it reports to the runner."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from ptsflow.core.model import LogLine
from ptsflow.core.outcome import Outcome
from ptsflow.core.retry import Retry
from ptsflow.errors import LeaseLost
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster.connection import Line
from ptsflow.executors.cluster.messages import Logged, RanBy, Work, ends_of, read_answer
from ptsflow.executors.processes.messages import Checkpoint, Kept, Progressing
from ptsflow.executors.processes.pool import Processes
from ptsflow.executors.processes.transport import began_at, handle_of, value_of
from ptsflow.host.clock import system_clock
from ptsflow.workflow.handle import Watch

#: How much of what a body printed first, and of what it printed last, is passed on at
#: least, in characters: no more of an attempt is kept.
_KEPT = 64 * 1024


class Errand:
    """One attempt on a worker: its child reports to it, and it to the runner."""

    def __init__(self, line: Line, work: Work, container: str) -> None:
        self._line = line
        self._is_cancelled = False
        self._is_gone = False
        self._told = ""
        self._head_left = _KEPT
        #: Why the attempt ended without its body's say, if it did.
        self.lost: BaseException | None = None
        given = work.assignment
        self.handle = handle_of(
            given,
            container,
            reporter=self,
            cancelled=lambda: self._is_cancelled,
            watch=_Watch(self, work.timeout, work.stall),
        )
        step = SimpleNamespace(
            name=given.step, memory=given.memory, retry=Retry(retry=self._note)
        )
        self._call = Call(
            workflow=cast("Any", None),  # the child has it
            step=cast("Any", step),
            arguments={
                name: value_of(text, None) for name, text in given.arguments.items()
            },
            handle=self.handle,
            attempt=given.attempt,
            began_at=began_at(given),
            clock=system_clock,
        )

    def run(self, pool: Processes) -> Outcome:
        """Make the attempt; return how it ended."""
        outcome = pool.run(self._call)
        self.look()
        return outcome

    def _note(self, state: Any) -> bool:
        """Note what only the runner can decide about, as it knows the step's `retry=`."""
        self.lost = state.outcome.exception()
        return False

    def look(self) -> bool:
        """Take in what the runner says; return whether it is gone."""
        if self.handle.ran_by != self._told:
            self._told = self.handle.ran_by
            self._send(RanBy(self._told))
        try:
            while not self._is_gone and self._line.poll(0):
                self._line.receive(read_answer)
                self._is_cancelled = True
        except (EOFError, OSError):
            self._is_gone = True
        return self._is_gone

    def progressed(self, _name: str, percentage: float, text: str) -> None:
        """Pass progress on."""
        self._send(Progressing(percentage, text))

    def logged(self, _name: str, lines: Sequence[LogLine]) -> None:
        """Pass on what the body logged or printed."""
        logged = ends_of(lines, self._head_left, _KEPT)
        self._head_left -= sum(len(line.text) + 1 for line in logged.head)
        self._send(logged)

    def save(self, name: str, text: str) -> None:
        """Have processing data saved; durable when this returns."""
        self._send(Checkpoint(text))
        is_kept = False
        with contextlib.suppress(EOFError, OSError):
            while not isinstance(answer := self._line.receive(read_answer), Kept):
                self._is_cancelled = True
            is_kept = answer.is_kept
        if not is_kept:
            raise LeaseLost(f"the checkpoint of {name} was not saved")

    def _send(self, message: Progressing | Logged | Checkpoint | RanBy) -> None:
        try:
            self._line.send(message)
        except OSError:
            self._is_gone = True


class _Watch(Watch):
    """Sees besides whether there is still a runner to work for."""

    __slots__ = ("_errand",)

    def __init__(
        self, errand: Errand, timeout: float | None, stall: float | None
    ) -> None:
        super().__init__(timeout, stall)
        self._errand = errand

    def overdue(self) -> str:
        return super().overdue() or ("the runner is gone" * self._errand.look())
