"""A disk for SQLite that records what is written and synced, or that fails.

While a `Disk` is in place, every file that SQLite opens in this process is on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import apsw
from msgspec import Struct

#: A disk writes whole sectors, or not.
SECTOR = 512


class Event(Struct, frozen=True):
    """Something that happened to a file."""

    #: "write", "truncate", "sync", "delete", or "ack" for a commit that returned.
    what: str
    file: str = ""
    #: Where a write begins, the size after a truncation, or the number of a commit.
    place: int = 0
    data: bytes = b""

    def play(self, content: bytearray) -> None:
        """Do to a content what a write or a truncation does."""
        if self.what == "truncate":
            del content[self.place :]
            return
        content.extend(bytes(max(0, self.place - len(content))))
        content[self.place : self.place + len(self.data)] = self.data


class Disk(apsw.VFS):
    """The file system of this machine, and what happens on the way to it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        #: Called with an operation before it is done; what it raises is the disk's.
        self.before: Callable[[str], None] = lambda _: None
        super().__init__("ptsflow-test-disk", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 - of apsw.
        self.before("open")
        return _File(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - of apsw.
        self.before("delete")
        super().xDelete(name, syncdir)
        self.events.append(Event("delete", Path(name).name))

    def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802 - of apsw.
        self.before("access")
        return super().xAccess(name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.file = Path(path).name if path else "temporary"
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - of apsw.
        self.disk.before("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - of apsw.
        try:
            self.disk.before("write")
        except ShortWriteError as error:
            super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise error.error from None
        super().xWrite(data, offset)
        self.disk.events.append(Event("write", self.file, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - of apsw.
        self.disk.before("truncate")
        super().xTruncate(size)
        self.disk.events.append(Event("truncate", self.file, size))

    def xSync(self, _flags: int) -> None:  # noqa: N802 - of apsw.
        # No power is cut here, so nothing need reach the real disk.
        self.disk.before("sync")
        self.disk.events.append(Event("sync", self.file))

    def xLock(self, level: int) -> None:  # noqa: N802 - of apsw.
        self.disk.before("lock")
        super().xLock(level)

    def xFileSize(self) -> int:  # noqa: N802 - of apsw.
        self.disk.before("size")
        return super().xFileSize()


class ShortWriteError(Exception):
    """Half of the data is written, and then `error` is raised."""

    def __init__(self, error: apsw.Error) -> None:
        self.error = error


@contextmanager
def disk() -> Iterator[Disk]:
    """Put a `Disk` in place."""
    made = Disk()
    try:
        yield made
    finally:
        made.unregister()


# -- power cuts ------------------------------------------------------------------------

#: Chooses what of the writes that were not synced is on the disk after a power cut.
Survivors = Callable[[Sequence[Event]], Sequence[Event]]


def everything(pending: Sequence[Event]) -> Sequence[Event]:
    """All of them: the process was killed, and the power stayed."""
    return pending


def nothing(_pending: Sequence[Event]) -> Sequence[Event]:
    """None of them: the disk had them in its cache."""
    return ()


def some(random: Random) -> Survivors:
    """Any of them, in any part that is whole sectors."""

    def survivors(pending: Sequence[Event]) -> Sequence[Event]:
        found: list[Event] = []
        for event in pending:
            size = random.choice((0, len(event.data), len(event.data)))
            if size and random.random() < 0.25:
                size = random.randrange(0, size, SECTOR)
            if event.what == "truncate":
                found += [event] * random.randrange(2)
            elif size:
                found.append(Event("write", event.file, event.place, event.data[:size]))
        return found

    return survivors


def after_cut(
    start: Mapping[str, bytes], events: Sequence[Event], survivors: Survivors
) -> tuple[dict[str, bytes], int]:
    """Return what files hold after a power cut, and how many commits had returned."""
    durable = {name: bytearray(content) for name, content in start.items()}
    pending: dict[str, list[Event]] = {}
    acknowledged = 0
    for event in events:
        waiting = pending.setdefault(event.file, [])
        if event.what == "ack":
            acknowledged = event.place
        elif event.what == "delete":
            durable.pop(event.file, None)
            waiting.clear()
        elif event.what == "sync":
            _play(durable, waiting)
            waiting.clear()
        else:
            waiting.append(event)
    for waiting in pending.values():
        _play(durable, survivors(waiting))
    return {name: bytes(content) for name, content in durable.items()}, acknowledged


def _play(contents: dict[str, bytearray], events: Sequence[Event]) -> None:
    for event in events:
        event.play(contents.setdefault(event.file, bytearray()))
