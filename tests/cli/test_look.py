"""`status`, `list`, `show`, `graph`: what they print, in text and in JSON."""

from __future__ import annotations

import json
import re

import pytest

import ptsflow
from tests.cli.calling import Place, flow
from tests.support.databases import new_database_url

TIME = "a time"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_status_as_json_has_exactly_the_documented_fields(place: Place) -> None:
    place.call("run", flow("Steady"), "-p", "count=1")

    found = place.json("status", "Steady")
    task = found["tasks"][1]

    times = {name: TIME for name in found if _TIME.fullmatch(str(found[name]))}
    assert {k: v for k, v in (found | times).items() if k != "tasks"} == {
        "schema": 1,
        "container": "Steady:count=1",
        "workflow": "Steady",
        "status": "done",
        "percentage_complete": 100.0,
        "params": {"count": 1},
        "counts": {
            "pending": 0,
            "running": 0,
            "waiting": 0,
            "done": 3,
            "failed": 0,
            "skipped": 0,
        },
        "eta_seconds": None,
        "eta_low_seconds": None,
        "eta_high_seconds": None,
        "eta_at": None,
        "eta_runs": None,
        "owner": None,
        "created_at": TIME,
        "started_at": TIME,
        "ended_at": TIME,
    }
    for field in ("last_invoked_at", "task_ended_at"):
        assert _TIME.fullmatch(task.pop(field))
    assert task.pop("task_duration_ms") >= 0
    assert task == {
        "name": "square[0]",
        "step": "square",
        "key": "0",
        "is_complete": True,
        "has_failed": False,
        "percentage_complete": 100.0,
        "status_text": "",
        "task_data": None,
        "processing_data": None,
        "invoke_count": 1,
        "leased_till": None,
        "max_retries": 3,
        "delay_between_retries": 30.0,
        "status": "done",
        "result": 0,
        "error": None,
    }


def test_values_that_json_does_not_have_are_rendered(place: Place) -> None:
    place.call("run", flow("Various"))

    tasks = {task["name"]: task for task in place.json("status")["tasks"]}

    assert tasks["flickers"]["result"] == ["AP8=", [1, 2, 3]]
    assert tasks["waits"]["processing_data"] == {"seen": True}
    assert tasks["skips"]["status_text"] == "not today"
    assert tasks["fails"]["error"] == "no \u202euse"


def test_nothing_that_turns_text_around_reaches_the_terminal(place: Place) -> None:
    ended = place.call("run", flow("Various"))

    shown = [place.call(*w).stdout for w in (["status"], ["show", "Various"])]

    for text in (ended.stderr, *shown):
        assert "\u202e" not in text
        assert r"no \u202euse" in text


def test_status_without_a_name_is_of_the_latest(place: Place) -> None:
    place.call("run", flow("Steady"))
    place.call("run", flow("Various"))

    assert place.json("status")["container"] == "Various"


def test_status_shows_a_line_for_each_step(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=no")

    ended = place.call("status", "Broken")

    lines = ended.stdout.splitlines()
    assert lines[0].startswith("✘ failed   33%   Broken:flag=no")
    assert lines[1].startswith(" ✔ before")
    assert re.match(r" ✘ fragile +[\d.]+m?s  after 1 try  OSError: the disk", lines[2])
    assert lines[3].split() == ["·", "after", "blocked", "by", "fragile"]
    assert lines[4] == " run it again to continue"


def test_list_is_a_table_and_as_json_an_object_a_line(place: Place) -> None:
    place.call("run", flow("Steady"))
    place.call("run", flow("Broken"), "-p", "flag=no", "-c", "the broken one")

    table = place.call("list").stdout.splitlines()
    objects = [json.loads(x) for x in place.call("--json", "list").stdout.splitlines()]

    assert table[0].split() == [
        "STATUS",
        "DONE",
        "TASKS",
        "STARTED",
        "TOOK",
        "CONTAINER",
        "WORKFLOW",
    ]
    when = r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"
    assert re.match(rf"✔ done    100%  5/5    {when}  \S+ +Steady:count=3  ", table[1])
    assert re.match(r"✘ failed  33%   1/3  ", table[2])
    assert re.search(r"the broken one  1 failed  Broken$", table[2])
    assert [found["container"] for found in objects] == [
        "Steady:count=3",
        "the broken one",
    ]
    assert "tasks" not in objects[0]


def test_where_there_is_nothing_yet_looking_makes_nothing(place: Place) -> None:
    listed, looked = place.call("list"), place.call("status")

    assert (listed.returncode, listed.stdout) == (0, "")
    assert listed.stderr == f"no containers: there is no store at {place.store} yet\n"
    assert looked.returncode == 2
    assert looked.stderr == (
        f"ptsflow: there is no store at {place.store} yet: a run makes it; or name "
        "another one with --store URL\n"
    )
    assert list(place.folder.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "show", "reset", "retry"])
def test_a_name_that_is_not_there_exits_with_2(place: Place, command: str) -> None:
    place.call("run", flow("Various"))

    ended = place.call(command, "Varoius")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"ptsflow: no container 'Varoius' in {place.store} (did you mean 'Various'?); "
        f"see {place.typed('list')}\n"
    )


