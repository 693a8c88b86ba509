"""A download goes on where it was cut, and what arrives is what was meant."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from ptsflow import Fail, Retry, RetryLater, TaskHandle, Workflow, step
from ptsflow.contrib import http, partial_file
from ptsflow.contrib.http import DownloadError, RequestRefused, WrongContent, download
from ptsflow.testing import run_inline
from tests.contrib.faulty_server import Answer, FileServer
from tests.support.processes import PTSFLOW, environment
from tests.support.reports import Reports, handle_of
from tests.support.waiting import until

CONTENT = bytes(range(256)) * 4_000
ETAG = '"first"'


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(CONTENT, ETAG) as server:
        yield server


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def task(tmp_path: Path, reports: Reports) -> TaskHandle:
    return handle_of(reports, folder=f"{tmp_path}/workdir")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data" / "songs.tbz"


def cut(server: FileServer, at: int, **more: Any) -> None:
    server.answers.append(Answer(cut=at, **more))


def left_in(task: TaskHandle) -> list[Path]:
    return list(Path(task.folder).iterdir())


def test_a_file_is_fetched_whole_and_nothing_else_is_left(
    server: FileServer, task: TaskHandle, reports: Reports, place: Path
) -> None:
    sums: Any = {"sha256": server.sha256, "md5": hashlib.md5(CONTENT).hexdigest()}  # noqa: S324
    found = download(task, server.url, place, size=len(CONTENT), **sums)

    assert found == place
    assert place.read_bytes() == CONTENT
    assert list(place.parent.iterdir()) == [place]
    assert left_in(task) == []
    assert server.asked[0][1]["accept-encoding"] == "identity"
    assert f"{len(CONTENT):,} of {len(CONTENT):,} bytes" in {
        text for *_, text in reports.progress
    }


@pytest.mark.parametrize("at", [0, 1, 300_000, len(CONTENT) - 1])
@pytest.mark.parametrize("what", ["ETag", "date", "checksum"])
def test_what_was_cut_goes_on_where_it_was_cut(
    server: FileServer, task: TaskHandle, place: Path, at: int, what: str
) -> None:
    server.etag = ETAG if what == "ETag" else ""
    server.changed = time.time() - 100 if what == "date" else 0
    expected: Any = {"sha256": server.sha256} if what == "checksum" else {}
    cut(server, at)
    with pytest.raises(DownloadError) as error:
        download(task, f"{server.url}/songs.tbz", place, **expected)
    assert str(error.value).startswith(f"{server.url}/songs.tbz: RemoteProtocolError: ")
    assert str(error.value).endswith(f", at byte {at:,} of {len(CONTENT):,}")
    assert not place.exists()

    download(task, f"{server.url}/songs.tbz", place, **expected)
    assert place.read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={at}-" if at else None]
    if at:
        version = server.etag or (
            server.changed and formatdate(server.changed, usegmt=True)
        )
        assert server.asked[1][1].get("if-range") == (version or None)


def test_without_a_version_and_a_checksum_it_begins_anew(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    server.etag = 'W/"weak"'
    server.changed = (
        time.time() + 60
    )  # What just changed may change again in its second.
    cut(server, 1000)
    with pytest.raises(DownloadError):
        download(task, server.url, place)
    download(task, server.url, place, size=len(CONTENT))

    assert server.ranges() == [None, None]
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "how", ["ignores_range", "ignores_if_range", "first", "shorter"]
)
def test_a_server_that_sends_another_part_or_version_mixes_nothing(
    server: FileServer, task: TaskHandle, place: Path, how: str
) -> None:
    cut(server, 5000)
    with pytest.raises(DownloadError):
        download(task, server.url, place)
    if how == "ignores_range":
        server.answers.append(Answer(ignores_range=True))
    elif how == "first":
        server.answers.append(Answer(first=4000))
    else:
        server.content = CONTENT[::-1] if how == "ignores_if_range" else CONTENT[:4000]
        server.etag = '"second"'
        server.answers.append(Answer(ignores_if_range=True))

    download(task, server.url, place)
    assert place.read_bytes() == server.content


def test_a_file_that_changed_since_is_fetched_anew(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    cut(server, 5000)
    with pytest.raises(DownloadError):
        download(task, server.url, place)
    server.content, server.etag = CONTENT[::-1], '"second"'
    download(task, server.url, place)

    assert place.read_bytes() == CONTENT[::-1]
    assert server.asked[1][1]["if-range"] == ETAG


def test_another_url_is_not_continued_with_the_bytes_of_the_first(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    cut(server, 5000)
    with pytest.raises(DownloadError):
        download(task, f"{server.url}/a", place)
    download(task, f"{server.url}/b", place)

    assert server.ranges() == [None, None]


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"size": 5}, f"expected 5 bytes, the server has {len(CONTENT):,}, at byte 0"),
        ({"sha256": "0" * 64}, f"expected the sha256 {'0' * 64}, found "),
        ({"md5": "1" * 32}, f"expected the md5 {'1' * 32}, found "),
    ],
)
def test_what_does_not_fit_is_dropped_and_never_seen(
    server: FileServer, task: TaskHandle, place: Path, expected: Any, why: str
) -> None:
    with pytest.raises(WrongContent) as error:
        download(task, server.url, place, **expected)

    assert f"{server.url}: {why}" in str(error.value)
    assert not place.exists()
    assert left_in(task) == []
    download(task, server.url, place, sha256=server.sha256)
    assert server.ranges() == [None, None]


@pytest.mark.parametrize("more", [-1, 1])
def test_a_server_that_tells_no_size_is_held_to_the_expected_one(
    server: FileServer, task: TaskHandle, place: Path, more: int
) -> None:
    server.answers.extend([Answer(endless=True), Answer(endless=True)])
    with pytest.raises(WrongContent, match="expected "):
        download(task, server.url, place, size=len(CONTENT) + more)
    assert not place.exists()

    download(task, server.url, place)
    assert place.read_bytes() == CONTENT


def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    in_an_hour = formatdate(time.time() + 3600, usegmt=True)
    for wanted in ("17", in_an_hour):
        server.answers.append(Answer(status=503, headers={"Retry-After": wanted}))
    with pytest.raises(
        RetryLater, match="answered 503 Service Unavailable, at byte 0"
    ) as later:
        download(task, server.url, place)
    assert later.value.seconds == 17
    with pytest.raises(RetryLater) as later:
        download(task, server.url, place)
    assert later.value.seconds == pytest.approx(3600, abs=5)


@pytest.mark.parametrize("status", [408, 429, 500, 503, 300])
def test_other_troubles_of_a_server_are_tried_again(
    server: FileServer, task: TaskHandle, place: Path, status: int
) -> None:
    server.answers.append(Answer(status=status))
    with pytest.raises(DownloadError, match=f"the server answered {status} "):
        download(task, server.url, place)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_a_refusal_for_good_fails_the_step_and_can_be_caught(
    server: FileServer, task: TaskHandle, place: Path, status: int
) -> None:
    server.answers.append(Answer(status=status))
    with pytest.raises(
        RequestRefused, match=f"the server answered {status} "
    ) as refused:
        download(task, server.url, place)

    assert refused.value.status == status
    assert isinstance(refused.value, Fail)


def test_a_redirect_is_followed_and_a_circle_ends(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    away = Answer(status=302, headers={"Location": "/there"})
    server.answers.extend([away, Answer(cut=9), away])
    with pytest.raises(DownloadError):
        download(task, f"{server.url}/here", place)
    download(task, f"{server.url}/here", place)
    assert place.read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/here", "/there", "/here", "/there"]
    assert server.ranges()[-1] == "bytes=9-"

    server.answers.extend([away] * 30)
    with pytest.raises(DownloadError, match="TooManyRedirects"):
        download(task, f"{server.url}/there", place)
    server.answers.clear()
    server.answers.append(Answer(status=302, headers={"Location": "ftp://x/y"}))
    with pytest.raises(Fail, match="redirected to what is no web page"):
        download(task, server.url, place)


def test_an_encoding_that_nobody_asked_for_is_refused_unless_a_checksum_decides(
    server: FileServer, task: TaskHandle, place: Path
) -> None:
    server.answers.extend([Answer(zipped=True)] * 3)
    with pytest.raises(Fail, match="sends it with the encoding gzip"):
        download(task, server.url, place)
    with pytest.raises(WrongContent):
        download(task, server.url, place, sha256=server.sha256)
    download(task, f"{server.url}/a.gz", place)
    assert place.read_bytes()[:2] == b"\x1f\x8b"


def test_user_and_password_are_sent_and_shown_nowhere(
    server: FileServer,
    task: TaskHandle,
    place: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    url = server.url.replace("://", "://bob:s3cr3t@") + "/a?x=1&token=t0ken"
    cut(server, 1000)
    with pytest.raises(DownloadError) as error:
        download(task, url, place)

    assert str(error.value).startswith(f"{server.url}/a?x=1&token=***: ")
    assert server.asked[0][1]["authorization"] == "Basic Ym9iOnMzY3IzdA=="
    assert "s3cr3t" not in caplog.text
    for path in left_in(task):
        assert b"s3cr3t" not in path.read_bytes()
    for wrong in ("ftp://bob:s3cr3t@x/y", "http://bob:s3cr3t@x:port/y", "bob:s3cr3t@x"):
        with pytest.raises(Fail) as refused:
            download(task, wrong, place)
        assert "s3cr3t" not in str(refused.value)


def test_a_run_that_is_stopped_stops_the_download_and_keeps_what_came(
    server: FileServer, tmp_path: Path, place: Path
) -> None:
    stopping = handle_of(
        Reports(), cancelled=lambda: True, folder=f"{tmp_path}/workdir"
    )
    with pytest.raises(RetryLater, match=r"stopped, at byte [0-9,]+ of ") as later:
        download(stopping, server.url, place)
    assert later.value.seconds == 0
    (part,) = Path(stopping.folder).glob("*.part")
    came = part.stat().st_size
    assert 0 < came < len(CONTENT)

    download(handle_of(Reports(), folder=f"{tmp_path}/workdir"), server.url, place)
    assert server.ranges() == [None, f"bytes={came}-"]
    assert place.read_bytes() == CONTENT


def test_after_a_power_cut_only_what_was_synced_is_kept(
    server: FileServer, task: TaskHandle, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SYNC_EVERY", 100_000)
    cut(server, 950_000)
    synced: list[int] = []
    with monkeypatch.context() as lying:
        # The last sync, at the cut, is not made, as when the power goes.
        sync = partial_file.PartialFile.sync

        def until_the_cut(part: partial_file.PartialFile, file: Any) -> None:
            if file.tell() < 950_000:
                synced.append(file.tell())
                sync(part, file)

        lying.setattr(partial_file.PartialFile, "sync", until_the_cut)
        with pytest.raises(DownloadError):
            download(task, server.url, place)
    last = synced[-1]
    assert len(synced) > 3
    monkeypatch.setattr(partial_file, "boot", lambda: "another")
    (part,) = Path(task.folder).glob("*.part")
    part.write_bytes(CONTENT[:last] + bytes(950_000 - last))

    download(task, server.url, place)
    assert server.ranges() == [None, f"bytes={last}-"]
    assert place.read_bytes() == CONTENT


def test_what_is_whole_but_was_not_renamed_is_not_fetched_again(
    server: FileServer, task: TaskHandle, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(shutil, "move", lambda *_: os.close(-1))
        with pytest.raises(OSError, match="Bad file"):
            download(task, server.url, place)
    download(task, server.url, place)

    assert len(server.asked) == 1
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize("text", [b"", b"{", b'{"url": 5}'])
def test_rubbish_in_the_workdir_only_means_to_begin_anew(
    server: FileServer, task: TaskHandle, place: Path, text: bytes
) -> None:
    cut(server, 1000)
    with pytest.raises(DownloadError):
        download(task, server.url, place)
    (known,) = Path(task.folder).glob("*.json")
    known.write_bytes(text)
    download(task, server.url, place)

    assert server.ranges() == [None, None]
    assert place.read_bytes() == CONTENT


def test_how_far_it_is_can_be_saved_with_the_task(
    server: FileServer, task: TaskHandle, reports: Reports, place: Path
) -> None:
    cut(server, 1000)
    with pytest.raises(DownloadError):
        download(task, server.url, place, checkpoint=True)
    download(task, server.url, place)

    assert reports.saved == [("task", '{"bytes":1000}')]


def test_a_server_that_is_away_is_an_error_with_url_and_offset(
    task: TaskHandle, place: Path
) -> None:
    with FileServer(CONTENT) as gone:
        url = gone.url
    with pytest.raises(DownloadError) as error:
        download(task, url, place)

    assert str(error.value) == (
        f"{url}: ConnectError: [Errno 111] Connection refused, at byte 0"
    )


def test_a_workflow_gets_its_file_from_a_server_that_fails_again_and_again(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.url

    class Fetch(Workflow):
        @step(retry=3)
        def fetch(self, task: TaskHandle) -> Path:
            return download(task, url, tmp_path / "file", sha256=server.sha256)

    cut(server, 100)
    server.answers.append(Answer(status=503, headers={"Retry-After": "60"}))
    server.answers.append(Answer(cut=1000))
    report = run_inline(Fetch())

    assert report.ok, report.tasks
    assert server.ranges() == [None, "bytes=100-", "bytes=100-", "bytes=1100-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_an_attempt_that_brought_more_need_not_use_up_a_retry(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.url

    class Fetch(Workflow):
        @step(retry=Retry(1, renew_on_checkpoint=True))
        def fetch(self, task: TaskHandle) -> Path:
            return download(task, url, tmp_path / "file", checkpoint=True)

    for _ in range(5):
        cut(server, 1000)
    report = run_inline(Fetch())

    assert report.ok, report.tasks
    assert server.ranges()[-1] == "bytes=5000-"
    # One that brings nothing does.
    for _ in range(5):
        cut(server, 0)
    assert not run_inline(Fetch()).ok
    assert len(server.asked) == 6 + 2


FLOW = """
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step
from ptsflow.contrib.http import download

class Fetch(Workflow):
    url: str

    @step
    def fetch(self, task: TaskHandle) -> Path:
        return download(task, self.url, "file")
"""


def test_after_kill_9_the_next_run_goes_on_from_the_last_byte(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    command = [*PTSFLOW, "run", "flow.py", "-p", f"url={server.url}/songs"]
    settings: dict[str, Any] = {"cwd": tmp_path, "env": environment()}
    server.answers.append(Answer(hang=700_000))
    with subprocess.Popen(command, stderr=subprocess.PIPE, **settings) as process:
        parts = tmp_path.rglob
        until(lambda: any(p.stat().st_size == 700_000 for p in parts("*.part")))
        process.send_signal(signal.SIGKILL)

    again = subprocess.run(
        command, capture_output=True, text=True, check=False, **settings
    )
    assert again.returncode == 0, again.stderr
    assert server.ranges() == [None, "bytes=700000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT
