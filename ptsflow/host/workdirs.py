"""The folders in which tasks keep files: their places, and when they are removed.

The path is `ROOT/CONTAINER/STEP-DIGEST`; no part of it comes from data. A body makes its
folder when it asks for `task.workdir`. The stored state alone decides which folders are
removed. A folder is renamed first, so that no body finds half of it, and then removed by
a thread of its own.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from zlib import crc32

from ptsflow.core.model import Cause, Change, ContainerRecord, Status, TaskRecord
from ptsflow.host import atomic_files

#: The environment variable that names one folder for the tasks of all stores.
VARIABLE = "PTSFLOW_WORK"

_GONE = ".gone-"
_DIGITS = frozenset("0123456789abcdef")


def root_of(own: Path | None) -> Path | None:
    """Return the folder that holds the folders of a store's containers.

    Args:
        own: the store's `work_root`; without one there is none.
    """
    given = os.environ.get(VARIABLE)
    return Path(given).absolute() if given and own is not None else own


def root_in_cache(url: str) -> Path:
    """Return the `work_root` of a store that lies on another machine.

    The user's cache is the place: its files can be made again.
    """
    import platformdirs  # noqa: PLC0415 - rarely needed

    cache = platformdirs.user_cache_path("ptsflow")
    return cache / "work" / f"{crc32(url.encode()):08x}"


def container_folder(container: ContainerRecord) -> str:
    """Return the name of a container's folder.

    The name differs for equal uids of two stores that share a root.
    """
    return atomic_files.digest(container.uid, str(container.created_at), container.name)


def task_folder(task: TaskRecord) -> str:
    """Return the name of a task's folder."""
    return f"{task.step}-{atomic_files.digest(task.name)}"


def is_over(task: TaskRecord, short_lived: Collection[str]) -> bool:
    """Return whether a task is done and its step does not keep files."""
    by_itself = task.status is Status.DONE or task.cause is Cause.BODY
    return by_itself and task.step in short_lived


def superfluous(changes: Sequence[Change], short_lived: Collection[str]) -> list[str]:
    """Return the names of the folders that committed changes make superfluous.

    A folder is superfluous if its task is done, or begins anew: then it is forgotten like
    the processing data.

    Args:
        changes: the committed changes.
        short_lived: the steps whose folders are removed when their tasks are done.
    """
    forgotten = [change.before for change in changes if _is_forgotten(change)]
    tasks = [change.after for change in changes if change.after is not None]
    over = [task for task in tasks if is_over(task, short_lived)]
    return [task_folder(task) for task in (*forgotten, *over) if task is not None]


def _is_forgotten(change: Change) -> bool:
    before, after = change.before, change.after
    if before is None or after is None:
        return after is None
    return after.processing_data is None and before.processing_data is not None


def leftovers(found: Iterable[str], kept: Collection[str]) -> list[str]:
    """Return the names in `found` that this module made and that are not in `kept`."""
    return [name for name in found if name not in kept and _is_ours(name)]


def _is_ours(name: str) -> bool:
    if name.startswith(_GONE):
        return _DIGITS.issuperset(name.removeprefix(_GONE))
    step, _, digits = name.rpartition("-")
    is_digest = len(digits) == len(atomic_files.digest()) and _DIGITS.issuperset(digits)
    return is_digest and step.isidentifier()


class Workdirs:
    """The folders of one container's tasks on this machine, for one thread at a time.

    Args:
        own_root: the store's `work_root`.
        container: the container of the tasks.
        short_lived: the steps whose folders are removed when their tasks are done.
    """

    def __init__(
        self,
        own_root: Path | None,
        container: ContainerRecord,
        short_lived: Collection[str] = (),
    ) -> None:
        root = root_of(own_root)
        #: A root for this run alone, removed with its contents by `close`.
        self._temporary_root: Path | None = None
        if root is None:
            root = self._temporary_root = _temporary()
        self.folder = root / container_folder(container)
        self._place = str(self.folder)
        #: False if no earlier run left the folder and no body has asked for one in it.
        self.may_be_there = True
        self._short_lived = short_lived
        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._notices: list[str] = []

    def path_of(self, task: TaskRecord) -> str:
        """Return the path of a task's folder, whether it exists or not."""
        self.may_be_there = True
        return f"{self._place}/{task_folder(task)}"

    def settle(self, changes: Sequence[Change]) -> None:
        """Remove the folders that committed changes make superfluous."""
        if self._is_there():
            self._set_aside(superfluous(changes, self._short_lived))

    def sweep(self, tasks: Iterable[TaskRecord]) -> None:
        """Remove the folders that earlier runs left and no open task needs.

        Args:
            tasks: all stored tasks of the container.
        """
        if self._is_there():
            open_tasks = (t for t in tasks if not is_over(t, self._short_lived))
            kept = {task_folder(task) for task in open_tasks}
            names = [path.name for path in self.folder.iterdir()]
            self._set_aside(leftovers(names, kept))
        else:
            self.may_be_there = False

    def close(self) -> list[str]:
        """Wait for all removals; return one line for each folder that remains."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._temporary_root is not None:
            self._remove(self._temporary_root)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # Fails unless it is empty.
        notices, self._notices = self._notices, []
        return notices

    # -- inside -----------------------------------------------------------------

    def _is_there(self) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(self._place).st_mode)
        except OSError:
            return False

    def _set_aside(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.folder / name
            aside = self.folder / f"{_GONE}{os.urandom(8).hex()}"
            try:
                if not stat.S_ISDIR(path.lstat().st_mode):
                    self._notices.append(
                        f"{path}: expected the folder of a task, found something else; "
                        "it was left alone, remove it"
                    )
                    continue
                path.rename(aside)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._note(path, error)
            else:
                self._remove_soon(aside)

    def _remove_soon(self, path: Path) -> None:
        self._queue.put(path)
        if self._thread is None:
            thread = threading.Thread(
                target=self._serve, name="ptsflow-workdirs", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system grants no thread
                self._queue.get()
                self._remove(path)
            else:
                self._thread = thread

    def _serve(self) -> None:
        while (path := self._queue.get()) is not None:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            atomic_files.remove(path)
        except OSError as error:
            self._note(path, error)

    def _note(self, path: Path, error: OSError) -> None:
        why = error.strerror or str(error)
        self._notices.append(f"{path}: cannot be removed: {why}; remove it by hand")


def _temporary() -> Path:
    import tempfile  # noqa: PLC0415 - for stores in memory alone

    base = os.environ.get(VARIABLE) or tempfile.gettempdir()
    return Path(base, f"ptsflow-{os.urandom(8).hex()}").absolute()


def forget(own_root: Path | None, container: ContainerRecord) -> list[str]:
    """Remove the folders of a container's tasks from this machine.

    Return one line for each folder that could not be removed.

    Args:
        own_root: the store's `work_root`.
        container: the container that was deleted.
    """
    workdirs = Workdirs(own_root, container)
    workdirs.sweep(())
    return workdirs.close()
