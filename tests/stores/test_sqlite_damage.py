"""What is damaged in a SQLite file is told where it is read, and never read as another value."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from ptsflow.core.insight import Outlook
from ptsflow.core.model import Progress, Status, StepSummary
from ptsflow.errors import StoreDamaged
from ptsflow.stores import open_care
from ptsflow.stores.care import Grade
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import (
    CURE,
    Ticker,
    drop,
    ended,
    filled,
    held,
    names,
    new,
    one,
    swap,
)
from tests.support.processes import ROOT


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(f"sqlite:///{path}", clock=Ticker(), patience=0.2)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        pytest.param(
            "UPDATE tasks SET status = 'done' WHERE name = 'one'",
            "task 'one' of container 'feed'",
            id="a column of a task",
        ),
        pytest.param(
            "UPDATE tasks SET error = CAST(x'ff' AS TEXT) WHERE name = 'one'",
            "task 'one' of container 'feed'",
            id="a byte that is no text",
        ),
        pytest.param(
            "UPDATE payloads SET text = replace(text, 'a', 'b')",
            "a payload of task 'one' of container 'feed'",
            id="a byte of a result",
        ),
        pytest.param(
            "UPDATE payloads SET text = CAST(x'ff' AS TEXT)",
            "a payload of task 'one' of container 'feed'",
            id="a result that is no text",
        ),
        pytest.param(
            "UPDATE payloads SET id = id + 1",
            "a payload of task 'one' of container 'feed'",
            id="the field of a result",
        ),
        pytest.param(
            "UPDATE payloads SET id = id % 4 + 4",
            "a payload of task 'one' of container 'feed'",
            id="the task of a result",
        ),
        pytest.param(
            "UPDATE payloads SET id = id + 64",
            "a payload of task 'one' of container 'feed'",
            id="the task of a result, which is none",
        ),
        pytest.param(
            "DELETE FROM payloads",
            "a payload of task 'one' of container 'feed'",
            id="a result that is gone",
        ),
        pytest.param(
            "UPDATE tasks SET result_check = NULL",
            "a payload of task 'one' of container 'feed'",
            id="the check value of a result",
        ),
        pytest.param(
            "UPDATE attempts SET task = 1",
            "the ledger of task 'one' of container 'feed'",
            id="the task of an attempt",
        ),
        pytest.param(
            "DELETE FROM attempts",
            "the ledger of task 'one' of container 'feed'",
            id="an attempt that is gone",
        ),
        pytest.param(
            "UPDATE attempts SET entry = replace(entry, 'failed', 'done')",
            "the ledger of task 'one' of container 'feed'",
            id="a word of a ledger",
        ),
        pytest.param(
            "UPDATE attempts SET number = 2",
            "the ledger of task 'one' of container 'feed'",
            id="the number of an attempt",
        ),
        pytest.param(
            "UPDATE attempts SET entry = CAST(x'ff' AS TEXT)",
            "the ledger of task 'one' of container 'feed'",
            id="an attempt that is no text",
        ),
        pytest.param(
            "UPDATE containers SET fence = 0",
            "the row of container 'feed'",
            id="the fence of a container",
        ),
    ],
)
def test_a_flipped_byte_is_found_when_it_is_read(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str, what: str
) -> None:
    uid = filled(store, "zero", "two")
    store.commit(uid, [ended(new("one", result='"aaa"'), 1)], fence=None)
    held(store, uid)
    raw.execute(damage)
    with pytest.raises(StoreDamaged) as caught:
        (
            store.container("feed"),
            store.tasks(uid, payloads=True),
            store.attempts(uid, "one"),
        )

    assert str(caught.value) == (f"{path}: {what} does not fit its check value; {CURE}")


def test_a_container_that_is_no_text_is_damaged(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    filled(store)
    raw.execute("UPDATE containers SET workflow = CAST(x'ff' AS TEXT)")

    for use in (store.containers, lambda: store.container("feed")):
        with pytest.raises(StoreDamaged) as caught:
            use()
        assert str(caught.value) == (
            f"{path}: expected text, found a row that cannot be decoded; {CURE}"
        )


@pytest.mark.parametrize("word", ["later", "now"])
def test_a_word_for_the_holder_that_nobody_wrote_is_damage(
    store: SqliteStore, raw: apsw.Connection, path: Path, word: str
) -> None:
    uid = filled(store)
    held(store, uid)
    raw.execute("UPDATE containers SET stop_asked = ?", (word,))
    with pytest.raises(StoreDamaged) as caught:
        store.stop_asked(uid, 1)

    assert str(caught.value) == (
        f"{path}: the row of container 'feed' does not fit its check value; {CURE}"
    )


def test_a_task_that_is_lost_is_damage_and_not_a_task_to_run(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    uid = filled(store, "one", "two", "three")
    raw.execute("DELETE FROM tasks WHERE name = 'two'")

    for look in (
        lambda: store.tasks(uid),
        lambda: store.tasks(uid, ["two"]),
        lambda: store.next_open(uid),
        lambda: store.tallies([uid]),
        lambda: store.glance(uid),
        lambda: store.page(uid),
        lambda: store.ledgers(uid, ["two"]),
    ):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            f"{path}: expected 3 tasks of container 'feed', found 2; {CURE}"
        )


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param(
            "UPDATE tasks SET version = 7 WHERE name = 'item[99]'",
            "task 'item[99]' of container 'feed' does not fit its check value",
            id="a column",
        ),
        pytest.param(
            "UPDATE tasks SET error = CAST(x'ff' AS TEXT) WHERE name = 'item[99]'",
            "task 'item[99]' of container 'feed' does not fit its check value",
            id="a byte that is no text",
        ),
        pytest.param(
            "DELETE FROM tasks WHERE name = 'item[99]'",
            "expected 300 tasks of container 'feed', found 299",
            id="a row that is gone",
        ),
    ],
)
def test_a_damaged_task_among_packed_ones_is_told(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str, found: str
) -> None:
    uid = _wide(store)
    raw.execute(damage)

    with pytest.raises(StoreDamaged) as caught:
        store.table(uid)
    assert str(caught.value) == f"{path}: {found}; {CURE}"


def test_an_index_that_lacks_an_open_task_is_damage(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    uid = filled(store, "one", "two")
    _lose_entries(raw, "open_tasks", "position = 0")

    with pytest.raises(StoreDamaged) as caught:
        store.next_open(uid)
    assert str(caught.value) == (
        f"{path}: expected 2 open tasks of container 'feed', found 1; {CURE}"
    )


def test_a_container_that_its_index_lacks_is_not_made_anew(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    filled(store, "one")
    _lose_entries(raw, "sqlite_autoindex_containers_1", "name = 'feed'")

    looks: list[Callable[[SqliteStore], object]] = [
        lambda each: each.container("feed"),
        lambda each: each.create("feed"),
        lambda each: each.containers(),
    ]
    for look in looks:
        with closing(store.sibling()) as other, pytest.raises(StoreDamaged) as caught:
            look(other)
        assert str(caught.value) == (
            f"{path}: expected 1 names of containers, found 0; {CURE}"
        )


@pytest.mark.parametrize(
    ("led_to", "found"),
    [
        ("foreign", "expected tasks of container 'feed' alone, found one of another"),
        ("one", "expected 2 tasks of container 'feed', found 1"),
    ],
)
def test_an_index_that_leads_to_another_row_is_damage(
    store: SqliteStore, raw: apsw.Connection, path: Path, led_to: str, found: str
) -> None:
    uid = filled(store, "one", "two")
    other, _ = store.create("other")
    store.commit(other.uid, [new("foreign")], fence=None)
    ((row,),) = raw.execute("SELECT id FROM tasks WHERE name = ?", (led_to,))
    _change_index(
        *(raw, "tasks_by_name", ["container", "name"]),
        f"UPDATE bare SET id = {row} WHERE name = 'two'",  # noqa: S608 - a number.
    )

    for look in (store.table, store.tasks):
        with pytest.raises(StoreDamaged) as caught:
            look(uid)
        assert str(caught.value).startswith(f"{path}: {found}")


def test_a_task_that_its_index_names_otherwise_was_not_deleted(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    uid = filled(store, "one", "two")
    held(store, uid)
    task = one(store, uid, "two")
    _change_index(
        *(raw, "tasks_by_name", ["container", "name"]),
        "UPDATE bare SET name = 'tvo' WHERE name = 'two'",
    )

    for change in (swap(task, percentage_complete=5.0), drop(task)):
        with pytest.raises(StoreDamaged) as caught:
            store.commit(uid, [change], fence=1)
        assert str(caught.value) == (
            f"{path}: expected 2 tasks of container 'feed', found 1; {CURE}"
        )


def test_a_packed_item_that_is_found_twice_is_damage(
    store: SqliteStore, raw: apsw.Connection
) -> None:
    uid = _wide(store)
    ((row,),) = raw.execute("SELECT id FROM tasks WHERE name = 'item[98]'")
    _change_index(
        *(raw, "tasks_by_name", ["container", "name"]),
        f"UPDATE bare SET id = {row} WHERE name = 'item[99]'",  # noqa: S608 - a number.
    )

    with pytest.raises(StoreDamaged, match=r"expected 300 tasks .*, found 299"):
        store.table(uid)


def _wide(store: SqliteStore) -> str:
    """Return the uid of a container with as many done items as are packed."""
    uid = filled(store)
    items = (
        new(f"item[{n}]", step="item", key=f"{n}", position=n, status=Status.DONE)
        for n in range(300)
    )
    store.commit(uid, list(items), fence=None)
    return uid


def _lose_entries(raw: apsw.Connection, index: str, where: str) -> None:
    """Remove entries from an index; the rows of its table stay."""
    columns = (
        ["name"] if index.startswith("sqlite") else ["container", "position", "name"]
    )
    _change_index(raw, index, columns, f"DELETE FROM bare WHERE {where}")  # noqa: S608 - constants.


def _change_index(
    raw: apsw.Connection, index: str, columns: list[str], statement: str
) -> None:
    """Change the entries of an index, as the table `bare`."""
    query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
    ((root,),) = raw.execute(query, (index,))
    raw.execute("PRAGMA writable_schema = ON")
    table = (
        f"CREATE TABLE bare ({', '.join(columns)}, id, "
        f"PRIMARY KEY ({', '.join(columns)}, id)) WITHOUT ROWID"
    )
    raw.execute(
        "INSERT INTO sqlite_schema VALUES ('table', 'bare', 'bare', ?, ?)",
        (root, table),
    )
    raw.execute("PRAGMA writable_schema = RESET")
    raw.execute(statement)
    raw.execute("PRAGMA writable_schema = ON")
    raw.execute("DELETE FROM sqlite_schema WHERE name = 'bare'")
    raw.execute("PRAGMA writable_schema = RESET")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tasks SET status = 'dooe' WHERE name = 'two'",
        "UPDATE tasks SET percentage_complete = 1e300 WHERE name = 'two'",
        "UPDATE tasks SET percentage_complete = -1 WHERE name = 'two'",
        "UPDATE tasks SET percentage_complete = 50 WHERE name = 'two'",
        "UPDATE tasks SET step = 'x' WHERE name = 'two'",
    ],
)
def test_a_damaged_task_is_told_by_what_only_counts_tasks(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str
) -> None:
    uid = filled(store, "one", "two")
    raw.execute(damage)

    for look in (
        lambda: store.tallies([uid]),
        lambda: store.glance(uid),
        lambda: store.page(uid, limit=1),
    ):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            f"{path}: task 'two' of container 'feed' does not fit its check value; {CURE}"
        )


def test_what_belongs_to_a_task_moves_with_it(store: SqliteStore) -> None:
    uid = filled(store, "one", "two")
    first = one(store, uid, "one", payloads=True)
    store.commit(
        uid,
        [ended(swap(first, name="new", result='"r"', task_data="1"), 1)],
        fence=None,
    )
    second = one(store, uid, "new", payloads=True)
    store.commit(uid, [ended(swap(second, result=None), 2)], fence=None)
    store.commit(uid, [drop(one(store, uid, "two"))], fence=None)
    (left,) = store.tasks(uid, payloads=True)

    assert (left.name, left.result, left.task_data) == ("new", None, "1")
    assert [each.number for each in store.attempts(uid, "new")] == [1, 2]
    assert names(store, uid) == ["new"]


def test_ledgers_that_are_exchanged_are_damage(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    uid = filled(store)
    store.commit(uid, [ended(new(name), 1) for name in ("one", "two")], fence=None)
    for task, other in ((1, 9), (2, 1), (9, 2)):
        raw.execute("UPDATE attempts SET task = ? WHERE task = ?", (other, task))

    with pytest.raises(StoreDamaged) as caught:
        store.attempts(uid, "one")
    assert str(caught.value) == (
        f"{path}: the ledger of task 'one' of container 'feed' does not fit its check "
        f"value; {CURE}"
    )


def test_progress_does_not_heal_a_damaged_row(
    store: SqliteStore, raw: apsw.Connection
) -> None:
    uid = filled(store, "one")
    held(store, uid)
    raw.execute("UPDATE tasks SET status = 'running'")

    with pytest.raises(StoreDamaged):
        store.touch(uid, [Progress("one", 5.0, "")], fence=1)


def test_a_page_that_was_overwritten_is_damage(store: SqliteStore, path: Path) -> None:
    uid = filled(store)
    store.commit(uid, [new(f"t{i}", result="x" * 900) for i in range(500)], fence=None)
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xa5" * (size - 4096 * 3))
    damaged = SqliteStore(f"sqlite:///{path}")

    with pytest.raises(StoreDamaged) as caught:
        damaged.tasks(uid, payloads=True)
    assert str(caught.value).startswith(
        f"{path}: expected a ptsflow store, found a damaged one ("
    )
    damaged.close()


# -- a log that a process left -------------------------------------------------------


def _killed(store: SqliteStore, path: Path, folder: str) -> Path:
    """Return what a kill of all processes would leave of a store's files now."""
    assert store.url
    left = path.parent / folder / path.name
    left.parent.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), left.with_name(name))
    return left


