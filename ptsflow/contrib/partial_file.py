"""A file that is fetched bit by bit, and what is known of it, in the folder of a task."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.host.atomic_files import digest
from ptsflow.host.process_identity import boot

#: The longest part of the target's name in the names of both files, in characters.
_NAME_LIMIT = 40


class _Known(Struct, frozen=True):
    """What the next attempt needs to know of the bytes that are there."""

    url: str = ""
    #: The ETag or the date of the version that they are of; "" if there is none.
    validator: str = ""
    #: How many bytes the whole file has.
    total: int | None = None
    #: How many bytes survive a power cut.
    synced: int = 0
    #: Since this boot of the machine, all bytes are there that were written.
    boot: str = ""


class PartialFile:
    """The bytes that came so far.

    Args:
        folder: the folder of the task.
        target: where the file is to be in the end; names the two files in the folder.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        name = f"{target.name[:_NAME_LIMIT]}.{digest(str(target))[:8]}"
        self.path = folder / f"{name}.part"
        self._known_file = folder / f"{name}.json"
        self._known = _Known()
        with contextlib.suppress(OSError, msgspec.DecodeError):
            read = self._known_file.read_bytes()
            self._known = msgspec.json.decode(read, type=_Known)

    @property
    def total(self) -> int | None:
        """How many bytes the whole file has, as the server said."""
        return self._known.total

    @property
    def validator(self) -> str:
        """The ETag or the date of the version of the file; "" if there is none."""
        return self._known.validator

    def size(self) -> int:
        """Return how many bytes there are."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def resumed_at(self, url: str, *, has_sum: bool, size: int | None) -> int:
        """Return how many of the bytes can be kept.

        Args:
            url: of the file that is wanted.
            has_sum: whether a checksum will be compared, which finds every mixture.
            size: how many bytes the file must have, if that is known.
        """
        known, found = self._known, self.size()
        is_same = known.url == url and known.validator
        if not known.url or not (is_same or has_sum):
            return 0
        if not known.boot or known.boot != boot():
            found = min(found, known.synced)
        limits = [limit for limit in (known.total, size) if limit is not None]
        return 0 if any(found > limit for limit in limits) else found

    @contextlib.contextmanager
    def begun(
        self, url: str, validator: str, total: int | None, start: int
    ) -> Iterator[BinaryIO]:
        """Open the file to write from byte `start` on, and note what it is."""
        synced = min(start, self._known.synced)
        self._note(_Known(url, validator, total, synced, boot()))
        with self.path.open("r+b" if start else "wb", buffering=0) as file:
            file.truncate(start)
            file.seek(start)
            yield file

    def sync(self, file: BinaryIO) -> None:
        """Make what was written survive a power cut."""
        os.fsync(file.fileno())
        if self._known.url:
            self._note(replace(self._known, synced=file.tell()))

    def _note(self, known: _Known) -> None:
        beside = self._known_file.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(known))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._known_file)
        self._known = known

    def drop(self) -> None:
        """Forget the bytes: they are of another version, or wrong."""
        self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self) -> None:
        """Forget what is known, as the bytes are gone."""
        self._known_file.unlink(missing_ok=True)
        self._known = _Known()
