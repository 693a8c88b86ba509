"""Several callers of `--due`, some killed: each hour is done once, in order, one at a time."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ptsflow.client.schedules import ScheduledWorkflow
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.host.clock import system_clock
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.crash.due_flow import DONE, STEPS, TOLD, Hourly, first_hour
from tests.crash.tellings import Hearing, Telling
from tests.support import journals
from tests.support.processes import ROOT, environment

CALLERS = 4
#: How long all may take after the last hour began, in seconds.
PATIENCE = 90
#: The same for sixty hours: each of them may have to be run several times.
MORE_PATIENCE = 400


class Callers:
    """Processes that call `--due` again and again; their output is in a file."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._words = words
        self._log = log.open("a")
        self._processes = [self._started() for _ in range(CALLERS)]
        #: The process ids of those that were killed.
        self.killed = set[str]()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.crash.due_flow", *self._words],
            cwd=ROOT,
            env=environment(),
            stdout=self._log,
            stderr=self._log,
        )

    def kill_one(self, journal: Path) -> None:
        """Kill a caller with SIGKILL, and start another one in its place."""
        number = random.randrange(CALLERS)
        process = self._processes[number]
        self._kill(process)
        journals.append(journal, "killed", "-", "-", process.pid)
        self._processes[number] = self._started()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.killed.add(str(process.pid))

    def end(self) -> None:
        for process in self._processes:
            self._kill(process)
        self._log.close()


def done_in(store: Store) -> int:
    return sum(each.status is Status.DONE for each in store.containers())


def check(lines: Sequence[Sequence[str]]) -> None:
    """Check what bodies wrote: the order of hours and steps, and one at a time."""
    begun: list[str] = []
    running: dict[str, str] = {}
    furthest: dict[str, int] = {}
    for place, (what, hour, name, pid) in enumerate(lines):
        if what == "killed":
            running.pop(pid, None)
        elif what == "begin":
            assert not running, f"{hour} begins beside {running}"
            if _next_of(pid, lines, place) != "killed":
                running[pid] = hour
            if hour not in furthest:
                assert not begun or begun[-1] < hour, f"{hour} begins after {begun[-1]}"
                begun.append(hour)
            number = STEPS.index(name)
            # A step begins when the one before it is recorded.
            assert number >= furthest.get(hour, 0), f"{name} of {hour} again"
            furthest[hour] = number
        elif what in ("end", "fail"):
            running.pop(pid, None)
        else:
            pytest.fail(f"a caller exited with {hour}")


def _next_of(pid: str, lines: Sequence[Sequence[str]], place: int) -> str:
    """Return what a process wrote next: one that was killed may be taken over at once."""
    later = (line[0] for line in lines[place + 1 :] if line[3] == pid)
    return next(later, "killed")


def play(
    url: str,
    folder: Path,
    *,
    hours: int,
    seconds: float,
    kill_every: float,
    patience: float,
) -> str:
    """Let so many virtual hours pass; return figures."""
    journal = folder / "journal"
    began_at, now = time.monotonic(), system_clock()
    with closing(open_store(url)) as store:  # As a first call would.
        ScheduledWorkflow(Hourly, Hourly.schedule).keep(store, first_hour(now))
    words = [url, str(journal), str(now), str(hours), str(seconds)]
    callers = Callers(words, folder / "log")
    kills = 0
    try:
        while time.monotonic() - began_at < hours * seconds:
            time.sleep(kill_every)
            callers.kill_one(journal)
            kills += 1
        containers = _ended(url, hours, patience)
        written = len(journals.read(journal))
        time.sleep(1)  # Nothing more is due.
    finally:
        callers.end()
    lines = journals.read(journal)
    unfinished = [c.name for c in containers if c.status is not Status.DONE]
    assert unfinished == [], (folder / "log").read_text()[-3000:]
    assert len(lines) == written, "a done hour is left alone"
    check(lines)
    told = check_told(url, journal, callers.killed)
    begins = [line for line in lines if line[0] == "begin"]
    assert len(containers) == hours == len({line[1] for line in begins})
    fails = sum(line[0] == "fail" for line in lines)
    took = time.monotonic() - began_at
    return (
        f"{hours} hours in {took:.0f}s: {len(begins)} bodies, {fails} faults, {kills} "
        f"kills; {told}"
    )


def check_told(url: str, journal: Path, killed: Collection[str]) -> str:
    """Check that each trouble was told once, and its end once; return figures."""
    with closing(open_store(url)) as store:
        runs = store.runs(limit=2000)
    done = journals.read(f"{journal}{DONE}")
    told = journals.read(f"{journal}{TOLD}")
    hearing = Hearing(
        runs=runs,
        tellings=[Telling(hook, name, int(ended)) for hook, name, ended in told],
        done_at={(uid, int(fence)): int(at) for uid, fence, at in done},
        killed=killed,
    )
    return hearing.check()


def _ended(url: str, hours: int, patience: float) -> list[ContainerRecord]:
    """Wait until all hours are done; return their containers."""
    until = time.monotonic() + patience
    with closing(open_store(url)) as store:
        while done_in(store) < hours and time.monotonic() < until:
            time.sleep(0.2)
        return store.containers()


def test_each_hour_is_done_once_in_order_by_callers_that_are_killed(
    url: str, tmp_path: Path
) -> None:
    play(url, tmp_path, hours=4, seconds=1, kill_every=1.5, patience=PATIENCE)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_sixty_hours_are_done_once_in_order_by_callers_that_are_killed(
    url: str, tmp_path: Path
) -> None:
    sys.stderr.write(
        play(url, tmp_path, hours=60, seconds=1, kill_every=2, patience=MORE_PATIENCE)
        + "\n"
    )
