"""A store in one SQLite file, for the processes of one machine.

Every write is one `BEGIN IMMEDIATE` transaction in WAL mode with `synchronous=FULL`:
one sync a commit, and what was committed survives a power cut. Payloads lie in a table
of their own, so that starting and finishing a task never rewrites its results. Every
row carries a check value, because SQLite itself notices no flipped byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Never
from zlib import crc32

from msgspec import UNSET, UnsetType
from msgspec.json import encode as to_json
from msgspec.structs import replace

from ptsflow.clock import Clock, system_clock
from ptsflow.errors import StoreDamaged
from ptsflow.model import (
    Change,
    ContainerRecord,
    Owner,
    Progress,
    Status,
    Tally,
    TaskRecord,
)
from ptsflow.stores import sqlite_rows as rows
from ptsflow.stores.rules import (
    check_writer,
    claimed,
    is_held,
    is_leased,
    raise_lost,
    recognise,
    saved,
)
from ptsflow.stores.sqlite_database import Database
from ptsflow.stores.sqlite_file import path_of

_PLACE = attrgetter("position", "name")


class SqliteStore:
    """Containers and tasks in one file, for one thread at a time.

    Args:
        url: `sqlite:///FILE` or `sqlite:////ABSOLUTE/FILE`; the file and its folder
            are made where there are none, for this user alone.
        clock: Tells the time for leases.
        patience: For how many seconds to wait while other processes write.
    """

    def __init__(
        self, url: str, *, clock: Clock = system_clock, patience: float = 10.0
    ) -> None:
        self._use(url, clock, Database(path_of(url), patience))

    def _use(self, url: str, clock: Clock, database: Database) -> None:
        self.url = url
        self._clock = clock
        self._database = database
        self._execute = database.execute
        self._changes = database.changes
        self._write = database.write

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def sibling(self) -> SqliteStore:
        """Return another connection to the same file."""
        other = SqliteStore.__new__(SqliteStore)
        other._use(self.url, self._clock, self._database.another())  # noqa: SLF001 - its own.
        return other

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def _damaged(self, what: str) -> Never:
        raise StoreDamaged(
            f"{self._database.path}: {what} does not fit its check value; "
            "restore the file from a copy"
        )

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, made now if there was none."""
        found = self.container(name)
        return (found, False) if found else self._write(self._create, name)

    def _create(self, name: str) -> tuple[ContainerRecord, bool]:
        found = self._find(name)
        if found is not None:
            return found, False
        # Written twice, because the check value is over the uid too.
        self._execute(rows.NEW_CONTAINER, (name,))
        uid = str(self._database.connection.last_insert_rowid())
        record = ContainerRecord(uid=uid, name=name, created_at=self.now())
        self._put(record, 0)
        return record, True

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        return self._database.read(self._find, name)

    def _find(self, name: str) -> ContainerRecord | None:
        found = self._execute(f"{rows.CONTAINERS} WHERE name = ?", (name,)).fetchall()
        return self._container(found[0]) if found else None

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        return self._database.read(self._all)

    def _all(self) -> list[ContainerRecord]:
        found = self._execute(f"{rows.CONTAINERS} ORDER BY uid").fetchall()
        return [self._container(row) for row in found]

    def _container(self, row: rows.Row) -> ContainerRecord:
        if not rows.is_intact(row):
            self._damaged(f"the row of container {row[1]!r}")
        return rows.container_of(row)

    def _get(self, uid: str) -> tuple[ContainerRecord | None, int]:
        """Return the container, and the next free position in it."""
        query = f"{rows.CONTAINERS} WHERE uid = ?"
        found: list[rows.Row] = self._execute(query, (rows.number(uid),)).fetchall()
        return (self._container(found[0]), found[0][-2]) if found else (None, 0)

    def _put(self, record: ContainerRecord, next_position: int) -> None:
        row = rows.container_row(record, next_position)
        self._execute(rows.UPDATE_CONTAINER, (*row, row[0]))

    def delete(self, uid: str) -> bool:
        """Delete a container that nobody leases, with its tasks."""
        return self._write(self._delete, uid)

    def _delete(self, uid: str) -> bool:
        stored, _ = self._get(uid)
        if stored is None or is_leased(stored, self.now()):
            return False
        for statement in rows.DELETE_CONTAINER:
            self._execute(statement, (int(uid),))
        return True

    def claim(
        self, uid: str, owner: Owner, lease_ms: int, *, dead: int | None = None
    ) -> ContainerRecord | None:
        """Take the lease for `owner`, the fence grown by one, or return None."""
        self._database.check_place()
        return self._write(self._claim, uid, owner, lease_ms, dead)

    def _claim(
        self, uid: str, owner: Owner, lease_ms: int, dead: int | None
    ) -> ContainerRecord | None:
        stored, position = self._get(uid)
        if stored is None:
            return None
        record = claimed(stored, owner, self.now(), lease_ms, dead)
        if record is not None and record is not stored:
            self._put(record, position)
        return record

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        """Move the end of the lease to now + `lease_ms`; False if it was lost."""
        self._database.check_place()
        return self._write(self._renew, uid, fence, lease_ms)

    def _renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        stored, position = self._get(uid)
        if stored is None or not is_held(stored, fence):
            return False
        self._put(replace(stored, leased_till=self.now() + lease_ms), position)
        return True

    def save(self, record: ContainerRecord) -> None:
        """Write all but the lease of a container that is held."""
        self._write(self._save, record)

    def _save(self, record: ContainerRecord) -> None:
        stored, position = self._get(record.uid)
        if stored is None or not is_held(stored, record.fence):
            raise_lost(record.name, record.fence, stored)
        self._put(saved(stored, record), position)

    def release(self, record: ContainerRecord) -> bool:
        """Do what `save` does and give the lease back, in one write."""
        return self._write(self._release, record)

    def _release(self, record: ContainerRecord) -> bool:
        stored, position = self._get(record.uid)
        if stored is None or stored.fence != record.fence:
            return False
        if stored.owner is not None:
            given = replace(saved(stored, record), owner=None, leased_till=None)
            self._put(given, position)
        return True

    # -- reading tasks ------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return tasks by position: all, or those of `names` that exist."""
        query = rows.FULL_TASKS if payloads else rows.TASKS
        if names is None:
            return self._read(query, (rows.number(uid),))
        listed = to_json(list(names)).decode()
        return self._read(query + rows.OF_NAMES, (rows.number(uid), listed))

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        args = [rows.number(uid)] + ([] if unleased_at is None else [unleased_at])
        where = rows.OPEN + (rows.UNLEASED if unleased_at is not None else "")
        found = self._read(rows.FULL_TASKS + where + rows.FIRST, tuple(args))
        return found[0] if found else None

    def _read(self, query: str, args: rows.Row) -> list[TaskRecord]:
        found = self._database.read(self._fetch, query, args)
        if len(found) > 1:
            found.sort(key=_PLACE)
        return found

    def _fetch(self, query: str, args: rows.Row) -> list[TaskRecord]:
        try:
            return [self._task(row) for row in self._execute(query, args).fetchall()]
        except UnicodeDecodeError:
            self._blame(args[0])

    def _task(self, row: rows.Row) -> TaskRecord:
        cells = row[rows.WIDTH :]
        if not rows.is_intact(row[: rows.WIDTH] if cells else row):
            self._damaged(self._called(row[0], row[1]))
        payloads = rows.payloads_of(cells) if cells else rows.NOT_LOADED
        if payloads is None:
            self._damaged(f"a payload of {self._called(row[0], row[1])}")
        return rows.task_of(row, payloads)

    def _called(self, number: int, task: str) -> str:
        container, _ = self._get(str(number))
        return f"task {task!r} of container {container and container.name!r}"

    def _blame(self, number: int) -> Never:
        """Raise for the task whose text cannot even be decoded."""
        query = "SELECT id, CAST(name AS BLOB) FROM tasks WHERE container = ?"
        task = ""
        found: list[rows.Row] = self._execute(query, (number,)).fetchall()
        for rowid, name in found:
            task = name.decode(errors="replace")
            try:
                self._execute(f"{rows.TASKS} AND t.id = ?", (number, rowid)).fetchall()
            except UnicodeDecodeError:
                break
        self._damaged(self._called(number, task))

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        found: dict[str, list[Tally]] = {uid: [] for uid in uids}
        listed = to_json([rows.number(uid) for uid in found]).decode()
        for uid, *counted in self._database.read(self._tally, listed):
            step, status, count, percentage = counted
            found[str(uid)].append(Tally(step, Status(status), count, percentage))
        return found

    def _tally(self, listed: str) -> list[rows.Row]:
        return self._execute(rows.TALLIES, (listed,)).fetchall()

    # -- writing tasks ------------------------------------------------------

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Swap every task from `before` to `after`, or none, in one commit."""
        self._write(self._commit, uid, changes, fence)

    def _commit(self, uid: str, changes: Sequence[Change], fence: int | None) -> None:
        number = rows.number(uid)
        self._check_writer(number, fence)
        places = _Places(self, uid)
        for change in changes:
            before, after = change.before, change.after
            if before is None:
                is_done = after is None or self._insert(number, after, places)
            elif after is None:
                is_done = self._remove(number, before)
            else:
                is_done = self._swap(number, before, after, places)
            if not is_done:
                self._recognise(uid, change, fence)
        places.keep()

    def _check_writer(self, number: int, fence: int | None) -> None:
        for row in self._execute(rows.WRITER, (number,)):
            if row == (fence, 0) or (fence is None and row[1]):
                return
        uid = str(number)
        check_writer(self._get(uid)[0], uid, fence, self.now())

    def _insert(self, number: int, after: TaskRecord, places: _Places) -> bool:
        row = rows.task_row(number, after, places.give(after.position))
        self._execute(rows.INSERT, row)
        is_done = self._changes() == 1
        if is_done:
            self._put_payloads(number, _NOTHING, after)
        return is_done

    def _swap(
        self, number: int, before: TaskRecord, after: TaskRecord, places: _Places
    ) -> bool:
        match = (number, before.name, before.version, before.fence)
        if after.name != before.name or not 0 <= after.position == before.position:
            row = rows.task_row(number, after, places.give(after.position))
            self._execute(rows.MOVE, row[1:] + match)
        else:
            row = rows.task_row(number, after, after.position)
            if after.is_complete is before.is_complete:
                self._execute(rows.UPDATE, row[4:] + match)
            else:
                self._execute(rows.TURN, row[3:] + match)
        is_done = self._changes() == 1
        if is_done:
            self._put_payloads(number, before, after)
        return is_done

    def _remove(self, number: int, before: TaskRecord) -> bool:
        match = (number, before.name, before.version, before.fence)
        for (rowid,) in self._execute(rows.DELETE, match).fetchall():
            self._execute("DELETE FROM payloads WHERE task = ?", (rowid,))
            return True
        return False

    def _put_payloads(self, number: int, before: TaskRecord, after: TaskRecord) -> None:
        if after.task_data is not before.task_data:
            self._put_payload(number, after.name, 0, after.task_data)
        if after.processing_data is not before.processing_data:
            self._put_payload(number, after.name, 1, after.processing_data)
        if after.result is not before.result:
            self._put_payload(number, after.name, 2, after.result)

    def _put_payload(
        self, number: int, name: str, field: int, text: str | UnsetType | None
    ) -> None:
        if text is None:
            self._execute(rows.DROP_PAYLOAD, (field, number, name))
        elif text is not UNSET:
            value = crc32(text.encode())
            self._execute(rows.PUT_PAYLOAD, (field, value, text, number, name))

    def _recognise(self, uid: str, change: Change, fence: int | None) -> None:
        container, _ = self._get(uid)
        before, after = (
            self._fetch(rows.TASKS + rows.OF_NAME, (rows.number(uid), task.name))
            if task
            else []
            for task in (change.before, change.after)
        )
        recognise(
            container.name if container else uid,
            change,
            fence,
            at_before=before[0] if before else None,
            at_after=after[0] if after else None,
        )

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Note progress of running tasks, no version moved; late ones are dropped."""
        self._write(self._touch, uid, progress, fence)

    def _touch(self, uid: str, progress: Sequence[Progress], fence: int) -> None:
        stored, _ = self._get(uid)
        if stored is None or not is_held(stored, fence):
            raise_lost(stored.name if stored else uid, fence, stored)
        for each in progress:
            args = (int(uid), each.name)
            query = rows.TASKS + rows.OF_NAME + rows.RUNNING
            for row in self._execute(query, args).fetchall():
                self._task(row)
                moved = rows.progressed(row, each.percentage, each.text)
                self._execute(rows.TOUCH, (*moved, *args))


_NOTHING = TaskRecord(name="", task_data=None, processing_data=None, result=None)


class _Places:
    """The next free position of a container: read and written back only if needed."""

    __slots__ = ("next", "store", "stored", "uid")

    def __init__(self, store: SqliteStore, uid: str) -> None:
        self.store = store
        self.uid = uid
        self.stored: ContainerRecord | None = None
        self.next = 0

    def give(self, position: int) -> int:
        """Return the position itself, or the next free one for a negative one."""
        if self.stored is None:
            self.stored, self.next = self.store._get(self.uid)  # noqa: SLF001 - its own.
        given = self.next if position < 0 else position
        self.next = max(self.next, given + 1)
        return given

    def keep(self) -> None:
        """Write the next free position back."""
        if self.stored is not None:
            self.store._put(self.stored, self.next)  # noqa: SLF001 - its own.
