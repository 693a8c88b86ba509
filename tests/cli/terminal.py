"""A process in a terminal, as a person sees it."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import sys
import time
from fcntl import ioctl
from termios import TIOCSWINSZ

import pyte

from tests.cli.calling import Place
from tests.support.waiting import PATIENCE


class Terminal:
    """A process in a terminal of its own, and what its screen shows.

    Args:
        place: where it runs.
        words: the words of a command of ptsflow; without any, an interactive bash.
        columns: how wide the terminal is.
        lines: how high it is.
    """

    def __init__(
        self, place: Place, *words: str, columns: int = 100, lines: int = 24
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._place, self._by = place, words[0] if words else ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            ioctl(0, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.chdir(place.folder)
            command = [sys.executable, "-m", "ptsflow", *words]
            if not words:
                command = ["/bin/bash", "--norc", "--noprofile", "-i"]
            env = place.env | {"PS1": "$ "}
            os.execve(command[0], command, env)  # noqa: S606 - no shell is wanted

    def read(self, seconds: float) -> bool:
        """Take in what is written now; False once the process has ended."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def type(self, text: str) -> None:
        """Type a text, as keys do."""
        os.write(self._fd, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, as a terminal does that cuts its lines."""
        ioctl(self._fd, TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def until(self, pattern: str) -> str:
        """Read until the screen shows something; return the screen."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text
            assert self.read(0.1), self.text
        return self.text

    def close(self) -> int:
        """Read to the end; return what the process exits with."""
        while self.read(1):
            pass
        os.close(self._fd)
        shown = re.sub(rb"\x1b\[[\d;?]*[a-zA-Z]", b"", self.raw).decode()
        if self._by not in {"", "help"}:
            self._place.heard(shown, self._by)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()
