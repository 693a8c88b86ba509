"""Processes that tests start: where they find ptsflow, and whether they still run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The folder of the checkout.
ROOT = Path(__file__).resolve().parents[2]

#: How ptsflow is called.
PTSFLOW = (sys.executable, "-m", "ptsflow")

#: What the person who runs the tests may have set, and a test must not depend on.
_THEIR_OWN = {
    *("PTSFLOW_STORE", "PTSFLOW_LISTENERS"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
    *("CI", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
}


def environment(**more: object) -> dict[str, str]:
    """Return this process's environment, with the checkout's ptsflow and `more`."""
    kept = {name: text for name, text in os.environ.items() if name not in _THEIR_OWN}
    given = {name: str(value) for name, value in more.items()}
    return kept | {"PYTHONPATH": str(ROOT)} | given


@contextlib.contextmanager
def ended_by_hangups() -> Iterator[None]:
    """Have SIGHUP end this process and those that it starts, also under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def python(
    *words: object, cwd: Path = ROOT, seconds: float = 100, **more: object
) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, with `more` in its environment."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def state_of(pid: int) -> str:
    """Return the letter of a process's state, "" where there is no such process."""
    return _stat(pid)[0]


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if it is gone."""
    return int(_stat(pid)[1])


def descendants_of(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                found += [child, *descendants_of(child)]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not only waits for its parent to look."""
    return state_of(pid) not in {"", "Z"}


def left_of(pids: Iterable[int], seconds: float = 10) -> list[int]:
    """Return which processes still run, as soon as none does, or after `seconds`."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    return left


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _stat(pid: int) -> tuple[str, str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", "0"
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, parent
