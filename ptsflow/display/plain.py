"""Output without a terminal: a line for each change of state, and lines as plain text.

What cannot be written is dropped: `| head` is no error, and a run goes on although nobody
reads its output any more.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from ptsflow.core.model import LogLine, Progress, Status, TaskRecord
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.streams import Outlet, is_unicode
from ptsflow.events import Event, Notice, Progressed, RunStarted, TaskChanged

#: The least time between two lines of progress of one task, in milliseconds.
PROGRESS_EVERY_MS = 30_000


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
        quiet: write failures alone.
    """

    def __init__(
        self, stream: TextIO | Outlet | None = None, *, quiet: bool = False
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        #: When progress of a running task was last written.
        self._said: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Write the lines of an event, if it has any."""
        for name, text in self._lines(event):
            line = f"{fmt.clock_time(event.at)}  {fmt.clean(name)}  {text}"
            write(self._stream, f"{line.rstrip()}\n")

    def printed(self, task: str, lines: Sequence[LogLine]) -> None:
        """Write lines that a body printed, with its task; others as they are."""
        text = "".join(
            f"{fmt.clock_time(line.at)}  {printed_text(task, line)}\n"
            if task
            else f"{line.text}\n"
            for line in lines
        )
        write(self._stream, text)

    def close(self) -> None:
        """Do nothing: every line was written at once."""

    def _lines(self, event: Event) -> Sequence[tuple[str, str]]:
        match event:
            case TaskChanged(before=before, after=TaskRecord() as after):
                text = self._change(before, after, event.at)
                return [(after.name, text)] if text else []
            case Progressed(progress=progress) if not self._quiet:
                return self._progress(progress, event.at)
            case Notice(text=text) if not self._quiet:
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
            self._said[after.name] = at
        else:
            self._said.pop(after.name, None)
        if self._quiet and after.status is not Status.FAILED:
            return ""
        return change_text(before, after, at)

    def _progress(self, progress: Iterable[Progress], at: int) -> list[tuple[str, str]]:
        lines = []
        for entry in progress:
            if at - self._said.get(entry.name, 0) >= PROGRESS_EVERY_MS:
                self._said[entry.name] = at
                text = f"{fmt.percent(entry.percentage)}  {fmt.clean(entry.text)}"
                lines.append((entry.name, text))
        return lines


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
