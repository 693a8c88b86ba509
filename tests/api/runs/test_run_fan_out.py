"""Fan-out: a task for each element of a list, named by its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import ptsflow
from ptsflow import Skip, TaskHandle, Workflow, step
from ptsflow.core.model import Status
from ptsflow.events import Event, Listener, TaskChanged
from ptsflow.runner import arguments
from ptsflow.testing import run_inline
from tests.api.conftest import main_stores
from tests.api.runs.flows import FeedFile


@dataclass
class Part:
    of: FeedFile
    number: int


@main_stores
def test_a_task_is_made_for_each_element(url: str, name: str) -> None:
    class Feed(Workflow):
        @step
        def check(self) -> list[FeedFile]:
            return [FeedFile("songs.tbz", 3, {"x"}), FeedFile("artists.tbz", 2)]

        @step(each=check, key="name")
        def download(self, file: FeedFile, task: TaskHandle) -> Part:
            assert task.key == file.name
            return Part(file, file.size * 10)

        @step
        def verify(self, download: list[Part]) -> list[int]:
            assert [part.of.tags for part in download] == [{"x"}, set()]
            return [part.number for part in download]

    report = ptsflow.run(Feed(), url, name)

    assert [(task.name, task.step, task.key) for task in report.tasks] == [
        ("check", "check", None),
        ("download[songs.tbz]", "download", "songs.tbz"),
        ("download[artists.tbz]", "download", "artists.tbz"),
        ("verify", "verify", None),
    ]
    assert report.result("verify") == [30, 20]
    assert report.result("download[songs.tbz]") == Part(
        FeedFile("songs.tbz", 3, {"x"}), 30
    )
    assert [part.number for part in report.result("download")] == [30, 20]


@pytest.mark.parametrize(
    ("items", "key", "names"),
    [
        pytest.param(["a", "b"], None, ["use[a]", "use[b]"], id="short texts"),
        pytest.param([7, -3], None, ["use[7]", "use[-3]"], id="ints"),
        pytest.param([1.5, None], None, ["use[0]", "use[1]"], id="others: the index"),
        pytest.param(["x" * 61, ""], None, ["use[0]", "use[1]"], id="long or no text"),
        pytest.param([True, False], None, ["use[0]", "use[1]"], id="flags"),
        pytest.param([{"k": "v"}, {"k": 2}], "k", ["use[v]", "use[2]"], id="a dict's"),
        pytest.param(
            [3, 4], lambda item: item * 2, ["use[6]", "use[8]"], id="function"
        ),
        pytest.param(
            [[1], [2]],
            lambda item: f"n{item[0]}",
            ["use[n1]", "use[n2]"],
            id="of lists",
        ),
        pytest.param(("b", "a"), None, ["use[b]", "use[a]"], id="a tuple"),
        pytest.param({"b", "a"}, None, ["use[a]", "use[b]"], id="a set, sorted"),
        pytest.param(["]", "[x]"], None, ["use[]]", "use[[x]]"], id="brackets"),
    ],
)
def test_items_are_named_by_their_keys(
    url: str, items: Any, key: Any, names: list[str]
) -> None:
    received: dict[str, object] = {}

    class Named(Workflow):
        @step
        def source(self) -> Any:
            return items

        @step(each=source, key=key)
        def use(self, item: object, task: TaskHandle) -> object:
            received[task.name] = item
            return item

        @step
        def join(self, use: list[Any]) -> list[Any]:
            return use

    report = ptsflow.run(Named(), url)
    expected = sorted(items) if isinstance(items, set) else list(items)

    assert [task.name for task in report.tasks if task.step == "use"] == names
    assert [received[name] for name in names] == expected
    assert report.result("join") == report.result("use") == expected


@pytest.mark.parametrize(
    ("items", "key", "line"),
    [
        pytest.param(
            ["a", "b", "a"],
            None,
            "use: items 0 and 2 of source have the same key 'a'; give @step a key= that "
            "tells them apart",
            id="a key twice",
        ),
        pytest.param(
            ["5", 5],
            None,
            "use: items 0 and 1 of source have the same key '5'; give @step a key= that "
            "tells them apart",
            id="a text and an int",
        ),
        pytest.param(
            [{"name": "a"}, {"nam": "b"}],
            "name",
            "use: item 1 of source has no 'name' to be its key; found {'nam': 'b'}",
            id="no such field",
        ),
        pytest.param(
            [{"name": None}],
            "name",
            "use: the key of item 0 of source must be a str that is not blank, or an int, found "
            "None",
            id="a key that is no key",
        ),
        pytest.param(
            [["x" * 300]],
            lambda item: item[0],
            "use: the key of item 0 of source makes a name of 309 bytes; expected up to "
            f"200 of valid text without NUL, found 'x{'x' * 78}",
            id="a long key",
        ),
        pytest.param(
            "abc",
            None,
            'use: each=source needs a list from source, found "abc"; the stored result '
            "of source does not fit: return a list, then reset source",
            id="no list",
        ),
        pytest.param(
            [1],
            lambda item: item.nothing,
            "AttributeError: ",
            id="a key= that raises",
        ),
    ],
)
def test_items_without_usable_keys_fail_the_step_before_anything_starts(
    url: str, items: Any, key: Any, line: str
) -> None:
    ran: list[object] = []

    class Colliding(Workflow):
        @step
        def source(self) -> Any:
            return items

        @step(each=source, key=key)
        def use(self, item: object) -> None:
            ran.append(item)

        @step(each=use)
        def chained(self, before: object) -> None:
            ran.append(before)

        @step
        def join(self, use: list[Any]) -> None:
            ran.append(use)

    report = ptsflow.run(Colliding(), url)
    tasks = {task.name: task for task in report.tasks}

    assert not report.ok
    assert ran == []
    assert report.failed == ["use"]
    assert {name: task.status for name, task in tasks.items()} == {
        "source": "done",
        "use": "failed",
        "join": "pending",
    }
    assert str(tasks["use"].error).startswith(line)


def test_a_step_whose_keys_collided_runs_when_its_key_is_mended(url: str) -> None:
    def flow(key: Callable[[Any], Any] | None) -> type[Workflow]:
        class Mended(Workflow):
            container = "mended"

            @step
            def source(self) -> list[list[str]]:
                return [["a", "x"], ["a", "y"]]

            @step(each=source, key=key)
            def use(self, item: list[str]) -> str:
                return item[1]

            @step(always=True)
            def tidy(self, use: list[str]) -> list[str]:
                return use

        return Mended

    first = ptsflow.run(flow(lambda item: item[0])(), url)
    second = ptsflow.run(flow(lambda item: item[1])(), url)

    assert (first.ok, first.failed) == (False, ["use"])
    assert second.ok
    assert [task.name for task in second.tasks] == [
        "source",
        "use[x]",
        "use[y]",
        "tidy",
    ]
    assert second.result("tidy") == ["x", "y"]


def test_an_optional_fan_out_that_cannot_be_made_is_passed_over(url: str) -> None:
    class Optional(Workflow):
        @step
        def source(self) -> list[str]:
            return ["a", "a"]

        @step(each=source, optional=True)
        def use(self, item: str) -> str:
            return item

        @step(each=use)
        def chained(self, before: str) -> str:
            return before

        @step
        def join(self, use: list[str], chained: list[str]) -> list[list[str]]:
            return [use, chained]

    report = ptsflow.run(Optional(), url)

    assert report.ok
    assert report.result("join") == [[], []]


def _skip() -> list[int]:
    raise Skip("nothing there")


@pytest.mark.parametrize(
    "source_ends",
    [
        pytest.param(list, id="an empty list"),
        pytest.param(_skip, id="a skipped step"),
    ],
)
def test_nothing_to_fan_out_over_is_no_failure(
    url: str, source_ends: Callable[[], list[int]]
) -> None:
    class Empty(Workflow):
        @step
        def source(self) -> list[int]:
            return source_ends()

        @step(each=source)
        def use(self, item: int) -> int:
            return item

        @step(each=use)
        def chained(self, before: int) -> int:
            return before

        @step
        def join(self, chained: list[int], use: list[int]) -> int:
            return len(chained) + len(use)

    report = ptsflow.run(Empty(), url)

    assert report.ok
    assert report.result("join") == 0
    assert report.result("use") == []


def test_an_optional_source_that_failed_hands_on_no_items(url: str) -> None:
    class Optional(Workflow):
        @step(optional=True, retry=0)
        def source(self) -> list[int]:
            raise OSError("away")

        @step(each=source)
        def use(self, item: int) -> int:
            return item

        @step
        def join(self, source: list[int] | None, use: list[int]) -> list[Any]:
            return [source, use]

    report = ptsflow.run(Optional(), url)

    assert report.ok
    assert report.result("join") == [None, []]


class Blank(Workflow):
    """Has an item that is named by its place, and was by its blanks."""

    @step
    def source(self) -> list[str]:
        return ["  "]

    @step(each=source)
    def use(self, item: str) -> str:
        return f"used {item!r}"

    @step
    def end(self) -> None: ...


def test_a_blank_item_that_an_earlier_version_recorded_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = ptsflow.connect("memory:")
    with monkeypatch.context() as patch:
        patch.setattr(arguments, "item_keys", lambda *_: ["  "])
        run_inline(Blank(), client=client, container="old", only=["source", "use"])
    begun: list[str] = []
    old = run_inline(
        Blank(), client=client, container="old", listeners=[note_starts(begun)]
    )
    new = run_inline(Blank(), client=client, container="new")

    assert begun == ["end"]
    assert [task.name for task in old.tasks] == ["source", "use[  ]", "end"]
    assert [task.name for task in new.tasks] == ["source", "use[0]", "end"]


def note_starts(begun: list[str]) -> Listener:
    """Return a listener that notes which tasks begin."""

    def hear(event: Event) -> None:
        after = event.after if isinstance(event, TaskChanged) else None
        if after is not None and after.status is Status.RUNNING:
            begun.append(after.name)

    return hear
