"""What may be wrong with a SQLite file: its surroundings, its pages, its tables.

Each function yields faults of one sort. They are asked in the order of `SqliteCare.faults`:
rows are looked at only if the pages are whole, and all tables are there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import apsw

from ptsflow.core import model
from ptsflow.errors import StoreError
from ptsflow.host.paths import size_of
from ptsflow.stores.care import Fault, Grade
from ptsflow.stores.sqlite import file, layout
from ptsflow.stores.sqlite.left_log import compare_lengths, look_at_log

#: A log of more bytes is not written back: something reads the file for very long.
LONG_LOG = 64 << 20
#: How many faults of its pages SQLite names.
_NAMED = 100
#: What SQLite says of an index that lacks an entry, and of one with too many or too few.
_MISSING, _COUNT = "missing from index", "wrong # of entries in index"
_MOUNTS = Path("/proc/self/mountinfo")


def around(path: Path) -> Iterator[Fault]:
    """Yield what is wrong with the file as a file, before it is opened."""
    try:
        there = file.exists(path, "a ptsflow store")
    except StoreError as error:
        yield Fault("file", str(error), Grade.DAMAGE)
        return
    if not there:
        yield Fault("file", f"{path}: there is no such file", Grade.DAMAGE)
        return
    yield from _beside(path)
    if _MOUNTS.exists():
        mounts = _MOUNTS.read_text("utf-8", "replace")
        if network := file.network_file_system(path, mounts):
            text = f"{path}: lies on the network file system {network!r}, where SQLite loses data; move it to a local disk"
            yield Fault("network disk", text)


def _beside(path: Path) -> Iterator[Fault]:
    for each in (path, path.with_name(f"{path.name}.logs")):
        if not each.exists():
            continue
        found = each.stat()
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            text = f"{each}: others than its user may read or write it (mode {mode}); chmod 600 {each}"
            yield Fault("file mode", text)
        log = each.with_name(f"{each.name}-wal")
        length = size_of(log) or 0
        if length > LONG_LOG:
            text = f"{log}: is {length >> 20} MiB long and is not written back; end what reads the file for very long (fuser {each})"
            yield Fault("long log", text)
        elif length and look_at_log(each)[1]:
            text = f"{log}: was left by a process that died; the next command writes it back"
            yield Fault("left log", text, Grade.NOTE)
    disk = os.statvfs(path.parent)
    free, size = disk.f_bavail * disk.f_frsize, path.stat().st_size
    if free < size:
        text = f"{path.parent}: {free >> 20} MiB are free, less than the file has ({size >> 20} MiB); make room"
        yield Fault("disk room", text)


def layout_of(path: Path, connection: apsw.Connection) -> Iterator[Fault]:
    """Yield what is wrong with the marks, tables and indexes."""
    try:
        number = layout.check_marks(path, connection)
    except StoreError as error:
        yield Fault("layout", str(error), Grade.DAMAGE)
        return
    except apsw.Error as error:
        yield Fault("pages", f"{path}: {error}", Grade.DAMAGE)
        return
    if number < model.SCHEMA:
        text = f"{path}: is of layout {number}; the next command that changes something upgrades it"
        yield Fault("earlier layout", text, Grade.DAMAGE)
        return
    made = layout.statements_of(connection)
    for name in (*layout.missing_from(made), *layout.spoiled(made)):
        if name.startswith("table"):
            text = (
                f"{path}: expected {name} as in layout {number}, found another or none; "
                f"{layout.cure(path)}"
            )
            yield Fault("table", text, Grade.DAMAGE)
    for name in layout.lacking_indexes(connection):
        text = f"{path}: expected {name} as ptsflow makes it, found another or none"
        yield Fault("missing index", text, is_repairable=True)
    for name in layout.foreign(connection):
        text = f"{path}: {name} is none of ptsflow's; it is left alone"
        yield Fault("foreign table", text, Grade.NOTE)


def pages(path: Path, connection: apsw.Connection) -> Iterator[Fault]:
    """Yield what SQLite says of pages and indexes that do not fit."""
    size = connection.pragma("page_size")
    if isinstance(size, int) and path.stat().st_size % size:
        yield Fault("pages", f"{path}: its last page is cut", Grade.DAMAGE)
        return
    try:
        said = connection.execute(f"PRAGMA integrity_check({_NAMED})").fetchall()
        if said == [("ok",)]:
            said = [(compare_lengths(path, connection),)]
    except (apsw.Error, UnicodeDecodeError) as error:
        yield Fault("pages", f"{path}: {error}", Grade.DAMAGE)
        return
    lines = [line for (text,) in said for line in str(text).splitlines()]
    lacking = {line.rpartition(" ")[2] for line in lines if _MISSING in line}
    for line in lines:
        if line == "ok":
            return
        # An index with more entries than its table has rows tells of rows that are lost.
        is_index = _MISSING in line or (
            _COUNT in line and line.rpartition(" ")[2] in lacking
        )
        if is_index:
            yield Fault("index", f"{path}: {line}", is_repairable=True)
        else:
            yield Fault("pages", f"{path}: {line}", Grade.DAMAGE)
