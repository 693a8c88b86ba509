"""The processes of a worker: each runs one container, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ptsflow.core.model import ContainerRecord

#: What makes a worker look: a child ended, or somebody asks the worker to stop.
HEARD = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Job(Struct, frozen=True):
    """What a runner is started for."""

    #: The container's uid; of what is due, the workflow's name.
    key: str
    #: What messages call it.
    name: str
    words: list[str]
    #: None for what is due: that may be several containers.
    container: ContainerRecord | None = None
    #: When it was taken, by the store's clock.
    taken_at: int = 0


class Children:
    """Starts runners, stops them, and hears how they end.

    The signals in `HEARD` must be blocked in all threads of this process: `wait` takes
    them.

    Args:
        environment: what runners get as their environment.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: dict[int, Job] = {}
        # If the parent of this process ignored SIGCHLD, so would this process, and the
        # system would not tell how children end.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def keys(self) -> set[str]:
        """The keys of what runs."""
        return {job.key for job in self._running.values()}

    def start(self, job: Job) -> None:
        """Start a runner."""
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        pid = os.posix_spawnp(
            job.words[0],
            job.words,
            self._environment,
            file_actions=[nothing],
            setpgroup=0,
            setsigmask=(),
        )
        self._running[pid] = job

    def ended(self) -> Iterator[tuple[Job, int]]:
        """Yield what runners ended for, with what these exited with.

        It is negative for a runner that a signal killed.
        """
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                yield self._running.pop(pid), os.waitstatus_to_exitcode(status)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all runners; they stop their bodies themselves."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill all runners and what they started."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block the signals in `HEARD`; threads that are started within block them too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait(seconds: float) -> bool:
    """Wait for a signal in `HEARD`; return whether it asks the worker to stop."""
    heard = signal.sigtimedwait(HEARD, seconds)
    return heard is not None and heard.si_signo != signal.SIGCHLD
