"""What programs write to the terminal while a screen is drawn there, as lines.

A program that a body in a thread calls writes to the descriptors 1 and 2 of this process.
In the meantime these lead to a file without a name, which the screen reads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import tempfile
from typing import Self

from ptsflow.core.lines import Splitter

_STDOUT, _STDERR = 1, 2
#: How much is read at a time, in bytes.
_CHUNK = 1 << 20
#: The file begins anew when it has been read and is longer than this, in bytes.
_LONGEST = 64 << 20


class Diversion:
    """Keeps what is written to a terminal's descriptors 1 and 2 in a file.

    In a pipe, code that holds the interpreter's lock while it writes more than the pipe
    takes would wait forever for the thread that reads. And a program that outlives the
    run would be killed when it writes.

    Args:
        terminal: another descriptor of the terminal, for the screen.
    """

    def __init__(self, terminal: int) -> None:
        self._file = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 - open until `end`
        self._read = 0
        self._splitter = Splitter(b"\n")
        self._before = {
            number: os.dup(number)
            for number in (_STDOUT, _STDERR)
            if _is_same_terminal(number, terminal)
        }
        for number in self._before:
            os.dup2(self._file.fileno(), number)
        self._hears_crashes = _STDERR in self._before and faulthandler.is_enabled()
        if self._hears_crashes:
            faulthandler.enable(terminal)

    @classmethod
    def begin(cls, terminal: int) -> Self | None:
        """Divert what is written from now on; None if that cannot be done."""
        with contextlib.suppress(OSError):
            if terminal not in (_STDOUT, _STDERR):
                return cls(terminal)
        return None

    def take(self) -> list[str]:
        """Return the lines that have been completed since the last call."""
        lines: list[bytes] = []
        while data := os.pread(self._file.fileno(), _CHUNK, self._read):
            self._read += len(data)
            lines += self._splitter.feed(data)
        if self._read > _LONGEST:
            os.ftruncate(self._file.fileno(), 0)
            self._read = 0
        return _decoded(lines)

    def end(self) -> list[str]:
        """Lead the descriptors to the terminal again; return the lines that are left."""
        for number, before in self._before.items():
            os.dup2(before, number)
            os.close(before)
        if self._hears_crashes:
            faulthandler.enable(_STDERR)
        lines = self.take() + _decoded(self._splitter.end())
        self._file.close()
        return lines


def _decoded(lines: list[bytes]) -> list[str]:
    return [line.decode(errors="backslashreplace") for line in lines]


def _is_same_terminal(number: int, terminal: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(number) and os.ttyname(number) == os.ttyname(terminal)
    return False
