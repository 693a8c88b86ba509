"""Copying containers from one store to another, whatever kinds these are.

A container is held in both stores while it is copied. In the new store its workflow's name
begins with a mark until all is there: no run goes on in half a container, and copying it
again begins it anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from ptsflow.client.lease import acquire, free
from ptsflow.client.looking import runs_back
from ptsflow.core.container_fit import COPYING
from ptsflow.core.insight import RunRecord
from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Status,
    TaskRecord,
    length_of_payloads,
)
from ptsflow.core.work_queue import QueueEntry
from ptsflow.errors import (
    ContainerBusy,
    ContainerMismatch,
    LeaseLost,
    PtsflowError,
)
from ptsflow.host import workdirs
from ptsflow.host.clock import since_boot
from ptsflow.host.process_identity import this_process
from ptsflow.stores.base import ALL, LogStore, Store

#: The leases of a copy, in milliseconds.
_LEASE_MS = 60_000
#: How many times a lease is renewed before it would end.
_RENEWALS = 6
#: How many tasks are written at a time, unless their payloads are large.
_TASKS_AT_ONCE = 1_000
#: How many characters of payloads are written at a time.
_CHARS_AT_ONCE = 8_000_000
_CHUNKS_AT_ONCE = 500
#: A time after all others.
_EVER = 10**15
#: What the uid of a container that is gone begins with, in another store.
GONE = "gone:"


class Copying(Struct):
    """Copies containers, and counts them.

    Args:
        source: is read; only leases are taken and given back in it.
        target: is written.
        with_files: also copy the folders of unfinished tasks.
        refused: is given the name of each container that is left, and why it is.
    """

    source: Store
    target: Store
    with_files: bool = True
    refused: Callable[[str, PtsflowError], None] = lambda _name, _error: None
    #: The names of the containers that were copied, and of those that were there already.
    copied: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    #: The errors by the names of the containers that were left.
    left: dict[str, ContainerBusy | ContainerMismatch] = field(default_factory=dict)
    #: When both leases were claimed or renewed, in seconds since boot.
    _renewed_at: float = 0.0
    #: The uids in the target by those in the source.
    _uids: dict[str, str] = field(default_factory=dict)

    def copy(self, records: Sequence[ContainerRecord]) -> None:
        """Copy containers one by one; leave what is held, or is otherwise in the target."""
        with closing(self.source.logs()) as old, closing(self.target.logs()) as new:
            for record in records:
                try:
                    self._copy(record, old, new)
                except (ContainerBusy, ContainerMismatch) as error:
                    self.left[record.name] = error
                    self.refused(record.name, error)

    def _copy(self, record: ContainerRecord, old: LogStore, new: LogStore) -> None:
        found = self.target.container(record.name)
        if found is not None and self._is_equal(record, found):
            if record.owner is not None:  # A copy that was killed at its very end.
                self.source.release(self._claimed(record))
            self._uids[record.uid] = found.uid
            self.there.append(record.name)
            return
        if found is not None and not _is_half(self.target, found):
            raise ContainerMismatch(
                f"container {record.name!r}: expected none of that name in "
                f"{self.target.url}, or the one that was copied, found another; delete one "
                "of the two"
            )
        self._renewed_at = since_boot()
        # Until the copy is released whole, a power cut may take all of it back.
        with self.source.unsynced():
            held = self._claimed(record)
            try:
                self._check_files(held)
                if found is not None:
                    self._delete_half(found)
                self._fill(held, old, new)
            finally:
                if not self.source.release(held):
                    raise _lost(held)
        self.copied.append(record.name)

    def _claimed(self, record: ContainerRecord) -> ContainerRecord:
        owner = this_process(self.source.now)
        return acquire(self.source, record, owner, _LEASE_MS, until=since_boot())[0]

    def _is_equal(self, record: ContainerRecord, found: ContainerRecord) -> bool:
        """Whether a container was copied whole, and nobody has changed it since."""
        if _shown(record) != _shown(found):
            return False
        return self.source.tasks(record.uid) == self.target.tasks(found.uid)

    def _delete_half(self, found: ContainerRecord) -> None:
        while not self.target.delete(found.uid):
            again = self.target.container(found.name)
            if again is None or again.uid != found.uid:
                return
            free(self.target, again)

    def _fill(self, held: ContainerRecord, old: LogStore, new: LogStore) -> None:
        """Make the container in the target, with all that it has."""
        with self.target.unsynced():
            saved, run = self._filled(held, old, new)
        if not self.target.release(saved, run):
            raise _lost(held)
        self._uids[held.uid] = saved.uid

    def _filled(
        self, held: ContainerRecord, old: LogStore, new: LogStore
    ) -> tuple[ContainerRecord, RunRecord | None]:
        """Make it, marked as half a copy; return it without the mark, and its last run."""
        target = self.target
        made, _ = target.create(held.name, created_at=held.created_at)
        owner = this_process(target.now)
        # Services remember the fence, so it is never smaller than it was.
        claimed = target.claim(made.uid, owner, _LEASE_MS, above=held.fence - 1)
        if claimed is None:
            raise ContainerBusy(
                f"container {held.name!r}: somebody else makes it in {target.url}; wait "
                "until that has ended"
            )
        saved = replace(
            held,
            uid=claimed.uid,
            fence=claimed.fence,
            owner=claimed.owner,
            leased_till=claimed.leased_till,
        )
        half = replace(saved, workflow=f"{COPYING}{held.workflow or ''}")
        target.save(half)
        for changes in self._parts(held):
            target.commit(claimed.uid, changes, fence=claimed.fence)
            self._renew(held, claimed)
        chunks, _ = old.read(held.uid)
        for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
            new.put(claimed.uid, chunks[start : start + _CHUNKS_AT_ONCE])
        if self.with_files:
            self._copy_files(held, claimed)
        self._tell_outlook(held.uid, claimed)
        runs = [replace(run, uid=claimed.uid) for run in self._runs_of(held)]
        for run in runs[:-1]:
            target.add_run(run)
        self._renew(held, claimed)
        return saved, runs[-1] if runs else None

    def _renew(self, held: ContainerRecord, claimed: ContainerRecord) -> None:
        if since_boot() - self._renewed_at < _LEASE_MS / 1000 / _RENEWALS:
            return
        self._renewed_at = since_boot()
        is_held = self.source.renew(held.uid, held.fence, _LEASE_MS)
        if not (is_held and self.target.renew(claimed.uid, claimed.fence, _LEASE_MS)):
            raise _lost(held)

    def _parts(self, held: ContainerRecord) -> Iterator[list[Change]]:
        """Yield the changes that make the tasks with their ledgers, in parts."""
        changes: list[Change] = []
        length = 0
        names = [task.name for task in self.source.tasks(held.uid)]
        for start in range(0, len(names), _TASKS_AT_ONCE):
            some = names[start : start + _TASKS_AT_ONCE]
            ledgers = self.source.ledgers(held.uid, some)
            for task in self.source.tasks(held.uid, some, payloads=True):
                changes += made(task, ledgers.get(task.name, ()))
                length += length_of_payloads(task)
                if length > _CHARS_AT_ONCE:
                    yield changes
                    changes, length = [], 0
            yield changes
            changes, length = [], 0

    def _tell_outlook(self, uid: str, claimed: ContainerRecord) -> None:
        told = self.source.outlooks([uid], of_earlier_runs=True).get(uid)
        if told is not None:
            self.target.tell(claimed.uid, claimed.fence, told)

    def _check_files(self, held: ContainerRecord) -> None:
        """Refuse a container whose unfinished tasks have files on another host.

        Raises:
            ContainerMismatch: it is to be copied where it ran, or without files.
        """
        if not self.with_files or held.status is Status.DONE:
            return
        host = this_process(self.source.now).host
        others = {
            task.ran_by.rpartition(":")[0]
            for task in self.source.tasks(held.uid)
            if not task.is_complete and task.ran_by
        } - {host}
        if others:
            raise ContainerMismatch(
                f"container {held.name!r}: it is not complete, and ran on "
                f"{', '.join(sorted(others))}, where files of its tasks may be; copy it "
                "there, or add --no-workdirs"
            )

    def _copy_files(self, held: ContainerRecord, claimed: ContainerRecord) -> None:
        old = _folder(self.source.work_root, held)
        new = _folder(self.target.work_root, claimed)
        if held.status is Status.DONE or old is None or new is None:
            return
        if old.is_dir() and old != new:
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(old, new, symlinks=True)

    def _runs_of(self, record: ContainerRecord) -> list[RunRecord]:
        """Return the runs of a container, those that began first before others."""
        runs = runs_back(self.source, name=record.name)
        return [run for run in runs if run.uid == record.uid][::-1]

    def copy_history(self) -> None:
        """Copy the runs of containers that are gone, or that are not copied."""
        known = {record.uid for record in self.source.containers(plans=False)}
        there = {(r.uid, r.fence): r for r in runs_back(self.target)}
        lacking = list[RunRecord]()
        for run in [*runs_back(self.source)][::-1]:
            uid = self._uids.get(run.uid)
            if uid is None and run.uid in known:
                continue  # It goes with its container.
            moved = replace(run, uid=uid or f"{GONE}{run.uid.removeprefix(GONE)}")
            if (moved.uid, moved.fence) not in there:
                lacking.append(moved)
        with self.target.unsynced():
            for run in lacking[:-1]:
                self.target.add_run(run)
        for run in lacking[-1:]:
            self.target.add_run(run)

    def copy_queue(self) -> None:
        """Queue copied containers for a worker of the target as they are in the source."""
        records = self.source.containers(plans=False)
        of_these = {record.workflow for record in records if record.workflow}
        there = {entry.uid for entry in _queued(self.target, of_these)}
        for entry in _queued(self.source, of_these):
            uid = self._uids.get(entry.uid)
            if uid is not None and uid not in there:
                self.target.queue.put(replace(entry, uid=uid))

    def copy_schedules(self) -> None:
        """Copy the schedules of workflows that have none in the target."""
        there = {schedule.workflow for schedule in self.target.schedules()}
        for schedule in self.source.schedules():
            if schedule.workflow not in there:
                self.target.swap_schedule(None, schedule)


def chosen(
    records: Sequence[ContainerRecord], parts: Sequence[str], *, unfinished: bool
) -> list[ContainerRecord]:
    """Return the containers that are copied, oldest first.

    Args:
        records: all containers, oldest first.
        parts: their names have one of these within them; none for all.
        unfinished: only those that are not complete.
    """
    return [
        record
        for record in records
        if (not parts or any(part in record.name for part in parts))
        and not (unfinished and record.status is Status.DONE)
        and not (record.workflow or "").startswith(COPYING)
    ]


def made(task: TaskRecord, ledger: Sequence[Attempt]) -> Iterator[Change]:
    """Yield the changes that make a task as it is, with its ledger."""
    first = replace(task, version=task.version - len(ledger))
    yield Change(None, first)
    before = first
    for attempt in ledger:
        after = replace(before, version=before.version + 1)
        yield Change(before, after, attempt)
        before = after


def _lost(held: ContainerRecord) -> LeaseLost:
    return LeaseLost(f"container {held.name!r}: it took too long; try again")


def _queued(store: Store, workflows: Collection[str]) -> list[QueueEntry]:
    """Return all entries of the queue, also those that are not to be taken yet."""
    return store.queue.due(workflows, _EVER, ALL)


def _shown(record: ContainerRecord) -> ContainerRecord:
    """Return a container without what differs between two stores."""
    return replace(
        record, uid="", fence=0, owner=None, leased_till=None, stop_asked=None
    )


def _is_half(target: Store, found: ContainerRecord) -> bool:
    """Whether a container was not copied to its end."""
    if found.workflow is None:
        return not target.tasks(found.uid)
    return found.workflow.startswith(COPYING)


def _folder(root: Path | None, record: ContainerRecord) -> Path | None:
    found = workdirs.root_of(root)
    return None if found is None else found / workdirs.container_folder(record)
