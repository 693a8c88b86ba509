"""`history`: the runs of a workflow or a container, and what they tell of the steps."""

from __future__ import annotations

import json
import re
import time

import pytest
from msgspec.structs import replace

from ptsflow.core.insight import FailedTask, RunRecord, RunStatus, StepStats
from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.host.process_identity import this_process
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.cli.calling import Place
from tests.cli.terminal import Terminal

MINUTE = 60_000


def claimed(store: Store, name: str, owner: Owner) -> ContainerRecord:
    made, _ = store.create(name)
    held = store.claim(made.uid, owner, 60_000)
    assert held is not None
    return replace(held, workflow="Import", params="{}", status=Status.RUNNING)


def keep(store: Store, hour: int, minutes: float, **fields: object) -> None:
    """Keep a run that began at an hour of 2011-09-30 and took some minutes."""
    owner = Owner(id=f"o{hour}", host="vm", boot="b", pid=1, started=1, since=0)
    name = str(fields.pop("name", f"epf:20110930T{hour:02}"))
    held = claimed(store, name, owner)
    began = 1317340800000 + hour * 60 * MINUTE + 5 * MINUTE
    run = RunRecord(
        uid=held.uid,
        fence=held.fence,
        container=name,
        workflow="Import",
        began_at=began,
    )
    store.save(held, run)
    ended = replace(
        run,
        **{
            "ended_at": began + round(minutes * MINUTE),
            "status": RunStatus.DONE,
            "steps": (
                StepStats(
                    name="download", count=1, busy_ms=2 * MINUTE, wall_ms=2 * MINUTE
                ),
                StepStats(
                    name="load", count=4, busy_ms=40 * MINUTE, wall_ms=10 * MINUTE
                ),
            ),
            **fields,
        },
    )
    status = Status.DONE if ended.status is RunStatus.DONE else Status.FAILED
    assert store.release(replace(held, status=status), ended)


@pytest.fixture
def kept(stored: Place) -> Place:
    """Return a store with some runs of one workflow."""
    store = open_store(stored.store)
    for hour in range(8):
        keep(store, hour, 12, outlook_errors=(None, 0.04, 0.08, 0.1), retries=hour)
    failed = (FailedTask("load[songs]", "OSError", "no"), FailedTask("x", "", ""))
    fields = {"failed": failed, "steps": (), "outlook_errors": (28.31,)}
    keep(store, 8, 6, status=RunStatus.FAILED, retries=7, **fields)
    keep(store, 9, 24)
    store.close()
    return stored


def rows(place: Place, *words: str) -> list[list[str]]:
    ended = place.call("history", *words)
    assert ended.returncode == 0, ended.stderr
    return [re.split("  +", line) for line in ended.stdout.splitlines()]


def test_runs_are_shown_the_newest_first(kept: Place) -> None:
    found = rows(kept, "Import", "-n", "3")

    assert found == [
        ["WHEN", "CONTAINER", "STATUS", "TOOK", "OF USUAL", "RETRIES", "ETA ERR"],
        ["2011-09-30 09:05", "epf:20110930T09", "✔ done", "24m00s", "━" * 16, "0", "-"],
        [
            *("2011-09-30 08:05", "epf:20110930T08", "✘ failed", "6m00s", "━" * 4),
            *("7", "28x", "load[songs] and 1 more"),
        ],
        ["2011-09-30 07:05", "epf:20110930T07", "✔ done", "12m00s", "━" * 8, "7", "8%"],
    ]


def test_steps_say_what_got_slower_and_what_fails(kept: Place) -> None:
    found = rows(kept, "--steps", "-n", "1")

    assert found[2:] == [
        [""],
        ["STEP", "TASKS", "MEDIAN", "P90", "LAST 5", "RETRIED", "FAILED"],
        ["download", "1", "2m00s", "2m00s", "+0%", "0 of 9", "0 of 10"],
        ["load", "4", "10m00s", "10m00s", "+0%", "0 of 9", "1 of 10"],
        ["x", "-", "-", "-", "0 of 0", "1 of 10"],
    ]


def test_as_json_a_run_is_an_object_and_the_steps_of_a_workflow_are_one(
    kept: Place,
) -> None:
    ended = kept.call("history", "Import", "--steps", "--json", "-n", "2")
    first, second, steps = map(json.loads, ended.stdout.splitlines())

    assert (first["schema"], first["container"]) == (1, "epf:20110930T09")
    assert (first["took_seconds"], first["usual_seconds"]) == (1440.0, 720.0)
    assert first["began_at"] == "2011-09-30T09:05:00.000Z"
    assert second["failed"][0] == {
        "task": "load[songs]",
        "error_type": "OSError",
        "error": "no",
    }
    assert steps["workflow"] == "Import"
    assert steps["steps"][1]["median_seconds"] == 600.0


@pytest.mark.parametrize("name", ["epf:20110930T08", "T08"])
def test_the_runs_of_one_container(kept: Place, name: str) -> None:
    store = open_store(kept.store)
    keep(store, 12, 6, name="epf:20110930T08")
    store.close()

    assert [row[0] for row in rows(kept, name)[1:]] == [
        "2011-09-30 12:05",
        "2011-09-30 08:05",
    ]


def test_runs_outlive_their_container(kept: Place) -> None:
    store = open_store(kept.store)
    record = store.container("epf:20110930T03")
    assert record is not None
    store.delete(record.uid)
    store.close()

    assert len(rows(kept, "epf:20110930T03")) == 2


def test_a_run_whose_process_is_gone_was_killed(place: Place) -> None:
    store = open_store(place.store)
    alive = this_process(store.now)
    dead = replace(alive, id="dead", started=1)
    for name, owner in (("dead", dead), ("alive", alive)):
        held = claimed(store, name, owner)
        run = RunRecord(
            uid=held.uid,
            fence=held.fence,
            container=name,
            workflow="Import",
            began_at=store.now() - 2_000,
        )
        store.save(held, run)
        time.sleep(0.005)

    found = {row[1]: row[2:] for row in rows(place)}

    store.close()
    assert found["dead"][0] == "· killed"
    assert found["alive"][0] == "▶ running"
    assert found["alive"][1].endswith("s")


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("Improt", 4, "no workflow and no container 'Improt' in "),
        ("epf", 2, "'epf' is part of 10 names in "),
    ],
)
def test_what_is_not_there_is_refused(
    kept: Place, what: str, code: int, said: str
) -> None:
    ended = kept.call("history", what)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(f"ptsflow: {said}")


def test_where_no_run_is_kept_that_is_said(place: Place) -> None:
    assert place.call("history").returncode == 2, "there is no store"
    store = open_store(place.store)
    store.release(claimed(store, "one", this_process(store.now)))
    store.close()

    for words, said in (
        ((), "no run is kept yet\n"),
        (("Import",), "no run of Import is kept\n"),
        (("one",), "no run of one is kept\n"),
    ):
        ended = place.call("history", *words)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", said)


def test_on_a_narrow_terminal_a_long_name_is_cut_in_its_middle(place: Place) -> None:
    store = open_store(place.store)
    failed = (FailedTask("load[songs]", "OSError", "no"),)
    name = "a very long name of a container, with the hour at the end: 20110930T13"
    keep(store, 1, 12, name=name, status=RunStatus.FAILED, failed=failed, steps=())
    store.close()

    terminal = Terminal(place, "history")

    assert terminal.close() == 0
    assert "load[songs]" in terminal.text
    assert re.search(r"a very long n.*….*20110930T13 ", terminal.text)