@pytest.fixture
def checks() -> Iterator[list[str]]:
    """Return the checks of whole files that connections make from now on."""
    made: list[str] = []

    def trace(_: apsw.Cursor, statement: str, __: apsw.Bindings | None) -> bool:
        if "integrity_check" in statement:
            made.append(statement)
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = trace

    apsw.connection_hooks.append(hook)
    yield made
    apsw.connection_hooks.remove(hook)


def test_the_log_of_another_state_of_the_file_is_not_played_in(
    store: SqliteStore, path: Path
) -> None:
    filled(store, "one")
    copy = path.with_name("copy.db")
    store.close()
    shutil.copy(path, copy)
    store = SqliteStore(f"sqlite:///{path}", clock=Ticker())
    feed = store.container("feed")
    assert feed is not None
    for number in range(20):
        task = new(f"task {number}", result="x" * 9000)
        store.commit(feed.uid, [task], fence=None)
        if number == 10:
            # What the copy lacks leaves the log, so that the log does not fit the copy.
            store._database.connection.pragma("wal_checkpoint", "TRUNCATE")
    left = _killed(store, path, "left")
    shutil.copy(copy, left)
    store.close()
    before = [left.read_bytes(), left.with_name("pts.db-wal").read_bytes()]

    with pytest.raises(StoreDamaged) as caught:
        SqliteStore(f"sqlite:///{left}")
    assert str(caught.value).startswith(
        f"{left}: expected a ptsflow store and the log pts.db-wal that belongs to it, "
        "found that they do not fit ("
    )
    assert str(caught.value).endswith(f"; {CURE}")
    assert before == [left.read_bytes(), left.with_name("pts.db-wal").read_bytes()]
    left.with_name("pts.db-wal").unlink()
    left.with_name("pts.db-shm").unlink()
    with closing(SqliteStore(f"sqlite:///{left}")) as restored:
        assert names(restored, feed.uid) == ["one"]


