"""An hourly feed to import: the Unicode character database, posted over HTTP.

Start it, and look at what it posts:

    $ python examples/epf_server.py --port 8080
    serving http://127.0.0.1:8080

    $ curl http://127.0.0.1:8080/latest
    {"hour": "20250301T09"}
    $ curl http://127.0.0.1:8080/20250301T09/
    {"hour": "20250301T09", "files": [{"name": "character.tbz", "size": ...
    $ curl http://127.0.0.1:8080/20250301T09/character.tbz.md5
    de0133350bafc16d7201e921e0ccc3e0  character.tbz

The files have the format of Apple's Enterprise Partner Feed: each archive holds
one flat file named like its table, with fields split by byte 01 and records ended
by byte 02 and a newline. Every hour is a full export, and the same Python posts it
the same, byte for byte, at any time.

A feed seldom behaves. ``--faults 0.3`` spoils three requests of ten: a connection
reset, a status 503, a body cut in the middle, a wrong checksum. ``--late 20`` posts
the newest hour twenty seconds after the start. An archive takes ``Range: bytes=N-``,
so what was cut can be resumed. Ctrl-C or SIGTERM stops the server.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import ipaddress
import json
import random
import re
import signal
import socket
import struct
import sys
import tarfile
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, NamedTuple, Self, get_args

FIELD_END = "\x01"
RECORD_END = "\x02\n"
HOUR_FORMAT = "%Y%m%dT%H"

Fault = Literal["refuse", "503", "cut", "md5"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

Row = tuple[int | float | str | None, ...]


# ---- Hours ----------------------------------------------------------------------


def current_hour() -> str:
    """Return the current UTC hour, such as ``20250301T09``."""
    return datetime.now(UTC).strftime(HOUR_FORMAT)


def parse_hour(hour: str) -> datetime:
    """Return the moment an hour begins; raise ValueError when it is no hour."""
    try:
        moment = datetime.strptime(hour, HOUR_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    # strptime takes "202531T9" too, and one hour must not have two names.
    if moment is None or moment.strftime(HOUR_FORMAT) != hour:
        raise ValueError(f"{hour!r} is not an hour like 20250301T09")
    return moment


# ---- Tables ---------------------------------------------------------------------


class Table(NamedTuple):
    """One table of an export: ``columns`` maps each name to its database type."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    rows: list[Row]


class _Layout(NamedTuple):
    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    rows: Callable[[Sequence[str]], Iterable[Row]]


