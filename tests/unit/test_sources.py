"""What waits for what, item by item, and what was made from results that are others now."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core import transitions
from ptsflow.core.counts import tallies_of
from ptsflow.core.forecast import forecast
from ptsflow.core.model import Cause, ContainerRecord, Status, Tally, TaskRecord
from ptsflow.core.resume import new_task, resume
from ptsflow.core.sources import behind, combined, doubted, judged, outdated
from ptsflow.core.texts import hash_of
from ptsflow.workflow.compile import plan_of
from tests.support.cost import IN_PROPORTION, growth


class Lab(Workflow):
    @step
    def samples(self) -> None: ...

    @step(each=samples)
    def measure(self, sample: str) -> None: ...

    @step(each=measure)
    def weigh(self, measured: int, samples: list[str]) -> None: ...

    @step
    def join(self, weigh: list[int], samples: list[str]) -> None: ...

    @step(each=samples)
    def print_label(self, sample: str, join: int) -> None: ...

    @step(after=())
    def alone(self) -> None: ...

    @step(always=True)
    def clean_up(self, join: int) -> None: ...


PLAN = plan_of(Lab)
STEPS = PLAN.summary()


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        (
            "measure",
            "A",
            {"weigh": "A", "join": None, "print_label": None, "clean_up": None},
        ),
        ("print_label", "A", {"clean_up": None}),
        ("join", None, {"print_label": None, "clean_up": None}),
        ("clean_up", None, {}),
        ("gone", None, {}),
    ],
)
def test_what_waits_for_a_step_or_an_item(
    name: str, key: str | None, expected: dict[str, str | None]
) -> None:
    assert behind(STEPS, name, key) == expected


def done(name: str, result: int | None, *sources: int, key: str | None = None) -> Any:
    """Return a task that is done, made from what hands on these hashes."""
    place = PLAN.by_name[name]
    index = "ABC".index(key) if key else 0
    return replace(
        new_task(place, fence=1, key=key, index=index),
        status=Status.DONE,
        result_hash=result or 0,
        made_from=combined(sources) if sources else 0,
    )


def lab() -> list[TaskRecord]:
    """Return the tasks of a lab that is complete, by position."""
    return [
        done("samples", 100),
        done("measure", 11, 1, key="A"),
        done("measure", 12, 2, key="B"),
        done("weigh", 21, 11, 100, key="A"),
        done("weigh", 22, 12, 100, key="B"),
        done("join", 31, 100, combined([21, 22])),
    ]


def names(tasks: list[TaskRecord]) -> list[str]:
    return outdated(STEPS, tasks)


@pytest.mark.parametrize(
    ("place", "fields", "expected"),
    [
        pytest.param(0, {}, [], id="nothing changed"),
        pytest.param(1, {"result_hash": 9}, ["weigh[A]"], id="another item before it"),
        pytest.param(4, {"result_hash": 9}, ["join"], id="another item of a list"),
        pytest.param(4, {"status": Status.FAILED}, ["join"], id="an item is missing"),
        pytest.param(
            0, {"result_hash": 9}, ["weigh[A]", "weigh[B]", "join"], id="another list"
        ),
        pytest.param(0, {"status": Status.PENDING}, [], id="a source is to run again"),
        pytest.param(5, {"made_from": 0}, [], id="made before hashes were kept"),
        pytest.param(5, {"made_from": -1}, [], id="and its source was reset"),
        pytest.param(5, {"made_from": 7}, ["join"], id="made from something else"),
        pytest.param(5, {"made_from": -7}, ["join"], id="and in doubt"),
        pytest.param(
            3,
            {"made_from": 7, "status": Status.SKIPPED, "cause": Cause.BODY},
            ["weigh[A]", "join"],
            id="it skipped itself",
        ),
    ],
)
def test_what_was_made_from_other_results_than_its_sources_have(
    place: int, fields: dict[str, Any], expected: list[str]
) -> None:
    tasks = lab()
    tasks[place] = replace(tasks[place], **fields)

    assert names(tasks) == expected


@given(
    tasks=st.tuples(
        *(
            st.builds(
                replace,
                st.just(task),
                status=st.sampled_from([Status.DONE, Status.DONE, *Status]),
                made_from=st.sampled_from([task.made_from, task.made_from, 7, 0, -1]),
                result_hash=st.sampled_from([task.result_hash, 9]),
            )
            | st.none()
            for task in lab()
        )
    )
)
@settings(max_examples=300)
def test_what_is_outdated_is_told_by_the_tasks_of_some_steps(
    tasks: tuple[TaskRecord | None, ...],
) -> None:
    stored = [task for task in tasks if task is not None]
    steps = judged(STEPS, tallies_of(stored))
    known = {name for step in steps for name in (step.name, *step.takes)}
    read = [task for task in stored if task.step in known]

    assert outdated(STEPS, read, steps) == outdated(STEPS, stored)


def test_where_no_results_are_taken_no_tasks_are_looked_at() -> None:
    tallies = tallies_of(lab())
    again = [Tally("samples", Status.PENDING, 1, 0.0), *tallies[1:]]

    assert [step.name for step in judged(STEPS, tallies)] == ["weigh", "join"]
    assert judged(STEPS, [t for t in tallies if t.step != "join"])[-1].name == "weigh"
    assert judged(STEPS, again) == []


def test_a_source_whose_own_sources_were_not_read_is_not_outdated() -> None:
    class Sums(Workflow):
        @step
        def numbers(self) -> None: ...

        @step(each=numbers)
        def square(self, number: int) -> None: ...

        @step
        def total(self, square: list[int]) -> None: ...

        @step
        def report(self, total: int) -> None: ...

    plan = plan_of(Sums).summary()
    total = TaskRecord(name="total", step="total", status=Status.DONE, made_from=5)
    report = TaskRecord(name="report", step="report", status=Status.DONE, made_from=2)
    square = TaskRecord(name="square[0]", step="square", key="0")
    steps = judged(plan, tallies_of([square, total, report]))

    assert [step.name for step in steps] == ["report"]
    assert outdated(plan, [total, report], steps) == []


def test_a_plan_that_was_kept_without_sources_tells_of_nothing() -> None:
    plan = [replace(step, takes=()) for step in STEPS]

    assert outdated(plan, [replace(lab()[5], made_from=7)]) == []


def test_a_forecast_tells_what_is_in_doubt_and_what_is_outdated() -> None:
    tasks = lab()
    tasks[1] = replace(tasks[1], result_hash=9)
    tasks[4] = doubted(replace(tasks[4], made_from=7), fence=1)
    tasks[5] = doubted(tasks[5], fence=1)
    container = ContainerRecord(uid="1", name="lab", plan=STEPS)
    foreseen = forecast(PLAN, tasks, resume(PLAN, container, tasks, now=1))

    assert [tuple(getattr(entry, n) for n in ("name", "action")) for entry in foreseen][
        3:6
    ] == [("weigh[A]", "skip"), ("weigh[B]", "run"), ("join", "check")]
    assert [entry.reason for entry in foreseen[3:6]] == [
        "made from other results than its sources have now; reset it to run it again",
        "made from other results than its sources have now, as a source was reset",
        "a source was reset: run again if other results come of it",
    ]


@pytest.mark.parametrize("event", ["reset", "reopen", "skip", "settle"])
def test_a_task_without_its_result_has_no_hash_of_it(event: str) -> None:
    status = {"reset": Status.DONE, "skip": Status.PENDING}.get(event, Status.FAILED)
    task = TaskRecord(name="a", status=status, result_hash=5, made_from=-7)
    after = {
        "reset": lambda: transitions.reset(task, fence=1),
        "reopen": lambda: transitions.reopen(task, fence=1),
        "skip": lambda: transitions.skip(
            task, now=1, fence=1, cause=Cause.FINISH, why=""
        ),
        "settle": lambda: transitions.settle(task, now=1, fence=1),
    }[event]()

    assert after.result_hash == 0
    assert after.made_from == (0 if event in ("reset", "reopen") else -7)


def test_hashes_tell_texts_apart_and_fit_into_64_bits() -> None:
    texts = ["1", "2", "[]", '""', "x" * 8 * 2**20]
    hashes = [hash_of(text) for text in texts]

    assert len({0, *hashes}) == 6
    assert max(hashes) < 2**63
    assert hash_of(None) == hash_of("null") == 0
    assert combined([1, 2]) not in {combined([2, 1]), combined([3]), combined([])}
    assert 0 not in {combined([]), combined([0])}


def test_items_that_are_given_a_joined_list_are_looked_at_in_proportion() -> None:
    def look(count: int) -> None:
        tasks = [done("samples", 100)]
        for name in ("measure", "weigh"):
            place = PLAN.by_name[name]
            tasks += [
                replace(
                    new_task(place, fence=1, key=str(n), index=n),
                    status=Status.DONE,
                    made_from=7,
                )
                for n in range(count)
            ]
        assert len(outdated(STEPS, tasks)) == count

    assert growth(look, 500) < IN_PROPORTION
