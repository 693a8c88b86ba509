"""What runner, nursery and children say to each other: data alone, never pickles.

Values travel as the JSON text of the codec, messages as MessagePack of a closed set of
records. Nothing that arrives is executed. What bodies log goes the way of what they
print, so that both stay in order, and nothing is lost when the child is killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import overload

from msgspec import MsgspecError, Struct, json
from msgspec.msgpack import Decoder, Encoder

from ptsflow.core import transitions
from ptsflow.core.model import LogLine
from ptsflow.executors.attempt import Outcome
from ptsflow.executors.capture import LINE_LIMIT, Splitter, printed

#: How much of what was printed last is told when a child dies, in characters.
_LAST = 500


class Message(Struct, frozen=True, tag=True, array_like=True):
    """The base of all messages."""


# -- runner and nursery ---------------------------------------------------------


class Spawn(Message, frozen=True, tag=True, array_like=True):
    """To the nursery, with two file descriptors: make a child."""

    number: int


class Kill(Message, frozen=True, tag=True, array_like=True):
    """To the nursery: end a child at once."""

    number: int


class Exited(Message, frozen=True, tag=True, array_like=True):
    """From the nursery: a child ended. Memory is its peak, in bytes."""

    number: int
    status: int
    memory: int


class Failed(Message, frozen=True, tag=True, array_like=True):
    """From the nursery: it could not begin or import the workflow, and ends."""

    why: str


# -- runner and child -----------------------------------------------------------


class Setting(Message, frozen=True, tag=True, array_like=True):
    """To a child, first: the workflow that its tasks belong to."""

    container: str
    #: Parameter -> JSON text.
    parameters: dict[str, str]


class Assignment(Message, frozen=True, tag=True, array_like=True):
    """To a child: make this attempt."""

    task: str
    key: str | None
    step: str
    attempt: int
    fence: int
    #: Seconds since the first attempt of this budget began.
    elapsed: float
    #: Parameter -> JSON text of its value, or texts of a joined fan-out's.
    arguments: dict[str, str | list[str] | None]
    saved: str | None
    #: Where `task.workdir` is.
    folder: str
    #: Most memory in bytes that the attempt may ask for.
    memory: int | None


class Cancel(Message, frozen=True, tag=True, array_like=True):
    """To a child: `task.cancelled` becomes true."""


class Kept(Message, frozen=True, tag=True, array_like=True):
    """To a child: the checkpoint is durable, or will never be."""

    is_kept: bool


class Began(Message, frozen=True, tag=True, array_like=True):
    """From a child, first: from now on it makes attempts."""

    pid: int


class Progressing(Message, frozen=True, tag=True, array_like=True):
    """From a child: how far it is."""

    percentage: float
    text: str


class Checkpoint(Message, frozen=True, tag=True, array_like=True):
    """From a child: keep this; it waits for `Kept`."""

    text: str


class Ended(Message, frozen=True, tag=True, array_like=True):
    """From a child: the attempt is over; it waits for the next one."""

    outcome: Outcome


pack = Encoder().encode
read_order = Decoder(Spawn | Kill).decode
read_exit = Decoder(Exited | Failed).decode
read_task = Decoder(Setting | Assignment | Cancel | Kept).decode
read_report = Decoder(Began | Progressing | Checkpoint | Ended).decode


# -- what a child prints ----------------------------------------------------------

#: Begins a line that is not text, but a `LogLine` as JSON.
_LOGGED = b"\x1e"
_read_logged = json.Decoder(LogLine).decode


def frame(line: LogLine) -> bytes:
    """Return how a logged line is written among the printed ones."""
    text = transitions.cut(line.text, LINE_LIMIT)
    return _LOGGED + json.encode(LogLine(line.at, line.level, text)) + b"\n"


class Lines(Sequence[LogLine]):
    """Lines that a child printed or logged, each read when it is asked for.

    Args:
        raw: the lines without their ends.
        at: when they came.
    """

    def __init__(self, raw: list[bytes], at: int) -> None:
        self._raw = raw
        self._at = at

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> LogLine | Lines:
        if isinstance(index, slice):
            return Lines(self._raw[index], self._at)
        raw = self._raw[index]
        if raw.startswith(_LOGGED):
            with contextlib.suppress(MsgspecError, UnicodeDecodeError):
                return _read_logged(raw[1:])
        return printed(raw.decode(errors="backslashreplace"), self._at)


class Output:
    """Makes lines of what a child prints, part by part."""

    def __init__(self) -> None:
        self._splitter = Splitter(b"\n")
        #: The last lines as one text.
        self.last = ""

    def feed(self, part: bytes, at: int) -> Lines:
        """Return the lines that end in this part."""
        if _LOGGED in part:
            part = self._apart(part)
        return self._seen(Lines(self._splitter.feed(part), at))

    def end(self, at: int) -> Lines:
        """Return the last line, if it has no end."""
        return self._seen(Lines(self._splitter.end(), at))

    def _apart(self, part: bytes) -> bytes:
        """Return a part in which everything logged begins a line of its own."""
        begins = part.startswith(_LOGGED) and not self._splitter.is_within_a_line
        part = part.replace(b"\n" + _LOGGED, _LOGGED).replace(_LOGGED, b"\n" + _LOGGED)
        return part[1:] if begins else part

    def _seen(self, lines: Lines) -> Lines:
        texts: list[str] = []
        size = 0
        for line in reversed(lines):
            texts.append(line.text)
            size += len(line.text) + 1
            if size > _LAST:
                break
        if texts:
            self.last = "\n".join([self.last, *reversed(texts)])[-_LAST:].strip()
        return lines
