"""An hourly import with `keep`, and how large its store is as months pass."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pymongo

from ptsflow import Workflow, step
from ptsflow.client.client import Client
from ptsflow.runner.options import RunOptions
from ptsflow.runner.planned_run import plan_run
from ptsflow.runner.run import run_planned
from ptsflow.stores import open_care, open_store

WEEK, HOURS = 7 * 24, 1_440
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: How much later it is at each look at the clock, so that bodies take some time.
_MOMENT_MS = 37
#: How many hours pass between two checkpoints of MongoDB.
_CHECKPOINT = 6


class Feed(Workflow):
    """An import of a dozen files; a container takes 20 KB."""

    container = "feed:{hour:%Y%m%dT%H}"
    hour: datetime
    keep = "7d"

    @step
    def check(self) -> list[str]:
        return [f"songs-{number}.tbz" for number in range(12)]

    @step(each=check)
    def download(self, name: str) -> str:
        return f"/srv/feed/{self.hour:%Y%m%dT%H}/{name}"

    @step(each=download)
    def unpack(self, download: str) -> list[str]:
        return [f"{download}/{part}" for part in range(20)]

    @step
    def verify(self, unpack: list[list[str]]) -> int:
        return len(unpack)


class _Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += _MOMENT_MS
        return self.now


def sizes_as_hours_pass(url: str) -> tuple[int, int, int]:
    """Run the import every hour; return sizes in bytes and how many containers are left.

    The first size is that after a week, the second that after all hours.
    """
    clock, sizes, count = _Clock(), list[int](), 0
    for number in range(1, HOURS + 1):
        hour = _BEGIN + timedelta(hours=number)
        clock.now = round(hour.timestamp() * 1000)
        with Client(open_store(url, clock=clock)) as client:
            planned = plan_run(Feed(hour=hour), RunOptions(clock=clock))
            assert run_planned(planned, client, ()).ok
            count = len(client.store.containers(plans=False))
        if number % _CHECKPOINT == 0:
            _make_checkpoint(url)
        if number in (WEEK, HOURS):
            sizes.append(_size(url))
    return sizes[0], sizes[1], count


def _make_checkpoint(url: str) -> None:
    """Have MongoDB do what it does every minute, and not only as often as this test lasts.

    Until then nothing of what is deleted can be written over.
    """
    if url.startswith("mongodb"):
        with pymongo.MongoClient[dict[str, object]](url) as client:
            client.admin.command("fsync")


def _size(url: str) -> int:
    with closing(open_care(url)) as care:
        rooms = {room.name: room.size for room in care.facts().rooms}
    return sum(size for name, size in rooms.items() if not name.endswith("-wal"))
