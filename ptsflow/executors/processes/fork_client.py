"""The runner's side of the fork server and of the worker processes that it forks."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection

from ptsflow.executors.processes.messages import (
    Exited,
    Failed,
    Kill,
    Refused,
    Setting,
    Spawn,
    pack,
    read_exit,
)
from ptsflow.host.clock import since_boot

#: Signals by which a terminal or a service manager stops the runner. They reach the fork
#: server as well, which ignores them: the runner says when the fork server ends.
RUNNER_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How many reads `drain` makes at most, so that a body that prints without end cannot
#: hold it.
_MOST_READS = 16
#: How long the fork server may take to end, in seconds.
_END_TIMEOUT = 10.0


class WorkerProcess:
    """The runner's side of one worker process."""

    def __init__(self, number: int, connection: Connection, output: int) -> None:
        self.number = number
        self.connection = connection
        #: The end of the pipe from which the runner reads what the body prints.
        self.output = output
        #: None until the process is ready: the workflow may still be being imported.
        self.pid: int | None = None
        #: Whether the process has closed its output: nothing more can come.
        self.is_output_closed = False
        #: Whether the next body would find it as it was when it was new, apart from memory.
        self.is_clean = True
        #: How much more memory it has asked for than a new one, in bytes.
        self.held = 0
        self.exited: Exited | None = None
        self._refused = ""
        self.has_exited = threading.Event()

    @property
    def refusal(self) -> str:
        """Why the system granted no process; "" if it did, or has not yet."""
        exited = self.exited
        if self.pid is None and exited is not None and exited.status == os.EX_TEMPFAIL:
            return "it was granted no thread"
        return self._refused

    def refuse(self, why: str) -> None:
        """Note that there is no process."""
        self._refused = why
        self.has_exited.set()

    def drain(self) -> bytes:
        """Return printed output, with all that was printed before this call.

        Output that is printed meanwhile may be left for the next call: `_MOST_READS`
        reads are more than a pipe holds.
        """
        parts = []
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_READS):
                parts.append(os.read(self.output, 65536))
                if not parts[-1]:
                    self.is_output_closed = True
                    break
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection and the pipe; the process then ends by itself."""
        self.connection.close()
        os.close(self.output)


class ForkClient:
    """Starts a fork server, has it fork worker processes, and hears how they end.

    Args:
        command: the command of the fork server; the number of its socket is appended.
        folder: the folder in which it runs; None for the current one.
        setting: the first message to every worker process.

    Raises:
        OSError: the fork server cannot be started.
    """

    def __init__(
        self, command: Sequence[str], setting: Setting, folder: str | None = None
    ) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._workers: dict[int, WorkerProcess] = {}
        self._last_number = 0
        #: When the fork server was started, in seconds since the machine booted.
        self.began = since_boot()
        #: Why the fork server could not start or import the workflow; "" if it could.
        self.problem = ""
        self.has_ended = threading.Event()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        # The fork server inherits the mask, so that no such signal can end it before it
        # has had the time to ignore them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, RUNNER_SIGNALS)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        self._listener = threading.Thread(
            target=self._listen, name="ptsflow-fork-client", daemon=True
        )
        try:
            self._listener.start()
        except RuntimeError as error:
            ours.close()  # the fork server ends by that
            self._process.wait()
            raise OSError(errno.EAGAIN, str(error)) from None

    def spawn(self) -> WorkerProcess:
        """Return a new worker process.

        Raises:
            OSError: there are too many processes or open files.
            BrokenPipeError: the fork server has ended.
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
            self._last_number += 1
            worker = WorkerProcess(self._last_number, Connection(ours.detach()), read)
            self._workers[worker.number] = worker
        try:
            order = [pack(Spawn(worker.number))]
            socket.send_fds(self._socket, order, [theirs.fileno(), write])
            worker.connection.send_bytes(pack(self._setting))
        except OSError as error:
            with self._lock:
                self._workers.pop(worker.number, None)
            worker.close()
            raise BrokenPipeError(f"the fork server has ended: {error}") from error
        finally:
            theirs.close()
            os.close(write)
        if self.has_ended.is_set():
            worker.has_exited.set()
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """Have a worker process killed; returns before it is dead."""
        with contextlib.suppress(OSError):
            self._socket.sendall(pack(Kill(worker.number)))

    def retire(self, worker: WorkerProcess) -> None:
        """End a worker process that makes no attempt."""
        self.kill(worker)
        worker.close()

    def stop(self) -> None:
        """End the fork server and its worker processes; all are gone on return."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._listener.join()
        self._socket.close()

    def how_it_ended(self) -> str:
        """Return in words how the fork server ended; call this after `has_ended`."""
        return how_ended(self._process.returncode)

    def _listen(self) -> None:
        """Note which worker processes ended; runs in a thread of its own."""
        with contextlib.suppress(OSError):
            while data := self._receive():
                message = read_exit(data)
                if isinstance(message, Failed):
                    self.problem = message.why
                    continue
                with self._lock:
                    worker = self._workers.pop(message.number, None)
                if worker is None:
                    continue
                if isinstance(message, Refused):
                    worker.refuse(message.why)
                else:
                    worker.exited = message
                    worker.has_exited.set()
        try:
            self._process.wait(timeout=_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.has_ended.set()
        # The kernel kills the worker processes of a fork server that has ended.
        with self._lock:
            for worker in self._workers.values():
                worker.has_exited.set()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(4096)
        except ConnectionResetError:
            # If the fork server ended with unread orders, the first read fails so, and
            # the next read still returns its last message.
            return self._socket.recv(4096)


def how_ended(status: int) -> str:
    """Return in words how a process with this exit status ended."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"  # real-time signals have no names
    return f"ended with exit status {status}"
