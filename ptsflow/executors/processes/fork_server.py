"""The fork server: a process that forks worker processes and reports how they end.

The fork server imports the workflow once, so that a worker process starts in
milliseconds. It has one thread, so that forking is safe. Nothing that it started may
outlive the runner:

- If the runner ends, in whatever way, the kernel sends SIGCONT to the fork server, which
  kills its worker processes with all that they started, even those that hold the GIL or
  are stopped.
- If the fork server itself is killed, the kernel kills its worker processes.

Standard pools, loky and pebble were tried in its place. After `kill -9` of the runner
their bodies go on running, and in all but pebble the death of one worker process fails
the attempts of its siblings.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from select import select
from typing import NoReturn

from ptsflow.core import texts
from ptsflow.errors import PtsflowError
from ptsflow.executors.processes import worker
from ptsflow.executors.processes.fork_client import RUNNER_SIGNALS
from ptsflow.executors.processes.messages import (
    Exited,
    Failed,
    Kill,
    Refused,
    pack,
    read_order,
)
from ptsflow.host import container_lock
from ptsflow.workflow import loading
from ptsflow.workflow.workflow import Workflow

#: prctl(2): the signal that the kernel sends to a process when its parent ends.
_PR_SET_PDEATHSIG = 1
#: The longest reason for a failed import that is reported, in characters.
_LONGEST_WHY = 800


def main() -> None:
    """Serve the runner at the other end of the socket that the command line names."""
    for number in RUNNER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, RUNNER_SIGNALS)
    lock, reference, descriptor = sys.argv[1:]
    runner = socket.socket(fileno=int(descriptor))
    runner.set_inheritable(False)
    parent = os.getppid()
    # If this process is stopped (SIGSTOP) it cannot see the runner die, and the socket
    # stays open as long as a fork of the runner lives. PDEATHSIG=SIGCONT wakes it;
    # SIGKILL would leave behind what its worker processes started. If the runner is dead
    # already, the socket is closed.
    _set_parent_death_signal(signal.SIGCONT)
    # The bodies' locks lie on this file as well (see `_fork`).
    try:
        own_lock = container_lock.hold(Path(lock))
    except OSError as error:
        _give_up(runner, f"{lock}: {error.strerror}")
    worker.wrap_streams()
    server = _ForkServer(runner, _imported(reference, runner), parent, Path(lock))
    server.locks[server.pid] = own_lock
    server.serve()


def _imported(reference: str, runner: socket.socket) -> type[Workflow]:
    """Return the workflow class; if its import fails, tell the runner and end."""
    loading.is_for_bodies = True
    try:
        return worker.find(reference)
    except BaseException as error:  # noqa: BLE001 - importing runs a user's code
        why = str(error).split("\n")[0]
        if not isinstance(error, PtsflowError):
            why = f"importing the workflow failed: {type(error).__name__}: {why}"
        _give_up(runner, why)
    finally:
        loading.is_for_bodies = False


def _give_up(runner: socket.socket, why: str) -> NoReturn:
    with contextlib.suppress(OSError):
        runner.sendall(pack(Failed(texts.cut(why, _LONGEST_WHY))))
    os._exit(1)  # also if the import started threads


def _set_parent_death_signal(number: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class _ForkServer:
    def __init__(
        self, runner: socket.socket, workflow: type, parent: int, lock: Path
    ) -> None:
        self.pid = os.getpid()
        self._lock = lock
        #: Process -> its lock on the file. What a worker process forks shares its lock,
        #: which is therefore released here when the worker process has ended.
        self.locks: dict[int, int] = {}
        self._runner = runner
        self._workflow = workflow
        self._parent = parent
        #: The pid of each worker process -> the number by which the runner knows it.
        self._numbers: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        for number in (signal.SIGCHLD, signal.SIGCONT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        while True:
            if os.getppid() != self._parent:
                self._end()
            ready, _, _ = select([self._runner.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._runner.fileno() in ready:
                self._obey()

    def _obey(self) -> None:
        data, descriptors = b"", list[int]()
        with contextlib.suppress(OSError):  # the runner ended with unread messages
            data, descriptors, _, _ = socket.recv_fds(self._runner, 4096, 2)
        if not data:
            self._end()
        order = read_order(data)
        if isinstance(order, Kill):
            for pid, number in self._numbers.items():
                if number == order.number:
                    _kill_group_of(pid)
            return
        try:
            self._fork(order.number, descriptors)
        except OSError as error:
            # If the runner is gone, `serve` sees that next.
            with contextlib.suppress(OSError):
                self._runner.sendall(pack(Refused(order.number, str(error))))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork(self, number: int, descriptors: list[int]) -> None:
        """Fork a worker process.

        Raises:
            OSError: the system grants no process, or no file descriptors.
        """
        if len(descriptors) != 2:  # noqa: PLR2004 - connection and output
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword
        lock = container_lock.hold(self._lock)
        try:
            pid = os.fork()
        except OSError:
            os.close(lock)
            raise
        if pid == 0:
            self._become_worker(*descriptors)
        self.locks[pid] = lock
        # Whichever process runs first makes the group.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._numbers[pid] = number

    def _reap(self) -> None:
        """Report the worker processes that ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                # Kill the group before `wait4` frees the pid for another process.
                _kill_group_of(ended.si_pid)
                pid, status, usage = os.wait4(ended.si_pid, 0)
                self._release(pid)
                code = os.waitstatus_to_exitcode(status)
                memory = usage.ru_maxrss * 1024
                number = self._numbers.pop(pid, None)
                if number is not None:
                    # If the runner is gone, `serve` sees that next.
                    with contextlib.suppress(OSError):
                        self._runner.sendall(pack(Exited(number, code, memory)))

    def _end(self) -> None:
        """Kill all worker processes, and end after them."""
        for pid in self._numbers:
            _kill_group_of(pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                self._release(os.wait()[0])
        os._exit(0)

    def _release(self, pid: int) -> None:
        """Release the lock of a process that ended, also where a fork of it lives on."""
        lock = self.locks.pop(pid, None)
        if lock is not None:
            container_lock.release(lock)

    def _become_worker(self, connection: int, output: int) -> None:
        code = 1
        try:
            _set_parent_death_signal(signal.SIGKILL)
            if os.getppid() != self.pid:  # the fork server died before the line above
                os._exit(0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGCONT, *RUNNER_SIGNALS):
                signal.signal(number, signal.SIG_DFL)
            # A process group of its own: Ctrl-C does not reach the body, and the body
            # can be killed together with all that it started.
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._runner.close()
            for lock in self.locks.values():  # those of others
                os.close(lock)
            os.close(self._wake_read)
            os.close(self._wake_write)
            worker.serve(self._workflow, connection, output)
            code = 0
        except BaseException:  # noqa: BLE001 - none may reach the loop of the fork server
            traceback.print_exc()
        finally:
            os._exit(code)


def _kill_group_of(pid: int) -> None:
    """Kill a worker process, and all it started that did not leave its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
