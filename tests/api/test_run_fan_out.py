"""Fan-out: a task for each element of a list, chains behind it, joins in front of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import ptsflow
from ptsflow import Retry, Skip, Status, TaskHandle, Workflow, step
from tests.api.conftest import main_stores
from tests.api.test_run import PATIENCE, FeedFile

ONCE_MORE = Retry(1, delay=0)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Have all of these on SQLite, unless a test says otherwise."""
    return getattr(request, "param", "sqlite")


@dataclass
class Part:
    of: FeedFile
    number: int


# -- items ---------------------------------------------------------------------------


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
            "use: the key of item 0 of source must be a non-empty str or an int, found "
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
            'use: each=source needs a list from source, found "abc"; return a list '
            "there",
            id="no list",
        ),
        pytest.param(
            [1],
            lambda item: item.nothing,
            "AttributeError: 'int' object has no attribute 'nothing'",
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


@pytest.mark.parametrize(
    "source_ends",
    [
        pytest.param(lambda: [], id="an empty list"),
        pytest.param(lambda: _skip(), id="a skipped step"),
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


def _skip() -> list[int]:
    raise Skip("nothing there")


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


# -- chains and joins ----------------------------------------------------------------


def test_a_chain_goes_item_by_item_without_a_barrier(url: str) -> None:
    first_is_through = threading.Event()

    class Chain(Workflow):
        @step
        def names(self) -> list[str]:
            return ["quick", "slow"]

        @step(each=names)
        def download(self, name: str) -> str:
            if name == "slow":
                assert first_is_through.wait(PATIENCE)
            return name.upper()

        @step(each=download)
        def unpack(self, archive: str) -> str:
            return f"{archive}!"

        @step(each=unpack)
        def load(self, table: str, task: TaskHandle) -> str:
            first_is_through.set()
            return f"{task.name} {table}"

        @step
        def join(self, load: list[str]) -> list[str]:
            return load

    report = ptsflow.run(Chain(), url, jobs=2)

    assert report.result("join") == ["load[quick] QUICK!", "load[slow] SLOW!"]


def test_a_join_waits_for_all_items(url: str) -> None:
    ended: list[int] = []

    class Join(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(20))

        @step(each=numbers)
        def square(self, number: int) -> int:
            ended.append(number)
            return number * number

        @step(after=square)
        def count(self) -> int:
            return len(ended)

        @step(after=())
        def total(self, square: list[int]) -> int:
            return sum(square) + len(ended)

    report = ptsflow.run(Join(), url, jobs=4)

    assert report.result("count") == 20
    assert report.result("total") == sum(n * n for n in range(20)) + 20


def test_an_item_may_also_take_whole_results(url: str) -> None:
    class Both(Workflow):
        @step
        def factor(self) -> int:
            return 10

        @step
        def numbers(self) -> list[int]:
            return [1, 2]

        @step(each=numbers)
        def times(self, number: int, factor: int, numbers: list[int]) -> int:
            return number * factor + len(numbers)

        @step(each=times)
        def share(self, one: int, times: list[int]) -> float:
            return one / sum(times)

    report = ptsflow.run(Both(), url)

    assert report.result("times") == [12, 22]
    assert report.result("share") == [12 / 34, 22 / 34]


def test_two_steps_fan_out_over_one_list(url: str) -> None:
    class Two(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2]

        @step(each=numbers)
        def double(self, number: int) -> int:
            return number * 2

        @step(each=numbers, key=lambda number: f"n{number}")
        def negate(self, number: int) -> int:
            return -number

    report = ptsflow.run(Two(), url)

    assert [task.name for task in report.tasks][1:] == [
        "double[1]",
        "double[2]",
        "negate[n1]",
        "negate[n2]",
    ]


def test_what_one_item_does_to_its_element_no_other_attempt_sees(url: str) -> None:
    seen: list[list[int]] = []

    class Mutating(Workflow):
        @step
        def lists(self) -> list[list[int]]:
            return [[1]]

        @step(each=lists, retry=ONCE_MORE)
        def use(self, numbers: list[int]) -> None:
            seen.append(list(numbers))
            numbers.append(2)
            if len(seen) == 1:
                raise OSError("once more")

    assert ptsflow.run(Mutating(), url).ok
    assert seen == [[1], [1]]


# -- limits --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
def test_never_more_items_than_the_limit_run_at_once(url: str, limit: int) -> None:
    lock = threading.Lock()
    running: list[int] = []
    most = 0
    failed: set[int] = set()

    class Limited(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(40))

        @step(each=numbers, limit=limit, retry=Retry(1, delay=0.01, jitter=0))
        def use(self, number: int) -> None:
            nonlocal most
            with lock:
                running.append(number)
                most = max(most, len(running))
            time.sleep(0.001)
            with lock:
                running.remove(number)
            if number % 5 == 0 and number not in failed:
                failed.add(number)
                raise OSError("once more")

    report = ptsflow.run(Limited(), url, jobs=8)

    assert report.ok
    assert most == limit
    assert failed == set(range(0, 40, 5))


def test_a_limited_step_leaves_room_for_others(url: str) -> None:
    free_ran = threading.Event()

    class Mixed(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(10))

        @step(each=numbers, limit=1)
        def limited(self, number: int) -> None:
            assert free_ran.wait(PATIENCE)

        @step(each=numbers)
        def free(self, number: int) -> None:
            free_ran.set()

    assert ptsflow.run(Mixed(), url, jobs=2).ok


# -- failures that are accepted ------------------------------------------------------


def tolerant(
    tolerate: int | str, bad: Sequence[int], count: int = 10
) -> type[Workflow]:
    class Tolerant(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(count))

        @step(each=numbers, tolerate=tolerate, retry=0)
        def use(self, number: int) -> int:
            if number in bad:
                raise OSError(f"no {number}")
            return number

        @step(each=use)
        def chained(self, before: int) -> int:
            return -before

        @step
        def join(self, use: list[int], chained: list[int]) -> list[list[int]]:
            return [use, chained]

    return Tolerant


@pytest.mark.parametrize(
    ("tolerate", "bad", "ok"),
    [
        pytest.param(2, [1, 5], True, id="two of two"),
        pytest.param(1, [1, 5], False, id="two of one"),
        pytest.param("20%", [1, 5], True, id="a share"),
        pytest.param("19%", [1, 5], False, id="over a share"),
        pytest.param("100%", list(range(10)), True, id="all of all"),
    ],
)
def test_so_many_items_may_fail(
    url: str, tolerate: int | str, bad: list[int], *, ok: bool
) -> None:
    report = ptsflow.run(tolerant(tolerate, bad)(), url, jobs=3)
    good = [number for number in range(10) if number not in bad]
    statuses = {task.name: task.status for task in report.tasks}

    assert report.ok is ok
    assert report.failed == [f"use[{number}]" for number in bad]
    assert report.result("use") == good
    assert report.result("chained") == [-number for number in good]
    assert report.result("join") == ([good, [-n for n in good]] if ok else None)
    assert {statuses[f"chained[{number}]"] for number in bad} == (
        {Status.SKIPPED} if ok else {Status.PENDING}
    )


def test_items_behind_a_skipped_one_are_skipped(url: str) -> None:
    class Skipping(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2, 3]

        @step(each=numbers)
        def use(self, number: int) -> int:
            if number == 2:
                raise Skip("two is not needed")
            return number

        @step(each=use)
        def chained(self, before: int) -> int:
            return -before

        @step
        def join(self, use: list[int], chained: list[int]) -> list[list[int]]:
            return [use, chained]

    report = ptsflow.run(Skipping(), url)
    tasks = {task.name: task for task in report.tasks}

    assert report.result("join") == [[1, 3], [-1, -3]]
    assert (tasks["use[2]"].status, tasks["use[2]"].status_text) == (
        "skipped",
        "two is not needed",
    )
    assert (tasks["chained[2]"].status, tasks["chained[2]"].status_text) == (
        "skipped",
        "use[2] has no result",
    )


def test_a_failed_item_stops_neither_the_other_items_nor_their_chains(url: str) -> None:
    report = ptsflow.run(tolerant(0, [3])(), url)
    statuses = {task.name: task.status for task in report.tasks}

    assert not report.ok
    assert statuses["use[3]"] == "failed"
    assert statuses["chained[3]"] == statuses["join"] == "pending"
    assert all(statuses[f"chained[{n}]"] == "done" for n in range(10) if n != 3)


# -- size ----------------------------------------------------------------------------


def test_20_000_items_take_seconds(url: str) -> None:
    class Wide(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(20_000))

        @step(each=numbers)
        def use(self, number: int) -> int:
            return number

        @step
        def total(self, use: list[int]) -> int:
            return sum(use)

    began = time.monotonic()
    report = ptsflow.run(Wide(), url, jobs=2)
    took = time.monotonic() - began

    assert report.result("total") == sum(range(20_000))
    assert took < 40, "2 ms an item at the most"


def test_2_000_steps_take_seconds(url: str) -> None:
    body: dict[str, Any] = {"__module__": __name__}
    for number in range(2_000):
        body[f"step_{number:04}"] = _numbered(number)
    long = type("Long", (Workflow,), body)
    began = time.monotonic()
    report = ptsflow.run(long(), url)
    took = time.monotonic() - began

    assert report.ok
    assert report.result("step_1999") == 1999
    assert took < 20, "10 ms a step at the most"


def _numbered(number: int) -> Any:
    def body(_self: Workflow) -> int:
        return number

    body.__name__ = f"step_{number:04}"
    return step(body)
