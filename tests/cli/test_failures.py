"""`errors` shows what is failed now by what went wrong; `retry --all` opens it again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Change, Owner, Status, TaskRecord
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.cli.calling import Place, appears, flow
from tests.support.waiting import until

HOUR = 3_600_000
OWNER = Owner(id="o", host="vm", boot="b", pid=1, started=1, since=0)

Failed = dict[str, tuple[str, float]]


def fill(
    store: Store,
    name: str,
    failed: Failed,
    *,
    status: Status = Status.FAILED,
    workflow: str = "Load",
) -> None:
    """Make a container with failed tasks: by name the error, and how many hours ago."""
    now = store.now()
    made, _ = store.create(name)
    held = store.claim(made.uid, OWNER, 60_000)
    assert held is not None
    held = replace(
        held, workflow=workflow, params="{}", status=status, target="no.py:X"
    )
    changes = [
        Change(
            None,
            TaskRecord(
                name=task,
                step=task.partition("[")[0],
                key=task.partition("[")[2].rstrip("]") or None,
                status=Status.FAILED if error else Status.DONE,
                version=1,
                error=error or None,
                attempt=4,
                invoke_count=4,
                task_ended_at=now - round(ago * HOUR),
            ),
        )
        for task, (error, ago) in failed.items()
    ]
    store.commit(held.uid, changes, fence=held.fence)
    assert store.release(held)


@pytest.fixture
def outage(stored: Place) -> Place:
    """Return a store in which some containers have failed, and some have not."""
    store = open_store(stored.store)
    bad = "ValueError: bad date '2011-09-{}' (row {})"
    fill(store, "one", {"load[a]": (bad.format(1, 10), 30), "fetch": ("", 0)})
    fill(store, "two", {"load[b]": (bad.format(2, 2000), 2)})
    fill(store, "three", {"load[a]": (bad.format(3, 3), 1), "load[b]": ("no text", 3)})
    fill(store, "four", {"fetch": ("TimeoutError: took 3 s", 4)}, workflow="Other")
    fill(
        store,
        "stopped",
        {"fetch": ("TimeoutError: took 70 s", 5)},
        status=Status.PENDING,
    )
    fill(store, "done", {"fetch": ("TimeoutError: accepted", 0)}, status=Status.DONE)
    fill(store, "fine", {"fetch": ("", 0)}, status=Status.DONE)
    store.close()
    return stored


def groups(place: Place, *words: str) -> list[dict[str, object]]:
    ended = place.call("errors", "--json", *words)
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == (1 if found else 0), ended.stderr
    return found


def test_what_went_wrong_alike_is_one_entry_the_newest_first(outage: Place) -> None:
    ended = outage.call("errors")

    assert ended.returncode == 1
    lines = [re.split("  +", line) for line in ended.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["load", "ValueError: bad date '#-#-#' (row #)"],
        ["load", "no text"],
        ["fetch", "TimeoutError: took # s"],
    ]
    when = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"
    assert re.fullmatch(f"3 containers, first {when}, last {when}", lines[0][2])
    assert re.fullmatch(f"1 container, {when}", lines[1][2])
    assert lines[0][3] == outage.typed("show", "three", "load[a]")
    assert "Traceback" not in outage.paste(lines[0][3], outage.folder).stderr


def test_as_json_an_entry_is_an_object(outage: Place) -> None:
    first, _, last = groups(outage)

    assert first["containers"] == ["three", "two", "one"]
    assert (first["container"], first["task"]) == ("three", "load[a]")
    assert first["error"] == "ValueError: bad date '2011-09-3' (row 3)"
    assert (first["schema"], first["tasks"], first["error_type"]) == (
        1,
        3,
        "ValueError",
    )
    ago = datetime.now(UTC) - datetime.fromisoformat(str(first["first_at"]))
    assert timedelta(hours=29) < ago < timedelta(hours=31)
    assert last["containers"] == ["four", "stopped"]


def test_a_workflow_or_a_time_may_be_asked_for(outage: Place) -> None:
    assert [x["containers"] for x in groups(outage, "Other")] == [["four"]]
    assert [x["containers"] for x in groups(outage, "--since", "2h30m")] == [
        ["three", "two"]
    ]
    assert groups(outage, "Load", "--since", "30s") == []

    unknown = outage.call("errors", "Laod")
    assert unknown.returncode == 4
    assert (
        "no container is of a workflow 'Laod' (did you mean 'Load'?)" in unknown.stderr
    )
    assert outage.call("errors", "--since", "soon").returncode == 2


def test_where_nothing_is_failed_the_exit_is_0(place: Place) -> None:
    assert place.call("errors").returncode == 2, "there is no store"
    place.call("run", flow("Steady"))

    ended = place.call("errors")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "nothing is failed\n"


def test_what_is_repaired_is_not_shown_any_more(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=flag")
    assert place.call("errors").returncode == 1

    place.call("retry", "--all")
    assert place.call("errors").returncode == 0
    (place.folder / "flag").touch()
    place.call("resume", flow("Broken"))
    assert place.call("errors").returncode == 0


def waiting(place: Place) -> set[str]:
    """Return the tasks that are to be tried again, with their containers."""
    store = open_store(place.store)
    found = {
        f"{record.name} {task.name}"
        for record in store.containers()
        for task in store.tasks(record.uid)
        if task.status is Status.PENDING and task.attempt == 0
    }
    store.close()
    return found


def test_all_that_failed_gets_its_attempts_again_but_what_was_accepted(
    outage: Place,
) -> None:
    dry = outage.call("retry", "--all", "-n")
    assert waiting(outage) == set()
    ended = outage.call("retry", "--all")

    assert (dry.returncode, ended.returncode) == (0, 0)
    assert "three: 2 tasks would be tried again: load[a], load[b]" in dry.stderr
    assert "three: 2 tasks to try again: load[a], load[b]" in ended.stderr
    assert "next: " not in dry.stderr
    assert waiting(outage) == {
        *("one load[a]", "two load[b]", "three load[a]", "three load[b]"),
        *("four fetch", "stopped fetch"),
    }
    assert outage.json("status", "one")["status"] == "pending"
    assert outage.json("status", "done")["status"] == "done"
    assert outage.call("retry", "--all").stderr == "nothing has failed\n"


@pytest.mark.parametrize("text", ["TIMEOUT", "took # s", "TimeoutError: took #"])
def test_match_touches_only_what_has_the_text(outage: Place, text: str) -> None:
    assert outage.call("retry", "--all", "--match", text).returncode == 0

    assert waiting(outage) == {"four fetch", "stopped fetch"}


def test_of_one_container_only_what_matches(outage: Place) -> None:
    found = outage.json("retry", "three", "--match", "no text")

    assert found["retry"] == ["load[b]"]
    assert waiting(outage) == {"three load[b]"}
    assert "nothing matches" in outage.call("retry", "three", "--match", "x").stderr


def test_of_one_workflow(outage: Place) -> None:
    ended = outage.call("retry", "--all", "--workflow", "Other", "--json")

    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"schema": 1, "container": "four", "retry": ["fetch"]}
    ]
    assert waiting(outage) == {"four fetch"}
    assert outage.call("retry", "--all", "--workflow", "No").returncode == 4


@pytest.mark.parametrize(
    "words", [[], ["one", "--all"], ["one", "--workflow", "Load"], ["--match", "x"]]
)
def test_what_makes_no_sense_is_refused(outage: Place, words: list[str]) -> None:
    ended = outage.call("retry", *words)

    assert (ended.returncode, waiting(outage)) == (2, set())
    assert ended.stderr.startswith("ptsflow: retry: ")


def test_a_live_container_is_skipped_with_a_line(place: Place) -> None:
    (place.folder / "half.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from ptsflow import Fail, Workflow, step\n"
        "class Half(Workflow):\n"
        "    @step(after=(), optional=True)\n"
        "    def fails(self): raise Fail('no')\n"
        "    @step(after=())\n"
        "    def runs(self):\n"
        "        while not Path('end').exists():\n"
        "            time.sleep(0.02)\n"
        "            Path('begun').touch()\n"
    )
    running = place.start("run", "half.py")
    appears(place.folder / "begun")
    place.call("run", flow("Broken"), "-p", "flag=no", "-c", "other")
    until(lambda: place.call("errors", "Half").returncode)

    ended = place.call("retry", "--all")
    one = place.call("retry", "Half")
    (place.folder / "end").touch()
    running.communicate(timeout=60)

    assert (ended.returncode, one.returncode) == (0, 5)
    lines = ended.stderr.splitlines()
    assert f"Half: skipped, as it is run by pid {running.pid} on" in lines[0]
    assert lines[1] == "other: 1 task to try again: fragile"


def test_items_behind_one_that_matches_wait_for_it_again(place: Place) -> None:
    store = open_store(place.store)
    fill(store, "chain", {"a[1]": ("one", 1), "a[2]": ("two", 1)})
    record = store.container("chain")
    assert record is not None
    held = store.claim(record.uid, OWNER, 60_000)
    assert held is not None
    skipped = [
        TaskRecord(
            name=f"b[{key}]",
            step="b",
            key=key,
            status=Status.SKIPPED,
            version=1,
            cause="upstream",  # type: ignore[arg-type]
        )
        for key in "12"
    ]
    store.commit(held.uid, [Change(None, t) for t in skipped], fence=held.fence)
    store.release(held)
    store.close()

    place.call("retry", "--all", "--match", "two")

    assert waiting(place) == {"chain a[2]", "chain b[2]"}


def test_five_hundred_containers_with_three_causes_are_three_entries(
    place: Place,
) -> None:
    store = open_store(place.store)
    for number in range(500):
        why = ("OSError: disk {} is full", "KeyError: 'x{}'", "row {}")[number % 3]
        fill(store, f"n{number}", {"load": (why.format(number), number / 100)})
    store.close()

    found = groups(place)

    assert [len(x["containers"]) for x in found] == [167, 167, 166]  # type: ignore[arg-type]
    ended = place.call("retry", "--all", "--match", "disk")
    assert len(waiting(place)) == 167
    assert "… and 147 more containers" in ended.stderr
