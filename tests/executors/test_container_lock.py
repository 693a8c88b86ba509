"""The files that say where bodies of a container may run on this host."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ptsflow.errors import StoreUnavailable
from ptsflow.executors.processes.messages import Setting
from ptsflow.executors.processes.pool import Processes
from ptsflow.host import container_lock
from ptsflow.workflow.loading import refer
from tests.executors.flows import Whose

#: What holds the file that is its argument as a body's process does.
HOLDS = """
import fcntl, sys, time
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_SH)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("absent", os.strerror(errno.ENOENT), id="absent"),
        pytest.param("file", os.strerror(errno.ENOTDIR), id="a file"),
    ],
)
def test_a_folder_that_cannot_be_made_is_said_in_one_line(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", f"{tmp_path}/{name}")
    with pytest.raises(StoreUnavailable) as caught:
        container_lock.file_of("sqlite:///pts.db 1")

    folder = str(caught.value).partition(":")[0]
    assert folder.startswith(f"{tmp_path}/{name}/ptsflow-")
    assert str(caught.value) == (
        f"{folder}: expected a folder that can be made there, found: {why}; set TMPDIR "
        "to one that this user can write to"
    )


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = container_lock.file_of("sqlite:///pts.db 1")
    mark = container_lock.Mark(file, b"who")
    assert container_lock.marked_by("sqlite:///pts.db 1") == b"who"
    file.parent.chmod(mode)

    with pytest.raises(StoreUnavailable) as caught:
        container_lock.file_of("sqlite:///pts.db 1")
    assert str(caught.value) == (
        f"{file.parent}: expected a folder that this user alone can write to, found mode "
        f"{mode:04o}; look who did that, then chmod 700 {file.parent}"
    )
    assert container_lock.marked_by("sqlite:///pts.db 1") is None
    mark.remove()


def test_a_file_that_cannot_be_made_is_why_no_process_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "absent" / "x.lock"
    processes = Processes(refer(Whose), Setting("c", {}), lock)
    assert processes._fork_client is not None
    assert processes._fork_client.has_ended.wait(20)
    processes.stop()

    assert processes.problem == f"{lock}: {os.strerror(errno.ENOENT)}"
    assert capfd.readouterr().err == ""


def test_who_waits_is_told_what_for(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    told: list[str] = []
    lock.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, lock], stdout=subprocess.PIPE
    ) as it:
        assert it.stdout is not None
        it.stdout.readline()

        def notice(text: str) -> None:
            told.append(text)
            it.kill()

        container_lock.wait_alone(lock, notice)

    assert told == [
        f"waiting: processes of an earlier run have not ended: pid {it.pid}"
    ]
    assert not lock.exists()


def test_a_mark_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        container_lock.Mark(tmp_path / "absent" / "x.lock", b"")

    assert str(caught.value) == (
        f"{tmp_path}/absent/x.run: expected a file that can be written, found: No such "
        "file or directory; set TMPDIR to a folder that this user can write to"
    )


def test_a_mark_takes_away_only_itself(tmp_path: Path) -> None:
    first = container_lock.Mark(tmp_path / "x.lock", b"first")
    second = container_lock.Mark(tmp_path / "x.lock", b"second")
    first.remove()
    left = [file.read_bytes() for file in tmp_path.iterdir()]
    second.remove()

    assert left == [b"second"]
    assert list(tmp_path.iterdir()) == []


def test_that_the_folder_is_no_folder_any_more_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    lock = container_lock.file_of("memory: 1")
    mark = container_lock.Mark(lock, b"who")
    lock.parent.rename(tmp_path / "before")
    lock.parent.touch()

    container_lock.remove(lock)
    mark.remove()

    assert (tmp_path / "before" / lock.with_suffix(".run").name).exists()


def test_a_mark_in_a_folder_of_somebody_else_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = container_lock.file_of("memory: 1")
    mark = container_lock.Mark(file, b"who")
    ours = container_lock.marked_by("memory: 1")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    (tmp_path / "ptsflow-4000000").symlink_to(file.parent)
    theirs = container_lock.marked_by("memory: 1")
    mark.remove()

    assert (ours, theirs) == (b"who", None)


def test_a_mark_is_removed_once_and_by_its_own_process_alone(tmp_path: Path) -> None:
    mark = container_lock.Mark(tmp_path / "x.lock", b"who")
    child = os.fork()
    if child == 0:
        mark.remove()
        os._exit(0)
    os.waitpid(child, 0)
    after_the_child = list(tmp_path.iterdir())
    mark.remove()
    mark.remove()

    assert after_the_child == [tmp_path / "x.run"]
    assert list(tmp_path.iterdir()) == []


def test_a_mark_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(StoreUnavailable, match="; set TMPDIR to a") as caught:
        container_lock.Mark(tmp_path / "x.lock", b"who")

    assert f"found: {os.strerror(errno.ENOLCK)}; " in str(caught.value)
    # Threads of other tests may close files meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before
    assert list(tmp_path.iterdir()) == []
