"""Bodies on a cluster: any engine that runs a function somewhere, Dask first of all.

The engine calls one small function, with a token. Wherever it is called, it dials the
runner, names the token and is told what to do; from then on runner and worker talk to
each other. A token is good once: a call that the engine makes again by itself is
refused. So nothing of the user is pickled, and only the runner writes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ptsflow.core.outcome import Interrupted, Outcome
from ptsflow.errors import WorkerLost
from ptsflow.executors.attempt import Call
from ptsflow.executors.cluster import worker
from ptsflow.executors.cluster.backends import Engine, Place, Promise, place_of
from ptsflow.executors.cluster.connection import Line, asking
from ptsflow.executors.cluster.messages import Dismissed, Home, Premises, read_call
from ptsflow.executors.cluster.queue import LOOK_EVERY, Posted, Posts
from ptsflow.executors.processes.messages import Setting
from ptsflow.host import container_lock
from ptsflow.host.clock import since_boot
from ptsflow.version import VERSION
from ptsflow.workflow.loading import refer
from ptsflow.workflow.workflow import Workflow

#: How long a worker that was called once makes one attempt after another, in seconds.
_SHIFT = 1.0
#: How long it waits for the next one, in seconds.
_LINGER = 0.02
#: How long workers may take to end the run's children, in seconds.
_END = 5.0
#: How long an engine may take to end, in seconds.
_SHUTDOWN = 10.0
#: How long after a broken engine could not be made anew that is tried again.
_PAUSE = 1.0
#: How many may be greeted at the same time: others than workers may call.
_GREETED = 64


def begin(
    executor: str | Callable[[], Any],
    workflow: Workflow,
    container: str,
    store: str,
    uid: str,
) -> Cluster:
    """Start to listen for the workers of a run.

    Args:
        executor: "dask", `dask://HOST:PORT`, or what makes an engine.
        workflow: whose steps they are.
        container: the container's name.
        store: the store's identity.
        uid: the container's.

    Raises:
        LoadError: another process could not find the workflow's class.
        UsageError: the engine cannot be had.
    """
    lock = container_lock.file_of(store, uid)
    return Cluster(workflow, container, lock, place_of(executor))


class Cluster:
    """The workers of one run, from the runner's side.

    Args:
        workflow: whose steps they are.
        container: the container's name.
        lock: a file of that name is held by their children on each host.
        place: which engine calls them.
    """

    def __init__(
        self, workflow: Workflow, container: str, lock: Path, place: Place
    ) -> None:
        setting = Setting(container, workflow.encoded_parameters())
        reference = refer(type(workflow))
        self._premises = Premises(VERSION, reference, setting, _import_path())
        self._lock = lock
        self._place = place
        self._secret = secrets.token_bytes(32)
        self._making = threading.Lock()
        self._engine: Engine | None = place.make()
        self.room = place.room(self._engine)
        #: When making it anew was tried in vain.
        self._failed_at = -_PAUSE
        self._posts = Posts()
        self._lines: set[Line] = set()
        self._homes: dict[Line, threading.Event] = {}
        self._greeted = threading.BoundedSemaphore(_GREETED)
        self._is_over = threading.Event()
        host = place.host(self._engine)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        _clusters.add(self)
        threading.Thread(
            target=self._listen, name="ptsflow-cluster", daemon=True
        ).start()

    def run(self, call: Call) -> Outcome:
        """Have a worker make the attempt; return how it ended."""
        posted = Posted(call, self._place, self._is_over)
        summons = self._posts.post(posted, secrets.token_hex(16))
        if summons is not None:
            try:
                summons.promise = self._submit(summons.token)
            except Exception as error:  # noqa: BLE001 - whatever an engine raises
                self._posts.drop(summons)
                if self._posts.withdraw(posted):
                    posted.lose(self._place.why(error))
        while not posted.has_ended.wait(LOOK_EVERY):
            self._tend(posted)
        assert posted.outcome is not None  # noqa: S101 - it has ended
        return posted.outcome

    def _tend(self, posted: Posted) -> None:
        """See to what waits for a worker."""
        if not posted.is_running:
            is_needless = posted.call.handle.cancelled or self._is_over.is_set()
            # Who takes it out has it: this thread, or a worker.
            if is_needless and self._posts.withdraw(posted):
                posted.end(Interrupted())
        for summons, other in self._posts.unanswered():
            if other is not None and summons.promise is not None:
                other.lose(self._place.why_not(summons.promise))

    def stop(self) -> None:
        """End; bodies that run are killed, and gone when this returns."""
        self._is_over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        until = since_boot() + _END
        homes = list(self._homes.items())
        for line, _ in homes:
            line.hang_up(socket.SHUT_WR)
        for _, has_ended in homes:
            has_ended.wait(max(0.0, until - since_boot()))
        for line in list(self._lines):
            line.hang_up()
        with self._making:
            engine, self._engine = self._engine, None
        if engine is not None:
            _begin_shut_down(engine).join(_SHUTDOWN)

    def abandon(self) -> None:
        """Let go of what is the parent's, in a process that was forked off this one."""
        self._listener.close()
        for line in self._lines:
            line.close()

    # -- the engine -------------------------------------------------------------------

    def _submit(self, token: str) -> Promise:
        given = (self._address, self._secret, self._lock.name, token)
        engine = self._usable(None)
        try:
            return engine.submit(worker.attend, *given)
        except (BrokenExecutor, RuntimeError):
            return self._usable(engine).submit(worker.attend, *given)

    def _usable(self, broken: Engine | None) -> Engine:
        """Return the engine; a new one in place of a broken one."""
        with self._making:
            if self._is_over.is_set():
                raise WorkerLost("the run is over")
            if broken is not None and self._engine is broken:
                self._engine = None
                _begin_shut_down(broken)
            if self._engine is None:
                if since_boot() < self._failed_at + _PAUSE:
                    raise WorkerLost(f"{self._place.engine} was lost")
                self._failed_at = since_boot()
                self._engine = self._place.make()
                self._failed_at = -_PAUSE
            return self._engine

    # -- who calls --------------------------------------------------------------------

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                if not self._greeted.acquire(blocking=False):
                    end.close()
                    continue
                threading.Thread(
                    target=self._greet, args=[end], name="ptsflow-line", daemon=True
                ).start()

    def _greet(self, end: socket.socket) -> None:
        try:
            line = asking(end, self._secret)
        except (AuthenticationError, AssertionError, EOFError, OSError):
            return
        finally:
            self._greeted.release()
        self._lines.add(line)
        try:
            if not self._is_over.is_set():
                self._converse(line)
        except (EOFError, OSError):
            pass  # it has ended
        finally:
            self._lines.discard(line)
            line.close()

    def _converse(self, line: Line) -> None:
        while True:
            message = line.receive(read_call)
            if isinstance(message, Home):
                self._be_home(line)
                return
            if not self._employ(line, message.token, message.worker):
                return
            line.send(Dismissed())

    def _be_home(self, line: Line) -> None:
        """Hold a worker's line until it ends."""
        has_ended = self._homes[line] = threading.Event()
        try:
            line.send(self._premises)
            if not self._is_over.is_set():
                line.receive(read_call)
        finally:
            del self._homes[line]
            has_ended.set()

    def _employ(self, line: Line, token: str, worker: str) -> bool:
        """Have a worker make attempts; return whether it is of use still."""
        summons = self._posts.arrive(token)
        if summons is None:
            return True
        since = since_boot()
        patience = 0.0
        while (posted := self._posts.take(patience)) is not None:
            if not posted.make(line, worker, summons):
                return False
            if since_boot() - since >= _SHIFT:
                break
            self._posts.give_back()
            patience = _LINGER
        return True


def _import_path() -> list[str]:
    """Return where this process finds modules, but for what is installed."""
    installed = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    places = [Path(entry).resolve() for entry in sys.path]
    return [
        str(place)
        for place in places
        if place.is_dir() and not installed.intersection((place, *place.parents))
    ]


def _begin_shut_down(engine: Engine) -> threading.Thread:
    def shut_down() -> None:
        with contextlib.suppress(Exception):
            engine.shutdown(wait=True, cancel_futures=True)

    thread = threading.Thread(target=shut_down, name="ptsflow-engine", daemon=True)
    thread.start()
    return thread


_clusters: WeakSet[Cluster] = WeakSet()


def _after_fork() -> None:
    for cluster in list(_clusters):
        cluster.abandon()


# An engine may fork its workers: what is open here would stay open in them, and nobody
# would see this process end.
os.register_at_fork(after_in_child=_after_fork)
