"""Commands on a store of an earlier layout: some look, some upgrade it, one is for that."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ptsflow import stores
from ptsflow.cli.main import call
from ptsflow.core.model import Stop
from ptsflow.host.clock import system_clock
from ptsflow.host.process_identity import this_process
from tests.cli.calling import Place
from tests.cli.pasted import BEGINS
from tests.stores.golden.flow import JOURNAL
from tests.stores.golden.restore import present_mongo, present_sqlite
from tests.stores.later import later_version
from tests.stores.making import LEASE, owner
from tests.stores.test_golden import UNFINISHED
from tests.support.databases import new_database_url, raw_database

FLOW = Path(__file__).parents[1] / "stores/golden/flow.py"
_RUN = ("run", f"{FLOW}:Golden", "-p", "day=2011-09-01T12:00:00Z")


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOURNAL, str(tmp_path / "journal"))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Restore a file of layout 3, in which commands look by default."""
    path = tmp_path / "pts.db"
    present_sqlite(path)
    monkeypatch.setenv("PTSFLOW_STORE", f"sqlite:///{path}")
    return path


@pytest.fixture
def database(mongod_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Restore a database of layout 3, in which commands look by default."""
    url = new_database_url(mongod_url)
    monkeypatch.setenv("PTSFLOW_STORE", url)
    with raw_database(url) as opened:
        present_mongo(url, opened)
        yield url


def layout_of(path: Path) -> int:
    connection = apsw.Connection(str(path))
    try:
        return int(connection.pragma("user_version"))
    finally:
        connection.close()


_LOOKS = [
    ("status",),
    ("status", UNFINISHED, "--json"),
    ("list",),
    ("show", UNFINISHED),
    ("show", UNFINISHED, "fetch[c]", "--json"),
    ("logs", UNFINISHED),
    ("cancel", UNFINISHED),
    (*_RUN, "-n"),
]
_CHANGES = [
    ("retry", UNFINISHED),
    ("reset", UNFINISHED, "--step", "large", "-y"),
    ("mark", UNFINISHED, "fetch[b]", "done"),
    ("delete", UNFINISHED, "-y"),
    ("submit", *_RUN[1:]),
    _RUN,
]


@pytest.mark.parametrize("words", _LOOKS, ids=" ".join)
def test_what_looks_says_the_same_before_an_upgrade_and_makes_none(
    words: tuple[str, ...], file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(words) == 0
    expected = capfd.readouterr()
    with later_version():
        assert call(words) == 0

    assert capfd.readouterr() == expected
    assert layout_of(file) == 3


@pytest.mark.parametrize("words", _CHANGES, ids=" ".join)
def test_what_changes_something_upgrades_the_file_and_says_so_first(
    words: tuple[str, ...], file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with later_version():
        assert call(words) == 0
    said = capfd.readouterr().err.splitlines()

    assert said[0] == (
        f"{file}: upgraded from layout 3 to layout 5; the file as it was before "
        "is pts.db.layout3"
    )
    assert layout_of(file) == 5


def test_an_upgrade_is_made_once_and_when_nobody_is_at_work(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{file}"
    old = stores.open_store(url)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, this_process(system_clock), LEASE)
    assert held is not None
    with later_version():
        codes = [call(["store", "upgrade"]), call(["retry", UNFINISHED])]
        codes += [call(["cancel", "feed"])]
        asked = old.stop_asked(feed.uid, held.fence)
        old.release(held)
        old.close()
        codes += [call(["store", "upgrade"]), call(["store", "upgrade"])]
    said = capfd.readouterr().err.splitlines()

    assert codes == [5, 5, 0, 0, 0]
    assert asked is Stop.GENTLY
    assert said[-1] == f"{url}: layout 5 is up to date"


def test_an_upgrade_is_told_as_json(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with later_version():
        call(["store", "upgrade", "--json"])
        call(["store", "upgrade", "--json"])
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    head = {"schema": 1, "store": f"sqlite:///{file}", "layout": 5}
    assert told == [head | {"upgraded": True}, head | {"upgraded": False}]


def test_there_is_nothing_to_upgrade_in_a_store_of_this_version(place: Place) -> None:
    absent = place.call("store", "upgrade")
    assert place.call("run", str(FLOW) + ":Early").returncode == 0
    present = place.call("store", "upgrade")
    (place.folder / "pts.db").write_bytes(b"x" * 4096)
    damaged = place.call("store", "upgrade")

    assert (absent.returncode, present.returncode, damaged.returncode) == (6, 0, 6)
    assert absent.stderr == (
        f"ptsflow: there is no store at {place.store}; name the one to upgrade\n"
    )
    assert present.stderr == (f"{place.store}: layout 3 is up to date\n")


# -- MongoDB ---------------------------------------------------------------------------


@pytest.mark.mongod
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("words", _LOOKS, ids=" ".join)
def test_what_looks_needs_no_upgrade_of_a_database(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(words) == 0
    expected = capfd.readouterr()
    with later_version():
        assert call(words) == 0

    assert capfd.readouterr() == expected


@pytest.mark.mongod
@pytest.mark.parametrize("words", _CHANGES, ids=" ".join)
def test_what_changes_a_database_is_refused_until_it_is_upgraded(
    words: tuple[str, ...], database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with later_version():
        assert call(words) == 6
        refused = capfd.readouterr().err
        assert call(["store", "upgrade"]) == 0
        assert call(words) == 0

    assert refused == (
        f"ptsflow: store '{database}': expected layout 5, found an earlier one; "
        "upgrade ptsflow on all hosts, then type: "
        f"{BEGINS}store upgrade --store {shlex.quote(database)}\n"
    )


@pytest.mark.mongod
@pytest.mark.usefixtures("database")
def test_no_worker_begins_before_an_upgrade_which_a_check_asks_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["worker", f"{FLOW}:Golden", "--until-idle"]
    with later_version():
        assert call(words) == 6
        refused = capfd.readouterr().err
        assert call(["store", "check"]) == 6
        checked = capfd.readouterr()
    assert "expected layout 5, found an earlier one; upgrade ptsflow on all" in refused
    assert "earlier layout: the database has an earlier layout than 5" in checked.out
    assert checked.err.endswith(": is to be upgraded before it can be checked\n")


@pytest.mark.mongod
def test_a_database_in_which_somebody_is_at_work_is_not_upgraded(database: str) -> None:
    old = stores.open_store(database)
    feed = old.container("feed")
    assert feed is not None
    held = old.claim(feed.uid, owner(), LEASE)
    assert held is not None
    with later_version():
        codes = [call(["store", "upgrade"])]
        old.release(held)
        old.close()
        codes += [call(["store", "upgrade"]), call(["store", "upgrade"])]

    assert codes == [5, 0, 0]


def test_a_database_that_cannot_be_reached_is_not_upgraded() -> None:
    url = "mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=100"

    assert call(["store", "upgrade", "--store", url]) == 6
