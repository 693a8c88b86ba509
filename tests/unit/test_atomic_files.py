"""Files and folders that bodies write: replaced whole or not at all, removed for good."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ptsflow.host.atomic_files import digest, make_folder, remove, replacing
from tests.support.processes import python


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "songs.csv"


@contextmanager
def no_root() -> Iterator[None]:
    """Be nobody for a while, as nothing is forbidden to root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(target: Path) -> None:
    with replacing(target, "n/l") as part:
        part.write_text("half")
        raise KeyboardInterrupt


def write(target: Path, what: str) -> None:
    with replacing(target, "n/l") as part:
        if what == "a file":
            part.write_text("new")
        elif what == "a folder":
            part.mkdir()
        elif what == "something else":
            part.symlink_to("elsewhere")


# -- output ---------------------------------------------------------------------


def test_a_file_is_there_when_the_block_has_ended_and_not_before(target: Path) -> None:
    with replacing(target, "nightly/load") as part:
        part.write_text("1,2,3")
        during = target.exists()

    assert not during
    assert target.read_text() == "1,2,3"
    assert names(target.parent) == ["songs.csv"]


def test_it_is_written_under_its_own_name_in_a_hidden_folder_beside_it(
    target: Path,
) -> None:
    with replacing(target, "nightly/load") as part:
        part.write_text("1")
        mode = stat.S_IMODE(part.parent.stat().st_mode)

    beside = f".songs.csv.{digest('nightly/load', 'songs.csv')[:16]}.part"
    assert part.name == "songs.csv"
    assert part.parent.parent == target.with_name(beside)
    assert mode == 0o700


def test_two_writers_of_one_target_do_not_share_what_they_write_to(
    target: Path,
) -> None:
    with (
        replacing(target, "nightly/one") as one,
        replacing(target, "nightly/two") as two,
    ):
        one.write_text("one")
        two.write_text("two")
        both = names(target.parent)

    assert both == sorted([one.parents[1].name, two.parents[1].name])
    assert target.read_text() == "one"
    assert names(target.parent) == ["songs.csv"]


def test_a_block_that_raises_leaves_the_target_as_it_was(target: Path) -> None:
    target.parent.mkdir()
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_half(target)

    assert target.read_text() == "before"
    assert names(target.parent) == ["songs.csv"]


def test_what_a_killed_attempt_left_goes_with_the_next_one(target: Path) -> None:
    with replacing(target, "n/l") as part:
        part.write_text("x")
    part.mkdir(parents=True)
    (part / "half").write_text("of a folder")
    left = names(target.parent)
    write(target, "a file")

    assert len(left) == 2
    assert names(target.parent) == ["songs.csv"]


def test_an_attempt_that_goes_on_beside_the_next_one_puts_nothing_in_place(
    target: Path,
) -> None:
    given_up = replacing(target, "n/l")
    old = given_up.__enter__()
    old.write_text("half")
    with replacing(target, "n/l") as part:
        part.write_text("whole")
        with pytest.raises(FileNotFoundError):
            given_up.__exit__(None, None, None)
        between = target.exists()

    assert not between
    assert target.read_text() == "whole"
    assert names(target.parent) == ["songs.csv"]


