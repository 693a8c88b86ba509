"""Making a SQLite store's file, and refusing by name what is not one, untouched."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ptsflow.errors import StoreDamaged, StoreError, StoreUnavailable, StoreURLError
from ptsflow.stores.sqlite import file
from ptsflow.stores.sqlite.file import network_file_system
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import CURE, filled, names
from tests.support.processes import ROOT
from tests.support.wording import THEIRS, Message


def opened(path: Path) -> SqliteStore:
    return SqliteStore(f"sqlite:///{path}", patience=0.2)


def made(path: Path) -> Path:
    store = opened(path)
    filled(store, *(f"task {i}" for i in range(500)))
    store.close()
    return path


def listing(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def refusal(path: Path, kind: type[StoreError]) -> str:
    """Return why it is not opened, having seen that nothing was touched."""
    before = listing(path.parent) if path.parent.is_dir() else {}
    with pytest.raises(kind) as caught:
        opened(path)
    assert (listing(path.parent) if path.parent.is_dir() else {}) == before
    return str(caught.value)


def test_the_file_and_its_folders_are_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "pts.db"
    previous = os.umask(0)
    try:
        store = opened(path)
        filled(store)
        paths = [path.parent.parent, path.parent, *path.parent.iterdir()]
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in paths}
    finally:
        os.umask(previous)
    store.close()

    assert modes == {
        "a": 0o700,
        "b": 0o700,
        "pts.db": 0o600,
        "pts.db-wal": 0o600,
        "pts.db-shm": 0o600,
    }


def test_nothing_but_the_file_is_left_when_all_are_closed(path: Path) -> None:
    made(path)

    assert [each.name for each in path.parent.iterdir()] == ["pts.db"]


def test_a_file_without_its_log_is_fine(path: Path) -> None:
    store = opened(made(path))

    assert len(names(store, store.create("feed")[0].uid)) == 500
    store.close()


def test_a_link_leads_to_the_file(path: Path) -> None:
    made(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    store = opened(link)
    filled(store)

    assert path.with_name("pts.db-wal").exists()
    store.close()


# -- refusals ------------------------------------------------------------------


def test_an_empty_file_is_not_started_over(path: Path) -> None:
    path.touch()

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected a ptsflow store, found an empty file; "
        "restore it, or remove it to start over"
    )


@pytest.mark.parametrize("content", [b"name,size\n" * 1000, bytes(8192)])
def test_a_file_of_something_else_is_not_a_database(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected a ptsflow store, found no database; {CURE}"
    )


@pytest.mark.parametrize(
    ("share", "why"),
    [
        pytest.param(0.5, THEIRS, id="half"),
        pytest.param(0.999, "its last page is cut", id="within a page"),
    ],
)
def test_a_cut_file_is_damaged(path: Path, share: float, why: str) -> None:
    size = made(path).stat().st_size
    os.truncate(path, int(size * share))

    assert refusal(path, StoreDamaged) == Message(
        f"{path}: expected a ptsflow store, found a damaged one ({why}); {CURE}"
    )


@pytest.mark.parametrize("size", [1, 100, 511])
def test_a_file_cut_within_its_header_is_not_taken_for_a_new_one(
    path: Path, size: int
) -> None:
    os.truncate(made(path), size)

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected a ptsflow store, found a file of {size} bytes; "
        "restore it, or remove it to start over"
    )


def _other(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_program_is_left_alone(path: Path, mode: str) -> None:
    _other(
        path,
        f"PRAGMA journal_mode = {mode}",
        "CREATE TABLE t (a)",
        "PRAGMA application_id = 7",
    )

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected a ptsflow store, found another program's database "
        "(application_id 7); choose another file"
    )


def test_the_log_of_another_program_is_left_alone(path: Path) -> None:
    source = path.with_name("source.db")
    connection = apsw.Connection(str(source))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    path.write_bytes(source.read_bytes())
    path.with_name("pts.db-wal").write_bytes(
        source.with_name("source.db-wal").read_bytes()
    )
    connection.close()
    before = listing(path.parent)
    with pytest.raises(StoreDamaged):
        opened(path)

    # SQLite's shared index of the log may remain; nothing was written back.
    after = listing(path.parent)
    after.pop("pts.db-shm", None)
    assert after == before


_OF_BEFORE = (
    ", made by an earlier version of ptsflow; finish what is in it with that version, "
    "or choose another store"
)


@pytest.mark.parametrize(
    ("layout", "cure"),
    [
        (4, "; upgrade ptsflow"),
        (0, "; restore it from a copy"),
        (
            1,
            _OF_BEFORE,
        ),
    ],
)
def test_another_layout_is_refused(path: Path, layout: int, cure: str) -> None:
    _other(made(path), f"PRAGMA user_version = {layout}")

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected layout 3, found layout {layout}{cure}"
    )


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP INDEX open_tasks", "index open_tasks"),
        ("DROP TABLE attempts", "table attempts"),
        ("ALTER TABLE containers DROP COLUMN target", "table containers"),
        ("ALTER TABLE payloads RENAME COLUMN text TO content", "table payloads"),
    ],
)
def test_a_store_that_lacks_something_is_refused_by_its_name(
    path: Path, statement: str, named: str
) -> None:
    _other(made(path), statement)

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected {named} as in layout 3, found something else or nothing; "
        f"{CURE}"
    )


def test_a_log_whose_file_is_missing_is_not_played_into_a_new_one(path: Path) -> None:
    path.with_name("pts.db-wal").write_bytes(b"x" * 100)

    assert refusal(path, StoreDamaged) == (
        f"{path}: expected it beside pts.db-wal, found that log alone; "
        "restore the file, or move the log away to start over"
    )


def test_a_folder_is_not_a_file(path: Path) -> None:
    path.mkdir()

    assert refusal(path, StoreURLError) == (
        f"{path}: expected a file, found a folder; name a file in the URL"
    )


def test_a_pipe_is_not_a_file(path: Path) -> None:
    os.mkfifo(path)

    assert refusal(path, StoreURLError) == (
        f"{path}: expected a file, found something else; name a file in the URL"
    )


def test_a_folder_that_cannot_be_made_is_named(path: Path) -> None:
    path.write_text("a file where the folder should be")

    assert refusal(path / "pts.db", StoreUnavailable) == (
        f"{path}/pts.db: cannot be made or opened ({os.strerror(errno.ENOTDIR)}); "
        "check the folder and its permissions, or choose another file"
    )


@pytest.fixture
def plain_folder() -> Iterator[Path]:
    """Become a user whom permissions bind, in a folder of that user's own."""
    with tempfile.TemporaryDirectory() as folder:
        user = os.geteuid()
        if user == 0:
            os.chown(folder, _NOBODY, -1)
            os.seteuid(_NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


_NOBODY = 65534


@pytest.mark.parametrize(("file", "folder"), [(0o400, 0o700), (0o600, 0o500)])
def test_what_cannot_be_written_is_refused(
    plain_folder: Path, file: int, folder: int
) -> None:
    path = made(plain_folder / "pts.db")
    path.chmod(file)
    plain_folder.chmod(folder)

    assert refusal(path, StoreUnavailable) == (
        f"{path}: expected a file in a folder that can both be written, found that "
        "one cannot; change their permissions"
    )
    plain_folder.chmod(0o700)


def test_a_folder_in_which_nothing_can_be_made_is_named(plain_folder: Path) -> None:
    plain_folder.chmod(0o500)
    for path in (plain_folder / "pts.db", plain_folder / "new" / "pts.db"):
        assert refusal(path, StoreUnavailable) == (
            f"{path}: cannot be made or opened ({os.strerror(errno.EACCES)}); "
            "check the folder and its permissions, or choose another file"
        )


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full and the file cannot be made; make room"),
        (
            errno.EPERM,
            (
                f"cannot be made or opened ({os.strerror(errno.EPERM)}); "
                "check the folder and its permissions, or choose another file"
            ),
        ),
    ],
)
def test_a_file_that_cannot_get_its_name_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StoreError) as caught:
        opened(path)

    assert str(caught.value) == f"{path}: {message}"
    assert listing(path.parent) == {}


