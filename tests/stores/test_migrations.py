"""Stores of earlier layouts are carried over, whole or not at all, when it is time."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import apsw
import pytest
from pymongo.database import Database

import ptsflow
from ptsflow import stores
from ptsflow.core import model
from ptsflow.core.model import Owner, Stop
from ptsflow.errors import ContainerBusy, StoreDamaged, StoreError, StoreFull
from ptsflow.events import Event, Notice
from ptsflow.host.clock import system_clock
from ptsflow.host.process_identity import this_process
from ptsflow.stores import layouts
from ptsflow.stores.mongo import migrations as mongo
from ptsflow.stores.sqlite import migrations as sqlite
from tests.stores import later
from tests.stores.golden.flow import CONTINUED, JOURNAL, Golden, journal
from tests.stores.golden.restore import LAYOUTS, present_mongo, present_sqlite
from tests.stores.later import later_version
from tests.stores.making import LEASE, owner
from tests.stores.test_golden import DAY, UNFINISHED
from tests.support.databases import new_database_url, raw_database
from tests.support.processes import ROOT

Raw = dict[str, Any]

_LEFT = ["clean_up", *(f"fetch[{key}]" for key in "bcde"), "join"] + [
    f"unpack[{key}]" for key in "bcde"
]


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the journal of the bodies that begin in this test."""
    path = tmp_path / "journal"
    monkeypatch.setenv(JOURNAL, str(path))
    return path


def test_there_is_a_step_for_every_layout_and_a_golden_store_of_each() -> None:
    layouts = list(range(model.OLDEST_SCHEMA, model.SCHEMA))

    assert [step.before for step in sqlite.STEPS] == layouts
    assert [step.before for step in mongo.STEPS] == layouts
    # The golden store of the present layout is made when a release has that layout.
    assert [f"layout{number}" for number in layouts] == LAYOUTS[: len(layouts)]


# -- SQLite ----------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Restore a file of this version's layout, which is 3."""
    path = tmp_path / "pts.db"
    present_sqlite(path)
    return path


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def dump(path: Path) -> tuple[int, dict[str, list[Any]]]:
    """Return the number of a file's layout, and all rows of its tables by name."""
    connection = apsw.Connection(str(path))
    try:
        (check,) = connection.execute("PRAGMA integrity_check")
        assert check == ("ok",)
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        )
        tables = {
            name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)  # noqa: S608
            for (name,) in list(names)
        }
        return connection.pragma("user_version"), tables
    finally:
        connection.close()


def copies(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.glob("pts.db.layout*"))


def upgraded(path: Path) -> tuple[int, dict[str, list[Any]]]:
    """Return what a file becomes in the later version."""
    other = path.with_name("other.db")
    shutil.copy(path, other)
    with later_version():
        stores.upgrade_store(f"sqlite:///{other}")
    return dump(other)


def test_a_run_upgrades_a_file_and_continues_what_is_in_it(
    path: Path, url: str, began: Path
) -> None:
    told: list[Event] = []
    before = dump(path)
    with later_version():
        report = ptsflow.run(Golden(day=DAY), url, listeners=[told.append])
        assert report.result("join") == CONTINUED

    assert sorted(journal(began)) == sorted(_LEFT)
    assert isinstance(told[0], Notice)
    assert told[0].text == (
        f"{path}: upgraded from layout 3 to layout 5; the file as it was before "
        "is pts.db.layout3"
    )
    copy = path.with_name("pts.db.layout3")
    assert copies(path) == [copy.name]
    assert dump(copy) == before
    assert copy.stat().st_mode == path.stat().st_mode
    number, tables = dump(path)
    assert number == 5
    assert {row[-1] for row in tables["containers"]} == {
        f"red {name}" for name in ("golden:done", "early", "feed", UNFINISHED)
    }


