"""A process that forks children on request, and tells how each of them ended.

It has imported the workflow once, so that a child starts in milliseconds. It has one
thread, so forking is safe. It ends when its runner does, however that ends, as the
kernel tells it then: it kills its children, even those that hold the interpreter in C or
were stopped, with all processes that they started. Should it be killed itself, the
kernel kills its children; should it be stopped, the kernel wakes it when the runner ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from select import select
from typing import NoReturn

from ptsflow.core import transitions
from ptsflow.errors import PtsflowError
from ptsflow.executors.processes import worker
from ptsflow.executors.processes.fork_client import KEPT_AWAY
from ptsflow.executors.processes.messages import Exited, Failed, Kill, pack, read_order
from ptsflow.host import container_lock
from ptsflow.workflow import loading
from ptsflow.workflow.workflow import Workflow

#: prctl(2): the signal that the kernel sends to a process when its parent ends.
_PR_SET_PDEATHSIG = 1
#: How long what is said of a failed import may be, in characters.
_WHY = 800


def main() -> None:
    """Serve the runner at the other end of the socket that the command line names."""
    for number in KEPT_AWAY:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT_AWAY)
    lock, reference, descriptor = sys.argv[1:]
    runner = socket.socket(fileno=int(descriptor))
    runner.set_inheritable(False)
    parent = os.getppid()
    # Stopped, it would not see that the runner ended; nor would it by the socket where a
    # copy of the runner lives on. No SIGKILL, as it has to end what its children started.
    # Of a runner that ended before, the socket is closed already.
    _ask_kernel(signal.SIGCONT)
    # Its children inherit the lock, and so hold it from their first moment on.
    try:
        container_lock.hold(Path(lock))
    except OSError as error:
        _give_up(runner, f"{lock}: {error.strerror}")
    worker.cover_streams()
    _Nursery(runner, _imported(reference, runner), parent).serve()


def _imported(reference: str, runner: socket.socket) -> type[Workflow]:
    """Return the workflow; tell the runner, and end, where it cannot be imported."""
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
        runner.sendall(pack(Failed(transitions.cut(why, _WHY))))
    os._exit(1)  # whatever threads the import began


def _ask_kernel(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class _Nursery:
    def __init__(self, runner: socket.socket, workflow: type, parent: int) -> None:
        self._runner = runner
        self._workflow = workflow
        self._parent = parent
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
        with contextlib.suppress(OSError):  # it ended before it had read all
            data, descriptors, _, _ = socket.recv_fds(self._runner, 4096, 2)
        if not data:
            self._end()
        order = read_order(data)
        if isinstance(order, Kill):
            for pid, number in self._numbers.items():
                if number == order.number:
                    _kill_all_of(pid)
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(me, *descriptors)
        with contextlib.suppress(OSError):  # the child does the same; one is first
            os.setpgid(pid, pid)
        self._numbers[pid] = order.number
        for descriptor in descriptors:
            os.close(descriptor)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                # What it started ends with it; its number is still its own.
                _kill_all_of(ended.si_pid)
                pid, status, usage = os.wait4(ended.si_pid, 0)
                code = os.waitstatus_to_exitcode(status)
                memory = usage.ru_maxrss * 1024
                number = self._numbers.pop(pid, None)
                if number is not None:
                    with contextlib.suppress(OSError):  # the runner is gone: seen next
                        self._runner.sendall(pack(Exited(number, code, memory)))

    def _end(self) -> None:
        """End, leaving nobody behind."""
        for pid in self._numbers:
            _kill_all_of(pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        os._exit(0)

    def _be_child(self, parent: int, connection: int, output: int) -> None:
        code = 1
        try:
            _ask_kernel(signal.SIGKILL)
            if os.getppid() != parent:  # it ended before the kernel was asked
                os._exit(0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            # In a group of its own it hears no Ctrl-C, and can be killed with what it
            # started.
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._runner.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            worker.serve(self._workflow, connection, output)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing of it may reach the nursery's code
            traceback.print_exc()
        finally:
            os._exit(code)


def _kill_all_of(pid: int) -> None:
    """Kill a child and all processes that it started and that did not leave its group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
