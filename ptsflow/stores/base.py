"""The contract that every store keeps: compare-and-swap on records, no semantics.

One thread at a time may use a store; `sibling()` returns another connection to the same
data for another thread. A call either does all that its docstring says, or raises:

- `StoreUnavailable`: the store cannot be reached. The same call may be repeated; if the
  first one did write, the second one recognises that.
- `StoreDamaged`, `StoreFull`: a person must act.
- `LeaseLost`: the fence that was given is no longer the container's.

Once a call has returned, its effect is durable: it survives `kill -9` of this process
and of the database, and a power cut (but within `unsynced`). The store's clock alone
measures leases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ptsflow.core.insight import RunRecord
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
from ptsflow.core.packed import Tasks
from ptsflow.host.clock import Clock
from ptsflow.stores.care import StoreCare
from ptsflow.stores.looks import RunLedger, Schedules, ScreenReads
from ptsflow.stores.queues import WorkQueue
from ptsflow.stores.store_wait import StoreWait

#: As a limit: no limit.
ALL = 10**9


class Opener(Protocol):
    """How the stores of a scheme are opened; `stores/__init__.py` lists the openers."""

    def open(
        self,
        url: str,
        *,
        clock: Clock,
        upgrade: bool,
        notice: Callable[[str], None] | None,
        wait: StoreWait,
    ) -> Store:
        """Open the store that `url` names; see `open_store`."""

    def exists(self, url: str) -> bool:
        """Return whether opening the store would make nothing, such as a file."""

    def absolute(self, url: str) -> str:
        """Return a URL that names the same store in every folder."""

    def care(self, url: str) -> StoreCare:
        """Return what looks after a store, also if it cannot be opened."""

    def upgrade(self, url: str) -> Sequence[str]:
        """Carry a store over that opening leaves in an earlier layout.

        Return one line about the upgrade, or none if there was nothing to do.
        """


class Store(RunLedger, Schedules, ScreenReads, Protocol):
    """Containers and their tasks, kept durably."""

    #: The URL with passwords masked, as messages show it.
    url: str
    #: Whether the data ends with this process. Then each opening of the URL makes another
    #: store.
    is_in_memory: bool

    @property
    def work_root(self) -> Path | None:
        """The folder for the files of tasks, unless $PTSFLOW_WORK names another.

        None if these files need not outlive the run.
        """

    @property
    def queue(self) -> WorkQueue:
        """The containers that wait for a worker, for the thread that uses the store."""

    def key_of(self, record: ContainerRecord) -> str:
        """Return what names a container on this host, however the URL is spelt.

        No container of another store has it. One that is made in the place of this one
        may have it: its bodies are not to run beside those of this one.
        """

    def now(self) -> int:
        """Return the store's time in milliseconds since the epoch."""

    def sibling(self) -> Store:
        """Return another connection to the same data, for another thread."""

    def close(self) -> None:
        """Close files and sockets; a second call does nothing."""

    def unsynced(self) -> AbstractContextManager[None]:
        """Let a power cut take back what is written in the block: in SQLite.

        The first write after the block makes all of it durable, and costs as much as one
        write. Without that write, a power cut leaves what was there up to some moment
        within the block. It is for a process that ends with the power, and that begins
        anew then what it did in the block.
        """

    # -- containers ---------------------------------------------------------

    def create(
        self, name: str, *, created_at: int | None = None
    ) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it.

        Of any number of concurrent calls exactly one makes the container. With
        `created_at`, it says that it was made then, and not now: in another store.
        """

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""

    def containers(self, *, plans: bool = True) -> list[ContainerRecord]:
        """Return all containers, oldest first.

        Without `plans`, their plans are empty: they take most of the time. Such a record
        says how a container stands, and is never saved.
        """

    def delete(self, uid: str, *, fence: int | None = None) -> bool:
        """Delete a container and its tasks, unless a live lease holds the container.

        With a `fence`, the caller holds the lease, and the container is deleted if that
        was not lost. Its runs are kept; those without an end are marked as lost.

        Many tasks are deleted in several transactions, so that others can write. If the
        process is killed between two, the next deletion goes on.

        Return False if there is no such container, or if it is leased by another.
        """

    def claim(
        self,
        uid: str,
        owner: Owner,
        lease_ms: int,
        *,
        dead: int | None = None,
        above: int = 0,
    ) -> ContainerRecord | None:
        """Take the lease for `owner` and raise the fence by one, or return None.

        The new fence is larger than `above` as well.

        The lease can be taken if
        - it has no owner, or has ended on the store's clock;
        - or its fence is `dead`: the caller knows that the owner of that fence died.

        Once this call has returned, writes under earlier fences are refused. If the
        answer to a claim was lost, a second claim with the same `owner.id` is recognised.
        """

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if the lease was lost."""

    def save(self, record: ContainerRecord, run: RunRecord | None = None) -> None:
        """Write the fields of a leased container, but name, lease and time of making.

        `run` is the run that holds the lease: it is put into the ledger of runs, and
        earlier runs of the container that have no end are marked as lost.

        Raises:
            LeaseLost: the container's fence is not `record.fence` any more.
        """

    def release(self, record: ContainerRecord, run: RunRecord | None = None) -> bool:
        """Do what `save` does and give the lease back, in one write.

        `run` replaces what `save` put into the ledger. In MongoDB that is a write before:
        until the lease is given back, `runs` returns the run as one without an end.

        Return False, and write nothing, if the lease was lost.
        """

    def ask_to_stop(self, uid: str, fence: int, how: Stop) -> bool:
        """Ask the owner of that fence to stop: the request is kept in `stop_asked`.

        Return False if the lease of that fence was lost. A claim and a release remove the
        request; `save` leaves it. GENTLY does not replace NOW.
        """

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None.

        This is a cheap question: runners ask it once a second.
        """

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, in the order of positions.

        Without `payloads`, the payload fields are UNSET.
        """

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run.

        Done items of a wide fan-out may be packed.
        """

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None.

        With `unleased_at`, skip tasks whose lease ends after that time.
        In a container without a workflow, only tasks without a step are looked for.
        """

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Swap every task from `before` to `after` in one durable commit.

        `before` matches by name, version, fence and position: a task that was deleted and
        made anew has another position. (MongoDB compares a client's positions alone:
        while a lease is held, nobody else makes a task anew.) `after` is stored as it
        stands: its version is one above `before`'s (1 in an insert) and its fence is
        `fence` where one is given. Only a negative position is replaced, by the next
        free one. A changed name renames. Payloads that are UNSET in `after`, or are the
        same object as in `before`, are left as they are stored.

        With a `fence`, the caller holds the lease. With None, it is a client: the
        container must not be leased by anybody, and its outlook is forgotten.

        An attempt that ended (`Change.ended`) is added to the ledger of the task, in
        the same commit; the ledger is deleted with its task.

        Memory writes all changes or none. SQLite does so for a client and up to some
        thousand changes; of more it writes one part after the other, in order, so that
        others can write. MongoDB swaps the tasks one by one, in order. A batch has one
        fence, so if its lease is lost in between, the tasks written before that were
        still written by the owner of the lease. If the answer to a batch under a fence
        was lost, the batch may be committed again: the changes that were made are
        recognised. A client has no fence that tells its writes from those of others.

        Raises:
            LeaseLost: the fence is not the container's.
            ContainerBusy: `fence` is None and a live lease holds the container.
            ContainerNotFound: the container was deleted.
            Conflict: a `before` is not what is stored, or an insert's or a rename's
                name is taken.
        """

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped.

        Raises:
            LeaseLost: the fence is not the container's.
        """

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last `LEDGER_LENGTH` attempts in a task's ledger, oldest first."""

    def logs(self) -> LogStore:
        """Return a connection to the log lines of bodies, for another thread.

        Its file or collection is made with the first line. Lines are no state: no fence
        guards them, and a power cut may lose the last ones.
        """

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""


class LogStore(Protocol):
    """The lines that bodies logged and printed, kept in chunks beside the tasks.

    Deleting a container deletes its lines. Every call may raise a `StoreError`; the call
    may be repeated then, and the store itself is not affected.
    """

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        """Add chunks; drop the chunks of attempts before the last `LEDGER_LENGTH`."""

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        """Drop the chunks of an attempt whose numbers are `first` to `last`."""

    def read(
        self,
        uid: str,
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
        newest: int | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        """Return chunks in the order in which they were put, and a mark of the last.

        Args:
            uid: the container's uid.
            task: return the chunks of this task only.
            attempt: return the chunks of this attempt only.
            after: a mark from an earlier call: return the chunks put since then only.
            newest: return so many chunks at the most: those that were put last.
        """

    def forget(self, uid: str) -> None:
        """Drop all chunks of a container."""

    def close(self) -> None:
        """Close files and sockets; a second call does nothing."""
