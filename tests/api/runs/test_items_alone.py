"""`from_step` and `only` take an item: its own chain runs, and its neighbours are left."""

from __future__ import annotations

import pytest

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from ptsflow.client import Client, admin
from ptsflow.errors import UsageError
from ptsflow.events import Notice
from ptsflow.runner.report import Report
from ptsflow.testing import run_inline
from tests.cli.calling import Place

RAN: list[str] = []


class Feed(Workflow):
    """A chain of two for each of two files, what joins it, and what stands beside it."""

    @step
    def check(self) -> list[str]:
        return ["a", "b"]

    @step(each=check)
    def load(self, file: str, task: TaskHandle) -> str:
        RAN.append(task.name)
        return file

    @step(each=load)
    def index(self, load: str, task: TaskHandle) -> str:
        RAN.append(task.name)
        return load

    @step(after=check)
    def beside(self, task: TaskHandle) -> None:
        RAN.append(task.name)

    @step
    def verify(self, index: list[str], task: TaskHandle) -> int:
        RAN.append(task.name)
        return len(index)


@pytest.fixture
def client() -> Client:
    RAN.clear()
    return ptsflow.connect("memory:")


def run(client: Client, **options: object) -> tuple[Report, list[str], list[str]]:
    """Run the feed; return its report, the tasks that ran, and the notices."""
    RAN.clear()
    said: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Notice):
            said.append(event.text)

    given: dict[str, object] = {"client": client, "listeners": [listen], **options}
    report = run_inline(Feed(), **given)  # type: ignore[arg-type]
    return report, list(RAN), said


def test_from_an_item_runs_its_chain_and_what_joins_it(client: Client) -> None:
    assert run(client)[0].ok
    report, ran, _ = run(client, from_step="load[b]")

    assert report.ok
    assert ran == ["load[b]", "index[b]", "verify"]
    assert run(client, from_step="index[a]")[1] == ["index[a]", "verify"]
    assert sorted(run(client, from_step="load")[1]) == [
        *("index[a]", "index[b]", "load[a]", "load[b]", "verify")
    ]


@pytest.mark.parametrize("is_new", [True, False])
def test_from_an_item_that_is_not_there_is_refused(
    client: Client, *, is_new: bool
) -> None:
    if not is_new:
        run(client)
    with pytest.raises(UsageError) as refused:
        run(client, from_step="load[c]")

    has = "none yet" if is_new else "load[a], load[b]"
    assert str(refused.value).startswith(
        "--from: container 'Feed' has no item 'load[c]'"
    )
    assert str(refused.value).endswith(f"; load has {has}")
    if is_new:
        assert client.get_task_container("Feed") is None
    else:  # The refused run let go of the container.
        assert run(client)[0].ok


@pytest.mark.parametrize(
    "name", ["beside[a]", "check[a]", "load[a", "lod[a]", "load[a]x"]
)
@pytest.mark.parametrize("option", ["only", "from_step"])
def test_what_is_neither_step_nor_item_is_refused(
    client: Client, name: str, option: str
) -> None:
    given = [name] if option == "only" else name
    with pytest.raises(UsageError, match="Feed has no step '"):
        run(client, **{option: given})


def test_only_an_item_runs_it_alone(client: Client) -> None:
    report, ran, _ = run(client, only=["check", "load[b]", "index[b]"])

    assert report.ok
    assert ran == ["load[b]", "index[b]"]
    report, ran, _ = run(client, only=["load[a]"])
    assert report.ok
    assert ran == ["load[a]"]
    # The rest is there for the next run.
    assert sorted(run(client)[1]) == ["beside", "index[a]", "verify"]


def test_only_a_step_runs_all_its_items_beside_one_of_another(client: Client) -> None:
    _, ran, _ = run(client, only=["check", "load", "index[a]"])

    assert sorted(ran) == ["index[a]", "load[a]", "load[b]"]