def test_a_log_of_pages_behind_the_end_of_a_restored_file_is_told(
    store: SqliteStore, path: Path
) -> None:
    uid = filled(store, "one")
    store.close()
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    store = SqliteStore(f"sqlite:///{path}", clock=Ticker())
    store.commit(uid, [new(f"task {number}") for number in range(1000)], fence=None)
    store._database.connection.pragma("wal_checkpoint", "TRUNCATE")
    (last,) = store.tasks(uid, ["task 999"])
    store.commit(uid, [swap(last, status_text="changed")], fence=None)
    left = _killed(store, path, "left")
    with closing(SqliteStore(f"sqlite:///{left}")) as own:
        assert one(own, uid, "task 999").status_text == "changed"
    shutil.copy(copy, left)
    shutil.copy(f"{path}-wal", f"{left}-wal")
    store.close()

    with pytest.raises(StoreDamaged) as caught:
        SqliteStore(f"sqlite:///{left}")
    length = copy.stat().st_size // 4096
    assert f" pages, this one has {length}); {CURE}" in str(caught.value)
    with closing(open_care(f"sqlite:///{left}")) as care:
        note, fault = care.faults(deep=False)
    assert (note.grade, fault.grade) == (Grade.NOTE, Grade.DAMAGE)
    assert f"pages, this one has {length}" in fault.text
    assert left.read_bytes() == copy.read_bytes()
    assert Path(f"{left}-wal").stat().st_size


