"""What a SQLite store has acknowledged survives a power cut at any moment.

The writes and syncs of a store's files are recorded. Then the power is cut after each of
them: what was synced is on the disk, and of the rest all, nothing or any part.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct

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
                said = self._check(files, acknowledged)
                if said:
                    found.append(f"cut {cut}: {said}")
        return found

    def _check(self, files: dict[str, bytes], acknowledged: int) -> str:
        for left in self.folder.glob("pts.db*"):
            left.unlink()
        for name, content in files.items():
            self.folder.joinpath(name).write_bytes(content)
        try:
            with closing(SqliteStore(f"sqlite:///{self.folder}/pts.db")) as store:
                tasks = store.tasks(self.uid, payloads=True)
        except StoreError as error:
            return str(error)
        names = [task.name for task in tasks]
        if names != [f"task {number}" for number in range(1, len(names) + 1)]:
            return f"found {names}"
        if any(task.result != _RESULT for task in tasks):
            return "a result is another one"
        return f"lost {acknowledged - len(names)}" if len(names) < acknowledged else ""


_RESULT = '"' + "x" * 700 + '"'


def record(folder: Path, commits: int, *, synchronous: str = "FULL") -> Recording:
    """Add a task with each commit; now and then the log is played into the file."""
    path = folder / "made" / "pts.db"
    url = f"sqlite:///{path}"
    with closing(SqliteStore(url)) as store:
        uid = filled(store)
    with disk() as recorded, closing(SqliteStore(url)) as store:
        pragma = store._database.connection.pragma
        pragma("synchronous", synchronous)
        pragma("wal_autocheckpoint", 25)
        start = {"pts.db": path.read_bytes()}
        for number in range(1, commits + 1):
            store.commit(uid, [new(f"task {number}", result=_RESULT)], fence=None)
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


def test_the_power_cuts_notice_a_store_that_does_not_sync(tmp_path: Path) -> None:
    recording = record(tmp_path, 6, synchronous="OFF")
    end = len(recording.events)

    assert recording.lost([end], [nothing]) == [f"cut {end}: lost 6"]
    assert recording.lost([end], [everything]) == []


@pytest.mark.soak
def test_what_was_acknowledged_survives_all_power_cuts(tmp_path: Path) -> None:
    recording = record(tmp_path, 120)
    chances = [some(random.Random(seed)) for seed in range(3)]  # noqa: S311 - no secret.
    cuts = range(len(recording.events) + 1)

    assert recording.lost(cuts, [everything, nothing, *chances]) == []
    print(len(cuts), "cuts,", len(cuts) * 5, "states")  # noqa: T201 - the figures.