def test_a_part_of_several_names_is_refused_with_the_names(place: Place) -> None:
    place.call("run", flow("Steady"), "-p", "count=1")
    place.call("run", flow("Steady"), "-p", "count=2")

    ended = place.call("show", "Stea")

    assert ended.returncode == 2
    assert ended.stderr == (
        f"ptsflow: 'Stea' is part of 2 names in {place.store}: Steady:count=1, "
        "Steady:count=2; say more of it\n"
    )


def test_show_prints_parameters_plan_and_tasks(place: Place) -> None:
    place.call("run", flow("Steady"), "-p", "count=1")

    lines = place.call("show", "Steady").stdout.splitlines()

    assert [line.split()[:1] for line in lines[:3]] == [
        ["status"],
        ["complete"],
        ["container"],
    ]
    assert ["-p", "count", "1"] in [line.split() for line in lines]
    assert "├─ numbers                                  List numbers." in lines
    assert "└─ total                     after square" in lines
    assert any(re.match(r"✔ done  100%  1 .* square\[0\]$", line) for line in lines)


def test_show_of_a_task_prints_each_of_its_fields(place: Place) -> None:
    place.call("run", flow("Various"))

    text = place.call("show", "Various", "flickers").stdout
    found = place.json("show", "Various", "flickers")
    missing = place.call("show", "Various", "flicker")

    assert ["result", '["AP8=",', "[1,", "2,", "3]]"] in [
        line.split() for line in text.splitlines()
    ]
    assert (found["schema"], found["container"]) == (1, "Various")
    assert found["invoke_count"] == 2
    assert missing.returncode == 2
    assert "has no task 'flicker' (did you mean 'flickers'?)" in missing.stderr


def test_graph_as_tree_mermaid_and_json(place: Place) -> None:
    tree = place.call("graph", flow("Steady")).stdout
    mermaid = place.call("graph", flow("Steady"), "--format", "mermaid").stdout
    found = place.json("graph", flow("Steady"))

    assert tree == (
        "Steady(count)\n"
        "├─ numbers                                  List numbers.\n"
        "├─ square   each of numbers  after numbers\n"
        "└─ total                     after square\n"
    )
    assert mermaid == (
        "flowchart TD\n"
        '    step_numbers["numbers"]\n'
        '    step_square[["square"]]\n'
        '    step_total["total"]\n'
        "    step_numbers --> step_square\n"
        "    step_square --> step_total\n"
    )
    assert found["edges"] == [["numbers", "square"], ["square", "total"]]
    assert list(place.folder.iterdir()) == []


def test_a_client_s_hostile_names_and_texts_are_shown_escaped(place: Place) -> None:
    name = "evil\x1b]0;owned\x07[red]\u202etxt"
    with ptsflow.connect(place.store) as client:
        container, _ = client.get_or_create_task_container(name)
        container.add_task("t\x9bask\n", status_text="a\rb[/bold]", task_data="\x1b[2J")

    shown = [
        place.call(*words)
        for words in (
            ["list"],
            ["status"],
            ["show", "evil"],
            ["show", "evil", "t\x9bask\n"],
        )
    ]
    found = json.loads(place.call("status", "--json").stdout)

    for ended in shown:
        assert ended.returncode == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ended.stdout)
    assert r"evil\x1b]0;owned\x07[red]\u202etxt" in shown[0].stdout
    assert r"t\x9bask\n" in shown[1].stdout
    assert r"a\rb[/bold]" in shown[2].stdout
    assert found["container"] == name
    assert found["tasks"][0]["task_data"] == "\x1b[2J"


def test_looking_imports_neither_rich_nor_mongodb(place: Place) -> None:
    place.call("run", flow("Steady"))
    place.env["PYTHONPROFILEIMPORTTIME"] = "1"

    for words in (["status"], ["list"], ["run", flow("Steady")]):
        ended = place.call(*words)
        assert ended.returncode == 0
        assert not re.search(r"\| +(rich|pymongo|mongoengine)\b", ended.stderr)


@pytest.mark.mongod
def test_all_commands_work_on_mongodb(place: Place, mongod_url: str) -> None:
    url = new_database_url(mongod_url)
    place.env["PTSFLOW_STORE"] = url

    failed = place.call("run", flow("Broken"), "-p", "flag=flag", "-c", "one")
    listed = place.call("list")
    retried = place.call("retry", "one")
    (place.folder / "flag").touch()
    again = place.call("run", flow("Broken"), "-p", "flag=flag", "-c", "one")
    found = place.json("status", "one")
    reset = place.call("reset", "one", "-y")
    with ptsflow.connect(url) as client:
        deleted = client.delete_task_container("one")

    assert [e.returncode for e in (failed, listed, retried, again, reset)] == [
        1,
        0,
        0,
        0,
        0,
    ]
    assert "✘ failed" in listed.stdout
    assert [task["invoke_count"] for task in found["tasks"]] == [1, 2, 1]
    assert deleted
