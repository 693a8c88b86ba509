"""A connection between the runner and a cluster worker.

Before the first message each side proves to the other that it knows the secret of the
run. Messages are data, never pickles. What a backend brings itself, such as the result
of a call or its exception, may be unpickled by the backend: the manual says so.
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

from ptsflow.executors.processes.messages import Message, pack

M = TypeVar("M")

#: How long the other side may take to prove that it knows the secret, in seconds.
_HANDSHAKE_TIMEOUT = 10
#: How long sending may be blocked, in seconds.
_SEND_TIMEOUT = 60
#: The longest message, in bytes: all results of a wide fan-out may go to one step.
_LONGEST = 2**30


class MessageConnection:
    """An open connection. Any thread may send, one thread receives."""

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
        """Return the next message, decoded by `read`.

        Raises:
            EOFError: the other side has ended.
            OSError: the other side is gone, or sent something else.
        """
        data = self._connection.recv_bytes(_LONGEST)
        try:
            return read(data)
        except MsgspecError as error:
            raise OSError(f"it was not understood: {error}") from error

    def poll(self, timeout: float) -> bool:
        """Return whether a message has arrived or the other side has ended.

        Args:
            timeout: how long to wait for that, in seconds.
        """
        return self._connection.poll(timeout)

    def hang_up(self, how: int = socket.SHUT_RDWR) -> None:
        """Shut the connection down, so that readers on both sides see its end."""
        with self._sending, contextlib.suppress(OSError):
            handle = socket.socket(fileno=self._connection.fileno())
            try:
                handle.shutdown(how)
            finally:
                handle.detach()

    def close(self) -> None:
        """Close this process's end."""
        self._connection.close()


def runner_end(end: socket.socket, secret: bytes) -> MessageConnection:
    """Return the runner's end of a connection, after both sides proved themselves.

    Raises:
        AuthenticationError: the other side does not know the secret.
        OSError, EOFError: the other side is gone, or silent.
    """
    connection = _prepared(end)
    try:
        deliver_challenge(connection, secret)
        answer_challenge(connection, secret)
        return _opened(connection)
    except BaseException:
        connection.close()
        raise


def worker_end(end: socket.socket, secret: bytes) -> MessageConnection:
    """Return a cluster worker's end of a connection; raises as `runner_end`."""
    connection = _prepared(end)
    try:
        answer_challenge(connection, secret)
        deliver_challenge(connection, secret)
        return _opened(connection)
    except BaseException:
        connection.close()
        raise


def _prepared(end: socket.socket) -> Connection:
    end.settimeout(None)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The end of a machine that vanishes is noticed within 20 s.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    _set_timeouts(end, _HANDSHAKE_TIMEOUT)
    return Connection(end.detach())


def _opened(connection: Connection) -> MessageConnection:
    handle = socket.socket(fileno=connection.fileno())
    _set_timeouts(handle, 0)
    handle.detach()
    return MessageConnection(connection)


def _set_timeouts(end: socket.socket, receive: int) -> None:
    """Set how long receiving may take, in seconds (0: for ever), and sending."""
    limits = (socket.SO_RCVTIMEO, receive), (socket.SO_SNDTIMEO, _SEND_TIMEOUT)
    for option, seconds in limits:
        end.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