# -- network file systems --------------------------------------------------------

_MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /proc rw,nosuid - proc proc rw
41 22 0:40 / /mnt/nfs rw shared:9 - nfs4 server:/export rw,vers=4.2
42 41 254:1 / /mnt/nfs/local rw - xfs /dev/vdb rw
43 22 0:41 / /mnt/my\\040share rw - cifs //server/share rw
44 22 0:42 / /home/me/remote rw master:2 propagate_from:3 - fuse.sshfs me@server: rw
45 22 0:43 / /mnt/over rw - ext4 /dev/vdc rw
46 22 0:44 / /mnt/over rw - 9p host rw
47 22 0:45 / /mnt/smb rw - smb3 //server/share rw
48 22 0:46 / /mnt/usb rw - fuseblk /dev/sdb1 rw
not a line of this file
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/pts.db", None),
        ("/mnt/nfs/pts.db", "nfs4"),
        ("/mnt/nfsx/pts.db", None),
        ("/mnt/nfs/local/deep/pts.db", None),
        ("/mnt/my share/pts.db", "cifs"),
        ("/home/me/remote/a/pts.db", "fuse.sshfs"),
        ("/mnt/over/pts.db", "9p"),
        ("/mnt/smb/pts.db", "smb3"),
        ("/mnt/usb/pts.db", None),
    ],
)
def test_network_file_systems_are_told_by_their_mount(
    path: str, kind: str | None
) -> None:
    assert network_file_system(Path(path), _MOUNTS) == kind


def test_a_network_file_system_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = path.with_name("mountinfo")
    mounts.write_text("22 1 0:40 / / rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(file, "_MOUNTS", mounts)

    assert refusal(path, StoreURLError) == (
        f"{path}: expected a local disk, found the network file system 'nfs4', where "
        "SQLite loses data; choose a local file or mongodb://"
    )


# -- races ---------------------------------------------------------------------

_MAKER = """
import sys
from ptsflow.stores import open_store

sys.stdin.readline()
store = open_store(sys.argv[1])
print(store.create(sys.argv[2])[0].uid)
"""


def test_of_processes_that_make_the_file_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pts.db"
    command = [sys.executable, "-c", _MAKER, f"sqlite:///{path}"]
    makers = [
        subprocess.Popen(
            [*command, f"feed {i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for i in range(6)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    uids = [maker.communicate(timeout=60)[0].strip() for maker in makers]
    # If the last two connections close at once, neither gets the exclusive lock under
    # which SQLite removes the log. The next connection that closes alone removes it.
    store = opened(path)
    containers = [store.container(f"feed {i}") for i in range(6)]
    store.close()

    assert [maker.returncode for maker in makers] == [0] * 6
    assert len(set(uids)) == 6
    assert [each and each.uid for each in containers] == uids
    assert [each.name for each in path.parent.iterdir()] == ["pts.db"]


def test_a_file_that_appears_meanwhile_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path)
    away = path.rename(path.with_name("away.db"))
    link = os.link

    def late(source: Path, target: Path) -> None:
        away.rename(path)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    store = opened(path)

    assert len(names(store, store.create("feed")[0].uid)) == 500
    store.close()
