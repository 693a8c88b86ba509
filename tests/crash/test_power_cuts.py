"""What a SQLite store has acknowledged survives a power cut at any moment.

The writes and syncs of a store's files are recorded. Then the power is cut after each of
them: what was synced is on the disk, and of the rest all, nothing or any part.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.errors import StoreError
from ptsflow.stores.sqlite.store import SqliteStore
from tests.crash.disk import (
    Event,
    Survivors,
    after_cut,
    disk,
    everything,
    nothing,
    some,
)
from tests.stores.making import filled, new


class Recording(Struct):
    """What was written to a store's files while tasks were added to it."""

    uid: str
    start: dict[str, bytes]
    events: list[Event]
    folder: Path

    def lost(self, cuts: Iterable[int], survivors: Sequence[Survivors]) -> list[str]:
        """Cut the power after so many events; return what was lost or unreadable."""
        found = []
        for cut in cuts:
            for choice in survivors:
                files, acknowledged = after_cut(self.start, self.events[:cut], choice)
                count = self.check(files)
                if isinstance(count, str):
                    found.append(f"cut {cut}: {count}")
                elif count < acknowledged:
                    found.append(f"cut {cut}: lost {acknowledged - count}")
        return found

    def check(self, files: dict[str, bytes]) -> int | str:
        """Return how many tasks the files hold, or what is wrong with them."""
        for left in self.folder.glob("pts.db*"):
            left.unlink()
        for name, content in files.items():
            self.folder.joinpath(name).write_bytes(content)
        try:
            # No power is cut while this looks, so a sync need not reach the real disk.
            with (
                disk(),
                closing(SqliteStore(f"sqlite:///{self.folder}/pts.db")) as store,
            ):
                tasks = store.tasks(self.uid, payloads=True)
        except StoreError as error:
            return str(error)
        names = [task.name for task in tasks]
        if names != [f"task {number}" for number in range(1, len(names) + 1)]:
            return f"found {names}"
        if any(task.result != _RESULT for task in tasks):
            return "a result is another one"
        return len(names)


_RESULT = '"' + "x" * 700 + '"'


def record(
    folder: Path,
    commits: int,
    *,
    synchronous: str = "FULL",
    log_pages: int = 25,
    unsynced: int = 0,
) -> Recording:
    """Add a task with each commit.

    The log is played into the file when it has grown to `log_pages` pages. The first
    commits are not synced, so many of them.
    """
    path = folder / "made" / "pts.db"
    url = f"sqlite:///{path}"
    with closing(SqliteStore(url)) as store:
        uid = filled(store)
    with disk() as recorded, closing(SqliteStore(url)) as store:
        database = store._database
        database.connection.pragma("synchronous", synchronous)
        database._kind = replace(database._kind, longest_log=log_pages)
        start = {"pts.db": path.read_bytes()}
        changes = [[new(f"task {n + 1}", result=_RESULT)] for n in range(commits)]
        with store.unsynced() if unsynced else nullcontext():
            for change in changes[:unsynced]:
                store.commit(uid, change, fence=None)
        for number, change in enumerate(changes[unsynced:], unsynced + 1):
            store.commit(uid, change, fence=None)
            recorded.events.append(Event("ack", place=number))
        events = [each for each in recorded.events if each.file in _FILES]
    cut = folder / "cut"
    cut.mkdir()
    return Recording(uid, start, events, cut)


_FILES = {"", "pts.db", "pts.db-wal"}


def test_what_was_acknowledged_survives_a_power_cut_after_any_write(
    tmp_path: Path,
) -> None:
    recording = record(tmp_path, 14)
    kinds = {(event.what, event.file) for event in recording.events}
    cuts = range(0, len(recording.events) + 1, 5)
    chance = some(random.Random(1))  # noqa: S311 - no secret.

    assert kinds >= {("sync", "pts.db"), ("sync", "pts.db-wal"), ("ack", "")}
    assert recording.lost(cuts, [everything, nothing, chance]) == []


def test_the_first_commit_after_unsynced_ones_makes_all_durable(tmp_path: Path) -> None:
    recording = record(tmp_path, 5, log_pages=1000, unsynced=4)
    syncs = [each.what for each in recording.events].count("sync")
    cuts = range(len(recording.events) + 1)

    assert syncs == 2  # Of the log's head, and of the last commit.
    assert recording.lost(cuts, [everything, nothing]) == []


def test_a_log_that_is_played_amid_unsynced_commits_is_synced_before(
    tmp_path: Path,
) -> None:
    recording = record(tmp_path, 12, unsynced=11)
    chance = some(random.Random(1))  # noqa: S311 - no secret.
    cuts = range(0, len(recording.events) + 1, 5)

    assert ("sync", "pts.db") in {(e.what, e.file) for e in recording.events}
    assert recording.lost(cuts, [everything, nothing, chance]) == []


def test_the_power_cuts_notice_a_store_that_does_not_sync(tmp_path: Path) -> None:
    recording = record(tmp_path, 6, synchronous="OFF")
    end = len(recording.events)

    assert recording.lost([end], [nothing]) == [f"cut {end}: lost 6"]
    assert recording.lost([end], [everything]) == []


#: The bytes of a write-ahead log before its first frame, and of a frame.
_HEAD, _FRAME = 32, 24 + 4096


def _cut_logs(recording: Recording, step: int) -> list[int]:
    """Cut the log of all commits at every frame; return how many tasks are left by each."""
    files, _ = after_cut(recording.start, recording.events, everything)
    log = files["pts.db-wal"]
    frames = range(_HEAD, len(log) + 1, _FRAME)
    left = []
    for cut in (0, *(place for at in frames for place in range(at, at + _FRAME, step))):
        count = recording.check(files | {"pts.db-wal": log[:cut]})
        assert isinstance(count, int), f"cut at {cut}: {count}"
        left.append(count)
    return left


def test_a_log_that_is_cut_at_any_frame_holds_whole_commits(tmp_path: Path) -> None:
    recording = record(tmp_path, 6, log_pages=1000)
    left = _cut_logs(recording, _FRAME // 2)

    assert left == sorted(left)
    assert set(left) == set(range(7))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_log_that_is_cut_anywhere_holds_whole_commits(tmp_path: Path) -> None:
    recording = record(tmp_path, 100, log_pages=1000)
    left = _cut_logs(recording, 512)

    assert left == sorted(left)
    assert set(left) == set(range(101))
    print(len(left), "cuts of the log")  # noqa: T201 - the figures.


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_all_power_cuts(tmp_path: Path) -> None:
    recording = record(tmp_path, 120)
    chances = [some(random.Random(seed)) for seed in range(3)]  # noqa: S311 - no secret.
    cuts = range(len(recording.events) + 1)

    assert recording.lost(cuts, [everything, nothing, *chances]) == []
    print(len(cuts), "cuts,", len(cuts) * 5, "states")  # noqa: T201 - the figures.