def test_what_a_tool_leaves_beside_what_it_writes_goes(target: Path) -> None:
    with replacing(target, "n/l") as part:
        part.write_text("new")
        part.with_name("songs.csv.tmp").write_text("rest")

    assert names(target.parent) == ["songs.csv"]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_is_replaced_keeps_its_mode(target: Path, mode: int) -> None:
    target.parent.mkdir()
    target.write_text("before")
    target.chmod(mode)
    with replacing(target, "n/l") as part:
        part.write_text("after")

    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_the_umask(target: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(target, "n/l") as part:
            part.write_text("new")
    finally:
        os.umask(before)

    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_is_followed(target: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest.csv"
    link.symlink_to(target)
    with replacing(link, "n/l") as part:
        part.write_text("new")

    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_relative_path_is_of_the_folder_in_which_the_block_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with replacing("out.txt", "n/l") as part:
        monkeypatch.chdir("elsewhere")
        part.write_text("new")

    assert (tmp_path / "out.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "\udcff" * 200])
def test_the_longest_names_have_room(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name, "n/l") as part:
        part.write_text("new")

    assert names(tmp_path) == [name]


def test_all_of_it_is_synced_before_it_is_renamed_and_its_folder_after(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def synced(descriptor: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH119, PTH115
        if target.exists():
            order.append("(renamed)")

    monkeypatch.setattr(os, "fsync", synced)
    with replacing(target, "n/l") as part:
        part.mkdir()
        (part / "a").write_text("1")
        (part / "b").symlink_to("nowhere")

    assert order == [
        "a",
        part.name,
        "out",
        "(renamed)",
        target.parent.parent.name,
        "(renamed)",
    ]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_is_replaced_where_none_is_or_an_empty_one(
    target: Path, *, is_there: bool
) -> None:
    if is_there:
        target.mkdir(parents=True)
    with replacing(target, "n/l") as part:
        part.mkdir()
        (part / "a").write_text("1")

    assert (target / "a").read_text() == "1"
    assert names(target.parent) == ["songs.csv"]


def test_a_folder_that_is_not_empty_is_refused_before_the_block(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "old").write_text("1")
    ran = False
    with pytest.raises(FileExistsError) as raised, replacing(target, "n/l"):
        ran = True

    assert not ran
    assert str(raised.value) == (
        f"the output {target}: expected no folder there, or an empty one, found one "
        "with 'old' in it; remove it, or write elsewhere"
    )
    assert names(target) == ["old"]


def test_what_is_neither_file_nor_folder_is_refused(target: Path) -> None:
    target.parent.mkdir()
    os.mkfifo(target)
    with pytest.raises(FileExistsError) as raised, replacing(target, "n/l"):
        pass

    assert str(raised.value) == (
        f"the output {target}: expected a file, a folder or nothing there, found a "
        "device, a pipe or a socket; write to it without task.output"
    )
    assert target.is_fifo()


@pytest.mark.parametrize("found", ["nothing", "something else"])
def test_a_block_that_wrote_nothing_is_an_error(target: Path, found: str) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write(target, found)

    assert str(raised.value) == (
        f"the output {target}: expected the block to write a file or a folder to the "
        f"path that task.output gives, found {found} there; write to `part` in "
        "`with task.output(...) as part`"
    )
    assert names(target.parent) == []


@pytest.mark.parametrize(
    ("there", "written"), [("a folder", "a file"), ("a file", "a folder")]
)
def test_a_file_and_a_folder_do_not_take_each_others_place(
    target: Path, there: str, written: str
) -> None:
    write(target, there)
    with pytest.raises(FileExistsError) as raised:
        write(target, written)

    assert str(raised.value) == (
        f"the output {target}: expected the block to write {there}, as one is there, "
        f"found {written}; remove what is there, or write elsewhere"
    )
    assert target.is_dir() == (there == "a folder")
    assert names(target.parent) == ["songs.csv"]


# -- folders --------------------------------------------------------------------


def test_a_folder_is_made_for_this_user_alone_and_those_above_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a" / "b" / "c"
    make_folder(folder)
    make_folder(folder)

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)]
    assert modes[:3] == [0o700] * 3


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "a" / "b")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_where_nothing_can_be_made_it_is_not_tried_for_ever() -> None:
    call = "make_folder(Path('/proc/ptsflow/a/b'))"
    code = f"from pathlib import Path; from ptsflow.host.atomic_files import make_folder; {call}"
    ended = python("-c", code)

    last = ended.stderr.splitlines()[-1]
    assert last.startswith("FileNotFoundError: ")
    assert last.endswith(" '/proc/ptsflow'")


def test_removing_follows_no_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o750)
    (precious / "file").write_text("1")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "link").symlink_to(precious)
    link = tmp_path / "link"
    link.symlink_to(precious)
    remove(folder)
    remove(link)
    remove(tmp_path / "absent")

    assert names(tmp_path) == ["precious"]
    assert names(precious) == ["file"]


def test_folders_that_are_not_writable_are_removed_and_links_of_them_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    with no_root():
        precious = Path("precious")
        precious.mkdir(mode=0o500)
        inner = Path("folder", "a", "b")
        inner.mkdir(parents=True)
        (inner / "file").write_text("1")
        (inner / "link").symlink_to("../../../precious")
        for path in (inner, inner.parent, inner.parent.parent):
            path.chmod(0o500)
        remove(Path("folder"))

    assert names(tmp_path) == ["precious"]
    assert stat.S_IMODE(precious.stat().st_mode) == 0o500


def test_a_kill_at_the_last_moment_leaves_nothing_beside_a_target_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "songs.csv"
    seen: list[list[str]] = []

    def look_and_break_off(path: Path, _: Path) -> Path:
        seen.append([entry.name for entry in tmp_path.iterdir()])
        raise KeyboardInterrupt(path.name)

    def write() -> None:
        with replacing(target, "n/l") as part:
            part.write_text("1")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", look_and_break_off)
        with pytest.raises(KeyboardInterrupt) as broken:
            write()
    write()

    assert seen == [[str(broken.value)]]
    assert [entry.name for entry in tmp_path.iterdir()] == ["songs.csv"]
