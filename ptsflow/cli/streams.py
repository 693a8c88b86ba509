"""The standard streams of a command: data on stdout, everything else on stderr.

A command that loads users' code reserves standard output first. From then on all that is
printed goes to standard error: by bodies, by modules while they are imported, by programs
that bodies call. What Python code prints comes in whole lines, and the run goes on even if
nobody reads them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO, cast

from ptsflow.core.lines import Splitter
from ptsflow.core.model import LogLine
from ptsflow.display.region import RESTORED
from ptsflow.display.streams import Bytes, Direct, Outlet, is_drawable
from ptsflow.host.clock import system_clock

_STDOUT, _STDERR = 1, 2

#: Shows lines of a task; of no task if the name is "".
Show = Callable[[str, list[LogLine]], None]


def open_standard_streams() -> None:
    """Put streams that never raise in place of standard output and error.

    If a descriptor was closed when the process started, the next file to be opened would
    get its number, and with it whatever is printed there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - open as long as the process
    sys.stdout = cast("TextIO", Direct(_STDOUT, _encoding(sys.stdout)))
    sys.stderr = cast("TextIO", Direct(_STDERR, _encoding(sys.stderr)))


def restore_terminal() -> None:
    """Show the cursor of the terminal, which a screen that was killed left hidden."""
    for stream in (sys.stderr, sys.stdout):
        if is_drawable(stream):
            stream.write(RESTORED)
            return


def _encoding(stream: TextIO | None) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        "\N{CHECK MARK}".encode(encoding, "backslashreplace")
    except UnicodeError:  # One that is not made for any text, such as "idna".
        return "utf-8"
    return str(encoding)


class LineStream(io.TextIOBase):
    """Stands for standard output or error: shows whole lines; never waits or raises.

    Args:
        outlet: writes messages.
        show: shows lines.
        standard: standard error, for the processes that bodies fork or call.
    """

    def __init__(self, outlet: Outlet, show: Show, standard: TextIO) -> None:
        self._outlet = outlet
        self._show = show
        self._standard = standard
        self._pid = os.getpid()
        self._lock = threading.RLock()
        #: By thread: the line it has begun. Threads are kept apart, so that lines do not mix.
        self._splitters: dict[int, Splitter[str]] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only here
        """The encoding of standard error."""
        return self._outlet.encoding

    @property
    def buffer(self) -> io.BufferedIOBase:
        """A stream of bytes to the same place."""
        return Bytes(self)

    def fileno(self) -> int:
        """Return the descriptor of standard error."""
        return self._standard.fileno()

    def isatty(self) -> bool:
        """Whether standard error is a terminal."""
        return self._outlet.isatty()

    def writable(self) -> bool:
        """It is written to."""
        return True

    def reconfigure(self, **_: object) -> None:
        """Change nothing: all that prints shares this stream."""

    def close(self) -> None:
        """Stay open: all that prints shares this stream."""

    def write(self, text: str, /) -> int:
        """Show the lines that end in a text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if (
            os.getpid() != self._pid
        ):  # A process that a body forked: the lock may be held.
            return self._standard.write(text)
        thread = threading.get_ident()
        with self._lock:
            splitter = self._splitters.setdefault(thread, Splitter("\n"))
            lines = splitter.feed(text)
            if not splitter.is_within_a_line:
                del self._splitters[thread]
        self._hand_on(lines)
        return len(text)

    def end(self) -> None:
        """Show the lines that no newline has ended."""
        with self._lock:
            splitters = list(self._splitters.values())
            self._splitters.clear()
        self._hand_on([line for splitter in splitters for line in splitter.end()])

    def _hand_on(self, texts: list[str]) -> None:
        if texts:
            at = system_clock()
            self._show("", [LogLine(at, "", text) for text in texts])


class _Reserved:
    """Standard output, reserved for data, and what stands in its place."""

    def __init__(self) -> None:
        self.before = sys.stdout, sys.stderr
        self.data, self._copy = sys.stdout, None
        terminal = sys.stderr
        #: The screen, while there is one.
        self.show: Show | None = None
        if _is_standard(sys.stdout, _STDOUT) and _is_standard(sys.stderr, _STDERR):
            self._copy = os.dup(_STDOUT)
            os.dup2(_STDERR, _STDOUT)
            self.data = cast("TextIO", Direct(self._copy, _encoding(sys.stdout)))
            # A copy, as the live screen leads the standard ones elsewhere.
            own = Direct(os.dup(_STDERR), _encoding(sys.stderr))
            terminal = cast("TextIO", own)
        self.messages = Outlet(terminal)
        self.streams = tuple(
            LineStream(self.messages, self._shown, sys.stderr) for _ in "oe"
        )
        sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", self.streams)

    def finish(self) -> None:
        for stream in self.streams:
            stream.end()
        self.messages.finish()

    def restore(self) -> None:
        sys.stdout, sys.stderr = self.before
        if self._copy is not None:
            os.dup2(self._copy, _STDOUT)
            os.close(self._copy)
            os.close(self.messages.fileno())

    def _shown(self, task: str, lines: list[LogLine]) -> None:
        if self.show is not None:
            self.show(task, lines)
            return
        for line in lines:
            self.messages.write(f"{line.text}\n")


def _is_standard(stream: TextIO, number: int) -> bool:
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return stream.fileno() == number
    return False


_reserved: _Reserved | None = None


def reserve_stdout() -> None:
    """Keep standard output for data alone; users' code is loaded next."""
    global _reserved  # noqa: PLW0603 - a process has one standard output
    if _reserved is None:
        _reserved = _Reserved()


def show_by(show: Show | None) -> None:
    """Have a screen show what is printed, or none any more."""
    if _reserved is not None:
        _reserved.show = show


def data() -> TextIO:
    """Return the stream for data."""
    return sys.stdout if _reserved is None else _reserved.data


def messages() -> TextIO | Outlet:
    """Return the stream for messages."""
    return sys.stderr if _reserved is None else _reserved.messages


def drop(count: int) -> None:
    """Count lines that are not shown."""
    if _reserved is not None:
        _reserved.messages.drop(count)


def tell_end() -> None:
    """Make room for the last messages, which tell how the run ended."""
    if _reserved is not None:
        _reserved.messages.make_room()


def finish() -> None:
    """Write what waits to be written, as far as it is read."""
    if _reserved is not None:
        _reserved.finish()


def restore() -> None:
    """Put the standard streams back."""
    global _reserved  # noqa: PLW0603 - a process has one standard output
    if _reserved is not None:
        _reserved.restore()
        _reserved = None