def test_connecting_upgrades_a_file_and_says_so_in_a_line(
    path: Path, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = upgraded(path)
    capfd.readouterr()
    with later_version():
        ptsflow.connect(url).close()
        first = capfd.readouterr()
        ptsflow.connect(url).close()

    assert dump(path) == expected
    assert first.out == ""
    assert first.err.startswith(f"ptsflow: {path}: upgraded from layout 3 to layout 5;")
    assert first.err.count("\n") == 1
    assert capfd.readouterr().err == ""


def test_what_looks_reads_a_file_as_it_is_and_leaves_it_so(
    path: Path, url: str
) -> None:
    before = dump(path)
    old = stores.open_store(url)
    uid = old.containers()[-1].uid
    expected = old.containers(), old.tasks(uid, payloads=True), old.tallies([uid])
    ledger = old.attempts(uid, "fetch[c]")
    with later_version():
        seen = stores.open_store(url, upgrade=False)
        found = seen.containers(), seen.tasks(uid, payloads=True), seen.tallies([uid])
        other = seen.sibling()
        attempts = other.attempts(uid, "fetch[c]")
        lines, _ = other.logs().read(uid)
        other.close()
        # What the version before writes meanwhile is seen.
        made, _ = old.create("new")
        assert seen.container("new") == made
        assert old.delete(made.uid)
        assert seen.container("new") is None
        seen.close()
    old.close()

    assert found == expected
    assert attempts == ledger
    assert len(lines) == 2
    assert copies(path) == []
    number, tables = dump(path)
    assert number == 3
    assert {**tables, "sqlite_sequence": []} == {**before[1], "sqlite_sequence": []}


def test_a_store_that_was_opened_to_look_cannot_be_changed(url: str) -> None:
    with later_version():
        seen = stores.open_store(url, upgrade=False)
        with pytest.raises(ptsflow.PtsflowError, match="opened for reading"):
            seen.create("new")
        seen.close()


def test_nothing_is_upgraded_while_somebody_is_at_work(path: Path, url: str) -> None:
    old = stores.open_store(url)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, this_process(system_clock), LEASE)
    assert held is not None
    before = dump(path)
    with later_version():
        for act in (ptsflow.connect, stores.upgrade_store):
            with pytest.raises(ContainerBusy) as caught:
                act(url)
            assert str(caught.value).startswith(
                f"{path}: expected no runner at work, because the upgrade to layout 5 "
                "must wait for all, found container 'feed' held by "
            )
    assert dump(path) == before
    assert copies(path) == []
    assert old.release(held)
    old.close()
    with later_version():
        ptsflow.connect(url).close()

    assert dump(path)[0] == 5


def _claim(url: str, who: Owner, lease_ms: int) -> None:
    store = stores.open_store(url)
    feed = store.container("feed")
    assert feed is not None
    assert store.claim(feed.uid, who, lease_ms) is not None
    store.close()


def test_a_runner_of_this_host_that_died_does_not_keep_a_file_from_its_upgrade(
    url: str,
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    me = this_process(system_clock)
    _claim(url, Owner(**{**_fields(me), "pid": ended.pid}), LEASE)
    with later_version():
        assert stores.upgrade_store(url) is not None


def test_a_runner_of_this_host_that_lives_counts_although_its_lease_has_ended(
    url: str,
) -> None:
    _claim(url, this_process(system_clock), 1)
    with later_version(), pytest.raises(ContainerBusy):
        stores.upgrade_store(url)


def test_a_runner_of_another_host_counts_until_its_lease_ends(url: str) -> None:
    _claim(url, owner(), 400)
    with later_version():
        with pytest.raises(ContainerBusy):
            stores.upgrade_store(url)
        _until_it_ends(url)


def _until_it_ends(url: str) -> None:
    while True:
        try:
            assert stores.upgrade_store(url) is not None
        except ContainerBusy:
            continue
        return


def _fields(who: Owner) -> Raw:
    return {name: getattr(who, name) for name in who.__struct_fields__}


def test_a_runner_of_the_version_before_is_asked_to_stop_in_its_own_layout(
    path: Path, url: str
) -> None:
    old = stores.open_store(url)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, owner(), LEASE)
    assert held is not None
    with later_version():
        seen = stores.open_store(url, upgrade=False)
        asked = [
            seen.ask_to_stop(feed.uid, held.fence - 1, Stop.NOW),
            seen.ask_to_stop("1", held.fence, Stop.NOW),
            seen.ask_to_stop(feed.uid, held.fence, Stop.GENTLY),
        ]
        gently = old.stop_asked(feed.uid, held.fence)
        asked += [seen.ask_to_stop(feed.uid, held.fence, Stop.NOW)]
        asked += [seen.ask_to_stop(feed.uid, held.fence, Stop.GENTLY)]
        seen.close()

    assert asked == [False, False, True, True, True]
    assert gently is Stop.GENTLY
    assert old.stop_asked(feed.uid, held.fence) is Stop.NOW
    assert dump(path)[0] == 3
    old.close()


def test_whoever_had_opened_a_file_before_its_upgrade_writes_no_more(url: str) -> None:
    old = stores.open_store(url)
    old.create("before")  # It looks at the layout again only if others wrote.
    with later_version():
        stores.upgrade_store(url)
    for _ in range(2):
        with pytest.raises(
            StoreDamaged, match="found layout 5; run again with the version"
        ):
            old.create("new")
    old.close()


def test_a_file_of_a_later_layout_is_refused_in_one_line(path: Path, url: str) -> None:
    with later_version():
        stores.upgrade_store(url)
    for upgrade in (True, False):
        with pytest.raises(StoreDamaged) as caught:
            stores.open_store(url, upgrade=upgrade)
        assert str(caught.value) == (
            f"{path}: expected layout 3, found layout 5; upgrade ptsflow"
        )


