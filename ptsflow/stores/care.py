"""The contract of stores about their care: looking for faults, repair, room and copies.

Care works on stores that cannot be opened as well, as far as that can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class Grade(StrEnum):
    """How much a fault matters."""

    #: Worth knowing; nothing is wrong.
    NOTE = "note"
    #: Something is not as it should be, and nothing is lost.
    FINDING = "finding"
    #: Something is lost, or is not what was written.
    DAMAGE = "damage"


class Fault(Struct, frozen=True):
    """What `ptsflow store check` found."""

    #: Its kind in a few words, such as "payload without task".
    kind: str
    #: Where, and what was found.
    text: str
    grade: Grade = Grade.FINDING
    #: Whether `repair` removes it, and loses nothing by that.
    is_repairable: bool = False


class Room(Struct, frozen=True):
    """A file or collection, and how many bytes it takes."""

    name: str
    size: int


class StoreFacts(Struct, frozen=True, kw_only=True):
    """What a store is and where it lies."""

    #: The database and its version, such as "SQLite 3.50.4".
    engine: str
    #: The number of the layout; None if there is no layout yet.
    layout: int | None
    rooms: tuple[Room, ...]
    #: How many bytes are free on the disk; None where that cannot be seen.
    free: int | None = None


class StoreCare(Protocol):
    """Looks after one store. It is closed after use."""

    #: The URL with passwords masked.
    url: str
    #: Whether there is a store, or what is left of one.
    is_there: bool

    def facts(self) -> StoreFacts:
        """Return what the store is and where it lies."""

    def faults(self, *, deep: bool) -> Iterator[Fault]:
        """Yield what is wrong with the store as a database.

        Args:
            deep: also read all texts: payloads and log lines.
        """

    def repair(self) -> Iterator[str]:
        """Remove what belongs to nothing, and make missing indexes; yield a line of each.

        Nothing that a container has is lost.
        """

    def vacuum(self) -> int:
        """Give unused room back to the file system; return how many bytes.

        Nobody else can write meanwhile.
        """

    def backup(self, target: Path) -> None:
        """Write a copy that is whole, while others write, to a file that does not exist."""

    def close(self) -> None:
        """Close files and sockets."""
