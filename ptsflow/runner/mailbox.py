"""The mailbox of a run: the only door by which other threads reach its loop.

Bodies' threads hand in outcomes, checkpoints, progress and log lines. The heartbeat,
signal handlers and bodies' threads wake the driver's thread. Every method may be called
from every thread; only the thread that holds the loop's turn empties `arrived` and
`progress`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core.model import LogLine, Progress, Stop, TaskRecord
from ptsflow.core.outcome import Outcome
from ptsflow.errors import LeaseLost, StoreError
from ptsflow.executors import capture

#: Keeps lines of a task's attempt: the task's name, the attempt's number, the lines.
Log = Callable[[str, int, Sequence[LogLine]], None]
#: Shows lines of a task.
Show = Callable[[str, Sequence[LogLine]], object]


class TaskOutcome(Struct, frozen=True):
    """How the attempt of a running task ended."""

    task: str
    outcome: Outcome
    #: `host:pid` of the process that made the attempt; "" where that is the runner.
    ran_by: str = ""
    #: How long the attempt took there, in milliseconds; None if it is not known.
    took_ms: int | None = None


class CheckpointRequest:
    """Processing data that a body wants saved; the body waits for `is_settled`."""

    __slots__ = ("is_saved", "is_settled", "task", "text")

    def __init__(self, task: str, text: str) -> None:
        self.task = task
        self.text = text
        self.is_saved = False
        self.is_settled = threading.Event()


class LeaseEnded(Struct, frozen=True):
    """The heartbeat cannot keep the lease."""

    #: One line, or the error of a store that is gone, damaged or full.
    why: str | StoreError


class Mailbox:
    """What other threads hand to a run.

    Args:
        container: the container's name.
        log: keeps the lines that bodies print and log.
        show: shows them; None if the streams of this process do.
        hide: takes the values of secret parameters out of a text.
    """

    def __init__(
        self,
        container: str,
        log: Log = lambda *_: None,
        show: Show | None = None,
        hide: Callable[[str], str] | None = None,
    ) -> None:
        #: Outcomes and checkpoints since the last turn.
        self.arrived: deque[TaskOutcome | CheckpointRequest] = deque()
        #: The latest progress of each task that is not written yet.
        self.progress: dict[str, Progress] = {}
        self._container = container
        self._log = log
        self._show = show
        self._hide = hide
        self._tasks: Mapping[str, TaskRecord] = {}
        self._take_turns: Callable[[], object] = lambda: None
        # Putting to a SimpleQueue is safe in a signal handler.
        self._news: queue.SimpleQueue[Stop | LeaseEnded | None] = queue.SimpleQueue()

    def open(
        self, tasks: Mapping[str, TaskRecord], take_turns: Callable[[], object]
    ) -> None:
        """Let bodies in.

        Args:
            tasks: the live tasks by name.
            take_turns: takes turns at the loop, in the thread that handed something in,
                until nothing is left or another thread takes turns.
        """
        self._tasks = tasks
        self._take_turns = take_turns

    # -- for bodies' threads ----------------------------------------------------------

    def progressed(self, name: str, percentage: float, text: str) -> None:
        """Note the progress of a task; the driver writes it once a second."""
        if self._hide is not None:
            text = self._hide(text)
        is_news = name not in self.progress
        self.progress[name] = Progress(name, percentage, text)
        # Wake the driver last: it looks at `progress` at once.
        if is_news:
            self.wake()

    def save(self, name: str, text: str) -> None:
        """Save the processing data of a task; durable when this returns.

        Raises:
            LeaseLost: the run or the attempt ended before the data was saved.
        """
        request = CheckpointRequest(name, text)
        self.arrived.append(request)
        # The store's driver may log what it writes, and a listener may print.
        with capture.aside():
            self._take_turns()
        request.is_settled.wait()
        if not request.is_saved:
            raise LeaseLost(
                f"container {self._container!r}: the checkpoint of {name} was not "
                "saved, as the run or the attempt had ended; run again"
            )

    def logged(self, name: str, lines: Sequence[LogLine]) -> None:
        """Keep lines that a body printed or logged, and then show them.

        The log writer writes them.
        """
        if self._hide is not None:
            lines = [replace(line, text=self._hide(line.text)) for line in lines]
        self._log(name, self._tasks[name].invoke_count, lines)
        if self._show is not None:
            self._show(name, lines)

    @property
    def shows_lines(self) -> bool:
        """Whether `logged` shows lines, so that no stream needs to."""
        return self._show is not None

    # -- for whoever has news for the driver --------------------------------------------

    def wake(self) -> None:
        """Wake the driver: something has changed; also from a signal handler."""
        self._news.put(None)

    def ask_to_stop(self, how: Stop) -> None:
        """Tell the driver that somebody asked the run to stop."""
        self._news.put(how)

    def lose_lease(self, why: str | StoreError) -> None:
        """Tell the driver that the lease is lost."""
        self._news.put(LeaseEnded(why))

    # -- for the driver, and for the thread that holds the turn -------------------------

    @property
    def has_news(self) -> bool:
        """Whether the driver has something to read."""
        return not self._news.empty()

    def next_news(self, patience: float) -> Stop | LeaseEnded | None:
        """Wait for news, at most `patience` seconds; None without any, and on `wake`."""
        try:
            return self._news.get(timeout=patience)
        except queue.Empty:
            return None

    def take_progress(self) -> list[Progress]:
        """Return the progress that is not written yet, and forget it."""
        progress = self.progress
        # One item at a time: bodies' threads add items meanwhile, and none may get lost.
        return [progress.popitem()[1] for _ in range(len(progress))]

    def abandon(self) -> None:
        """Drop what arrived, as the run is over; no body waits any longer."""
        # Another thread may be in a turn just now and take messages as well.
        with contextlib.suppress(IndexError):
            while True:
                message = self.arrived.popleft()
                if isinstance(message, CheckpointRequest):
                    message.is_settled.set()
