"""A connection between a runner and a worker, and what is said on it.

Both prove to each other that they know the secret of the run before anything is said.
What is said is data alone, never pickles.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from multiprocessing.connection import (
    Connection,
    answer_challenge,
    deliver_challenge,
)
from typing import TypeVar

from msgspec import MsgspecError

from ptsflow.executors.processes.messages import (
    Message,
    pack,
)

M = TypeVar("M")

#: How long the other side may take to prove itself, in seconds.
_GREETING = 10
#: How long a send may be stuck, in seconds.
_STUCK = 60
#: The longest message: all results of a wide fan-out may go to one step.
_LONGEST = 2**30


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
