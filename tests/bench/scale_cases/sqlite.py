"""What the store in one SQLite file costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import apsw
from msgspec.structs import replace

import ptsflow
from ptsflow import Workflow, step
from ptsflow.core.model import Change, Status
from ptsflow.host.process_identity import this_process
from ptsflow.stores import open_store
from ptsflow.stores.sqlite.store import SqliteStore
from tests.bench.bare import BareSqlite
from tests.bench.run import SqliteFloor, chain_of
from tests.bench.scale_cases import Case, Command, Place, elapsed
from tests.support.processes import environment

_MILLION = 1_000_000


class Listed(Workflow):
    """10,000 items of one list of 6 MB."""

    container = "listed"

    @step
    def numbers(self) -> list[str]:
        """List the items."""
        return [f"{number:06}" + "x" * 600 for number in range(10_000)]

    @step(each=numbers, key=lambda text: text[:6])
    def item(self, text: str) -> None:
        """Do nothing."""


class Large(Workflow):
    """100 results of 7 MiB, joined."""

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(100))

    @step(each=numbers)
    def item(self, number: int) -> str:
        """Return a large text."""
        return chr(65 + number % 26) * (7 << 20)

    @step
    def join(self, item: list[str]) -> int:
        """Use all of them."""
        return sum(map(len, item))


class Wide(Workflow):
    """Items that do nothing, and one step after them."""

    container = "wide"
    count: int

    @step
    def numbers(self) -> list[int]:
        """List the items."""
        return list(range(self.count))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""

    @step(after=item)
    def last(self) -> float:
        """Tell when the body began."""
        return time.perf_counter()


def _status(place: Place) -> float:
    store = place.sqlite()
    ptsflow.run(Listed(), store=store, jobs=16)
    words = ("status", "listed", "--json", "--store", store)
    place.ptsflow(*words)
    return place.ptsflow(*words).seconds


def _joined(place: Place) -> float:
    return elapsed(lambda: ptsflow.run(Large(), store=place.sqlite()))


def _step_of_chain(place: Place, length: int) -> float:
    workflow = chain_of(length)()
    return elapsed(lambda: ptsflow.run(workflow, store=place.sqlite())) / length


def _against_commits(place: Place, measure: Callable[[int], float]) -> float:
    """Return the seconds that `measure` returns for a length, in durable commits."""
    floor = SqliteFloor(place.folder)
    ratios = []
    for length in (1_000, 3_000) * 3:
        before = floor.measure(length)
        took = measure(length)
        ratios.append(2 * took / (before + floor.measure(length)))
    return statistics.median(ratios)


def _chain_against_commits(place: Place) -> float:
    return _against_commits(place, lambda length: _step_of_chain(place, length))


def _long_chain(place: Place) -> float:
    short = [_step_of_chain(place, 1_000)]
    long = _step_of_chain(place, 20_000)
    short += [_step_of_chain(place, 1_000) for _ in range(3)]
    return long / statistics.median(short)


def _pages_of_commits(place: Place) -> float:
    """Return the pages in the log for each commit of a chain."""
    store = SqliteStore(place.sqlite())
    lengths = [0]
    connection = store._database.connection

    def note(connection: apsw.Connection, name: str, pages: int) -> int:
        lengths.append(pages)
        return store._database._log._note(connection, name, pages)

    connection.set_wal_hook(note)
    ptsflow.run(chain_of(1_000)(), store=ptsflow.Client(store))
    store.close()
    pages = [now - last if now > last else now for last, now in pairwise(lengths)]
    return statistics.mean(pages[10:-5])


def _stored(place: Place, count: int) -> str:
    """Return a store with a container whose items are done; its last step is not."""
    url = place.sqlite()
    ptsflow.run(Wide(count=count), store=url, only=["numbers"])
    store = open_store(url)
    container = store.container("wide")
    assert container
    held = store.claim(container.uid, this_process(store.now), 600_000)
    assert held
    items = [task for task in store.tasks(held.uid) if task.key is not None]
    assert len(items) == count
    now = store.now()
    done = [
        Change(
            task,
            replace(
                task,
                status=Status.DONE,
                version=2,
                fence=held.fence,
                attempt=1,
                invoke_count=1,
                percentage_complete=100.0,
                began_at=now,
                last_invoked_at=now,
                task_ended_at=now,
                task_duration_ms=0,
            ),
        )
        for task in items
    ]
    store.commit(held.uid, done, fence=held.fence)
    store.release(replace(held, status=Status.PENDING))
    store.close()
    return url


def _resume(place: Place, count: int) -> float:
    store = _stored(place, count)
    started = time.perf_counter()
    report = ptsflow.run(Wide(count=count), store=store)
    began = report.result("last")
    assert isinstance(began, float)
    return began - started


def _resumed_million(place: Place) -> Command:
    store = _stored(place, _MILLION)
    target = f"{__name__}:{Wide.__name__}"
    words = ("run", target, "-q", "-p", f"count={_MILLION}", "--store", store)
    return place.ptsflow(*words)


#: Says for how long a file was held at most, in seconds, until its input ends.
_WATCH = """
import select, sys, time
import apsw
connection = apsw.Connection(sys.argv[1])
worst, since = 0.0, None
while not select.select([sys.stdin], [], [], 0.005)[0]:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        since = None
    except apsw.BusyError:
        since = since or time.perf_counter()
        worst = max(worst, time.perf_counter() - since)
print(worst)
"""


def _longest_lock(place: Place) -> float:
    """Return for how long another writer found the file held while items were inserted."""
    store = place.sqlite()
    open_store(store).close()
    path = store.removeprefix("sqlite:///")
    watch = subprocess.Popen(
        [sys.executable, "-c", _WATCH, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    ptsflow.run(Wide(count=_MILLION), store=store, only=["numbers"], lease=5)
    said, _ = watch.communicate("end")
    return float(said)


CASES = [
    Case(
        *("status-sqlite", "status --json of 10,000 items beside a list of 6 MB", "s"),
        *(0.4, _status),
    ),
    Case(
        *("joined-sqlite", "100 results of 7 MiB used and joined, SQLite", "s"),
        *(6, _joined),
    ),
    Case(
        "chain-sqlite",
        "a step of a chain of 1,000 to 3,000, against one durable commit",
        *("x", 1.35),
        _chain_against_commits,
    ),
    Case(
        "chain-sqlite-bare",
        "the writes of that chain by apsw alone, against one durable commit",
        *("x", None),
        lambda place: _against_commits(place, BareSqlite(place.folder).measure),
    ),
    Case(
        *("pages-sqlite", "pages that a commit of a chain writes, SQLite", "pages"),
        *(1.7, _pages_of_commits),
        rounds=1,
    ),
    Case(
        "long-chain-sqlite",
        "a step of a chain of 20,000, against a chain of 1,000, SQLite",
        *("x", 1.1),
        _long_chain,
    ),
    Case(
        *("resume-sqlite", "resume of 100,000 on SQLite, to the first body", "s"),
        *(0.8, lambda place: _resume(place, 100_000)),
    ),
    Case(
        *("million-lock", "the longest lock while 1,000,000 items are inserted", "s"),
        *(0.5, _longest_lock),
        rounds=1,
        timeout=900,
    ),
    Case(
        *("million-resume", "resume of 1,000,000 on SQLite, the whole command", "s"),
        *(10, lambda place: _resumed_million(place).seconds),
        rounds=1,
        timeout=900,
    ),
    Case(
        *("million-memory", "memory of a resume of 1,000,000 on SQLite", "MB", 700),
        lambda place: _resumed_million(place).memory,
        rounds=1,
        timeout=900,
    ),
]