@pytest.mark.parametrize("mode", ["PASSIVE", "RESTART"])
def test_a_log_that_was_written_back_fits(
    store: SqliteStore, path: Path, mode: str
) -> None:
    uid = filled(store, *(f"task {number}" for number in range(100)))
    store._database.connection.pragma("wal_checkpoint", mode)
    left = _killed(store, path, "left")

    with closing(SqliteStore(f"sqlite:///{left}")) as opened:
        assert len(names(opened, uid)) == 100


def test_a_file_is_checked_whole_only_if_a_process_left_its_log(
    store: SqliteStore, path: Path, checks: list[str]
) -> None:
    uid = filled(store, "one")
    store.sibling().close()
    other = [sys.executable, "-c", _OPENER, store.url]
    told = subprocess.run(other, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (checks, told.stdout) == ([], "0\n")
    left = _killed(store, path, "left")
    for expected in (1, 1):
        with closing(SqliteStore(f"sqlite:///{left}")) as opened:
            assert names(opened, uid) == ["one"]
        assert len(checks) == expected


_OPENER = """
import sys
import apsw
from ptsflow.stores import open_store

checks = []
trace = lambda _, statement, __: checks.append("integrity_check" in statement) or True
apsw.connection_hooks.append(lambda each: setattr(each, "exec_trace", trace))
open_store(sys.argv[1]).close()
print(sum(checks))
"""


def test_a_damaged_container_is_told_though_it_is_passed_over(
    store: SqliteStore, raw: apsw.Connection, path: Path
) -> None:
    for name in ("feed", "other"):
        store.create(name)
    raw.execute("UPDATE containers SET status = 'failed' WHERE name = 'feed'")

    looks: list[Callable[[], object]] = [
        store.recent,
        lambda: store.recent(status=Status.FAILED),
        lambda: store.recent(status=Status.DONE),
        lambda: store.recent(part="o"),
    ]
    for look in looks:
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            f"{path}: the row of container 'feed' does not fit its check value; {CURE}"
        )
    assert [record.name for record in store.recent(1)] == ["other"]


