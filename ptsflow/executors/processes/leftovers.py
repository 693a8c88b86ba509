"""What a body may leave in its worker process for the next body to find."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # the functions of `signal` make enums
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
#: How many bytes a new seed of `random` has: enough that no two are the same.
_SEED = 32
#: More than any text in `/proc` that is read here.
_MOST = 16384


class Leftovers:
    """Compares the process with what it was when this object was made.

    The next body must find what it would find on a resumed run: a new process.
    """

    def __init__(self) -> None:
        # Bodies run in this thread. What the kernel tells of a whole process takes longer.
        self._files = [
            os.open(f"/proc/thread-self/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for name in ("status", "limits", "oom_score_adj")
        ]
        status = self._status()
        names = [line.partition(b":")[0] for line in status]
        #: The places in that file of the lines that are compared, and of the memory's.
        self._places = [names.index(name) for name in _STATUS if name in names]
        self._data_place = names.index(b"VmData")
        caught = int(status[names.index(b"SigCgt")].split()[1], 16)
        self._caught = [n for n in signal.valid_signals() if caught >> (n - 1) & 1]
        self._before = self._now(status)
        self._data = self._bytes_of(status)

    def look(self) -> tuple[bool, int]:
        """Return whether nothing was left apart from memory; and `held`."""
        try:
            status = self._status()
            return self._now(status) == self._before, self._held(status)
        except Exception:  # noqa: BLE001 - a body closed or replaced what is read here
            return False, 0

    def held(self) -> int:
        """Return how much more memory the process has asked for, in bytes."""
        try:
            return self._held(self._status())
        except Exception:  # noqa: BLE001 - see `look`
            return 0

    def _status(self) -> list[bytes]:
        return os.pread(self._files[0], _MOST, 0).split(b"\n")

    def _held(self, status: list[bytes]) -> int:
        return max(0, self._bytes_of(status) - self._data)

    def _bytes_of(self, status: list[bytes]) -> int:
        return int(status[self._data_place].split()[1]) * 1024

    def _now(self, status: list[bytes]) -> list[Any]:
        return [
            *(status[place] for place in self._places),
            *(os.pread(file, _MOST, 0) for file in self._files[1:]),
            [_signal.getsignal(number) for number in self._caught],
            [_signal.getitimer(which) for which in _TIMERS],
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
        # Without a number it would read 2,500 bytes of the kernel.
        random.seed(int.from_bytes(os.urandom(_SEED)))


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
