"""Bodies on any backend that calls functions, and who may connect to a runner."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow.errors import UsageError
from ptsflow.executors.cluster import coordinator, queue, worker
from ptsflow.executors.cluster.backends import Backend, BackendSpec, backend_spec
from ptsflow.executors.processes.messages import Setting
from ptsflow.host import container_lock
from ptsflow.version import VERSION
from ptsflow.workflow.loading import refer
from tests.executors.beside import Beside, check_one_body_each, errors_of
from tests.executors.cluster_flows import (
    Fragile,
    Gated,
    Idle,
    Lone,
    entries,
    open_gate,
    until,
)
from tests.executors.dask_cluster import worker_of
from tests.executors.flows import One
from tests.executors.test_outcomes import BOTH, DEATHS, ONCE, check_failed, outcome
from tests.support.containers import tasks_of
from tests.support.processes import environment, is_alive, left_of


def forking() -> Executor:
    return ProcessPoolExecutor(2, mp_context=get_context("fork"))


def spawning() -> Executor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def threads() -> Executor:
    return ThreadPoolExecutor(4)


def loky() -> Executor:
    found = pytest.importorskip("loky")
    backend: Executor = found.ProcessPoolExecutor(2)
    return backend


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TMPDIR", f"{tmp_path}")
    return f"sqlite:///{tmp_path}/pts.db"


class Listening:
    """An backend that keeps what it was told to call, and calls nothing."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = threading.Event()
        self._error = error

    def submit(self, _call: Callable[..., str], /, *args: Any) -> Future[str]:
        self.calls.append(args)
        self.called.set()
        future: Future[str] = Future()
        if self._error is not None:
            future.set_exception(self._error)
        return future

    def shutdown(self, **_: bool) -> None:
        pass


# -- backends -----------------------------------------------------------------------


@pytest.mark.parametrize("make", [threads, forking, spawning, loky])
@pytest.mark.parametrize(("act", "text"), [BOTH[0], BOTH[5], DEATHS[0], DEATHS[1]])
def test_what_becomes_of_a_body_is_the_same_in_every_backend(
    act: str, text: str, make: Callable[[], Executor], url: str
) -> None:
    tasks = outcome(One(act=act), url, make)

    check_failed(tasks["tested"], text, 1 if act in ONCE else 2)


MADE: list[Executor] = []


class Pooled(Gated):
    """Says itself where its bodies run."""

    @staticmethod
    def executor() -> Executor:
        MADE.append(threads())
        return MADE[-1]


def test_an_backend_is_made_once_and_ends_with_its_run(url: str, journal: str) -> None:
    MADE.clear()
    open_gate(journal)
    report = ptsflow.run(Pooled(journal=journal), url, "tested")

    assert report.ok
    assert len(MADE) == 1
    with pytest.raises(RuntimeError):
        MADE[0].submit(os.getpid)


def test_a_broken_pool_is_made_anew(url: str, journal: str) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(forking())
        return made[-1]

    run = Beside(Gated(journal=journal), url, make)
    os.kill(worker_of(until(journal, "start", 2)[0].pid), 9)
    open_gate(journal)
    report = run.report()

    assert report.ok
    assert report.result("total") == 1
    assert {kind for kind, _ in errors_of(url)} == {"WorkerLost"}
    assert len(made) == 2
    check_one_body_each(journal)


def test_what_makes_no_backend_is_refused(url: str, journal: str) -> None:
    def number() -> int:
        return 4

    with pytest.raises(UsageError) as refused:
        ptsflow.run(Gated(journal=journal), url, "tested", executor=number)  # type: ignore[arg-type] # what is tested

    assert str(refused.value) == (
        "executor: expected number to make a concurrent.futures.Executor, found 4"
    )


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        backend_spec("slurm")

    assert str(refused.value) == (
        'executor: expected "thread", "process", "dask", "dask://HOST:PORT" or what '
        "makes a concurrent.futures.Executor, found 'slurm'"
    )


