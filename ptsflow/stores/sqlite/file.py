"""Making and opening the database file of a SQLite store, or refusing what is not one.

Nothing here ever starts a file over: an empty, cut, foreign or newer one is named and
left as it is. A live database is never opened other than through SQLite, because
closing any other descriptor of it would drop this process's locks on it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import apsw

from ptsflow.core import model
from ptsflow.errors import (
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    StoreURLError,
)
from ptsflow.host import atomic_files, paths
from ptsflow.host.clock import Clock
from ptsflow.stores.sqlite import layout
from ptsflow.stores.sqlite.database import Kind
from ptsflow.stores.sqlite.layout import APPLICATION_ID, check_layout, cure
from ptsflow.stores.sqlite.left_log import check_whole, look_at_log
from ptsflow.stores.sqlite.refusals import refusal, unmade

#: File systems on which SQLite loses data: its locks and its shared memory do not work
#: between machines.
NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.cifs"}
    | {"fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
    | {"fuse.smbnetfs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "smb2", "smb3", "smbfs", "virtiofs"}
)

#: Carries the open file of an earlier layout over to this one, or raises.
Upgrade = Callable[[Path, apsw.Connection], None]

_WHAT = "a ptsflow store"

#: A log that starts over early is written in place: a sync that need not record a longer
#: file takes about half the time.
_LONGEST_LOG = 150

_MOUNTS = Path("/proc/self/mountinfo")
_SMALLEST_PAGE = 512


def path_of(url: str) -> Path:
    """Return the absolute path that a `sqlite:` URL names.

    Raises:
        StoreURLError: it names none, or says more than a path.
    """
    _, _, rest = url.partition(":")
    rest, mark, query = rest.partition("?")
    if mark:
        name = query.partition("=")[0].partition("&")[0]
        raise StoreURLError(
            f"store URL {url!r}: expected a path alone, found the parameter {name!r}; "
            "leave out the question mark and what follows it"
        )
    name = unquote(rest.removeprefix("///"))
    if name in {"", "//", ":memory:"}:
        raise StoreURLError(
            f"store URL {url!r}: expected sqlite:///FILE, found no file; "
            "name one, or use memory: for what nothing need outlive"
        )
    if not rest.startswith("///") or "\0" in name:
        raise StoreURLError(
            f"store URL {url!r}: expected three slashes and a path, as in "
            "sqlite:///pts.db or sqlite:////srv/pts.db; write it so"
        )
    try:
        path = paths.resolved(name)
    except paths.PathError as error:
        raise StoreURLError(f"store URL {url!r}: {error}") from None
    if not path.name:
        raise StoreURLError(
            f"{path}: expected a file, found a folder; name a file in the URL"
        )
    return path


def network_file_system(path: Path, mountinfo: str) -> str | None:
    """Return the type of the network file system that holds `path`, or None.

    Args:
        path: An absolute path without symbolic links.
        mountinfo: The text of `/proc/self/mountinfo`; see proc(5).
    """
    best, found = -1, ""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:  # noqa: PLR2004 - the mount point is the fifth.
            continue
        # The kernel writes blanks and backslashes in octal.
        point = Path(fields[4].encode().decode("unicode_escape"))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), right.split(" ")[0]
    return found if found in NETWORK else None


def prepare(path: Path) -> None:
    """Make sure that there is a file that is worth opening, made now if none was.

    Raises:
        StoreError: what is there is not a store, or none can be made.
    """
    folder = path.parent
    try:
        _make_folder(folder)
        if _MOUNTS.exists():
            _refuse_network(path, _MOUNTS.read_text("utf-8", "replace"))
        if not exists(path, _WHAT):
            make_file(path, _fill)
        if not all(os.access(p, os.W_OK, effective_ids=True) for p in (path, folder)):
            raise StoreUnavailable(
                f"{path}: expected a file in a folder that can both be written, found "
                "that one cannot; change their permissions"
            )
    except OSError as error:
        raise unmade(path, error) from error


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        atomic_files.give_of_root(each)
        atomic_files.sync(each.parent)


def _refuse_network(path: Path, mountinfo: str) -> None:
    kind = network_file_system(path, mountinfo)
    if kind is not None:
        raise StoreURLError(
            f"{path}: expected a local disk, found the network file system {kind!r}, "
            "where SQLite loses data; choose a local file or mongodb://"
        )


def exists(path: Path, what: str) -> bool:
    """Return whether there is a file, which may be `what` by its looks.

    Raises:
        StoreError: what is there is none, or cannot be.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        found = path.stat()
    except FileNotFoundError:
        # SQLite would play a left-over log into the new database.
        if wal.exists() and not path.exists():
            raise StoreDamaged(
                f"{path}: expected it beside {wal.name}, found that log alone; "
                "restore the file, or move the log away to start over"
            ) from None
        return False
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "something else"
        raise StoreURLError(
            f"{path}: expected a file, found {kind}; name a file in the URL"
        )
    if found.st_nlink > 1:
        _refuse_links(path, found)
    # SQLite would take what is shorter than any page for a new database.
    if found.st_size < _SMALLEST_PAGE:
        size = f"a file of {found.st_size} bytes" if found.st_size else "an empty file"
        raise StoreDamaged(
            f"{path}: expected {what}, found {size}; "
            "restore it, or remove it to start over"
        )
    return True


