"""Import an hourly feed into a database: fetch, unpack, load, verify, publish.

Start the feed (epf_server.py), with three requests of ten going wrong, and import:

    $ python examples/epf_server.py --hour 20250301T09 --faults 0.3
    serving http://127.0.0.1:41275
    $ python -m ptsflow run examples/epf_import.py \\
          -p hour=2025-03-01T09 -p server=http://127.0.0.1:41275

Kill it at any moment and run it again: it goes on where it was, in the middle of an
archive too. What readers see, epf/epf.db, is replaced as a whole, when all is verified.

    epf/epf.db                           the tables of the newest hour published
    epf/20250301T09/archives/            what is fetched; .part until it is verified
    epf/20250301T09/flat/                what was in the archives
    epf/20250301T09/staging/             a database for each table
    epf/20250301T09/merged.db            all of them, to be published

Every step can be repeated: it makes its file beside the place where it belongs, and
renames it when it is whole and on the disc.
"""

from __future__ import annotations

import hashlib
import json
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
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ptsflow import Fail, Finish, Retry, RetryLater, TaskHandle, Workflow, step

TABLES = ("character", "decomposition", "numeric_value", "normal_form", "category")
FIELD_END = "\x01"
RECORD_END = b"\x02\n"

CHUNK = 1 << 16
SAVE_EVERY = 1 << 20
TIMEOUT = 60
#: Seconds before a request that failed is repeated, at first.
DELAY = float(os.environ.get("EPF_RETRY_DELAY", "5"))


class BadDownload(Exception):
    """What came is not what was posted: cut short, or changed on the way."""


#: For all that asks the feed: it is busy, resets, cuts, and posts wrong checksums.
PATIENT = Retry(
    10, delay=DELAY, max_delay=60 * DELAY, on=(OSError, HTTPException, BadDownload)
)


@dataclass
class Archive:
    """One of the files that the feed posts."""

    name: str
    size: int


@dataclass
class Table:
    """A table that was loaded, and what its file says of it."""

    name: str
    key: list[str]
    rows: int


class EpfImport(Workflow):
    """Imports one hour of the feed."""

    container = "epf:{hour:%Y%m%dT%H}"
    #: Which hour, in UTC.
    hour: datetime
    server: str
    #: Where the database is, and the working files beside it.
    folder: Path = Path("epf")

    @property
    def name(self) -> str:
        """What the feed calls the hour."""
        return f"{self.hour:%Y%m%dT%H}"

    @property
    def database(self) -> Path:
        """What readers see."""
        return self.folder / "epf.db"

    @property
    def work(self) -> Path:
        """The folder of this hour's working files."""
        return self.folder / self.name

    # ---- Fetching ---------------------------------------------------------------

    @step(retry=PATIENT)
    def check(self) -> list[Archive]:
        """Ask for the hour's archives; come back until all of them are posted."""
        published = published_hour(self.database)
        if published >= self.name:
            raise Finish(f"{published} is published already")
        try:
            with ask(f"{self.server}/{self.name}/") as response:
                listed = json.loads(response.read())["files"]
        except HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                raise RetryLater(6 * DELAY, f"{self.name} is not posted yet") from error
            raise
        sizes = {file["name"]: int(file["size"]) for file in listed}
        # Names that become paths are ours, never the feed's.
        wanted = [f"{table}.tbz" for table in TABLES]
        missing = [name for name in wanted if name not in sizes]
        if missing:
            raise RetryLater(6 * DELAY, f"{missing[0]} is not posted yet")
        return [Archive(name, sizes[name]) for name in wanted]

    @step(each=check, key="name", limit=4, retry=PATIENT)
    def download(self, archive: Archive, task: TaskHandle) -> Path:
        """Fetch an archive, going on where the last attempt ended, and verify it."""
        place = self.work / "archives" / archive.name
        url = f"{self.server}/{self.name}/{archive.name}"
        part = begin(place)
        fetch(url, part, archive.size, task)
        with ask(f"{url}.md5") as response:
            expected = response.read().decode("ascii", "replace").partition(" ")[0]
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != expected:
            # Which of the two is wrong cannot be known: both are fetched again.
            task.checkpoint(0)
            raise BadDownload(f"{archive.name} has md5 {found}, {expected} was posted")
        finish(part, place)
        return place

    @step(each=download)
    def unpack(self, download: Path, task: TaskHandle) -> Path:
        """Take the one file out of an archive."""
        place = self.work / "flat" / download.stem
        part = begin(place)
        with tarfile.open(download, "r|bz2") as archive:
            member = archive.next()
            if member is None or not member.isreg():
                raise Fail(f"{download.name} does not begin with a plain file")
            # Its name and mode are the feed's, and not used.
            packed = archive.extractfile(member)
            assert packed is not None
            with part.open("wb") as output:
                while chunk := packed.read(CHUNK):
                    output.write(chunk)
                    task.progress(output.tell(), member.size, f"{output.tell():,} bytes")
            if archive.next() is not None:
                raise Fail(f"{download.name} holds more than one file")
        finish(part, place)
        return place
