"""Runners as processes of their own, forked in a millisecond from one that is warm.

`Nest` starts `python -m tests.crash.nest`, a process with one thread that has everything
imported and no store open. It forks a runner for every `Spec` it is told, so that a
crash costs no second of imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ptsflow import Client, Workflow, run
from ptsflow.errors import PtsflowError
from ptsflow.host import process_identity
from ptsflow.runner import expansion, heartbeat, options
from ptsflow.stores import open_store
from tests.crash.faulty import Fault, FaultyStore
from tests.crash.journal import JOURNAL
from tests.crash.random_workflows import random_workflow
from tests.crash.workflows import GATE, WORKFLOWS
from tests.support.processes import ROOT


class Spec(Struct, frozen=True, kw_only=True):
    """One runner to start."""

    workflow: str
    url: str
    #: Beside it lie the errors (`.errors`) and the gate (`.gate`).
    journal: str
    container: str = "crash"
    lease: float = 60.0
    wait: float = 0.0
    jobs: int = 4
    executor: Literal["process"] | None = None
    fault: Fault | None = None
    #: What this host is called.
    host: str | None = None
    #: When to begin, in seconds since boot, so that several begin together.
    at: float = 0.0
    #: The name of a mutant in `mutants` that is put in before.
    mutant: str = ""
    #: How many items of a fan-out are inserted at once; 0 for as many as usual.
    bite: int = 0
    #: How often the heartbeat looks at the store, in seconds; 0 for as often as usual.
    look: float = 0.0


class _Wait(Struct, frozen=True, tag=True):
    pid: int
    seconds: float


class _Start(Struct, frozen=True, tag=True):
    spec: Spec


# -- in the test ----------------------------------------------------------------


class Nest:
    """Starts runners and waits for them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nest"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._alive: set[int] = set()
        #: A mutant that is put into every runner, or "".
        self.mutant = ""

    def start(self, spec: Spec) -> int:
        """Start a runner; return its pid."""
        pid = self._ask(_Start(replace(spec, mutant=spec.mutant or self.mutant)))
        self._alive.add(pid)
        return pid

    def wait(self, pid: int, seconds: float = 30) -> int:
        """Return what a runner exited with, minus the signal if one killed it."""
        code = self._ask(_Wait(pid, seconds))
        self._alive.discard(pid)
        return code

    def run(self, spec: Spec, seconds: float = 30) -> int:
        return self.wait(self.start(spec), seconds)

    def close(self) -> None:
        for pid in self._alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.communicate()

    def _ask(self, request: _Start | _Wait) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return int(answer)


# -- in the nest ----------------------------------------------------------------


def _serve() -> None:
    decoder = msgspec.json.Decoder(_Start | _Wait)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        if isinstance(request, _Start):
            answer = os.fork()
            if answer == 0:
                _be_runner(request.spec)
            with contextlib.suppress(OSError):  # it has ended already
                os.setpgid(answer, answer)
        else:
            answer = _status(request.pid, request.seconds)
        os.write(1, b"%d\n" % answer)


def _status(pid: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -1000  # It hung.
        time.sleep(0.002)


def _be_runner(spec: Spec) -> None:
    code = 3
    try:
        # Whoever runs the tests may have ignored it, as `nohup` does.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.environ[JOURNAL] = spec.journal
        os.environ[GATE] = f"{spec.journal}.gate"
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = _run(spec)
    except PtsflowError as error:
        code = error.exit_code
        _report(spec, f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        code = 130
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001 - all that is known of a runner
        _report(spec, traceback.format_exc())
    finally:
        os._exit(code)


def _run(spec: Spec) -> int:
    # Leases that end within a test.
    options.SHORTEST_LEASE = 0  # type: ignore[misc, unused-ignore]
    if spec.host:
        host = spec.host
        process_identity.host = lambda: host
    if spec.mutant:
        from tests.crash.mutants import MUTANTS  # noqa: PLC0415 - few need it

        MUTANTS[spec.mutant]()
    if spec.bite:
        expansion._BITE = spec.bite
    if spec.look:
        heartbeat._LOOK_EVERY = spec.look
    workflow = _workflow(spec.workflow)()
    while time.clock_gettime(time.CLOCK_BOOTTIME) < spec.at:
        pass
    given: dict[str, Any] = {
        "container": spec.container,
        "lease": spec.lease,
        "wait": spec.wait,
        "jobs": spec.jobs,
        "executor": spec.executor,
    }
    if spec.fault is None:
        return int(not run(workflow, spec.url, **given).ok)
    client = Client(FaultyStore(open_store(spec.url), spec.fault))
    return int(not run(workflow, client, **given).ok)


def _workflow(name: str) -> type[Workflow]:
    seed = name.removeprefix("Random")
    return random_workflow(int(seed)) if seed.isdecimal() else WORKFLOWS[name]


def _report(spec: Spec, text: str) -> None:
    with Path(f"{spec.journal}.errors").open("a") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    _serve()
