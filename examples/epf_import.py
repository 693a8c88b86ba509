"""Import an hourly feed into a database: fetch, unpack, load, verify, publish.

Start the feed (epf_server.py), with three requests of ten going wrong, and import:

    $ python examples/epf_server.py --port 8080 --hour 20250301T09 --faults 0.3
    serving http://127.0.0.1:8080
    $ python -m ptsflow run examples/epf_import.py -p hour=2025-03-01T09

Kill it at any moment and run it again: it goes on where it was, in the middle of an
archive too. What readers see, epf/epf.db, is replaced as a whole when all is verified.

    epf/epf.db                    the tables of the newest hour published
    epf/20250301T09/archives/     what is fetched
    epf/20250301T09/flat/         what was in the archives
    epf/20250301T09/staging/      a database for each table
    epf/20250301T09/merged.db     all tables, to be published

Every step can be repeated: with task.output it makes its file beside the place where it
belongs, which then has all of it or none. What is fetched of an archive is kept until
the archive is whole: see `ptsflow help http`.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import httpx

from ptsflow import Fail, Finish, Retry, RetryLater, TaskHandle, Workflow, step
from ptsflow.contrib import http

TABLES = ("character", "decomposition", "numeric_value", "normal_form", "category")
FIELD_END = "\x01"
RECORD_END = b"\x02\n"
Value = int | float | str | None

#: The feed's types: what SQLite calls them, and what makes a value of a text.
TYPES: dict[str, tuple[str, Callable[[str], Value]]] = {
    "BIGINT": ("INTEGER", int),
    "INTEGER": ("INTEGER", int),
    "DOUBLE": ("REAL", float),
    "VARCHAR": ("TEXT", str),
}

CHUNK = 1 << 16
TIMEOUT = 60
#: Seconds before a request that failed is repeated, at first.
DELAY = float(os.environ.get("EPF_RETRY_DELAY", "2"))


#: For what asks the feed, which is busy, hangs up, and posts wrong checksums.
PATIENT = Retry(10, delay=DELAY, max_delay=60 * DELAY, on=(OSError, httpx.HTTPError))
#: For what works on our own disc, which may be full; bad data stays bad.
LOCAL = Retry(
    3, delay=DELAY, give_up_on=(ValueError, sqlite3.IntegrityError, tarfile.TarError)
)


@dataclass
class Table:
    """What a table's file says of it."""

    name: str
    key: list[str]
    rows: int


class EpfImport(Workflow):
    """Imports one hour of the feed."""

    container = "epf:{hour:%Y%m%dT%H}"
    #: So many steps may ask the feed at a time.
    limits = {"feed": 4}
    #: In UTC.
    hour: datetime
    server: str = "http://127.0.0.1:8080"
    #: Where the database is, with the working files beside it.
    folder: Path = Path("epf")

    @property
    def stamp(self) -> str:
        """The hour as the feed writes it; later ones sort behind earlier ones."""
        return f"{self.hour:%Y%m%dT%H}"

    @property
    def work(self) -> Path:
        """The folder of this hour's working files."""
        return self.folder / self.stamp

    @property
    def merged(self) -> Path:
        """The database to be published."""
        return self.work / "merged.db"

    @property
    def database(self) -> Path:
        """The database that readers see."""
        return self.folder / "epf.db"

    @step(uses="feed", retry=PATIENT)
    def check(self) -> list[str]:
        """Ask for the hour's archives; come back later until all are posted."""
        published = published_hour(self.database)
        if published >= self.stamp:
            raise Finish(f"{published} is published already")
        response = httpx.get(f"{self.server}/{self.stamp}/", timeout=TIMEOUT)
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise RetryLater(6 * DELAY, f"{self.stamp} is not posted yet")
        listed = {file["name"] for file in response.raise_for_status().json()["files"]}
        # Files are called what we call them, whatever names the feed comes up with.
        wanted = [f"{table}.tbz" for table in TABLES]
        for name in wanted:
            if name not in listed:
                raise RetryLater(6 * DELAY, f"{name} is not posted yet")
        return wanted

    @step(each=check, uses="feed", retry=PATIENT)
    def download(self, name: str, task: TaskHandle) -> Path:
        """Fetch an archive, from where the last attempt ended, and verify it."""
        url = f"{self.server}/{self.stamp}/{name}"
        response = httpx.get(f"{url}.md5", timeout=TIMEOUT).raise_for_status()
        posted = response.text.partition(" ")[0]
        return http.download(task, url, self.work / "archives" / name, md5=posted)

    @step(each=download, executor="process", timeout="1h", stall="5m", retry=LOCAL)
    def unpack(self, archive: Path, task: TaskHandle) -> Path:
        """Take the one file out of an archive."""
        place = self.work / "flat" / archive.stem
        with task.output(place) as part, tarfile.open(archive, "r|bz2") as tar:
            # The member's own name, owner and mode are not used.
            member = tar.next()
            packed = tar.extractfile(member) if member and member.isreg() else None
            if member is None or packed is None:
                raise Fail(f"{archive.name}: expected a plain file in it, found none")
            with part.open("wb") as file:
                while chunk := packed.read(CHUNK):
                    file.write(chunk)
                    task.progress(file.tell(), member.size, f"{file.tell():,} bytes")
            if tar.next() is not None:
                raise Fail(f"{archive.name}: expected one file in it, found more")
        return place

    @step(parallel=True, retry=LOCAL)
    def load_characters(self, task: TaskHandle) -> Table:
        """Load the names and properties of the characters."""
        return self.load("character", task)

    @step(parallel=True, retry=LOCAL)
    def load_decompositions(self, task: TaskHandle) -> Table:
        """Load what characters are composed of."""
        return self.load("decomposition", task)

    @step(parallel=True, retry=LOCAL)
    def load_numeric_values(self, task: TaskHandle) -> Table:
        """Load what numbers characters stand for."""
        return self.load("numeric_value", task)

    @step(parallel=True, retry=LOCAL)
    def load_normal_forms(self, task: TaskHandle) -> Table:
        """Load the normal forms of characters."""
        return self.load("normal_form", task)

    @step(parallel=True, retry=LOCAL)
    def load_categories(self, task: TaskHandle) -> Table:
        """Load how many characters there are of each category."""
        return self.load("category", task)

    @step
    def merge(self, task: TaskHandle) -> Path:
        """Put all tables into one database."""
        with task.output(self.merged) as part, closing(new_database(part)) as db:
            for table in task.track(TABLES):
                db.execute("ATTACH ? AS staging", (read_only(self.staging(table)),))
                (create,) = db.execute(
                    "SELECT sql FROM staging.sqlite_master"
                ).fetchone()
                db.execute(create)
                db.execute(f"INSERT INTO main.{table} SELECT * FROM staging.{table}")  # noqa: S608 - one of TABLES
                db.execute("DETACH staging")
            db.execute("CREATE TABLE published (hour TEXT NOT NULL)")
            db.execute("INSERT INTO published VALUES (?)", (self.stamp,))
        return self.merged

    @step
    def verify(
        self,
        load_characters: Table,
        load_decompositions: Table,
        load_numeric_values: Table,
        load_normal_forms: Table,
        load_categories: Table,
    ) -> int:
        """Compare the merged tables with what their files say; return all rows."""
        tables = [load_characters, load_decompositions, load_numeric_values]
        tables += [load_normal_forms, load_categories]
        with closing(sqlite3.connect(read_only(self.merged), uri=True)) as db:
            (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if problem != "ok":
                raise Fail(f"the merged database is damaged: {problem}")
            for table in tables:
                verify_table(db, table)
        return sum(table.rows for table in tables)

    @step
    def publish(self) -> Path:
        """Show readers the new database, unless they see it, or a newer one, already."""
        if published_hour(self.database) < self.stamp:
            # It is whole, and made beside: moving it is enough.
            self.merged.replace(self.database)
            sync(self.folder)
        return self.database

    @step(always=True)
    def clean_up(self) -> None:
        """Remove the working files of an hour that is published.

        Of one that is not, all stay: what is done is not repeated, so the next run
        needs what the steps before it left.
        """
        if published_hour(self.database) >= self.stamp and self.work.exists():
            shutil.rmtree(self.work)

    def staging(self, table: str) -> Path:
        """Return where a table is loaded to: each alone, so that none waits."""
        return self.work / "staging" / f"{table}.db"

    def load(self, name: str, task: TaskHandle) -> Table:
        """Load a table from its flat file, from the beginning."""
        with (
            task.output(self.staging(name)) as part,
            closing(new_database(part)) as db,
        ):
            return load_table(db, self.work / "flat" / name, task)


# ---- Flat files -----------------------------------------------------------------


def records(path: Path, task: TaskHandle) -> Iterator[str]:
    """Yield the records of a flat file; there may be line ends inside of them."""
    size = path.stat().st_size
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            *complete, rest = (rest + chunk).split(RECORD_END)
            for record in complete:
                yield record.decode()
            task.progress(file.tell(), size, f"{file.tell():,} of {size:,} bytes")
    if rest:
        raise Fail(f"{path}: the last record does not end")


class FlatFile:
    """A table as the feed writes it: a header, rows, and how many there are."""

    def __init__(self, path: Path, task: TaskHandle) -> None:
        self.path = path
        self._records = records(path, task)
        self.columns = self._header("#")
        self.key = self._header("#primaryKey:")
        self.types = [kind.partition("(")[0] for kind in self._header("#dbTypes:")]
        self._header("#exportMode:FULL")
        self.written = -1
        for name in self.columns:
            if not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise Fail(f"{path}: expected a column's name, found {name!r}")
        if not set(self.key) <= set(self.columns):
            raise Fail(f"{path}: its primary key {self.key} is not among its columns")
        if len(self.types) != len(self.columns) or not TYPES.keys() >= set(self.types):
            raise Fail(f"{path}: expected a known type a column, found {self.types}")

    def _header(self, prefix: str) -> list[str]:
        record = next(self._records, "")
        if not record.startswith(prefix):
            raise Fail(
                f"{self.path}: expected {prefix} in its header, found {record!r}"
            )
        return record.removeprefix(prefix).split(FIELD_END)

    def rows(self) -> Iterator[list[Value]]:
        """Yield the rows; then `written` is what the file says of their number."""
        convert = [TYPES[kind][1] for kind in self.types]
        for record in self._records:
            if record.startswith("#recordsWritten:"):
                self.written = int(record.partition(":")[2])
                continue
            fields = record.split(FIELD_END)
            # An empty field is a missing value.
            yield [
                to_value(text) if text else None
                for to_value, text in zip(convert, fields, strict=True)
            ]


# ---- Databases ------------------------------------------------------------------


def new_database(path: Path) -> sqlite3.Connection:
    """Make a database that nobody needs before it is whole, so that it is made fast."""
    db = sqlite3.connect(path, isolation_level=None, uri=True)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    return db


def read_only(path: Path) -> str:
    """Return the URI of a database that has to be there."""
    return f"{path.resolve().as_uri()}?mode=ro"


def load_table(db: sqlite3.Connection, path: Path, task: TaskHandle) -> Table:
    """Load a flat file into a new table, all in one transaction."""
    name = path.name
    flat = FlatFile(path, task)
    columns = [
        f"{column} {TYPES[kind][0]}"
        for column, kind in zip(flat.columns, flat.types, strict=True)
    ]
    columns.append(f"PRIMARY KEY ({', '.join(flat.key)})")
    db.execute("BEGIN")
    db.execute(f"CREATE TABLE {name} ({', '.join(columns)}) WITHOUT ROWID")
    marks = ", ".join("?" for _ in flat.columns)
    loaded = db.executemany(f"INSERT INTO {name} VALUES ({marks})", flat.rows())  # noqa: S608 - one of TABLES
    db.execute("COMMIT")
    if loaded.rowcount != flat.written:
        raise Fail(f"{path}: has {loaded.rowcount} rows, {flat.written} were written")
    return Table(name, flat.key, flat.written)


def verify_table(db: sqlite3.Connection, table: Table) -> None:
    """Fail unless all rows are there, and each has a primary key of its own."""
    (rows,) = db.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - one of TABLES
    if rows != table.rows:
        raise Fail(f"{table.name}: has {rows} rows, {table.rows} were written")
    key = ", ".join(table.key)
    distinct = f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {table.name})"  # noqa: S608 - checked names
    (keys,) = db.execute(distinct).fetchone()
    if keys != rows:
        raise Fail(f"{table.name}: has {rows} rows, but only {keys} different {key}")


def published_hour(database: Path) -> str:
    """Return the hour that readers see, or "" if there is none yet."""
    if not database.exists():
        return ""
    with closing(sqlite3.connect(read_only(database), uri=True)) as db:
        (hour,) = db.execute("SELECT hour FROM published").fetchone()
    return str(hour)


def sync(folder: Path) -> None:
    """Write what a folder's files are called to the disc: no power cut undoes a move."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
