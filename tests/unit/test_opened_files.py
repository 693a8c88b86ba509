"""Whether paths still lead to the files that were opened."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptsflow.host import opened_files
from ptsflow.host.opened_files import OpenedFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "data"
    folder.mkdir()
    for name in ("store.db", "store.db-wal"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def files(folder: Path) -> Iterator[OpenedFiles]:
    files = OpenedFiles(str(folder / "store.db"), str(folder / "store.db-wal"))
    yield files
    files.close()


def replace(folder: Path) -> None:
    (folder / "other").write_text("other")
    (folder / "other").rename(folder / "store.db")


def put_another_folder(folder: Path) -> None:
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    for name in ("store.db", "store.db-wal"):
        (folder / name).write_text(name)


TAKEN: list[Callable[[Path], object]] = [
    replace,
    put_another_folder,
    lambda folder: (folder / "store.db").unlink(),
    lambda folder: (folder / "store.db-wal").unlink(),
    lambda folder: (folder / "store.db").rename(folder / "other"),
    lambda folder: folder.rename(folder.with_name("other")),
]


@pytest.fixture(params=[False, True])
def is_quiet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Let the last change of a name in the folder seem to be long past, or not."""
    if request.param:
        monkeypatch.setattr(opened_files, "_TICK", -1_000_000_000_000)
    return bool(request.param)


def put_back_its_times(folder: Path) -> None:
    """Replace a file as a program does that restores a copy of the whole folder."""
    before = folder.stat()
    replace(folder)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("is_quiet")
@pytest.mark.parametrize("take", [*TAKEN, put_back_its_times])
def test_what_is_taken_away_is_seen(
    folder: Path, files: OpenedFiles, take: Callable[[Path], object]
) -> None:
    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (True, True)

    time.sleep(0.02)  # longer than a tick of the file system's clock
    take(folder)

    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (False, False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The links that are read."""
    asked: list[str] = []
    ask = os.readlink

    def asking(path: str, *, dir_fd: int) -> str:
        asked.append(path)
        return ask(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", asking)
    return asked


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
def test_files_are_asked_only_where_a_name_in_their_folder_may_have_changed(
    folder: Path, files: OpenedFiles, asked: list[str], *, is_quiet: bool
) -> None:
    assert files.are_in_place_after_a_write()
    assert len(asked) == 2
    asked.clear()

    assert files.are_in_place_after_a_write()
    assert len(asked) == (0 if is_quiet else 2)
    asked.clear()

    time.sleep(0.02)
    (folder / "another file").touch()
    assert files.are_in_place_after_a_write()
    assert len(asked) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
@pytest.mark.parametrize(
    ("changed_at", "now", "is_settled"),
    [
        (5_000_000_001, 5_010_000_001, False),
        (5_000_000_001, 5_010_000_002, True),
        (5_000_000_001, 4_000_000_000, False),
        # A file system that counts whole seconds, or microseconds.
        (5_000_000_000, 9_000_000_000, False),
        (5_000_001_000, 9_000_000_000, False),
    ],
)
def test_a_folder_is_quiet_only_if_a_later_change_must_show(
    monkeypatch: pytest.MonkeyPatch, changed_at: int, now: int, *, is_settled: bool
) -> None:
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: now)

    assert opened_files._is_settled(changed_at) is is_settled


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this clock")
def test_no_file_is_changed_later_than_the_clock_of_files_tells(tmp_path: Path) -> None:
    for number in range(300):
        before = time.clock_gettime_ns(opened_files._FILES_CLOCK)
        (tmp_path / str(number)).touch()
        changed_at = tmp_path.stat().st_ctime_ns
        after = time.clock_gettime_ns(opened_files._FILES_CLOCK)

        assert before <= changed_at <= after + opened_files._TICK


def test_a_folder_that_a_link_leads_to_in_its_old_place_is_in_place(
    folder: Path, files: OpenedFiles
) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")

    assert (files.are_in_place(), files.are_in_place_after_a_write()) == (True, True)


def test_a_link_that_leads_elsewhere_is_seen(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    files = OpenedFiles(str(link / "store.db"))
    assert files.are_in_place_after_a_write()

    (folder.with_name("new")).mkdir()
    (folder.with_name("new") / "store.db").write_text("another")
    link.unlink()
    link.symlink_to("new")

    assert not files.are_in_place_after_a_write()
    files.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
def test_no_file_is_asked_for_its_times_after_a_write(
    files: OpenedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(path: str) -> os.stat_result:
        assert Path(path).name == "data"
        return os.lstat(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", asked)
        is_in_place = files.are_in_place_after_a_write()

    assert is_in_place


def test_without_such_handles_the_paths_are_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_PATH", raising=False)
    files = OpenedFiles(str(folder / "store.db"))
    assert files.are_in_place_after_a_write()

    replace(folder)

    assert not files.are_in_place_after_a_write()
    files.close()


_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


def test_the_locks_of_the_process_stay(folder: Path) -> None:
    path = folder / "store.db"
    with path.open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)

        OpenedFiles(str(path)).close()

        another = [sys.executable, "-c", _LOCK, str(path)]
        assert subprocess.run(another, capture_output=True, check=False).returncode


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these handles")
def test_no_handle_is_left(folder: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())

    OpenedFiles(str(folder / "store.db")).close()

    # Threads of other tests may close files meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_path_that_leads_to_no_file_is_refused(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        OpenedFiles(str(folder / "none"))
