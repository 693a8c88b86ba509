"""A connection between a runner and a worker, and what is said on it.

Both prove to each other that they know the secret of the run before anything is said.
What is said is data alone, never pickles.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import (
    Connection,
    answer_challenge,
    deliver_challenge,
)
from typing import TypeVar, overload

from msgspec import MsgspecError
from msgspec.msgpack import Decoder

from ptsflow.core.model import LogLine
from ptsflow.executors.processes.messages import (
    Assignment,
    Cancel,
    Checkpoint,
    Ended,
    Kept,
    Message,
    Progressing,
    Setting,
    pack,
)
from ptsflow.workflow.loading import Reference

M = TypeVar("M")

_LEFT_OUT = LogLine(0, "", "")
#: How long the other side may take to prove itself, in seconds.
_GREETING = 10
#: How long a send may be stuck, in seconds.
_STUCK = 60
#: The longest message: all results of a wide fan-out may go to one step.
_LONGEST = 2**30


class Home(Message, frozen=True, tag=True, array_like=True):
    """From a worker: it has children for this run as long as this connection lasts."""

    #: Its `host:pid`.
    worker: str


class Premises(Message, frozen=True, tag=True, array_like=True):
    """To a worker: what all children of this run need to know."""

    #: Of ptsflow, which must be the same.
    version: str
    reference: Reference
    setting: Setting
    #: Where else modules may be found.
    path: list[str]


class Token(Message, frozen=True, tag=True, array_like=True):
    """From a worker: it was called with this token."""

    token: str
    worker: str


class Work(Message, frozen=True, tag=True, array_like=True):
    """To a worker: make it."""

    assignment: Assignment
    timeout: float | None
    stall: float | None


class Dismissed(Message, frozen=True, tag=True, array_like=True):
    """To a worker: there is nothing (more) to do for it."""


class RanBy(Message, frozen=True, tag=True, array_like=True):
    """From a worker: the `host:pid` of the child that makes the attempt."""

    ran_by: str


class Logged(Message, frozen=True, tag=True, array_like=True):
    """From a worker: what the body logged or printed; of much of it only the ends."""

    count: int
    head: list[LogLine]
    tail: list[LogLine]


class Lost(Message, frozen=True, tag=True, array_like=True):
    """From a worker: the attempt ended without its body's say.

    The runner knows the step's `retry=`, and decides what follows.
    """

    #: The name of an `AttemptLost`.
    kind: str
    text: str


Report = Progressing | Checkpoint | Logged | RanBy | Ended | Lost

read_call = Decoder(Home | Token).decode
read_premises = Decoder(Premises).decode
read_order = Decoder(Work | Dismissed | Cancel).decode
read_answer = Decoder(Kept | Cancel).decode
read_report = Decoder(Report).decode


class Ends(Sequence[LogLine]):
    """Lines of which only the first and the last ones came here; between, empty ones."""

    def __init__(self, logged: Logged) -> None:
        self._logged = logged

    def __len__(self) -> int:
        return self._logged.count

    @overload
    def __getitem__(self, index: int) -> LogLine: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogLine]: ...
    def __getitem__(self, index: int | slice) -> LogLine | list[LogLine]:
        count, head, tail = self._logged.count, self._logged.head, self._logged.tail
        places = range(count)[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        if places < len(head):
            return head[places]
        left = count - places
        return tail[-left] if left <= len(tail) else _LEFT_OUT


def ends_of(lines: Sequence[LogLine], head: int, tail: int) -> Logged:
    """Return lines up to so many characters of the first ones and of the last ones."""
    first: list[LogLine] = []
    while head > 0 and len(first) < len(lines):
        first.append(lines[len(first)])
        head -= len(first[-1].text) + 1
    last: list[LogLine] = []
    while tail > 0 and len(first) + len(last) < len(lines):
        last.append(lines[len(lines) - 1 - len(last)])
        tail -= len(last[-1].text) + 1
    return Logged(len(lines), first, last[::-1])


class Line:
    """One connection; any thread may send, one receives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the other side is gone.
        """
        with self._sending:
            self._connection.send_bytes(pack(message))

    def receive(self, read: Callable[[bytes], M]) -> M:
        """Return the next message.

        Raises:
            EOFError: the other side has ended.
            OSError: it is gone, or says what was not expected.
        """
        data = self._connection.recv_bytes(_LONGEST)
        try:
            return read(data)
        except MsgspecError as error:
            raise OSError(f"it was not understood: {error}") from error

    def poll(self, timeout: float) -> bool:
        """Whether something has come in, or the other side has ended."""
        return self._connection.poll(timeout)

    def hang_up(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection for whoever waits on it, here and there."""
        with self._sending, contextlib.suppress(OSError):
            handle = socket.socket(fileno=self._connection.fileno())
            try:
                handle.shutdown(how)
            finally:
                handle.detach()

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


def asking(end: socket.socket, secret: bytes) -> Line:
    """Return the runner's end of a connection, once both know each other.

    Raises:
        AuthenticationError: the other side does not know the secret.
        OSError, EOFError: it is gone, or says nothing.
    """
    connection = _prepared(end)
    try:
        deliver_challenge(connection, secret)
        answer_challenge(connection, secret)
        return _line(connection)
    except BaseException:
        connection.close()
        raise


def answering(end: socket.socket, secret: bytes) -> Line:
    """Return a worker's end of a connection; as `asking`."""
    connection = _prepared(end)
    try:
        answer_challenge(connection, secret)
        deliver_challenge(connection, secret)
        return _line(connection)
    except BaseException:
        connection.close()
        raise


def _prepared(end: socket.socket) -> Connection:
    end.settimeout(None)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A machine that vanishes is noticed within 20 s.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    _limit(end, _GREETING)
    return Connection(end.detach())


def _line(connection: Connection) -> Line:
    handle = socket.socket(fileno=connection.fileno())
    _limit(handle, 0)
    handle.detach()
    return Line(connection)


def _limit(end: socket.socket, seconds: int) -> None:
    for option, time in ((socket.SO_RCVTIMEO, seconds), (socket.SO_SNDTIMEO, _STUCK)):
        end.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", time, 0))
