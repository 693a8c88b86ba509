"""What a body may leave in its worker process for the next body to find."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

#: Of `/proc/self/status`: mask of new files, user and groups, the size of the table of
#: open files (it never shrinks), process group and session, signals, rights, processors.
_STATUS = (
    *(b"Umask", b"Uid", b"Gid", b"Groups", b"FDSize", b"NSpgid", b"NSsid"),
    *(b"SigBlk", b"SigIgn", b"SigCgt", b"CapEff", b"Cpus_allowed"),
)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
#: More than any text in `/proc` that is read here.
_MOST = 16384


class Leftovers:
    """Compares the process with what it was when this object was made.

    The next body must find what it would find on a resumed run: a new process.
    """

    def __init__(self) -> None:
        self._files = [
            os.open(f"/proc/self/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name in ("status", "limits")
        ]
        status = self._status()
        caught = int(status[b"SigCgt"], 16)
        self._caught = [n for n in signal.valid_signals() if caught >> (n - 1) & 1]
        self._before = self._now(status)
        self._data = _bytes_of(status)

    def is_clean(self) -> bool:
        """Return whether nothing was left, apart from memory."""
        try:
            return self._now(self._status()) == self._before
        except Exception:  # noqa: BLE001 - a body closed or replaced what is read here
            return False

    def held(self) -> int:
        """Return how much more memory the process has asked for, in bytes."""
        try:
            return max(0, _bytes_of(self._status()) - self._data)
        except Exception:  # noqa: BLE001 - see `is_clean`
            return 0

    def _status(self) -> dict[bytes, bytes]:
        lines = os.pread(self._files[0], _MOST, 0).split(b"\n")
        parts = (line.partition(b":\t") for line in lines)
        return {name: text for name, _, text in parts}

    def _now(self, status: dict[bytes, bytes]) -> list[Any]:
        return [
            *(status.get(name) for name in _STATUS),
            os.pread(self._files[1], _MOST, 0),
            [signal.getsignal(number) for number in self._caught],
            [signal.getitimer(which) for which in _TIMERS],
            os.getpriority(os.PRIO_PROCESS, 0),
            dict(os.environ._data),  # type: ignore[attr-defined] # noqa: SLF001 - ten times faster
            list(sys.path),
            (sys.stdin, sys.stdout, sys.stderr),
            sys.getrecursionlimit(),
            gc.isenabled(),
        ]


def _bytes_of(status: dict[bytes, bytes]) -> int:
    return int(status[b"VmData"].split()[0]) * 1024