class Twice(ThreadPoolExecutor):
    """Calls everything twice, as Dask does when it takes a worker for lost."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        first = super().submit(call, *args)
        super().submit(call, *args)
        return first


def test_a_call_that_is_made_again_is_refused(url: str, journal: str) -> None:
    open_gate(journal)
    report = ptsflow.run(
        Gated(journal=journal, items=12), url, "tested", executor=lambda: Twice(8)
    )

    assert report.ok
    assert len([e for e in entries(journal) if e.what == "start"]) == 12


class Hasty(ThreadPoolExecutor):
    """Takes calls for ended that are not, as Dask does when it retires a worker."""

    def __init__(self) -> None:
        super().__init__(8)
        self.futures: list[Future[Any]] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        super().submit(call, *args)
        self.futures.append(Future())
        return self.futures[-1]


def test_a_body_that_the_backend_gave_up_is_killed(
    url: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_PATIENCE", 0.3)
    backend = Hasty()
    run = Beside(Gated(journal=journal, items=1), url, lambda: backend)
    pid = until(journal, "start", 1)[0].pid
    for future in backend.futures:
        future.set_result("")
    until(journal, "start", 2)
    left, was_over = left_of([pid]), run.is_over()
    open_gate(journal)

    assert left == []
    assert not was_over
    assert run.report().ok
    assert [kind for kind, _ in errors_of(url)] == ["WorkerLost"]
    check_one_body_each(journal)


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(
            chained(RuntimeError("in the graph"), ImportError("no ptsflow here")),
            "the worker could not import ptsflow: ImportError: no ptsflow here; install "
            f"ptsflow {VERSION} there",
            id="ptsflow is not there",
        ),
        pytest.param(
            BrokenExecutor("a child died"),
            "the worker could not be used: BrokenExecutor: a child died",
            id="broken",
        ),
        pytest.param(CancelledError(), "the executor make was lost", id="cancelled"),
    ],
)
def test_an_backend_that_fails_has_lost_the_attempt(
    error: BaseException, text: str, url: str
) -> None:
    def make() -> Backend:
        return Listening(error)

    report = ptsflow.run(Lone(), url, "tested", executor=make)  # type: ignore[arg-type] # it is like one

    assert not report.ok
    assert tasks_of(url, "tested")["work"].error == text


# -- who may connect ---------------------------------------------------------------


def test_who_does_not_know_the_secret_is_told_nothing() -> None:
    backend = Listening()
    spec = BackendSpec(lambda: backend, "the backend", "the worker")
    begun = coordinator.Coordinator(
        refer(Gated), Setting("tested", {}), Path("x.lock"), spec
    )
    try:
        told = worker.serve(begun._address, b"guessed", "x.lock", "token")
    finally:
        begun.stop()

    where = f"127.0.0.1:{begun._address[1]}"
    assert told == (
        f"{worker.this_worker()} could not talk to the runner at {where}: digest sent was "
        "rejected"
    )


def test_silent_callers_keep_nobody_waiting(url: str, journal: str) -> None:
    backend = Listening()
    run = Beside(Fragile(journal=journal), url, lambda: backend)
    assert backend.called.wait(10)
    address = backend.calls[0][0]
    silent = [socket.create_connection(address) for _ in range(20)]
    open_gate(journal)
    begun = time.monotonic()
    while not run.is_over() and time.monotonic() < begun + 30:
        for call in backend.calls:
            worker.serve(*call)
    taken = time.monotonic() - begun
    for end in silent:
        end.close()

    assert run.report().ok
    assert taken < 20


def test_a_worker_with_another_version_is_told_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "VERSION", "0.0.1")
    ptsflow.run(Lone(), url, "tested", executor=threads)

    assert tasks_of(url, "tested")["work"].error == (
        f"the worker {worker.this_worker()} has ptsflow 0.0.1, and the runner has {VERSION}; "
        "install the same there"
    )


def test_idle_worker_processes_are_not_kept(
    url: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_IDLE_TIME", 0.2)
    run = Beside(Idle(journal=journal), url, threads)
    pid = until(journal, "start", 1)[0].pid
    left, was_over = left_of([pid]), run.is_over()
    open_gate(journal)

    assert left == []
    assert not was_over
    assert run.report().ok


def test_a_worker_holds_the_lock_before_it_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A runner that takes the container over waits for what a worker begins meanwhile.
    monkeypatch.setenv("TMPDIR", f"{tmp_path}")
    file = container_lock.file_of("").with_name("x.lock")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        call = (silent.getsockname(), b"secret", file.name, "token")
        thread = threading.Thread(target=worker.serve, args=call)
        thread.start()
        end, _ = silent.accept()
        with file.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end.close()
        thread.join(10)
    with file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


FORKING = """
import sys, threading, time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
import ptsflow
from tests.executors.cluster_flows import Gated

class Each(Executor):
    lock = threading.Lock()
    def submit(self, call, /, *args):
        with self.lock:
            pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
            future = pool.submit(call, *args)
            time.sleep(0.5)
        return future

ptsflow.run(
    Gated(journal=sys.argv[1], items=3), sys.argv[2], "tested", jobs=3, executor=Each
)
"""


def test_forked_workers_do_not_hide_the_end_of_their_runner(
    url: str, journal: str
) -> None:
    # Each is forked off a runner that has connections to those before.
    command = [sys.executable, "-c", FORKING, journal, url]
    runner = subprocess.Popen(command, env=environment())
    pids = [entry.pid for entry in until(journal, "start", 3)]
    pool = {worker_of(pid) for pid in pids}
    runner.kill()
    runner.wait()
    left = left_of(pids)
    for pid in pool:  # such pools do not end by themselves
        if is_alive(pid):
            os.kill(pid, 9)

    assert len(pool) > 1
    assert left == []
