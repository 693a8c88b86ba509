"""Attempts that wait for a worker, and what is said while one makes them.

Workers are called, not attempts: whoever is called gets the oldest attempt that waits,
and after it the next, for a moment. So an engine is not asked for each of many short
bodies, and long ones share it fairly with others.
"""

from __future__ import annotations

import contextlib
import threading

from ptsflow import errors
from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.errors import AttemptLost, WorkerLost
from ptsflow.executors import attempt
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster.backends import Place, Promise
from ptsflow.executors.cluster.connection import Line
from ptsflow.executors.cluster.messages import (
    Ends,
    Logged,
    Lost,
    RanBy,
    Report,
    Work,
    read_report,
)
from ptsflow.executors.processes.messages import (
    Cancel,
    Checkpoint,
    Ended,
    Progressing,
)
from ptsflow.executors.processes.transport import assignment, save
from ptsflow.host.clock import since_boot
from ptsflow.workflow.handle import UNWATCHED, Watch

#: How often somebody looks whether the run is cancelled, in seconds.
LOOK_EVERY = 0.25
#: How long a lost worker's child may take to be killed, in seconds.
_DYING = 0.5
#: How long a worker may take to end an attempt that the engine has given up, or that
#: is overdue, in seconds.
_PATIENCE = 10.0


class Summons:
    """One call of the engine."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.promise: Promise | None = None

    def is_done(self) -> bool:
        """Whether the engine takes it for ended."""
        return self.promise is not None and self.promise.done()

    def cancel(self) -> None:
        """See that it is not called again."""
        if self.promise is not None:
            self.promise.cancel()


class Posts:
    """The attempts that wait, the calls that are under way, and the workers at hand.

    There are always as many calls and workers at hand as attempts wait, or more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Posted, None] = {}
        self._calls: dict[str, Summons] = {}
        self._at_hand = 0
        self._looked_at = 0.0

    def post(self, posted: Posted, token: str) -> Summons | None:
        """Have it wait; return the call to make for it, if one is needed."""
        with self._changed:
            self._waiting[posted] = None
            self._changed.notify()
            if self._is_enough():
                return None
            summons = self._calls[token] = Summons(token)
            return summons

    def withdraw(self, posted: Posted) -> bool:
        """Have it wait no more; False if a worker has it."""
        with self._changed:
            return self._waiting.pop(posted, self) is None

    def arrive(self, token: str) -> Summons | None:
        """Return the call that a token is of: a worker is at hand. None is not good."""
        with self._changed:
            summons = self._calls.pop(token, None)
            if summons is not None:
                self._at_hand += 1
            return summons

    def take(self, patience: float) -> Posted | None:
        """Return what the worker at hand is to do; it is not at hand any more."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(patience)
            self._at_hand -= 1
            if not self._waiting:
                return None
            posted = next(iter(self._waiting))
            del self._waiting[posted]
            return posted

    def give_back(self) -> None:
        """A worker is at hand again."""
        with self._changed:
            self._at_hand += 1

    def drop(self, summons: Summons) -> None:
        """The engine refused the call."""
        with self._changed:
            self._calls.pop(summons.token, None)

    def unanswered(self) -> list[tuple[Summons, Posted | None]]:
        """Return the calls that ended before they arrived, and what waited for them."""
        with self._changed:
            now = since_boot()
            if now < self._looked_at + LOOK_EVERY:
                return []
            self._looked_at = now
            ended = [summons for summons in self._calls.values() if summons.is_done()]
            found: list[tuple[Summons, Posted | None]] = []
            for summons in ended:
                del self._calls[summons.token]
                posted = None
                if not self._is_enough():
                    posted = next(iter(self._waiting))
                    del self._waiting[posted]
                found.append((summons, posted))
            return found

    def _is_enough(self) -> bool:
        return len(self._calls) + self._at_hand >= len(self._waiting)


class Posted:
    """One attempt, from when it waits for a worker until it has ended."""

    def __init__(self, call: Call, place: Place, run_is_over: threading.Event) -> None:
        self.call = call
        self._place = place
        self._run_is_over = run_is_over
        self.has_ended = threading.Event()
        self.outcome: Outcome | None = None
        self.is_running = False
        self._told = False
        # The worker watches over it, as the body is there. It may itself have stopped.
        watch = call.handle.watch
        self._limits = (watch.timeout, watch.stall)
        self._late = Watch(*(limit and limit + _PATIENCE for limit in self._limits))
        self._given_up = Watch(_PATIENCE)
        self._has_begun = False
        call.handle.watch = UNWATCHED

    def end(self, outcome: Outcome) -> None:
        """It has ended so."""
        self.outcome = outcome
        self.has_ended.set()

    def lose(self, why: str) -> None:
        """It has ended, or never began."""
        self.end(attempt.failed(self.call, WorkerLost(why)))

    def make(self, line: Line, worker: str, summons: Summons) -> bool:
        """Have the worker on the line make it; return whether the worker is of use still."""
        if self.call.handle.cancelled:
            self.end(Interrupted())  # nothing begins once the run is being stopped
            return True
        self.call.handle.ran_by = worker
        self.is_running = True
        outcome: Outcome | None = None
        with contextlib.suppress(EOFError, OSError):
            line.send(Work(assignment(self.call), *self._limits))
            outcome = self._followed(line, worker, summons)
        if outcome is not None:
            self.end(outcome)
            return True
        line.hang_up()
        summons.cancel()
        # Nobody may begin the task again while its child still lives.
        self._run_is_over.wait(_DYING)
        self.lose(f"{self._place.worker} {worker} was lost")
        return False

    def _followed(self, line: Line, worker: str, summons: Summons) -> Outcome | None:
        """Return how it ended; None if the worker must be taken as lost."""
        while not self._is_hopeless(summons):
            if self.call.handle.cancelled and not self._told:
                self._told = True
                line.send(Cancel())
            if not line.poll(LOOK_EVERY):
                continue
            message = line.receive(read_report)
            if isinstance(message, Ended):
                return message.outcome
            if isinstance(message, Lost):
                return attempt.failed(self.call, self._loss(message, worker))
            self._take_in(message, line)
        return None

    def _is_hopeless(self, summons: Summons) -> bool:
        """Whether the worker does not end what must have ended."""
        if not self._has_begun:
            self._late.begin()
        if not summons.is_done():
            self._given_up.begin()
        return bool(self._late.overdue() or self._given_up.overdue())

    def _loss(self, lost: Lost, worker: str) -> AttemptLost:
        if lost.kind == "WorkerLost":
            return WorkerLost(f"{self._place.worker} {lost.text}")
        kind = getattr(errors, lost.kind, None)
        if isinstance(kind, type) and issubclass(kind, AttemptLost):
            return kind(lost.text)
        return WorkerLost(f"{self._place.worker} {worker}: {lost.text}")

    def _take_in(self, message: Report, line: Line) -> None:
        handle = self.call.handle
        self._late.excuse()
        if isinstance(message, RanBy):
            handle.ran_by = message.ran_by
            self._has_begun = True
        elif isinstance(message, Logged):
            handle.reporter.logged(handle.name, Ends(message))
        elif isinstance(message, Progressing):
            handle.reporter.progressed(handle.name, message.percentage, message.text)
        elif isinstance(message, Checkpoint):
            line.send(save(handle, message))