def make_file(
    path: Path, fill: Callable[[Path], None], beside: Path | None = None
) -> None:
    """Make the file complete under another name, then give it its own.

    Of several processes at once one gives the name and the others use that file.

    Args:
        path: the file.
        fill: makes a database of an empty file.
        beside: a store whose owner and mode the file gets.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        fill(draft)
        if beside is not None and beside.exists():
            atomic_files.adopt(draft, beside)
        else:
            atomic_files.give_of_root(draft)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        atomic_files.sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _refuse_links(path: Path, found: os.stat_result) -> None:
    """Refuse a file with other names; remove a draft's, which `make_file` left if killed.

    If a file were opened by two names, each would have a log of its own.
    """
    drafts = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}")
    for each in path.parent.iterdir():
        # Other processes that make the file at this moment remove their own drafts.
        with suppress(FileNotFoundError):
            if drafts.fullmatch(each.name) and os.path.samestat(each.lstat(), found):
                each.unlink()
    count = path.stat().st_nlink
    if count > 1:
        raise StoreDamaged(
            f"{path}: expected a file with this name alone, found one with {count} names "
            f"(hard links); remove the others (find them with find -inum {found.st_ino}), "
            "or make this one a copy"
        )


def _fill(path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            for statement in layout.TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {model.SCHEMA}")
        connection.execute("PRAGMA journal_mode = WAL")
    except apsw.Error as error:
        raise _refusal(path, error, connection.system_errno) from error
    finally:
        connection.close()


def connect(path: Path, patience: float, upgrade: Upgrade) -> apsw.Connection:
    """Open a prepared file and check that it is a store that this version knows.

    SQLite waits for a tenth of `patience`; then the caller tries again. What is of an
    earlier layout is given to `upgrade`.

    Raises:
        apsw.Error: SQLite cannot read it; see `refusal`.
        StoreDamaged: it is another program's, newer, or its tables are others.
    """
    is_logged, is_left = look_at_log(path)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        # Whatever is refused below stays as it was, its log included.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(is_logged))
        connection.set_busy_timeout(int(patience * 100))
        number = _layout_of(path, connection)
        if is_left:
            check_whole(path, connection)
        if not is_logged:
            _check_length(path, connection)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        _set_up(path, connection)
        if number < model.SCHEMA:
            upgrade(path, connection)
            check_layout(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _layout_of(path: Path, connection: apsw.Connection) -> int:
    try:
        return check_layout(path, connection)
    except apsw.SQLError as error:
        # These statements are right, so the tables that they name are unreadable.
        raise apsw.CorruptError(str(error)) from error


def _check_length(path: Path, connection: apsw.Connection) -> None:
    """Find a cut within the last page, which SQLite itself would fill with zeros."""
    size = connection.pragma("page_size")
    if isinstance(size, int) and path.stat().st_size % size:
        raise apsw.CorruptError("its last page is cut")


def _set_up(path: Path, connection: apsw.Connection) -> None:
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreUnavailable(
            f"{path}: expected a file system with write-ahead logs, found journal mode "
            f"{mode!r}; choose a local disk or mongodb://"
        )
    for name, value in (
        ("synchronous", "FULL"),
        ("mmap_size", 0),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
    ):
        connection.pragma(name, value)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)


def _refusal(path: Path, error: apsw.Error, system: int) -> StoreError:
    return refusal(path, error, system, what=_WHAT, cure=cure(path))


def kind(upgrade: Upgrade) -> Kind:
    """Return what `Database` is to know of a store's file."""
    connect_to = partial(connect, upgrade=upgrade)
    return Kind(prepare, connect_to, _refusal, cure, _LONGEST_LOG)


def carry_over(
    path: Path,
    connection: apsw.Connection,
    *,
    clock: Clock,
    notice: Callable[[str], None] | None,
) -> None:
    """Upgrade a file of an earlier layout; print the notice where nobody takes it."""
    from ptsflow.stores.sqlite import migrations  # noqa: PLC0415 - only for such a file

    say = notice or migrations.print_notice
    migrations.upgrade(path, connection, clock=clock, notice=say)