def test_only_an_item_whose_chain_has_not_come_so_far_says_what_is_missing(
    client: Client,
) -> None:
    run(client, only=["check"])
    report, ran, said = run(client, only=["index[b]"])

    assert not report.ok
    assert ran == []
    assert said == ["index[b] cannot start: it waits for load[b], which is not done"]
    _, _, said = run(client, only=["load[a]", "verify"])
    assert said == ["verify cannot start: it waits for load, which is not done"]


def test_only_an_item_that_there_is_not_says_which_there_are(client: Client) -> None:
    report, ran, said = run(client, only=["check", "load[c]"])

    assert not report.ok
    assert ran == []
    assert len(said) == 1
    assert said[0].startswith("there is no item 'load[c]'")
    assert said[0].endswith("; load has load[a], load[b]")


def test_only_an_item_that_a_complete_container_has_not_is_refused(
    client: Client,
) -> None:
    run(client)
    for name in ("load[c]", "index[c]"):
        with pytest.raises(UsageError) as refused:
            run(client, only=["check", name])
        assert str(refused.value).startswith(
            f"--only: container 'Feed' has no item {name!r}"
        )
    # The refused run let go of the container.
    assert run(client, only=["load[a]"])[0].ok


def test_an_item_in_doubt_that_is_not_asked_for_is_left(client: Client) -> None:
    run(client)
    record = client.store.container("Feed")
    assert record
    admin.reset(client.store, record, step="load[a]")
    doubted = {task.name for task in client.store.tasks(record.uid) if task.is_in_doubt}
    _, ran, _ = run(client, only=["load[a]", "index[b]"])
    left = {task.name for task in client.store.tasks(record.uid) if task.is_in_doubt}

    assert doubted == left == {"index[a]", "verify"}
    assert ran == ["load[a]"]
    # What was not asked for counts as it is: its result holds nothing up.
    run(client, only=["verify"])
    tasks = client.store.tasks(record.uid)
    assert {task.name for task in tasks if task.is_in_doubt} == {"index[a]"}
    assert run(client)[1] == []  # It came out the same.


FLOW = """
from ptsflow import Workflow, step

class Feed(Workflow):
    @step
    def check(self) -> list[str]:
        return ["a", "b"]

    @step(each=check)
    def load(self, file: str) -> str:
        return file

    @step(each=load)
    def index(self, load: str) -> str:
        return load
"""


def test_the_command_line_takes_items_and_says_what_a_run_would_do(
    tmp_path: object,
) -> None:
    place = Place(tmp_path)  # type: ignore[arg-type]
    (place.folder / "flow.py").write_text(FLOW)
    first = place.call("run", "flow.py", "--only", "check", "--only", "load[a]")
    assert first.returncode == 0, first.stderr

    seen = place.json(
        "run", "flow.py", "-n", "--only", "index[a]", "--only", "index[b]"
    )
    assert {task["name"]: task["action"] for task in seen["tasks"]} == {
        "check": "skip",
        "load[a]": "skip",
        "load[b]": "leave",
        "index[a]": "run",
        "index[b]": "blocked",
    }
    ended = place.call("run", "flow.py", "--only", "index[b]")
    assert ended.returncode == 1
    assert "--only 'load[b]' --only 'index[b]'" in ended.stderr.splitlines()[-1]
    assert place.call("run", "flow.py").returncode == 0
    again = place.json("run", "flow.py", "-n", "--from", "load[a]")
    assert {t["name"]: t["reason"] for t in again["tasks"] if t["action"] == "run"} == {
        "load[a]": "run again, as asked for",
        "index[a]": "a step before it runs again",
    }


def test_an_item_with_the_key_of_a_steps_name_does_not_stand_for_that_step(
    tmp_path: object,
) -> None:
    place = Place(tmp_path)  # type: ignore[arg-type]
    (place.folder / "flow.py").write_text(FLOW)

    seen = place.json("run", "flow.py", "-n", "--only", "load[check]")
    actions = {task["name"]: task["action"] for task in seen["tasks"]}
    assert actions["check"] == "leave"