class _Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


def test_without_room_for_three_times_the_file_nothing_begins(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = path.stat().st_size
    before = dump(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(0, 0, 3 * size - 1))
    with later_version():
        with pytest.raises(StoreFull, match="expected room for 3 times its") as caught:
            stores.upgrade_store(url)
        assert caught.value.exit_code == 6
        assert dump(path) == before
        assert copies(path) == []
        monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(0, 0, 3 * size))
        assert stores.upgrade_store(url) is not None


def _fail(_: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (sqlite.SqliteStep(4, (), _fail), ZeroDivisionError),
        (sqlite.SqliteStep(4, (), lambda _: None), StoreDamaged),
    ],
)
def test_a_step_that_fails_or_leaves_other_tables_changes_nothing(
    path: Path,
    url: str,
    step: sqlite.SqliteStep,
    error: type[Exception],
) -> None:
    before = dump(path)
    steps = (*later.SQLITE_STEPS[:-1], step)
    with (
        later_version(),
        mock.patch.object(sqlite, "STEPS", steps),
        pytest.raises(error),
    ):
        stores.upgrade_store(url)

    assert dump(path) == before


# -- upgrades that are killed ----------------------------------------------------------


class Upgrader:
    """The later version in a process of its own, whose forks upgrade and are killed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.later"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def upgrade(self, url: str, *, killed_at: int = 0) -> bool:
        """Return whether the upgrade came to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{killed_at} {url}\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        assert code in {0, -signal.SIGKILL}
        return code == 0


@pytest.fixture
def upgrader() -> Iterator[Upgrader]:
    made = Upgrader()
    yield made
    made.process.communicate()


def test_a_file_whose_upgrade_is_killed_anywhere_is_the_old_one_or_the_new_one(
    path: Path, upgrader: Upgrader
) -> None:
    old, new = dump(path), upgraded(path)
    seen = set()
    for number in count(1):
        folder = path.parent / str(number)
        folder.mkdir()
        file = folder / "pts.db"
        shutil.copy(path, file)
        ended = upgrader.upgrade(f"sqlite:///{file}", killed_at=number)
        found = dump(file)
        copy = folder / "pts.db.layout3"
        seen.add((found[0], copy.exists()))

        assert found in (old, new), number
        assert not copy.exists() or dump(copy) == old, number
        assert upgrader.upgrade(f"sqlite:///{file}")
        assert dump(file) == new, number
        assert dump(copy) == old, number
        assert sorted(each.name for each in folder.iterdir()) == [
            "pts.db",
            "pts.db.layout3",
        ]
        if ended:
            break

    assert number > 20
    assert seen == {(3, False), (3, True), (5, True)}


def test_of_processes_that_upgrade_a_file_at_once_one_does(path: Path) -> None:
    new = upgraded(path)
    upgraders = [Upgrader() for _ in range(3)]
    for each in upgraders:
        assert each.process.stdin is not None
        each.process.stdin.write(f"0 sqlite:///{path}\n")
        each.process.stdin.flush()
    codes = [each.process.communicate()[0] for each in upgraders]

    assert codes == ["0\n"] * 3
    assert dump(path) == new
    assert copies(path) == ["pts.db.layout3"]


# -- MongoDB ---------------------------------------------------------------------------


@pytest.fixture
def mongo_url(mongod_url: str) -> str:
    return new_database_url(mongod_url)


@pytest.fixture
def database(mongo_url: str) -> Iterator[Database[Raw]]:
    """Restore a database of this version's layout, which is 3."""
    with raw_database(mongo_url) as opened:
        present_mongo(mongo_url, opened)
        yield opened


def documents(database: Database[Raw]) -> dict[str, list[Raw]]:
    names = sorted(database.list_collection_names())
    return {name: list(database[name].find().sort("_id")) for name in names}


def meta(database: Database[Raw]) -> Raw:
    found = database["ptsflow_meta"].find_one({"_id": "schema"}, {"_id": False})
    assert found is not None
    return found


@pytest.mark.mongod
def test_a_database_of_an_earlier_layout_is_refused_with_what_to_type(
    mongo_url: str, database: Database[Raw], began: Path
) -> None:
    before = documents(database)
    with later_version():
        with pytest.raises(StoreDamaged) as caught:
            ptsflow.connect(mongo_url)
        assert documents(database) == before
        said = stores.upgrade_store(mongo_url)
        again = stores.upgrade_store(mongo_url)
        report = ptsflow.run(Golden(day=DAY), mongo_url)
        assert report.result("join") == CONTINUED

    assert str(caught.value) == (
        f"store {mongo_url!r}: expected layout 5, found an earlier one; upgrade ptsflow "
        f"on all hosts, then type: ptsflow store upgrade --store "
        f"{shlex.quote(mongo_url)}"
    )
    assert said == f"store {mongo_url!r}: upgraded from layout 3 to layout 5"
    assert again is None
    assert sorted(journal(began)) == sorted(_LEFT)
    assert meta(database) == {"schema": 5}
    with pytest.raises(StoreDamaged, match="found layout 5; upgrade ptsflow"):
        ptsflow.connect(mongo_url)


