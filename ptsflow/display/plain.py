"""Output without a terminal: a line for each change of state, and lines as plain text.

What cannot be written is dropped: `| head` is no error, and a run goes on although nobody
reads its output any more.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import TextIO

from ptsflow.core.model import LogLine, Progress, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.streams import Outlet, is_unicode
from ptsflow.events import (
    Event,
    HookFailed,
    Notice,
    Progressed,
    RunStarted,
    TaskChanged,
)
from ptsflow.host.clock import Clock, system_clock

#: The least time between two lines of progress of one task, in milliseconds.
PROGRESS_EVERY_MS = 30_000
#: The most running tasks of which a line is written at once.
_MOST_NAMED = 8
#: The least time between two looks at the running tasks, in milliseconds.
_SHORTEST_WAIT_MS = 50


def write(stream: TextIO | Outlet | None, text: str) -> None:
    """Write text and flush it; drop it if that cannot be done."""
    if stream is None:  # The process was started without it.
        return
    if not text.isascii() and not is_unicode(stream.encoding):
        text = text.translate(fmt.ASCII)
        encoding = stream.encoding or "ascii"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    with contextlib.suppress(OSError):
        stream.write(text)
        stream.flush()


def write_lines(stream: TextIO | Outlet | None, lines: Iterable[Line]) -> None:
    """Write lines as plain text."""
    text = "".join(f"{fmt.text_of(line)}\n" for line in lines)
    if text:
        write(stream, text)


class PlainLines:
    """Listens to a run and writes one line for each change of state.

    Args:
        stream: where to write; standard error unless given.
        quiet: write failures alone, also those of hooks.
        every_ms: how often a running task has a line, in milliseconds; None for never.
        clock: tells the time.
    """

    def __init__(
        self,
        stream: TextIO | Outlet | None = None,
        *,
        quiet: bool = False,
        every_ms: int | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._every_ms = every_ms
        self._clock = clock
        self._times = fmt.DayTimes()
        #: The running tasks.
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Write the lines of an event, if it has any."""
        with self._lock:
            for name, text in self._lines(event):
                self._write(event.at, name, text)
        if isinstance(event, RunStarted) and self._every_ms is not None:
            self._watch()

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Write lines that a body printed, with its task; others as they are."""
        text = "".join(
            f"{self._times.of(line.at)}  {printed_text(task, line)}\n"
            if task
            else f"{line.text}\n"
            for line in lines
        )
        write(self._stream, text)

    def close(self) -> None:
        """Write nothing more of running tasks."""
        self._is_closed.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _write(self, at: int, name: str, text: str) -> None:
        line = f"{self._times.of(at)}  {fmt.clean(name)}  {text}"
        write(self._stream, f"{line.rstrip()}\n")

    def _watch(self) -> None:
        """Write a line of each task that runs for long, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._tell, name="ptsflow-screen", daemon=True
        )
        with contextlib.suppress(RuntimeError):  # the system grants no thread
            self._thread.start()

    def _tell(self) -> None:
        while not self._is_closed.wait(self.tell_running(self._clock()) / 1000):
            pass

    def tell_running(self, now: int) -> int:
        """Write a line of each task that had none for so long; say when to look again.

        Return how many milliseconds later; of many tasks some are named, the others are
        counted.
        """
        every = self._every_ms or 0
        with self._lock:
            due = [t for t in self._running.items() if now - t[1].said_at >= every]
            for name, task in due[:_MOST_NAMED]:
                self._write(now, name, task.text(now))
            if len(due) > _MOST_NAMED:
                self._write(now, "ptsflow", f"{len(due) - _MOST_NAMED} more running")
            for _, task in due:
                task.said_at = now
            said = [task.said_at for task in self._running.values()]
        return max(_SHORTEST_WAIT_MS, min(said, default=now) + every - now)

    def _lines(self, event: Event) -> Sequence[tuple[str, str]]:
        match event:
            case TaskChanged(before=before, after=TaskRecord() as after):
                text = self._change(before, after, event.at)
                return [(after.name, text)] if text else []
            case Progressed(progress=progress):
                return self._progress(progress, event.at)
            case Notice(text=text) if not self._quiet or isinstance(event, HookFailed):
                return [("ptsflow", fmt.clean(text))]
            case RunStarted(container=container, tasks=tasks) if not self._quiet:
                done = sum(task.status is Status.DONE for task in tasks)
                earlier = (
                    f", {fmt.many(done, 'task', 'tasks')} done earlier" if done else ""
                )
                return [(container.name, f"started{earlier}")]
        return []

    def _change(self, before: TaskRecord | None, after: TaskRecord, at: int) -> str:
        if before is not None and before.status is after.status:
            return ""
        if after.status is Status.RUNNING:
            self._running[after.name] = _Running(at)
        else:
            self._running.pop(after.name, None)
        if self._quiet and after.status is not Status.FAILED:
            return ""
        return change_text(before, after, at)

    def _progress(self, progress: Iterable[Progress], at: int) -> list[tuple[str, str]]:
        lines = []
        for entry in progress:
            task = self._running.get(entry.name)
            if task is None:
                continue
            task.progress = entry
            is_due = at - task.said_at >= PROGRESS_EVERY_MS
            if is_due and not self._quiet:
                task.said_at = at
                lines.append((entry.name, _progress_text(entry)))
        return lines


class _Running:
    """A running task: since when, how far, and when a line was last written of it."""

    __slots__ = ("begun_at", "progress", "said_at")

    def __init__(self, at: int) -> None:
        self.begun_at = self.said_at = at
        self.progress: Progress | None = None

    def text(self, now: int) -> str:
        far = "" if self.progress is None else f"  {_progress_text(self.progress)}"
        return f"running for {fmt.duration(now - self.begun_at)}{far}"


def _progress_text(progress: Progress) -> str:
    return f"{fmt.percent(progress.percentage)}  {fmt.clean(progress.text)}"


def printed_text(task: str, line: LogLine) -> str:
    """Return a line that a body printed, with the name of its task."""
    return f"{fmt.clean(task)} | {fmt.clean(line.text.expandtabs())}"


def change_text(before: TaskRecord | None, after: TaskRecord, now: int) -> str:
    """Return the line for a changed task; "" for one that waits for its turn."""
    what = fmt.what(after, now)
    took = f" in {fmt.duration(after.task_duration_ms)}"
    match after.status:
        case Status.PENDING:
            ran = before is not None and before.status is Status.RUNNING
            return what if ran else ""
        case Status.RUNNING:
            tries = fmt.tries(after)
            return f"started, {tries}" if tries else "started"
        case Status.DONE:
            return f"done{took}  {what}"
        case Status.FAILED:
            return f"failed {what}"
        case Status.SKIPPED:
            return f"skipped  {what}"
        case Status.WAITING:
            return f"waiting: {what}"
