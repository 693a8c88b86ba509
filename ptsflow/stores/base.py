"""The contract that every store keeps: compare-and-swap on records, no semantics.

A store belongs to one thread at a time; `sibling()` gives another connection to the
same data for another thread. Every call either did all of what it says, or raises:

- `StoreUnavailable`: it cannot be reached; the call may be made again as it was.
  What an interrupted call wrote is recognised when it is made again.
- `StoreDamaged`, `StoreFull`: a person is needed.
- `LeaseLost`: the fence given is no longer the container's.

What a call has returned from is durable: it survives `kill -9` of this process and of
the database, and a power cut. Leases are measured on the store's clock alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    LogChunk,
    Owner,
    Progress,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.host.clock import Clock


class Opener(Protocol):
    """How the stores of a scheme are opened; `stores/__init__.py` lists the openers."""

    def open(
        self,
        url: str,
        *,
        clock: Clock,
        upgrade: bool,
        notice: Callable[[str], None] | None,
    ) -> Store:
        """Open the store that `url` names; see `open_store`."""

    def exists(self, url: str) -> bool:
        """Return whether opening the store would make nothing, such as a file."""

    def upgrade(self, url: str) -> Sequence[str]:
        """Carry a store over that opening leaves in an earlier layout.

        Return one line about the upgrade, or none if there was nothing to do.
        """


class Store(Protocol):
    """Containers and their tasks, kept durably."""

    #: Where it is, with passwords masked.
    url: str
    #: With a container's uid it names the container on this host: the same for all who
    #: open it, however they spell the URL, and for no other store's.
    identity: str

    #: Whether its data ends with this process: its URL opens another store each time.
    is_in_memory: bool

    @property
    def work_root(self) -> Path | None:
        """The folder for files of its tasks, unless $PTSFLOW_WORK names another.

        None if such files need not outlive the run.
        """

    def now(self) -> int:
        """Return the store's time in milliseconds since the epoch."""

    def sibling(self) -> Store:
        """Return another connection to the same data, for another thread."""

    def close(self) -> None:
        """Let go of files and sockets; a second call does nothing."""

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, made now if there was none.

        Of any number of callers at once, exactly one is told that it made it.
        """

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""

    def delete(self, uid: str) -> bool:
        """Delete a container that nobody leases, with its tasks.

        Return False where there is none, or where a live lease holds it.
        """

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        """Take the lease for `owner`, the fence grown by one, or return None.

        It can be taken where:
        - nobody has it, or it has ended on the store's clock;
        - or its fence is `dead`: the caller knows that the owner of that fence died.

        From the moment this returns, writes under earlier fences are refused.
        A claim whose answer was lost is recognised by `owner.id` when repeated.
        """

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if it was lost."""

    def save(self, record: ContainerRecord) -> None:
        """Write workflow, params, plan, status and times of a container that is held.

        Raises:
            LeaseLost: the container's fence is not `record.fence` any more.
        """

    def release(self, record: ContainerRecord) -> bool:
        """Do what `save` does and give the lease back, in one write.

        Return False, and write nothing, where the lease was lost already.
        """

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Leave word for the owner of the lease of that fence, in `stop_asked`.

        Return False where it is not held under that fence any more. A claim and a
        release take the word away; `save` leaves it. NOW is not taken back by GENTLY.
        """

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None; cheaply."""

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return tasks by position: all, or those of `names` that exist.

        Without `payloads`, the payload fields are UNSET.
        """

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None.

        With `unleased_at`, the first of them whose lease is absent or ended by then.
        """

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Swap every task from `before` to `after` in one durable commit.

        `before` matches by name, version and fence. `after` is stored as it stands: its
        version is one above `before`'s (1 in an insert) and its fence is `fence` where
        one is given. Only a negative position is replaced, by the next free one. A
        changed name renames. Payloads that are UNSET in `after`, or are the same object
        as in `before`, are left as they are stored.

        With a `fence`, the caller holds the lease. With None, it is a client: the
        container must not be leased by anybody.

        An attempt that ended (`Change.ended`) is added to the ledger of the task, in
        the same commit; the ledger goes with its task when that is deleted.

        In SQLite and memory all of it happens or nothing. In MongoDB each task is
        swapped by itself, in order; since all of a batch is written under one fence,
        what a loser wrote before it lost is what its owner decided. A batch under
        a fence whose answer was lost may be committed again: what it wrote is
        recognised. A client has no fence that would tell its write from another's.

        Raises:
            LeaseLost: the fence is not the container's.
            ContainerBusy: `fence` is None and a live lease holds the container.
            ContainerNotFound: the container was deleted.
            Conflict: a `before` is not what is stored, or an insert's or a rename's
                name is taken.
        """

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Note progress of running tasks, no version moved; late ones are dropped.

        Raises:
            LeaseLost: the fence is not the container's.
        """

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last `LEDGER_LENGTH` attempts in a task's ledger, oldest first."""

    def logs(self) -> LogStore:
        """Return a connection to what bodies log, for another thread.

        It is made where there is nothing yet when the first line is put there. Lines
        are no state: they are not guarded by a fence, and a power cut may take the last.
        """

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""


class LogStore(Protocol):
    """What bodies logged and printed, kept in chunks beside their tasks.

    Deleting a container deletes its lines. Every call may raise a `StoreError`, after
    which it may be made again, and the store itself is none the worse for it.
    """

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        """Add chunks; those of attempts before the last `LEDGER_LENGTH` are dropped."""

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        """Drop the chunks of an attempt whose numbers are `first` to `last`."""

    def read(
        self,
        uid: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        """Return chunks in the order in which they were put, and a mark of the last.

        Args:
            uid: the container's.
            task: of this task alone.
            attempt: of this attempt alone.
            after: a mark that this returned: only what was put since.
        """

    def forget(self, uid: str) -> None:
        """Drop all of a container."""

    def close(self) -> None:
        """Let go of files and sockets; a second call does nothing."""
