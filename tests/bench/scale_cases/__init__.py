"""What a run costs as it gets large: one module for each area, each with its `CASES`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from tests.support.mongod import running
from tests.support.processes import PTSFLOW, environment

_SERVER = "PTSFLOW_TEST_MONGODB_URI"


class Place:
    """The folder of one measurement, and what it may start there."""

    def __init__(self, folder: Path, servers: contextlib.ExitStack) -> None:
        self.folder = folder
        self._servers = servers
        self._mongod = dict[bool, str]()

    def sqlite(self) -> str:
        """Return the URL of a SQLite file that is not there yet."""
        return f"sqlite:///{self.folder}/{uuid4().hex}.db"

    def mongodb(self, *, replica_set: bool = False) -> str:
        """Return the URL of a database that is not there yet.

        The server is one of this measurement's own, a standalone one unless it is asked
        to be the only member of a replica set. $PTSFLOW_TEST_MONGODB_URI takes its place.
        """
        if replica_set not in self._mongod:
            server = (
                os.environ.get(_SERVER)
                or self._servers.enter_context(running(replica_set=replica_set)).url
            )
            self._mongod[replica_set] = server
        base, _, query = self._mongod[replica_set].partition("?")
        return f"{base.rstrip('/')}/b{uuid4().hex[:12]}?{query}"

    def ptsflow(self, *words: object, expect: Sequence[int] = (0,)) -> Command:
        """Run a command of ptsflow in the folder, from cold.

        Raises:
            RuntimeError: it ended with an exit code that is not expected.
        """
        done = subprocess.run(
            [sys.executable, "-c", _TIMED, *PTSFLOW, *map(str, words)],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        text, _, figures = done.stderr.rstrip().rpartition("\n")
        if done.returncode not in expect:
            called = " ".join([*PTSFLOW[1:], *map(str, words)])
            raise RuntimeError(
                f"expected exit {expect}, got {done.returncode}: {called}\n{text}"
            )
        seconds, processor, memory = map(float, figures.split())
        return Command(seconds, processor, memory, done.stdout, text)


#: Runs a command and says its seconds, those of a processor, and its peak memory in MB in a
#: last line of standard error. It is a small process: a child's ru_maxrss begins with the memory of who forked.
_TIMED = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:])
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
processor, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3
print(f"\\n{seconds} {processor} {peak}", file=sys.stderr)
sys.exit(code)
"""


class Command(Struct, frozen=True):
    """A command that has ended."""

    seconds: float
    #: The seconds of a processor that it took.
    processor: float
    #: The peak of its memory in MB.
    memory: float
    stdout: str
    stderr: str


class Case(Struct, frozen=True):
    """A figure, and the mark that it must not be over; None if it only explains another."""

    #: What a person types to have this one measured.
    name: str
    #: What is measured, in a few words.
    what: str
    unit: str
    mark: float | None
    #: Returns the figure; called in a process of its own, with a folder of its own.
    measure: Callable[[Place], float]
    #: How often it is measured; the median counts.
    rounds: int = 3
    #: A measurement that takes longer, in seconds, has failed.
    timeout: float = 300


def elapsed(act: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def peak_memory() -> float:
    """Return the peak of this process's memory, in MB."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found
    return int(found[1]) / 1e3
