"""A TCP proxy on loopback that loses or delays answers, and resets connections."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_CHUNK = 1 << 16
#: Who closes a socket that lingers for no time resets its connection (RST).
_RESET = struct.pack("ii", 1, 0)


class TcpProxy:
    """Passes bytes on to one server, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._loses: bytes | None = None
        self._cuts: bytes | None = None
        self._swallows = False
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._sockets: list[socket.socket] = []
        self._being_reset: set[socket.socket] = set()
        self._is_closed = False
        self._run(self._accept)

    def lose_the_answer_to(self, request: bytes) -> None:
        """Have the next request with these bytes carried out, and hang up after it."""
        with self._lock:
            self._loses = request

    def cut(self, request: bytes) -> None:
        """Have half of the next request with these bytes pass, and reset both sides."""
        with self._lock:
            self._cuts = request

    def reset(self) -> int:
        """Reset all connections that are open now; return how many."""
        with self._lock:
            open_now = [s for s in self._sockets if s.fileno() >= 0]
            self._sockets.clear()
        for each in open_now:
            self._reset(each)
        return len(open_now)

    @property
    def has_lost(self) -> bool:
        """Whether the answer that was to be lost is."""
        return self._loses is None

    @property
    def has_cut(self) -> bool:
        """Whether the request that was to be cut is."""
        return self._cuts is None

    def swallow(self, *, everything: bool) -> None:
        """Take bytes and pass none on, as a network does that drops packets."""
        self._swallows = everything

    def hold_answers(self, *, hold: bool) -> None:
        """Have answers wait until this is said to be over: the way back is slow."""
        if hold:
            self._may_answer.clear()
        else:
            self._may_answer.set()

    def close(self) -> None:
        self._may_answer.set()
        _hang_up(self._listener)  # Else the thread that waits would accept once more.
        with self._lock:
            self._is_closed = True
            for each in self._sockets:
                _hang_up(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._keep(client)
                server = socket.create_connection(("127.0.0.1", self._target))
                self._keep(server)
                lost = threading.Event()
                self._run(self._carry_requests, client, server, lost)
                self._run(self._carry_answers, server, client, lost)

    def _keep(self, accepted: socket.socket) -> None:
        """Have `close` hang up; if it was called meanwhile, hang up at once."""
        with self._lock:
            self._sockets.append(accepted)
            if self._is_closed:
                _hang_up(accepted)

    def _carry_requests(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        for data in _received(client):
            with self._lock:
                if self._loses is not None and self._loses in data:
                    self._loses = None
                    lost.set()
                is_cut = self._cuts is not None and self._cuts in data
                self._cuts = None if is_cut else self._cuts
            if is_cut:
                _sent(server, data[: len(data) // 2])
                self._reset(client)
                self._reset(server)
                return
            if not self._swallows and not _sent(server, data):
                break
        self._hang_up(server)

    def _carry_answers(
        self, server: socket.socket, client: socket.socket, lost: threading.Event
    ) -> None:
        for data in _received(server):
            # The answer proves that the server has carried the request out.
            if lost.is_set():
                break
            self._may_answer.wait()
            if not self._swallows and not _sent(client, data):
                break
        self._hang_up(client)

    def _reset(self, each: socket.socket) -> None:
        self._being_reset.add(each)
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.shutdown(socket.SHUT_RD)  # Else a thread that reads keeps it open.
        each.close()

    def _hang_up(self, each: socket.socket) -> None:
        # Whoever is to get a reset must not be told before that all is well.
        if each not in self._being_reset:
            _hang_up(each)

    def _run(self, target: object, *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()  # type: ignore[arg-type]


def _received(source: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            yield data


def _sent(target: socket.socket, data: bytes) -> bool:
    """Pass data on; return whether anybody was there to take it."""
    try:
        target.sendall(data)
    except OSError:
        return False
    return True


def _hang_up(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
