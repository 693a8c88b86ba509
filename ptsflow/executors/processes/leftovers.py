"""What a body may leave in its worker process for the next body to find."""

from __future__ import annotations

import gc
import locale
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from typing import Any

#: Of `/proc/self/status`: mask of new files, user and groups, the size of the table of
#: open files (it never shrinks), process group and session, signals, rights, processors
#: and their memory.
_STATUS = (
    *(b"Umask", b"Uid", b"Gid", b"Groups", b"FDSize", b"NSpgid", b"NSsid"),
    *(b"SigBlk", b"SigIgn", b"SigCgt", b"CapEff", b"NoNewPrivs", b"Seccomp"),
    *(b"Cpus_allowed", b"Mems_allowed"),
)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
#: Level, handlers and lowest level of all of the root logger after `import logging`.
_ROOT_LOGGER: tuple[int, list[Any], int] = (30, [], 0)
#: More than any text in `/proc` that is read here.
_MOST = 16384


class Leftovers:
    """Compares the process with what it was when this object was made.

    The next body must find what it would find on a resumed run: a new process.
    """

    def __init__(self) -> None:
        self._files = [
            os.open(f"/proc/self/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name in ("status", "limits", "oom_score_adj")
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
            *(os.pread(file, _MOST, 0) for file in self._files[1:]),
            [signal.getsignal(number) for number in self._caught],
            [signal.getitimer(which) for which in _TIMERS],
            os.getpriority(os.PRIO_PROCESS, 0),
            (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority),
            dict(os.environ._data),  # type: ignore[attr-defined] # noqa: SLF001 - ten times faster
            (list(sys.path), list(sys.argv)),
            (sys.stdin, sys.stdout, sys.stderr),
            (sys.getrecursionlimit(), sys.getswitchinterval()),
            sys.get_int_max_str_digits(),
            (sys.gettrace(), sys.getprofile()),
            (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
            threading.active_count(),
            locale.setlocale(locale.LC_ALL),
            multiprocessing.get_start_method(allow_none=True),
            _fatal_warnings(),
            *_of_modules(),
        ]


def forget_unseen() -> None:
    """Undo what a body may have left and nobody can see.

    That is an armed dump of tracebacks, which may end the process, and a seed of `random`:
    a new process has a random one.
    """
    modules = sys.modules
    if (faulthandler := modules.get("faulthandler")) is not None:
        faulthandler.cancel_dump_traceback_later()
    if (random := modules.get("random")) is not None:
        random.seed()


def _fatal_warnings() -> list[Any]:
    """Return the filters of warnings, if one of them makes errors of warnings.

    Others do not change what a body computes, and many modules add some at their import.
    """
    filters = list(warnings.filters)
    return filters if any(each[0] == "error" for each in filters) else []


def _of_modules() -> list[Any]:
    """Return what is set in modules that a body may be the first to import."""
    logging, socket = map(sys.modules.get, ("logging", "socket"))
    root: Any = logging and logging.root
    return [
        (root.level, list(root.handlers), root.manager.disable)
        if root
        else _ROOT_LOGGER,
        socket and socket.getdefaulttimeout(),
    ]


def _bytes_of(status: dict[bytes, bytes]) -> int:
    return int(status[b"VmData"].split()[0]) * 1024
