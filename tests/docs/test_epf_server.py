from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import signal
import socket
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection, IncompleteRead
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from tests.support.processes import ROOT

EXAMPLE = ROOT / "examples" / "epf_server.py"
HOUR = "20250301T09"
HOUR_MS = 1_740_819_600_000
SCALE = 0.01
TABLES = ["character", "decomposition", "numeric_value", "normal_form", "category"]


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("epf_server", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


epf = load_example()


def get(url: str, path: str, **headers: str) -> tuple[int, Message, bytes]:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()


def body(url: str, path: str) -> bytes:
    status, _, content = get(url, path)
    assert status == 200
    return content


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def outcome(url: str, path: str) -> str:
    try:
        status, _, content = get(url, path)
    except IncompleteRead:
        return "cut"
    except ConnectionResetError:
        return "refuse"
    if status == 503:
        return "503"
    assert status == 200
    told = content.split()[0].decode() if path.endswith(".md5") else ""
    wrong = told and told != md5(body_of_archive[path.removesuffix(".md5")])
    return "md5" if wrong else "fine"


body_of_archive: dict[str, bytes] = {
    f"/{HOUR}/{name}": content for name, content in epf.archives(HOUR, SCALE).items()
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with epf.FeedServer(hour=HOUR, scale=SCALE) as feed:
        yield feed.url


def unpack(archive: bytes) -> tuple[tarfile.TarInfo, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:bz2") as tar:
        (member,) = tar.getmembers()
        content = tar.extractfile(member)
        assert content
        return member, content.read()


# ---- What is posted -------------------------------------------------------------


def test_latest_names_the_newest_hour(url: str) -> None:
    assert json.loads(body(url, "/latest")) == {"hour": HOUR}


def test_the_index_lists_each_archive_with_its_size(url: str) -> None:
    index = json.loads(body(url, f"/{HOUR}/"))

    assert index["hour"] == HOUR
    assert [listed["name"] for listed in index["files"]] == [f"{t}.tbz" for t in TABLES]
    for listed in index["files"]:
        assert listed["size"] == len(body(url, f"/{HOUR}/{listed['name']}"))
        assert listed["md5"] == f"{listed['name']}.md5"


@pytest.mark.parametrize("table", TABLES)
def test_the_checksum_is_that_of_the_archive(url: str, table: str) -> None:
    archive = body(url, f"/{HOUR}/{table}.tbz")
    checksum = body(url, f"/{HOUR}/{table}.tbz.md5")

    assert checksum == f"{md5(archive)}  {table}.tbz\n".encode()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/20250301T10/",
        "/20250301T9/",
        "/20250301/",
        "/nonsense/character.tbz",
        f"/{HOUR}/nonsense.tbz",
        f"/{HOUR}/character.tbz.md5.md5",
    ],
)
def test_what_is_not_posted_is_not_found(url: str, path: str) -> None:
    assert get(url, path)[0] == 404


def test_earlier_hours_are_posted_and_differ_only_in_their_date(url: str) -> None:
    _, now = unpack(body(url, f"/{HOUR}/category.tbz"))
    _, then = unpack(body(url, "/20250301T08/category.tbz"))

    earlier = str(HOUR_MS - 3_600_000).encode()
    assert then == now.replace(str(HOUR_MS).encode(), earlier)


def test_without_an_hour_the_current_one_is_the_newest() -> None:
    before = epf.current_hour()
    with epf.FeedServer(scale=SCALE) as feed:
        newest = json.loads(body(feed.url, "/latest"))["hour"]

    assert before <= newest <= epf.current_hour()


def test_two_servers_post_the_same_bytes(url: str) -> None:
    with epf.FeedServer(hour=HOUR, scale=SCALE, seed=7) as other:
        for table in TABLES:
            path = f"/{HOUR}/{table}.tbz"
            assert body(other.url, path) == body(url, path)


# ---- The format -----------------------------------------------------------------


def test_a_flat_file_is_headers_then_records_then_their_number(url: str) -> None:
    member, content = unpack(body(url, f"/{HOUR}/numeric_value.tbz"))
    *lines, rest = content.decode().split("\x02\n")

    assert (member.name, member.mtime) == ("numeric_value", HOUR_MS // 1000)
    assert lines[:4] == [
        "#export_date\x01codepoint\x01decimal\x01digit\x01numeric",
        "#primaryKey:codepoint",
        "#dbTypes:BIGINT\x01BIGINT\x01INTEGER\x01INTEGER\x01DOUBLE",
        "#exportMode:FULL",
    ]
    assert all(line.startswith(f"{HOUR_MS}\x01") for line in lines[4:-1])
    assert lines[-1] == f"#recordsWritten:{len(lines) - 5}"
    assert rest == ""


@pytest.mark.parametrize("table", TABLES)
def test_the_records_are_the_rows_that_tables_tells(url: str, table: str) -> None:
    told = next(t for t in epf.tables(HOUR, SCALE) if t.name == table)
    *lines, _ = unpack(body(url, f"/{HOUR}/{table}.tbz"))[1].decode().split("\x02\n")

    assert lines[0] == "#" + "\x01".join(told.columns)
    assert lines[1] == "#primaryKey:" + "\x01".join(told.key)
    assert lines[2] == "#dbTypes:" + "\x01".join(told.columns.values())
    assert told.rows
    assert [line.split("\x01") for line in lines[4:-1]] == [
        ["" if value is None else str(value) for value in row] for row in told.rows
    ]


def test_all_characters_fit_the_format() -> None:
    for table in epf.tables(HOUR):
        places = [list(table.columns).index(column) for column in table.key]
        keys = [[row[place] for place in places] for row in table.rows]
        assert keys == sorted(keys)
        assert len(keys) == len({tuple(key) for key in keys})
        for place, kind in enumerate(table.columns.values()):
            if kind.startswith("VARCHAR"):
                texts = [row[place] or "" for row in table.rows]
                assert max(map(len, texts)) <= int(kind[8:-1])
                assert not {"\x01", "\x02"} & set().union(*texts)


def test_well_known_characters_are_as_unicode_has_them() -> None:
    rows = {table.name: table.rows for table in epf.tables(HOUR)}

    assert len(rows["character"]) > 130_000
    a = (HOUR_MS, 65, "LATIN CAPITAL LETTER A", "Lu", "L", 0, "Na", 0)
    assert a in rows["character"]
    assert (HOUR_MS, 0xC5, None, "0041 030A") in rows["decomposition"]
    assert (HOUR_MS, 0xB2, "super", "0032") in rows["decomposition"]
    assert (HOUR_MS, 0xBD, None, None, 0.5) in rows["numeric_value"]
    assert (HOUR_MS, 0x37, 7, 7, 7.0) in rows["numeric_value"]
    assert (HOUR_MS, 0xB2, "NFKC", "2") in rows["normal_form"]
    assert (HOUR_MS, 0xC5, "NFD", "A\u030a") in rows["normal_form"]
    counts = Counter(row[3] for row in rows["character"])
    assert rows["category"] == [(HOUR_MS, *item) for item in sorted(counts.items())]


def test_even_the_smallest_scale_leaves_a_character() -> None:
    rows = {table.name: table.rows for table in epf.tables(HOUR, 1e-9)}

    assert len(rows["character"]) == 1


# ---- Resuming -------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1, 5000, -1])
def test_a_range_is_the_rest_of_the_archive(url: str, start: int) -> None:
    path = f"/{HOUR}/character.tbz"
    whole = body(url, path)
    start %= len(whole)

    status, headers, rest = get(url, path, Range=f"bytes={start}-")

    assert status == 206
    assert headers["Content-Range"] == f"bytes {start}-{len(whole) - 1}/{len(whole)}"
    assert headers["Content-Length"] == str(len(rest))
    assert whole[:start] + rest == whole


@pytest.mark.parametrize("past", [0, 1, 10**17])
def test_a_range_beyond_the_end_is_refused(url: str, past: int) -> None:
    path = f"/{HOUR}/character.tbz"
    size = len(body(url, path))

    status, headers, _ = get(url, path, Range=f"bytes={size + past}-")

    assert status == 416
    assert headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("asked", ["bytes=-5", "bytes=1-2", "lines=1-", "bytes=x-"])
def test_any_other_range_gets_the_whole(url: str, asked: str) -> None:
    path = f"/{HOUR}/category.tbz"

    assert get(url, path, Range=asked)[::2] == (200, body(url, path))


# ---- Misbehaviour ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["refuse", "503", "cut", "md5"])
def test_each_fault_alone_befalls_every_checksum(kind: str) -> None:
    with epf.FeedServer(hour=HOUR, scale=SCALE, faults=1, kinds=(kind,)) as feed:
        for _ in range(3):
            assert outcome(feed.url, f"/{HOUR}/category.tbz.md5") == kind


def test_a_wrong_checksum_befalls_no_other_file() -> None:
    with epf.FeedServer(hour=HOUR, scale=SCALE, faults=1, kinds=("md5",)) as feed:
        assert outcome(feed.url, f"/{HOUR}/category.tbz") == "fine"
        assert json.loads(body(feed.url, "/latest")) == {"hour": HOUR}


def test_a_refused_connection_is_reset_without_an_answer() -> None:
    with (
        epf.FeedServer(hour=HOUR, faults=1, kinds=("refuse",)) as feed,
        socket.create_connection(urlsplit(feed.url).netloc.split(":")) as client,
    ):
        client.sendall(b"GET /latest HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_cut_archive_can_be_resumed() -> None:
    path = f"/{HOUR}/character.tbz"
    whole, got = body_of_archive[path], b""

    with epf.FeedServer(hour=HOUR, scale=SCALE, faults=1, kinds=("cut",)) as feed:
        for _ in range(4):
            with pytest.raises(IncompleteRead) as cut:
                get(feed.url, path, Range=f"bytes={len(got)}-")
            assert cut.value.partial
            got += cut.value.partial

    assert len(got) < len(whole)
    assert whole.startswith(got)


def test_faults_come_in_their_share_and_again_with_the_same_seed() -> None:
    def outcomes(seed: int) -> list[str]:
        path = f"/{HOUR}/category.tbz.md5"
        options = {"hour": HOUR, "scale": SCALE, "faults": 0.5, "seed": seed}
        with epf.FeedServer(**options) as feed:
            seen = [outcome(feed.url, path) for _ in range(100)]
            assert feed.asked[path] == 100
            return seen

    first = outcomes(1)
    assert set(first) == {"fine", "refuse", "503", "cut", "md5"}
    assert 30 < first.count("fine") < 70
    assert outcomes(1) == first
    assert outcomes(2) != first


def test_a_late_feed_posts_only_the_hours_before_until_its_time() -> None:
    with epf.FeedServer(hour=HOUR, scale=SCALE, late=3600) as feed:
        assert json.loads(body(feed.url, "/latest")) == {"hour": "20250301T08"}
        assert get(feed.url, f"/{HOUR}/")[0] == 404
        assert get(feed.url, f"/{HOUR}/category.tbz")[0] == 404
        assert get(feed.url, "/20250301T08/")[0] == 200

        feed._started -= 3600  # an hour goes by

        assert json.loads(body(feed.url, "/latest")) == {"hour": HOUR}
        assert get(feed.url, f"/{HOUR}/")[0] == 200


# ---- Starting and stopping ------------------------------------------------------


def test_a_stopped_server_gives_its_port_back() -> None:
    with epf.FeedServer(hour=HOUR, scale=SCALE) as feed:
        pass
    with pytest.raises(ConnectionRefusedError):
        get(feed.url, "/latest")
    port = urlsplit(feed.url).port
    with epf.FeedServer(hour=HOUR, scale=SCALE, port=port) as again:
        assert again.url == feed.url


def test_a_server_that_never_started_can_be_stopped() -> None:
    epf.FeedServer(hour=HOUR).stop()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("--host 0.0.0.0", "host must be in 127.0.0.0/8, not '0.0.0.0'"),
        ("--host example.org", "host must be in 127.0.0.0/8, not 'example.org'"),
        ("--scale 0", "scale must be above 0 and up to 1, not 0.0"),
        ("--faults 2", "faults must be from 0 to 1, not 2.0"),
        ("--kinds cut,rot", "kinds must be among refuse,503,cut,md5, not 'rot'"),
        ("--hour 2025", "'2025' is not an hour like 20250301T09"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(
    argv: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert epf.main(argv.split()) == 2

    out, err = capsys.readouterr()
    assert (out, err) == ("", f"epf_server: {told}\n")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal_stops_it(stop: signal.Signals) -> None:
    command = [sys.executable, str(EXAMPLE), "--hour", HOUR, "--scale", str(SCALE)]
    with subprocess.Popen(
        [*command, "--verbose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        serving, url = server.stdout.readline().split()
        assert serving == "serving"
        path = f"/{HOUR}/character.tbz"
        assert body(url, path) == body_of_archive[path]

        server.send_signal(stop)
        out, err = server.communicate(timeout=10)

    assert server.returncode == 0
    assert out == ""
    assert f'"GET {path} HTTP/1.1" 200' in err
    assert len(err.splitlines()) == 1
