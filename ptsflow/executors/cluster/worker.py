"""The worker's side of a run on a cluster: `attend`, which an engine calls on a worker.

The runner is dialled from there, and stays the only one that writes anything. A body
runs in a child process, as it does beside a runner; the worker passes on what the child
reports. One connection is held for the sake of all: when the runner ends, however it
ends, so does the connection, and with it all that was started here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import AuthenticationError
from pathlib import Path

from ptsflow.core.outcome import Outcome
from ptsflow.errors import ProcessDied
from ptsflow.executors.cluster.connection import Line, answering
from ptsflow.executors.cluster.messages import (
    Dismissed,
    Home,
    Lost,
    Token,
    Work,
    read_order,
    read_premises,
)
from ptsflow.executors.cluster.worker_attempt import Errand
from ptsflow.executors.processes.messages import Ended
from ptsflow.executors.processes.pool import Processes
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.version import VERSION

#: How long children are kept for a next attempt, in seconds.
_KEPT = 10.0


def attend(runner: tuple[str, int], secret: bytes, lock: str, token: str) -> str:
    """Make attempts of a run.

    Args:
        runner: host and port of the runner.
        secret: what both know each other by.
        lock: the name of the file that `presence` watches.
        token: is good once.

    Returns:
        Why none could be made, or "".
    """
    try:
        with _entered(runner, secret, lock) as outpost:
            outpost.attend(token)
    except _Unfit as unfit:
        return (
            f"{here()} has ptsflow {VERSION}, and the runner has {unfit}; install "
            "the same there"
        )
    except (AuthenticationError, AssertionError, EOFError, OSError) as error:
        where = f"{runner[0]}:{runner[1]}"
        why = str(error) or type(error).__name__
        return f"{here()} could not talk to the runner at {where}: {why}"
    return ""


def here() -> str:
    """Return what this process is called."""
    return f"{socket.gethostname()}:{os.getpid()}"


class _Unfit(Exception):
    """The runner has another version."""


def _check_version(wanted: str) -> None:
    if wanted != VERSION:
        raise _Unfit(wanted)


class Outpost:
    """One run on this worker: a connection to its runner, and children for its bodies."""

    def __init__(self, runner: tuple[str, int], secret: bytes, lock: str) -> None:
        self._runner = runner
        self._secret = secret
        self._opening = threading.Lock()
        self._attending = 0
        self._left = since_boot()
        self.is_over = False
        self._file = container_lock.file_of("", "").with_name(Path(lock).name)
        self._lines: list[Line] = []
        self._home: Line | None = None

    # -- its life -------------------------------------------------------------------

    def enter(self) -> bool:
        """Take part in it; return False where it is over."""
        with self._opening:
            if self.is_over:
                return False
            self._attending += 1
            try:
                if self._home is None:
                    self._open()
            except BaseException:
                self.is_over = True
                raise
            return True

    def leave(self) -> None:
        """Take no part in it any more."""
        with self._opening:
            self._attending -= 1
            self._left = since_boot()

    def _open(self) -> None:
        # First of all: the runner lives after this was taken, so that whoever takes the
        # container over from it waits for what is started here.
        hold = container_lock.hold(self._file)
        try:
            home = self._dial()
            home.send(Home(here()))
            premises = home.receive(read_premises)
            _check_version(premises.version)
            with _import_path(_joined(premises.path)):
                self._pool = Processes(premises.reference, premises.setting, self._file)
        except BaseException:
            os.close(hold)
            raise
        self._premises = premises
        self._home, self._held = home, hold
        threading.Thread(
            target=self._keep, args=[home], name="ptsflow-outpost", daemon=True
        ).start()

    def _keep(self, home: Line) -> None:
        """End it when the runner has, or when it is idle; in a thread of its own."""
        with contextlib.suppress(OSError):
            while not home.poll(0.5) and not self._is_idle():
                pass
        self.end()

    def _is_idle(self) -> bool:
        with self._opening:
            since = since_boot() - self._left
            is_idle = not self._attending and (self.is_over or since >= _KEPT)
            self.is_over = self.is_over or is_idle
            return is_idle

    def end(self) -> None:
        """Kill what runs, and be gone."""
        with self._opening:
            home, self._home = self._home, None
            if home is None:
                return
            self.is_over = True
        self._pool.stop()
        os.close(self._held)
        container_lock.remove(self._file)
        home.close()
        for line in self._lines:
            line.close()
        _forget(self._secret, self)

    def abandon(self) -> None:
        """Let go of what is the parent's, in a process that was forked off this one."""
        for line in (self._home, *self._lines):
            if line is not None:
                line.close()
        if self._home is not None:
            os.close(self._held)

    def _dial(self) -> Line:
        return answering(socket.create_connection(self._runner, 10.0), self._secret)

    # -- attempts ---------------------------------------------------------------------

    def attend(self, token: str) -> None:
        """Make attempts, as long as the runner has one for who was given the token."""
        try:
            line = self._lines.pop()
        except IndexError:
            line = self._dial()
        try:
            line.send(Token(token, here()))
            while not isinstance(order := line.receive(read_order), Dismissed):
                if isinstance(order, Work):  # else it was meant for the one before
                    errand = Errand(line, order, self._premises.setting.container)
                    line.send(self._judged(errand, errand.run(self._pool)))
        except BaseException:
            line.close()
            raise
        self._lines.append(line)

    def _judged(self, errand: Errand, outcome: Outcome) -> Ended | Lost:
        lost = errand.lost
        if lost is None:
            return Ended(outcome)
        problem = self._pool.problem
        if isinstance(lost, ProcessDied) and problem:
            module = self._premises.reference.module
            why = f"{here()} could not import {module}: {problem}; install it there"
            return Lost("WorkerLost", why)
        return Lost(type(lost).__name__, str(lost))


# -- the outposts of this process ---------------------------------------------------

_outposts: dict[bytes, Outpost] = {}
_entering = threading.Lock()


@contextlib.contextmanager
def _entered(runner: tuple[str, int], secret: bytes, lock: str) -> Iterator[Outpost]:
    while True:
        with _entering:
            outpost = _outposts.get(secret)
            if outpost is None or outpost.is_over:
                outpost = _outposts[secret] = Outpost(runner, secret, lock)
        try:
            if outpost.enter():
                break
        except BaseException:
            _forget(secret, outpost)
            raise
    try:
        yield outpost
    finally:
        outpost.leave()


def _forget(secret: bytes, outpost: Outpost) -> None:
    with _entering:
        if _outposts.get(secret) is outpost:
            del _outposts[secret]


@atexit.register
def _end_all() -> None:
    for outpost in list(_outposts.values()):
        outpost.end()


def _after_fork() -> None:
    global _entering  # noqa: PLW0603 - another thread may have held it
    _entering = threading.Lock()
    for outpost in _outposts.values():
        outpost.abandon()
    _outposts.clear()


# What is open here would stay open in a forked process, and nobody would see an end.
os.register_at_fork(after_in_child=_after_fork)


# -- the host -----------------------------------------------------------------------


def _joined(path: Sequence[str]) -> list[str]:
    """Return the import path of this process, and behind it what else the runner has."""
    return [*sys.path, *(p for p in path if p not in sys.path and Path(p).is_dir())]


@contextlib.contextmanager
def _import_path(path: list[str]) -> Iterator[None]:
    with _entering:
        before = list(sys.path)
        sys.path[:] = path
        try:
            yield
        finally:
            sys.path[:] = before