@pytest.mark.mongod
def test_what_to_type_names_no_password(mongod_url: str) -> None:
    url = new_database_url(mongod_url)
    secret = url.replace("://", "://me:secret@")
    store = stores.open_store(url)
    store._source, store.url = secret, secret.replace("secret", "***")  # type: ignore[attr-defined]

    with later_version(), pytest.raises(StoreDamaged) as caught:
        store._check_layout()  # type: ignore[attr-defined]
    assert str(caught.value).endswith(
        "then type with the URL in $PTSFLOW_STORE: ptsflow store upgrade"
    )
    with raw_database(url):
        store.close()


@pytest.mark.mongod
def test_what_looks_reads_a_database_as_it_is_and_cancels_in_it(
    mongo_url: str, database: Database[Raw]
) -> None:
    old = stores.open_store(mongo_url)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, owner(), LEASE)
    assert held is not None
    before = documents(database)
    with later_version():
        seen = stores.open_store(mongo_url, upgrade=False)
        other = seen.sibling()
        assert seen.containers() == old.containers()
        assert other.tasks(feed.uid, payloads=True) == old.tasks(
            feed.uid, payloads=True
        )
        assert documents(database) == before
        assert seen.ask_to_stop(feed.uid, held.fence, Stop.NOW)
        other.close()
        seen.close()

    assert old.stop_asked(feed.uid, held.fence) is Stop.NOW
    assert meta(database) == {"schema": 3}
    old.close()


@pytest.mark.mongod
def test_a_database_is_not_upgraded_while_somebody_is_at_work(
    mongo_url: str, database: Database[Raw]
) -> None:
    old = stores.open_store(mongo_url)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, owner(), LEASE)
    assert held is not None
    before = documents(database)
    with later_version(), pytest.raises(ContainerBusy, match="'feed' held by box:42"):
        stores.upgrade_store(mongo_url)
    assert documents(database) == before
    assert old.release(held)
    old.close()
    with later_version():
        assert stores.upgrade_store(mongo_url) is not None


@pytest.mark.mongod
def test_who_claims_a_container_as_the_upgrade_begins_keeps_it(
    mongo_url: str, database: Database[Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = stores.open_store(mongo_url)
    look = layouts.refuse_held

    def late(*args: Any) -> None:
        look(*args)
        feed = old.container("feed")
        assert feed is not None
        old.claim(feed.uid, owner(), LEASE)

    monkeypatch.setattr(mongo, "refuse_held", late)
    with later_version(), pytest.raises(ContainerBusy):
        stores.upgrade_store(mongo_url)

    assert meta(database) == {"schema": 3}
    assert "colour" not in documents(database)["ptsflow_containers"][0]
    old.close()


@pytest.mark.mongod
def test_a_database_whose_upgrade_is_killed_anywhere_is_the_old_one_or_is_finished(
    mongo_url: str, database: Database[Raw], upgrader: Upgrader
) -> None:
    old = documents(database)
    assert upgrader.upgrade(mongo_url)
    new = documents(database)
    seen = set()
    for number in count(1):
        for name in database.list_collection_names():
            database.drop_collection(name)
        present_mongo(mongo_url, database)
        ended = upgrader.upgrade(mongo_url, killed_at=number)
        state = tuple(meta(database).items())
        seen.add(state)
        if state == (("schema", 3),):
            assert documents(database) == old, number
        else:
            _check_that_nobody_works_in_it(
                mongo_url, is_new="upgrading" not in str(state)
            )

        assert upgrader.upgrade(mongo_url)
        assert documents(database) == new, number
        if ended:
            break

    assert number > 12
    assert seen == {
        (("schema", 3),),
        (("schema", 5), ("upgrading_from", 3)),
        (("schema", 5),),
    }


def _check_that_nobody_works_in_it(url: str, *, is_new: bool) -> None:
    with pytest.raises(StoreDamaged, match="found layout 5; upgrade ptsflow"):
        stores.open_store(url)
    with later_version():
        if not is_new:
            with pytest.raises(StoreError, match="ptsflow store upgrade"):
                stores.open_store(url)
        seen = stores.open_store(url, upgrade=False)
        assert len(seen.containers()) == 4
        seen.close()