@pytest.mark.parametrize(
    "damage",
    [
        "entry = replace(entry, '5', '6')",
        "entry = CAST(x'ff' AS TEXT)",
        "fence = 2",
        "container = 17",
        "checksum = 0",
    ],
)
def test_a_damaged_outlook_is_told_and_told_anew(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str
) -> None:
    uid = filled(store)
    record = held(store, uid)
    other = held(store, store.create("other")[0].uid)
    assert store.tell(uid, record.fence, Outlook(at=5, percentage=5.0))
    uids = [uid, other.uid]
    damage = damage.replace("17", other.uid)
    raw.execute(f"UPDATE outlooks SET {damage}")  # noqa: S608 - of the parameters above
    name = "other" if "container" in damage else "feed"

    with pytest.raises(StoreDamaged) as caught:
        store.outlooks(uids)
    assert str(caught.value) == (
        f"{path}: the outlook of container {name!r} does not fit its check value; {CURE}"
    )
    assert store.tell(uid, record.fence, Outlook(at=6, percentage=6.0))
    if name == "feed":
        assert store.outlooks(uids)[uid].at == 6


@pytest.mark.parametrize(
    "damage",
    ["entry = replace(entry, 'failed', 'done')", "task = 1", "number = 7"],
)
def test_a_damaged_ledger_is_told_by_what_reads_several(
    store: SqliteStore, raw: apsw.Connection, path: Path, damage: str
) -> None:
    uid = filled(store, "zero")
    store.commit(uid, [ended(new("one"), 1), ended(new("two"), 1)], fence=None)
    raw.execute(f"UPDATE attempts SET {damage} WHERE task = 2")  # noqa: S608

    with pytest.raises(StoreDamaged) as caught:
        store.ledgers(uid, ["zero", "one", "two"])
    assert str(caught.value) in {
        f"{path}: the ledger of task {name!r} of container 'feed' does not fit its check "
        f"value; {CURE}"
        for name in ("zero", "one")
    }


def test_a_plan_that_no_run_writes_is_told_though_its_check_value_fits(
    store: SqliteStore, path: Path
) -> None:
    record = held(store, filled(store))
    step = StepSummary(name="load", needs=("check",))
    store.save(replace(record, plan=(step,)))

    for look in (lambda: store.container("feed"), store.containers):
        with pytest.raises(StoreDamaged) as caught:
            look()
        assert str(caught.value) == (
            f"{path}: expected the plan of container 'feed' as a run writes it, found "
            f"step 'load' that waits for 'check', which is no step before it; {CURE}"
        )
