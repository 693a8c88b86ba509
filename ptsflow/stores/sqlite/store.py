"""A store in one SQLite file, for the processes of one machine.

Every write is one `BEGIN IMMEDIATE` transaction in WAL mode with `synchronous=FULL`: each
commit is synced once, and survives a power cut. Payloads have a table of their own, so
that the start or end of a task does not rewrite them. Every row has a check value, because
SQLite itself does not notice a flipped byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from ptsflow.core.model import (
    Attempt,
    Change,
    ContainerRecord,
    Progress,
    Stop,
    Tally,
    TaskRecord,
)
from ptsflow.core.packed import Tasks
from ptsflow.errors import StoreError
from ptsflow.host.clock import Clock, system_clock
from ptsflow.stores.leasing import Decide, Leasing
from ptsflow.stores.rules import is_held
from ptsflow.stores.sqlite import migrations
from ptsflow.stores.sqlite.commits import SqliteCommits
from ptsflow.stores.sqlite.containers import SqliteContainers
from ptsflow.stores.sqlite.database import Database
from ptsflow.stores.sqlite.file import Upgrade, kind, path_of
from ptsflow.stores.sqlite.logs import SqliteLogs
from ptsflow.stores.sqlite.tasks import SqliteTasks


class SqliteStore(Leasing):
    """Containers and tasks in one file, for one thread at a time.

    Args:
        url: `sqlite:///FILE` or `sqlite:////ABSOLUTE/FILE`; the file and its folder
            are made where there are none, for this user alone.
        clock: Tells the time for leases.
        patience: For how many seconds to wait while other processes write.
        notice: Told in a line that the file was of an earlier layout and was upgraded.
        upgrade: What else becomes of a file of an earlier layout.
    """

    is_in_memory = False

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = system_clock,
        patience: float = 10.0,
        notice: Callable[[str], None] | None = None,
        upgrade: Upgrade | None = None,
    ) -> None:
        if upgrade is None:
            say = notice or migrations.print_notice
            upgrade = partial(migrations.upgrade, clock=clock, notice=say)
        self._use(url, clock, Database(path_of(url), kind(upgrade), patience))

    def _use(self, url: str, clock: Clock, database: Database) -> None:
        self.url = url
        self.identity = f"sqlite:{database.path.resolve()}"
        self._clock = clock
        self._database = database
        self._read = database.read
        self._write = database.write
        self._containers = SqliteContainers(database)
        self._tasks = SqliteTasks(database, self._containers)
        self._commits = SqliteCommits(database, self._containers, self._tasks, clock)

    @property
    def work_root(self) -> Path:
        """The folder for files of its tasks: beside the store's file."""
        path = self._database.path
        return path.with_name(f"{path.name}.work")

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def sibling(self) -> SqliteStore:
        """Return another connection to the same file."""
        other = type(self).__new__(type(self))
        other._use(self.url, self._clock, self._database.another())  # noqa: SLF001 - its own.
        return other

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    # -- containers ---------------------------------------------------------

    def create(self, name: str) -> tuple[ContainerRecord, bool]:
        """Return the container of that name, and whether this call made it."""
        found = self.container(name)
        return (found, False) if found else self._write(self._create, name)

    def _create(self, name: str) -> tuple[ContainerRecord, bool]:
        found = self._containers.named(name)
        if found is not None:
            return found, False
        return self._containers.add(name, self.now()), True

    def container(self, name: str) -> ContainerRecord | None:
        """Return the container of that name as it is now, or None."""
        return self._read(self._containers.named, name)

    def containers(self) -> list[ContainerRecord]:
        """Return all containers, oldest first."""
        return self._read(self._containers.all)

    def delete(self, uid: str) -> bool:
        """Delete a container and its tasks, unless a live lease holds it."""
        has_left = self._write(self._delete, uid)
        if has_left is None:
            return False
        while has_left:  # If the process is killed here, the next `delete` goes on.
            has_left = self._write(self._containers.remove_left)
        logs = self.logs()
        # If the lines cannot be deleted, the container is deleted all the same.
        with suppress(StoreError), closing(logs):
            logs.forget(uid)
        return True

    def _delete(self, uid: str) -> bool | None:
        """Return whether tasks are left; None if the container is not deleted."""
        stored, _ = self._containers.get(uid)
        if stored is None or stored.is_leased(self.now()):
            return None
        return self._containers.remove(uid)

    def _swap_container(self, uid: str, decide: Decide) -> ContainerRecord | None:
        return self._write(self._containers.swap, uid, decide)

    def stop_asked(self, uid: str, fence: int) -> Stop | None:
        """Return how the owner of that fence was asked to stop, or None."""
        # A runner that commits nothing for long hears of it by this question.
        self._database.check_place()
        return self._read(self._stop_asked, uid, fence)

    def _stop_asked(self, uid: str, fence: int) -> Stop | None:
        if not self._containers.is_asked_to_stop(uid):
            return None
        stored, _ = self._containers.get(uid)
        return stored.stop_asked if is_held(stored, fence) else None

    # -- tasks --------------------------------------------------------------

    def tasks(
        self,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        """Return all tasks, or those of `names` that exist, by position."""
        return self._tasks.tasks(uid, names, payloads=payloads)

    def table(self, uid: str) -> Tasks:
        """Return all tasks by name, without payloads, for a run."""
        return self._tasks.table(uid)

    def next_open(
        self, uid: str, *, unleased_at: int | None = None
    ) -> TaskRecord | None:
        """Return the first task that is not complete, with payloads, or None."""
        return self._tasks.next_open(uid, unleased_at)

    def commit(self, uid: str, changes: Sequence[Change], *, fence: int | None) -> None:
        """Make the changes; a client's, and a runner's unless they are many, at once."""
        self._commits.commit(uid, changes, fence)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        """Write the progress of running tasks; versions stay, other tasks are skipped."""
        self._commits.touch(uid, progress, fence)

    def attempts(self, uid: str, name: str) -> list[Attempt]:
        """Return the last attempts in a task's ledger, oldest first."""
        return self._tasks.attempts(uid, name)

    def logs(self) -> SqliteLogs:
        """Return a connection to the log lines, which have a file beside this one."""
        return SqliteLogs(self._database.path, self._database.patience)

    def tallies(self, uids: Iterable[str]) -> Mapping[str, list[Tally]]:
        """Return, for each container, its tasks counted by step and status."""
        return self._tasks.tallies(uids)