def _named_characters(scale: float) -> list[str]:
    """Pick a share of all named characters, spread evenly, never none."""
    # Surrogates, private and unassigned code points have no name, nor do controls:
    # \x01 and \x02, which the format keeps for itself, cannot come up.
    every = (chr(codepoint) for codepoint in range(sys.maxunicode + 1))
    named = [char for char in every if unicodedata.name(char, None)]
    wanted = max(1, round(len(named) * scale))
    return [named[index * len(named) // wanted] for index in range(wanted)]


def _characters(chars: Sequence[str]) -> Iterator[Row]:
    for char in chars:
        yield (
            ord(char),
            unicodedata.name(char),
            unicodedata.category(char),
            unicodedata.bidirectional(char),
            unicodedata.combining(char),
            unicodedata.east_asian_width(char),
            unicodedata.mirrored(char),
        )


def _decompositions(chars: Sequence[str]) -> Iterator[Row]:
    for char in chars:
        # Either "0041 030A", or "<font> 0041" with a tag in front.
        tag, _, mapping = unicodedata.decomposition(char).rpartition("> ")
        if mapping:
            yield ord(char), tag.removeprefix("<") or None, mapping


def _numeric_values(chars: Sequence[str]) -> Iterator[Row]:
    for char in chars:
        numeric = unicodedata.numeric(char, None)
        if numeric is not None:
            decimal = unicodedata.decimal(char, None)
            yield ord(char), decimal, unicodedata.digit(char, None), numeric


def _normal_forms(chars: Sequence[str]) -> Iterator[Row]:
    forms: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...]
    forms = ("NFC", "NFD", "NFKC", "NFKD")
    for char in chars:
        for form in forms:
            text = unicodedata.normalize(form, char)
            if text != char:
                yield ord(char), form, text


def _categories(chars: Sequence[str]) -> Iterator[Row]:
    return iter(sorted(Counter(map(unicodedata.category, chars)).items()))


_LAYOUTS = (
    _Layout(
        "character",
        {
            "codepoint": "BIGINT",
            "name": "VARCHAR(200)",
            "category": "VARCHAR(2)",
            "bidirectional": "VARCHAR(3)",
            "combining": "INTEGER",
            "east_asian_width": "VARCHAR(2)",
            "mirrored": "INTEGER",
        },
        ("codepoint",),
        _characters,
    ),
    _Layout(
        "decomposition",
        {"codepoint": "BIGINT", "tag": "VARCHAR(20)", "mapping": "VARCHAR(200)"},
        ("codepoint",),
        _decompositions,
    ),
    _Layout(
        "numeric_value",
        {
            "codepoint": "BIGINT",
            "decimal": "INTEGER",
            "digit": "INTEGER",
            "numeric": "DOUBLE",
        },
        ("codepoint",),
        _numeric_values,
    ),
    _Layout(
        "normal_form",
        {"codepoint": "BIGINT", "form": "VARCHAR(4)", "text": "VARCHAR(200)"},
        ("codepoint", "form"),
        _normal_forms,
    ),
    _Layout(
        "category",
        {"category": "VARCHAR(2)", "count": "INTEGER"},
        ("category",),
        _categories,
    ),
)


def tables(hour: str, scale: float = 1.0) -> Iterator[Table]:
    """Yield the tables an hour posts, as plain values: the truth to compare with."""
    export_date = int(parse_hour(hour).timestamp() * 1000)
    chars = _named_characters(scale)
    for name, columns, key, rows in _LAYOUTS:
        dated = [(export_date, *row) for row in rows(chars)]
        yield Table(name, {"export_date": "BIGINT", **columns}, key, dated)


# ---- Archives -------------------------------------------------------------------


def flat_file(table: Table) -> bytes:
    """Write a table in the feed's format; an empty field is a missing value."""
    lines = [
        f"#{FIELD_END.join(table.columns)}",
        f"#primaryKey:{FIELD_END.join(table.key)}",
        f"#dbTypes:{FIELD_END.join(table.columns.values())}",
        "#exportMode:FULL",
    ]
    for row in table.rows:
        values = ("" if value is None else str(value) for value in row)
        lines.append(FIELD_END.join(values))
    lines.append(f"#recordsWritten:{len(table.rows)}")
    return "".join(f"{line}{RECORD_END}" for line in lines).encode()


def archives(hour: str, scale: float = 1.0) -> dict[str, bytes]:
    """Build the archives of an hour, by file name."""
    mtime = int(parse_hour(hour).timestamp())
    return {
        f"{table.name}.tbz": _archive(table.name, flat_file(table), mtime)
        for table in tables(hour, scale)
    }


def _archive(name: str, content: bytes, mtime: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mtime = mtime  # the clock's time would make every build differ
    packed = io.BytesIO()
    # The GNU format can also date the hours before 1970.
    with tarfile.open(
        fileobj=packed, mode="w:bz2", format=tarfile.GNU_FORMAT
    ) as archive:
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# ---- The server -----------------------------------------------------------------


class Answer(NamedTuple):
    """What the feed has to say to one request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def _as_json(value: object) -> Answer:
    body = json.dumps(value).encode() + b"\n"
    return Answer(HTTPStatus.OK, body, "application/json")


@dataclass(kw_only=True, eq=False)
class FeedServer:
    """The feed on a port of this machine: ``with FeedServer(scale=0.01) as feed:``.

    The port is bound at once, and ``url`` known; requests are answered from
    ``start()`` to ``stop()``. A server starts once.

    Attributes:
        hour: The newest hour posted; none means the current UTC hour, moving on.
        scale: The share of all characters to publish, above 0 and up to 1.
        faults: The share of requests that go wrong, from 0 to 1.
        kinds: The faults to choose from; ``md5`` befalls only checksum files.
        seed: Decides which requests go wrong, and how.
        late: Seconds after the start until the newest hour is posted.
        host: A loopback address.
        port: The port, or 0 for any free one.
        verbose: Whether to log requests to stderr.
        asked: How often each path has been asked for.
    """

    hour: str | None = None
    scale: float = 1.0
    faults: float = 0.0
    kinds: Sequence[str] = FAULTS
    seed: int = 0
    late: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    verbose: bool = False
    asked: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._check()
        self._started = time.monotonic()
        self._first_hour = self.hour or current_hour()
        self._counting = threading.Lock()
        self._building = threading.Lock()
        self._archives = lru_cache(maxsize=3)(archives)
        self._http = _HTTPServer((self.host, self.port), _Handler)
        self._http.feed = self
        # A short poll, for stop() waits until the next one.
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), daemon=True
        )

    def _check(self) -> None:
        if not _is_loopback(self.host):
            raise ValueError(f"host must be in 127.0.0.0/8, not {self.host!r}")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be above 0 and up to 1, not {self.scale}")
        if not 0 <= self.faults <= 1:
            raise ValueError(f"faults must be from 0 to 1, not {self.faults}")
        if unknown := sorted(set(self.kinds) - set(FAULTS)):
            raise ValueError(
                f"kinds must be among {','.join(FAULTS)}, not {unknown[0]!r}"
            )
        if self.hour is not None:
            parse_hour(self.hour)

    @property
    def url(self) -> str:
        """Where the feed is, without a slash at the end."""
        return f"http://{self.host}:{self._http.server_port}"

    def start(self) -> None:
        """Begin to answer, in a thread of its own."""
        self._started = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and give the port back."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def newest_hour(self) -> str:
        """Return the newest hour that has been posted."""
        if time.monotonic() - self._started < self.late:
            before = parse_hour(self._first_hour) - timedelta(hours=1)
            return before.strftime(HOUR_FORMAT)
        return self.hour or current_hour()

    def answer(self, path: str) -> Answer:
        """Return the honest answer to a request."""
        hour, _, name = path.removeprefix("/").partition("/")
        if (hour, name) == ("latest", ""):
            return _as_json({"hour": self.newest_hour()})
        if not self._is_posted(hour):
            text = f"{hour} has not been posted\n"
            return Answer(HTTPStatus.NOT_FOUND, text.encode())
        with self._building:  # else two first requests would both build the hour
            files = self._archives(hour, self.scale)
        return self._file(files, name) if name else self._index(hour, files)

    def _is_posted(self, hour: str) -> bool:
        try:
            return parse_hour(hour) <= parse_hour(self.newest_hour())
        except ValueError:
            return False

    def _index(self, hour: str, files: dict[str, bytes]) -> Answer:
        listed = [
            {"name": name, "size": len(content), "md5": f"{name}.md5"}
            for name, content in files.items()
        ]
        return _as_json({"hour": hour, "files": listed})

    def _file(self, files: dict[str, bytes], name: str) -> Answer:
        archive = name.removesuffix(".md5")
        if archive not in files:
            return Answer(HTTPStatus.NOT_FOUND, f"there is no {name}\n".encode())
        if archive == name:
            return Answer(HTTPStatus.OK, files[name], "application/x-bzip2")
        checksum = f"{_md5(files[archive])}  {archive}\n"
        return Answer(HTTPStatus.OK, checksum.encode())

    def next_fault(self, path: str) -> str | None:
        """Count a request and return what shall go wrong with it, if anything."""
        with self._counting:
            self.asked[path] += 1
            turn = self.asked[path]
        # One stream of numbers for all would hand them out in the order in which
        # parallel requests happen to arrive. So the nth request for a path has a
        # stream of its own, and a run can be repeated.
        dice = random.Random(f"{self.seed} {path} {turn}")  # noqa: S311 - no secret
        fitting = [k for k in self.kinds if k != "md5" or path.endswith(".md5")]
        return dice.choice(fitting) if fitting and dice.random() < self.faults else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


class _HTTPServer(ThreadingHTTPServer):
    feed: FeedServer
    request_queue_size = 128  # 5 by default, and parallel clients would be put off

    def handle_error(
        self,
        request: socket.socket | tuple[bytes, socket.socket],
        client_address: object,
    ) -> None:
        # A client that hangs up is what a feed sees every day; the rest are bugs.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0, as the base class has it: one connection for each request, so that
    # a fault spoils just one, and none outlives the server.
    server: _HTTPServer

    def do_GET(self) -> None:
        fault = self.server.feed.next_fault(self.path)
        if fault:
            self.log_message("fault: %s", fault)
        if fault == "refuse":
            self._reset()
        elif fault == "503":
            text = b"the feed is busy\n"
            self._send(Answer(HTTPStatus.SERVICE_UNAVAILABLE, text))
        else:
            answer = self.server.feed.answer(self.path)
            if fault == "md5" and answer.status == HTTPStatus.OK:
                wrong = _md5(answer.body).encode()
                answer = answer._replace(body=wrong + answer.body[len(wrong) :])
            self._send_range(answer, cut=fault == "cut")

    def _reset(self) -> None:
        # A close without lingering tells the peer RST, as a refused one hears it.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.rfile.close()
        self.connection.close()

    def _send_range(self, answer: Answer, *, cut: bool) -> None:
        asked = re.fullmatch(r"bytes=(\d{1,18})-", self.headers.get("Range", ""))
        if answer.status != HTTPStatus.OK or not asked:
            self._send(answer, cut=cut)
            return
        start, size = int(asked[1]), len(answer.body)
        if start >= size:
            text = f"there are only {size} bytes\n".encode()
            beyond = Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, text)
            self._send(beyond, f"bytes */{size}", cut=cut)
            return
        part = answer._replace(
            status=HTTPStatus.PARTIAL_CONTENT, body=answer.body[start:]
        )
        self._send(part, f"bytes {start}-{size - 1}/{size}", cut=cut)

    def _send(
        self, answer: Answer, content_range: str = "", *, cut: bool = False
    ) -> None:
        size = len(answer.body)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(size))
        self.send_header("Accept-Ranges", "bytes")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(answer.body[: size // 2] if cut else answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
        if self.server.feed.verbose:
            super().log_message(format, *args)


# ---- The command line -----------------------------------------------------------


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Post an hourly feed of the Unicode character database.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, default = parser.add_argument, FeedServer
    add("--host", default=default.host, help="a loopback address")
    add("--port", default=default.port, type=int, help="the port; 0 takes a free one")
    add(
        "--hour",
        default=argparse.SUPPRESS,
        help="the newest hour posted, such as 20250301T09 (default: the current one)",
    )
    add("--scale", default=default.scale, type=float, help="share of the characters")
    add("--faults", default=default.faults, type=float, help="share of bad answers")
    add("--kinds", default=",".join(default.kinds), help="faults to choose from")
    add(
        "--seed",
        default=default.seed,
        type=int,
        help="decides what goes wrong, and when",
    )
    add(
        "--late",
        default=default.late,
        type=float,
        help="seconds until the newest hour is up",
    )
    add("--verbose", action="store_true", help="log requests to stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status."""
    options = vars(_options(argv))
    options["kinds"] = options["kinds"].split(",")
    try:
        server = FeedServer(**options)
    except (OSError, OverflowError, ValueError) as error:
        print(f"epf_server: {error}", file=sys.stderr)
        return 2
    # Blocked before any thread starts, both signals are kept for sigwait.
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with server:
        print(f"serving {server.url}", flush=True)
        signal.sigwait(stops)
    return 0


if __name__ == "__main__":
    sys.exit(main())
