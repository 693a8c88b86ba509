"""The runner's side of the nursery and of the child processes that it forks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

from ptsflow.executors.processes.messages import (
    Exited,
    Kill,
    Setting,
    Spawn,
    pack,
    read_exit,
)
from ptsflow.host.clock import since_boot

#: What a terminal or a service manager sends to the nursery too, though not for it.
KEPT_AWAY = (signal.SIGINT, signal.SIGTERM)
#: How many parts of what a body printed are taken in before looking at it again.
_DRAIN = 16
#: How long the nursery may take to end, in seconds.
_END = 10.0


class Child:
    """The runner's side of one child process."""

    def __init__(self, number: int, connection: Connection, output: int) -> None:
        self.number = number
        self.connection = connection
        self.output = output
        #: Once it has begun: before, the workflow may still be being imported.
        self.pid: int | None = None
        #: Whether it has closed its output; there is nothing to wait for, then.
        self.is_silent = False
        self.exited: Exited | None = None
        self.has_exited = threading.Event()

    def drain(self) -> bytes:
        """Return what it printed; not all of it, as it may print for ever.

        What it had printed before this was called is there, as no pipe holds as much.
        """
        parts = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DRAIN):
                parts.append(os.read(self.output, 65536))
                if not parts[-1]:
                    self.is_silent = True
                    break
        return b"".join(parts)

    def close(self) -> None:
        """Let go of it; it ends by itself."""
        self.connection.close()
        os.close(self.output)


class Nursery:
    """The process that forks children, and a thread that hears how they end.

    Args:
        command: starts it, but for the number of its socket.
        setting: what every child is told first.
    """

    def __init__(self, command: Sequence[str], setting: Setting) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self._next = 0
        self.began = since_boot()
        #: Why it could not import the workflow, if it could not.
        self.problem = ""
        self.has_ended = threading.Event()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        # Ctrl-C and SIGTERM are the runner's, also before the nursery can say so.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_AWAY)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        self._hearing = threading.Thread(
            target=self._hear, name="ptsflow-nursery", daemon=True
        )
        self._hearing.start()

    def spawn(self) -> Child:
        """Return a new child.

        Raises:
            OSError: there are too many processes or files.
            BrokenPipeError: the nursery has ended.
        """
        ours, theirs = socket.socketpair()
        try:
            read, write = os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
        os.set_blocking(read, False)
        with self._lock:
            self._next += 1
            child = Child(self._next, Connection(ours.detach()), read)
            self._children[child.number] = child
        try:
            order = [pack(Spawn(child.number))]
            socket.send_fds(self._socket, order, [theirs.fileno(), write])
            child.connection.send_bytes(pack(self._setting))
        except OSError as error:
            with self._lock:
                self._children.pop(child.number, None)
            child.close()
            raise BrokenPipeError(f"their nursery has ended: {error}") from error
        finally:
            theirs.close()
            os.close(write)
        if self.has_ended.is_set():
            child.has_exited.set()
        return child

    def kill(self, child: Child) -> None:
        """End a child at once."""
        with contextlib.suppress(OSError):
            self._socket.sendall(pack(Kill(child.number)))

    def stop(self) -> None:
        """End it, and its children with it; they are gone when this returns."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._hearing.join()
        self._socket.close()

    def how_it_ended(self) -> str:
        """Return how it ended, once it has."""
        return how_ended(self._process.returncode)

    def _hear(self) -> None:
        """Take in which children ended; in a thread of its own."""
        with contextlib.suppress(OSError):
            while data := self._receive():
                message = read_exit(data)
                if isinstance(message, Exited):
                    with self._lock:
                        child = self._children.pop(message.number, None)
                    if child is not None:
                        child.exited = message
                        child.has_exited.set()
                else:
                    self.problem = message.why
        try:
            self._process.wait(timeout=_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.has_ended.set()
        # Without the nursery they are ended by the kernel.
        with self._lock:
            for child in self._children.values():
                child.has_exited.set()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(4096)
        except ConnectionResetError:
            # It ended before it had read all; what it said is still to be read.
            return self._socket.recv(4096)


def how_ended(status: int) -> str:
    """Return how a process ended, in words."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"  # a real-time one has no name
    return f"ended with exit status {status}"
