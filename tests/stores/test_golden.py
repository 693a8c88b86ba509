"""Stores that earlier versions left behind are opened, and their work is carried on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

import ptsflow
from ptsflow import stores
from tests.cli.calling import Place
from tests.stores.golden.flow import (
    CONTINUED,
    JOURNAL,
    LARGE,
    Early,
    Golden,
    journal,
)
from tests.stores.golden.restore import LAYOUTS, restore_mongo, restore_sqlite
from tests.support.databases import new_database_url, raw_database

DAY = datetime(2011, 9, 1, 12, tzinfo=UTC)
UNFINISHED = "golden:20110901"


@pytest.fixture(params=["sqlite", pytest.param("mongod", marks=pytest.mark.mongod)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=LAYOUTS)
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Restore a golden store, and return its URL."""
    layout = request.param
    if kind == "sqlite":
        restore_sqlite(layout, tmp_path / "pts.db")
        yield f"sqlite:///{tmp_path}/pts.db"
        return
    url = new_database_url(str(request.getfixturevalue("mongod_url")))
    with raw_database(url) as database:
        restore_mongo(layout, database)
        stores.upgrade_store(url)
        yield url


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the journal of the bodies that begin in this test."""
    path = tmp_path / "journal"
    monkeypatch.setenv(JOURNAL, str(path))
    return path


@pytest.fixture
def client(url: str) -> Iterator[ptsflow.Client]:
    with ptsflow.connect(url) as connected:
        yield connected


def found(client: ptsflow.Client, name: str) -> ptsflow.Container:
    container = client.get_task_container(name)
    assert container is not None
    return container


def test_all_that_was_recorded_is_read(client: ptsflow.Client) -> None:
    tasks = {task.name: task for task in found(client, UNFINISHED).get_tasks()}

    assert {name: str(task.status) for name, task in tasks.items()} == {
        "listing": "done",
        "nothing": "skipped",
        "large": "done",
        "fetch[a]": "done",
        "fetch[b]": "failed",
        "fetch[c]": "waiting",
        "fetch[d]": "running",
        "fetch[e]": "pending",
        "unpack[a]": "done",
        **{f"unpack[{key}]": "pending" for key in "bcde"},
        "join": "pending",
        "clean_up": "pending",
    }
    assert tasks["large"].result == "x" * LARGE
    assert tasks["fetch[a]"].result == ("a0", date(2011, 9, 1))
    assert tasks["unpack[a]"].result == Decimal("0.10")
    assert tasks["fetch[b]"].error == "the server has no b"
    assert tasks["fetch[c]"].invoke_count == 1
    assert tasks["fetch[d]"].processing_data == {"read": 3, "tag": ("é", b"\0")}
    assert tasks["fetch[d]"].percentage_complete == 40
    assert tasks["fetch[d]"].status_text == "40 of 100"


@pytest.mark.parametrize("upgrade", [False, True])
def test_screens_look_at_a_store_that_has_no_history(
    url: str, began: Path, *, upgrade: bool
) -> None:
    with closing(stores.open_store(url, upgrade=upgrade)) as store:
        containers = store.containers()
        assert {each.uid for each in store.recent()} == {
            each.uid for each in containers
        }
        for each in containers:
            tasks = store.tasks(each.uid)
            assert store.page(each.uid) == (tasks, len(tasks))
            seen = store.glance(each.uid)
            assert [t for t in tasks if t.key is None] == list(seen.plain)
            assert sum(tally.count for tally in seen.tallies) == len(tasks)
            ledgers = store.ledgers(each.uid, [task.name for task in tasks])
            assert ledgers == {
                task.name: attempts
                for task in tasks
                if (attempts := store.attempts(each.uid, task.name))
            }
        assert store.runs() == []
        assert store.outlooks([each.uid for each in containers]) == {}
    assert not began.exists()


def test_what_is_left_runs_to_the_right_end_and_nothing_else_runs(
    url: str, began: Path
) -> None:
    report = ptsflow.run(Golden(day=DAY), url)

    assert report.ok
    assert report.container == UNFINISHED
    assert report.result("join") == CONTINUED
    assert sorted(journal(began)) == [
        "clean_up",
        *(f"fetch[{key}]" for key in "bcde"),
        "join",
        *(f"unpack[{key}]" for key in "bcde"),
    ]


def test_what_was_complete_stays_complete(url: str, began: Path) -> None:
    done = ptsflow.run(Golden(day=DAY), url, "golden:done")
    early = ptsflow.run(Early(), url)

    assert (done.ok, early.ok) == (True, True)
    assert done.result("fetch")[4] == ("e0", date(2011, 9, 5))
    assert journal(began) == []


def test_a_client_carries_on_with_its_tasks(client: ptsflow.Client) -> None:
    feed = found(client, "feed")
    first, second, third, fourth, last = feed.get_tasks()
    leased = feed.lease_next_task()
    feed.update_task("fourth", is_complete=True)
    feed.add_task("fifth")

    assert first.task_data == {"url": "http://example.org", "at": DAY}
    assert (first.is_complete, first.status_text) == (True, "loaded")
    assert (second.has_failed, second.max_retries) == (True, 7)
    assert second.delay_between_retries == 1.5
    assert (third.processing_data, third.percentage_complete) == ([1, (2, b"3")], 12.5)
    assert fourth.name == "fourth"
    assert last.name == "last"
    assert leased is not None
    assert (leased.name, leased.invoke_count) == ("third", 2)
    assert [task.name for task in feed.get_tasks()][-1] == "fifth"


def test_commands_show_attempts_and_what_bodies_printed(
    url: str, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.env["PTSFLOW_STORE"] = url
    shown = place.json("show", UNFINISHED, "fetch[c]")
    printed = place.call("logs", UNFINISHED)
    listed = place.call("list")

    (attempt,) = shown["attempts"]
    assert attempt["traceback"].endswith("OSError: the server is away\n")
    assert [
        line.partition(" ")[2].partition(" ")[2] for line in printed.stdout.splitlines()
    ] == [
        "listing five items: a to e",
        "fetch[d] read three",
        "fetch[d] WARNING the rest is late",
    ]
    lines = listed.stdout.splitlines()[1:]
    names = ["golden:done", "early", "feed", UNFINISHED]
    assert len(lines) == len(names)
    assert all(name in line for name, line in zip(names, lines, strict=True)), lines


def test_failed_tasks_of_a_golden_store_are_tried_again_when_asked(
    url: str, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    place.env["PTSFLOW_STORE"] = url
    retried = place.json("retry", UNFINISHED)
    forgotten = place.json("reset", UNFINISHED, "--step", "large", "-y")

    assert retried["retry"] == ["fetch[b]", "fetch[c]"]
    assert forgotten["reset"] == ["large"]


def test_an_upgraded_file_has_the_tables_and_columns_of_a_new_one(
    tmp_path: Path,
) -> None:
    for layout in LAYOUTS:
        restore_sqlite(layout, tmp_path / f"{layout}.db")
        stores.upgrade_store(f"sqlite:///{tmp_path}/{layout}.db")
    stores.open_store(f"sqlite:///{tmp_path}/new.db").close()

    def lines(name: str) -> dict[str, Any]:
        query = (
            "SELECT m.name, p.name, p.cid = max(p.cid) OVER (PARTITION BY m.name) "
            "FROM sqlite_schema AS m, pragma_table_info(m.name) AS p"
        )
        with closing(apsw.Connection(str(tmp_path / f"{name}.db"))) as file:
            found = file.execute(query).fetchall()
            clients = "SELECT DISTINCT is_open FROM tasks WHERE step != ''"
            return {"columns": set(found), "is_open": file.execute(clients).fetchall()}

    new = lines("new")
    assert ("containers", "plan", 1) in new["columns"]
    for layout in LAYOUTS:
        assert lines(layout) == new | {"is_open": [(0,)]}
