"""What steps return is handed over by name, and is made anew for each body."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Status, TaskHandle, Workflow, codec, step
from ptsflow.errors import DeclarationError, FrozenWorkflow
from tests.api.conftest import main_stores
from tests.api.runs.flows import Base, Derived, FeedFile

# -- values ---------------------------------------------------------------------------


@main_stores
def test_results_are_handed_over_by_name(url: str, name: str) -> None:
    received: list[Any] = []

    class Values(Workflow):
        @step
        def files(self) -> list[FeedFile]:
            return [FeedFile("a", 1, {"x"}), FeedFile("b", 2**70)]

        @step
        def scalars(self) -> dict[str, Any]:
            return {
                "at": datetime(2011, 9, 30, 1, 2, 3, 4, tzinfo=UTC),
                "sum": (Decimal("1.10"), b"\0", None, frozenset({1})),
                "path": Path("a/b"),
            }

        @step
        def use(self, scalars: dict[str, Any], files: list[FeedFile]) -> int:
            received.extend([scalars, files])
            return 1

    report = ptsflow.run(Values(), url, name)
    scalars, files = received

    assert files == [FeedFile("a", 1, {"x"}), FeedFile("b", 2**70)]
    assert scalars == {
        "at": datetime(2011, 9, 30, 1, 2, 3, 4, tzinfo=UTC),
        "sum": (Decimal("1.10"), b"\0", None, frozenset({1})),
        "path": Path("a/b"),
    }
    assert report.result("files") == files
    assert report.result("scalars") == scalars
    assert report.tasks[0].result == files


def test_what_one_body_does_to_a_value_no_other_body_sees(url: str) -> None:
    original = {"list": [1]}
    seen: list[Any] = []

    class Mutating(Workflow):
        @step
        def value(self) -> dict[str, list[int]]:
            return original

        @step
        def spoil(self, value: dict[str, list[int]]) -> None:
            original["list"].append(2)
            value["list"].append(3)

        @step(retry=ptsflow.Retry(1, delay=0))
        def use(self, value: dict[str, list[int]]) -> None:
            seen.append(list(value["list"]))
            value["list"].append(4)
            if len(seen) == 1:
                raise OSError("once more")

    report = ptsflow.run(Mutating(), url)

    assert report.ok
    assert seen == [[1], [1]]
    assert report.result("value") == {"list": [1]}


#: A value of each kind that a body can change.
CHANGEABLE: Any = {
    "flat": list(range(1_000)),
    "deep": {"list": [[1], ({"a": {2}},)], "again": [{"b": []}]},
}


class Spoiling(Workflow):
    """Items that change whatever they are given, and tell what they were given."""

    @step
    def table(self) -> dict[str, Any]:
        return dict(CHANGEABLE)

    @step
    def files(self) -> list[FeedFile]:
        return [FeedFile(f"a file of a long name {n}", n, {"x"}) for n in range(50)]

    @step
    def numbers(self) -> list[int]:
        return list(range(9))

    @step(each=numbers)
    def part(self, number: int) -> list[str]:
        return [f"{number} of a part", "more" * 50]

    @step(each=part)
    def spoil(
        self,
        own: list[str],
        table: dict[str, Any],
        files: list[FeedFile],
        part: list[list[str]],
    ) -> str:
        seen = repr((table, files, part))
        table["flat"].append("spoilt")
        table["deep"]["list"][0].append("spoilt")
        table["deep"]["list"][1][0]["a"].add("spoilt")
        table["deep"]["again"][0]["b"].append("spoilt")
        table["more"] = own
        files[0].tags.add("spoilt")
        files[1].size = -1
        files.pop()
        part[0].append("spoilt")
        part.pop()
        return seen


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_an_item_does_to_a_value_no_other_item_sees(
    url: str, executor: str
) -> None:
    report = ptsflow.run(Spoiling(), url, jobs=2, executor=executor)
    files = report.result("files")
    given = (CHANGEABLE, files, report.result("part"))

    assert report.ok
    assert report.result("spoil") == [repr(given)] * 9


def test_a_value_for_many_items_is_read_twice_at_the_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = {f"key {number}": number for number in range(1_000)}
    read: list[str] = []
    decode = codec.decode

    def counting(text: str, hint: object = Any) -> Any:
        read.append(text)
        return decode(text, hint)

    class Joining(Workflow):
        @step
        def table(self) -> dict[str, int]:
            return large

        @step
        def items(self) -> list[int]:
            return list(range(20))

        @step(each=items)
        def use(self, item: int, table: dict[str, int]) -> int:
            return table[f"key {item}"]

    monkeypatch.setattr(codec, "decode", counting)
    report = ptsflow.run(Joining(), "memory:")
    monkeypatch.undo()

    assert report.result("use") == list(range(20))
    assert read.count(codec.encode(large)) == 2


def test_a_step_sees_what_a_resumed_run_would_show_it(url: str) -> None:
    class Odd(Workflow):
        @step
        def pair(self) -> tuple[int, ...]:
            return (1, 2)

        @step
        def kind(self, pair: tuple[int, ...]) -> str:
            return type(pair).__name__

    assert ptsflow.run(Odd(), url).result("kind") == "tuple"


def test_large_results_are_read_from_the_store_when_needed(url: str) -> None:
    class Large(Workflow):
        @step
        def text(self) -> str:
            return "é" * 3_000_000

        @step
        def length(self, text: str) -> int:
            return len(text)

        @step
        def again(self, text: str, length: int) -> bool:
            return len(text) == length

    report = ptsflow.run(Large(), url)

    assert (report.result("length"), report.result("again")) == (3_000_000, True)


def test_async_steps_are_awaited(url: str) -> None:
    class Async(Workflow):
        @step
        async def first(self) -> int:
            await asyncio.sleep(0)
            return 1

        @step(retry=0)
        async def second(self, first: int, task: TaskHandle) -> int:
            both = await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, first))
            task.progress(1, 2)
            return sum(both)

        @step
        async def third(self) -> None:
            raise ptsflow.Skip("not today")

    report = ptsflow.run(Async(), url)

    assert report.ok
    assert report.result("second") == 2
    assert report.tasks[2].status is Status.SKIPPED


# -- workflow objects -----------------------------------------------------------------


def test_an_overridden_step_keeps_its_place_and_added_ones_come_after(url: str) -> None:
    report = ptsflow.run(Derived(greeting="hi"), url)

    assert [task.name for task in report.tasks] == ["first", "second", "third", "tidy"]
    assert report.result("third") == "HI FROM DERIVED" * 2
    assert report.container == "Derived:greeting=hi,times=2"


def test_an_overridden_step_can_call_the_one_it_overrides(url: str) -> None:
    class Calling(Base):
        @step
        def first(self) -> str:
            return super().first() + "!"

    assert ptsflow.run(Calling(), url).result("second") == "HELLO FROM BASE!"


def test_a_step_is_a_plain_method_outside_a_run() -> None:
    flow = Derived(greeting="hi", times=3)

    assert flow.first() == "hi from derived"
    assert flow.third("x") == "xxx"


def test_assigning_to_self_fails_the_step_with_advice(url: str) -> None:
    class Assigning(Workflow):
        @step
        def remember(self) -> None:
            self.found = 5

    report = ptsflow.run(Assigning(), url)

    assert not report.ok
    assert report.tasks[0].invoke_count == 1
    assert str(report.tasks[0].error).startswith(
        "FrozenWorkflow: Assigning.found: a workflow object is frozen, as a resumed run "
        "could not know what a step put there; return the value from the step, and take "
        "it in a later one by a parameter named like the step (test_run_values.py:"
    )


def test_assigning_to_a_workflow_object_is_refused() -> None:
    with pytest.raises(FrozenWorkflow):
        Base().greeting = "x"
    with pytest.raises(FrozenWorkflow):
        del Base().greeting


def test_the_container_is_named_by_the_template(url: str) -> None:
    class Hourly(Workflow):
        container = "epf:{hour:%Y%m%dT%H}"
        hour: datetime

        @step
        def nothing(self) -> None: ...

    report = ptsflow.run(Hourly(hour=datetime(2011, 9, 30, 13, tzinfo=UTC)), url)

    assert report.container == "epf:20110930T13"


def test_a_workflow_without_steps_is_refused_and_leaves_no_container(url: str) -> None:
    class Nothing(Workflow):
        pass

    with pytest.raises(DeclarationError):
        ptsflow.run(Nothing(), url)

    with ptsflow.connect(url) as client:
        assert client.get_task_container("Nothing") is None


# -- handles --------------------------------------------------------------------------


def test_a_body_knows_its_task(url: str, name: str) -> None:
    seen: list[tuple[object, ...]] = []

    class Knowing(Workflow):
        @step
        def files(self, task: TaskHandle) -> list[str]:
            seen.append((task.name, task.key, task.attempt, task.idempotency_key))
            seen.append((task.fence, task.cancelled, task.processing_data))
            return ["a"]

        @step(each=files)
        def load(self, _file: str, task: TaskHandle) -> None:
            seen.append((task.name, task.key, task.attempt, task.idempotency_key))

    ptsflow.run(Knowing(), url, name)

    assert seen == [
        ("files", None, 1, f"{name}/files"),
        (1, False, None),
        ("load[a]", "a", 1, f"{name}/load[a]"),
    ]


def test_the_fence_grows_with_every_run(url: str) -> None:
    fences: list[int] = []

    class Fenced(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            fences.append(task.fence)

    for _ in range(3):
        ptsflow.run(Fenced(), url, from_step="work")

    assert fences == [1, 2, 3]


def test_a_handle_logs_with_the_name_of_its_task(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Logging(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            task.log.warning("half of %d", 10)

    ptsflow.run(Logging(), url, name)
    (record,) = caplog.records

    assert (record.name, record.getMessage()) == ("ptsflow.task", "half of 10")
    assert vars(record)["task"] == f"{name}/work"
