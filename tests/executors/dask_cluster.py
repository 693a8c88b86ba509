"""A real Dask cluster on loopback: a scheduler and two workers, each its own process."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import environment, free_port, parent_of

#: How long a part of it may take to start, in seconds.
_START = 100.0


class DaskCluster:
    """Starts and kills its parts; whatever is missing is there again after `mend`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.folder = folder
        self.threads = threads
        self.port = free_port()
        self._count = 0
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"dask://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[int]:
        """Return the pids of the workers that live."""
        return [worker.pid for worker in self._workers if worker.poll() is None]

    @property
    def scheduler(self) -> int:
        assert self._scheduler is not None
        return self._scheduler.pid

    def mend(self) -> None:
        """Start what is missing, and return when it is ready."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self._end_workers()  # they end by themselves, but later
            arguments = ["--port", str(self.port)]
            self._scheduler, log = self._start("scheduler", *arguments)
            _until_written(log, "Scheduler at:", self._scheduler)
        self._workers = [w for w in self._workers if w.poll() is None]
        started = []
        while len(self._workers) < 2:
            worker, log = self._start(
                *("worker", f"tcp://127.0.0.1:{self.port}", "--no-nanny"),
                *(
                    "--nthreads",
                    str(self.threads),
                    "--local-directory",
                    f"{self.folder}",
                ),
            )
            self._workers.append(worker)
            started.append((worker, log))
        for worker, log in started:
            _until_written(log, "Registered to", worker)

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send one of its processes a signal, and wait for its end."""
        parts = [*self._workers, *([self._scheduler] if self._scheduler else [])]
        part = next(part for part in parts if part.pid == pid)
        part.send_signal(number)
        part.wait(timeout=100)

    def stop(self) -> None:
        self._end_workers()
        if self._scheduler is not None:
            _end(self._scheduler)

    def _end_workers(self) -> None:
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def _start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        self._count += 1
        log = self.folder / f"{arguments[0]}-{self._count}.log"
        options = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        env = environment(TMPDIR=self.folder)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=self.folder,
            )
        return process, log


def _until_written(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START
    while words not in (text := log.read_text()):
        assert process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait(timeout=100)


@contextlib.contextmanager
def dask_cluster(folder: Path, *, threads: int = 1) -> Iterator[DaskCluster]:
    cluster = DaskCluster(folder, threads=threads)
    try:
        cluster.mend()
        yield cluster
    finally:
        cluster.stop()


def worker_of(pid: int) -> int:
    """Return the cluster worker of a worker process: the parent of its fork server."""
    return parent_of(parent_of(pid))
