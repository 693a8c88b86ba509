"""What a new run makes of every state that earlier runs left, and what it foretells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any

import pytest
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core.forecast import Forecast, forecast
from ptsflow.core.model import Cause, ContainerRecord, Status, TaskRecord
from ptsflow.core.plan import Plan
from ptsflow.core.resume import STRIDE, Resumption, finisher, new_task, resume
from ptsflow.workflow.compile import plan_of
from tests.support.cost import IN_PROPORTION, growth

NOW, FENCE = 1_000_000, 7


def planned(**steps: Mapping[str, Any] | None) -> Plan:
    """Return the plan of these steps with these options, steps named by their names."""
    members: dict[str, Any] = {}
    for name, given in steps.items():
        options = dict(given or {})
        if "each" in options:
            options["each"] = members[options["each"]]
        code = compile(f"def {name}(self): return None", "made", "exec").co_consts[0]
        members[name] = step(**options)(FunctionType(code, {}, name))
    return plan_of(type("W", (Workflow,), members))


ALWAYS = {"always": True}
PLAIN = planned(a=None, b=None, c=None)
FAN = planned(a=None, b={"each": "a"}, c={"each": "b"}, d=None)
CLEAN = planned(a=None, b=None, x=ALWAYS)


def held(plan: Plan | None = None, **fields: Any) -> ContainerRecord:
    """Return a container that is held, as the last run with `plan` left it."""
    summary = () if plan is None else plan.summary()
    return ContainerRecord(uid="1", name="nightly", fence=FENCE, plan=summary, **fields)


def left(plan: Plan, states: str) -> list[TaskRecord]:
    """Return the tasks that runs of `plan` left: `a done, b[1] failed, c skipped/body`."""
    tasks = []
    for place, entry in enumerate(filter(None, states.split(", "))):
        name, _, state = entry.partition(" ")
        status, _, cause = state.partition("/")
        tasks.append(_left(plan, name, Status(status), Cause(cause), place))
    return tasks


def _left(
    plan: Plan, name: str, status: Status, cause: Cause, place: int
) -> TaskRecord:
    owner, bracket, rest = name.partition("[")
    key = rest.removesuffix("]") if bracket else None
    found = plan.by_name.get(owner)
    base = (
        TaskRecord(
            name=name, step=owner, key=key, position=9 * STRIDE + place, version=1
        )
        if found is None
        else new_task(found, fence=3, key=key, index=place if bracket else 0)
    )
    return replace(
        base,
        name=name,
        status=status,
        cause=cause,
        version=4,
        fence=6,
        attempt=0 if status is Status.PENDING else 1,
        invoke_count=0 if status is Status.PENDING else 1,
        began_at=NOW - 9_000,
        last_invoked_at=NOW - 9_000,
        due=NOW + 60_000 if status is Status.WAITING else None,
        error="OSError: away" if status in (Status.FAILED, Status.WAITING) else None,
        status_text="nothing new" if status is Status.SKIPPED else "",
    )


def states(resumption: Resumption) -> str:
    """Return how the tasks stand, by position: the way `left` reads it."""
    return ", ".join(
        f"{task.name} {task.status}{'/' if task.cause else ''}{task.cause}"
        for task in sorted(resumption.tasks.values(), key=lambda task: task.position)
    )


def resumed(
    plan: Plan, tasks: Iterable[TaskRecord], container: ContainerRecord | None = None
) -> Resumption:
    """Resume with `plan`, which the last run had as well."""
    return resume(plan, container or held(plan), tasks, now=NOW)


@pytest.mark.parametrize(
    ("plan", "before", "after"),
    [
        pytest.param(
            PLAIN, "", "a pending, b pending, c pending", id="nothing is stored"
        ),
        pytest.param(
            PLAIN,
            "a done, b pending, c pending",
            "a done, b pending, c pending",
            id="done is kept, pending too",
        ),
        pytest.param(
            PLAIN,
            "a done, b failed, c pending",
            "a done, b pending, c pending",
            id="failed is opened again",
        ),
        pytest.param(
            PLAIN,
            "a done, b waiting, c pending",
            "a done, b waiting, c pending",
            id="waiting goes on waiting",
        ),
        pytest.param(
            PLAIN,
            "a done, b running, c pending",
            "a done, b pending, c pending",
            id="running crashed",
        ),
        pytest.param(
            PLAIN,
            "a done, b skipped/body, c done",
            "a done, b skipped/body, c done",
            id="skipped by its body is kept",
        ),
        pytest.param(
            PLAIN,
            "a done/finish, b skipped/finish, c skipped/finish",
            "a done/finish, b skipped/finish, c skipped/finish",
            id="a finish holds",
        ),
        pytest.param(
            PLAIN,
            "a done, b skipped/finish, c skipped/finish",
            "a done, b pending, c pending",
            id="a finish whose mark was taken off holds no more",
        ),
        pytest.param(
            PLAIN,
            "a pending, b skipped/finish, c skipped/finish",
            "a pending, b pending, c pending",
            id="a finish that was reset holds no more",
        ),
        pytest.param(
            PLAIN,
            "a done, b skipped/removed, c done",
            "a done, b pending, c done",
            id="what was removed and is back is opened",
        ),
        pytest.param(
            FAN,
            "a done, b[1] failed, b[2] done, c[1] skipped/upstream, c[2] done, d done",
            "a done, b[1] pending, b[2] done, c[1] pending, c[2] done, d done",
            id="what is behind a failed item is opened with it",
        ),
        pytest.param(
            FAN,
            "a done, b[1] skipped/body, c[1] skipped/upstream, d done",
            "a done, b[1] skipped/body, c[1] skipped/upstream, d done",
            id="what is behind an item that its body skipped stays skipped",
        ),
        pytest.param(
            FAN,
            "a done, c[1] skipped/upstream, d done",
            "a done, c[1] pending, d done",
            id="what is behind an item that is gone is opened",
        ),
        pytest.param(
            planned(a=None, b={"each": "a"}, c={"each": "b"}, d={"each": "c"}),
            "a done, b[1] skipped/body, c[1] skipped/upstream, d[1] skipped/upstream",
            "a done, b[1] skipped/body, c[1] skipped/upstream, d[1] skipped/upstream",
            id="and so on along the chain",
        ),
        pytest.param(
            planned(a=None, b={"each": "a"}, c={"each": "b"}, d={"each": "c"}),
            "a done, b[1] failed, c[1] skipped/upstream, d[1] skipped/upstream",
            "a done, b[1] pending, c[1] pending, d[1] pending",
            id="or it is all opened",
        ),
        pytest.param(
            FAN,
            "a done, b failed",
            "a done, d pending",
            id="a fan-out that was refused is asked for its list again",
        ),
        pytest.param(
            CLEAN,
            "a done, b failed, x done",
            "a done, b pending, x pending",
            id="what always runs belongs to a run that has work",
        ),
        pytest.param(
            CLEAN,
            "a done, b done, x done",
            "a done, b done, x done",
            id="and not to one that has none",
        ),
        pytest.param(
            CLEAN,
            "a done, b done, x failed",
            "a done, b done, x pending",
            id="it is tried again by itself",
        ),
        pytest.param(
            CLEAN,
            "a done, b pending, x skipped/body",
            "a done, b pending, x pending",
            id="it runs again after it skipped itself",
        ),
        pytest.param(
            CLEAN,
            "a done/finish, b skipped/finish, x done",
            "a done/finish, b skipped/finish, x done",
            id="there is no work after a finish",
        ),
        pytest.param(
            CLEAN,
            "a done/finish, b running, x running",
            "a done/finish, b pending, x pending",
            id="a crash after a finish",
        ),
    ],
)
def test_each_stored_state_becomes(plan: Plan, before: str, after: str) -> None:
    tasks = left(plan, before)

    resumption = resumed(plan, tasks)

    assert states(resumption) == after
    _check_changes(tasks, resumption)


def _check_changes(tasks: list[TaskRecord], resumption: Resumption) -> None:
    """Every change is from what is stored, one version on, and under this fence."""
    stored = {task.name: task for task in tasks}
    for change in resumption.changes:
        if change.before is not None:
            assert stored[change.before.name] is change.before
        if change.after is not None:
            expected = 1 if change.before is None else change.before.version + 1
            assert change.after.version == expected
            assert change.after.fence == FENCE
            assert resumption.tasks[change.after.name] is change.after
    changed = {c.before.name for c in resumption.changes if c.before is not None}
    for name in stored.keys() - changed:
        assert resumption.tasks[name] is stored[name]


@pytest.mark.parametrize(
    ("plan", "before", "after"),
    [
        pytest.param(
            planned(a={"optional": True}, b=None, x=ALWAYS),
            "a failed, b done, x done",
            "a failed, b done, x done",
            id="optional",
        ),
        pytest.param(
            planned(a=None, b={"each": "a", "tolerate": 1}, c={"each": "b"}, x=ALWAYS),
            "a done, b[1] failed, b[2] done, c[1] skipped/upstream, c[2] done, x done",
            "a done, b[1] failed, b[2] done, c[1] skipped/upstream, c[2] done, x done",
            id="tolerated, with what is behind it",
        ),
        pytest.param(
            planned(a=None, b=None, x=ALWAYS),
            "a failed, b done/finish, x done",
            "a failed, b done/finish, x done",
            id="before a finish",
        ),
        pytest.param(
            planned(a={"optional": True}, b={"version": 2}, x=ALWAYS),
            "a failed, b done, x done",
            "a pending, b pending, x pending",
            id="not where something is to run again",
        ),
        pytest.param(
            planned(a=None, b={"each": "a", "tolerate": 0}, x=ALWAYS),
            "a done, b[1] failed, b[2] done, x done",
            "a done, b[1] pending, b[2] done, x pending",
            id="not where it is accepted no more",
        ),
    ],
)
def test_failures_that_a_complete_container_accepted_are_left(
    plan: Plan, before: str, after: str
) -> None:
    tasks = left(plan, before)

    resumption = resumed(plan, tasks, held(plan, status=Status.DONE))

    assert states(resumption) == after
    _check_changes(tasks, resumption)


def test_a_run_that_has_nothing_to_do_changes_nothing() -> None:
    tasks = left(FAN, "a done, b[1] skipped/body, c[1] skipped/upstream, d done")

    assert resumed(FAN, tasks).changes == []


def test_what_failed_gets_a_fresh_budget_and_keeps_what_it_saved() -> None:
    tasks = left(PLAIN, "a failed")
    tasks[0] = replace(tasks[0], attempt=4, invoke_count=9, processing_data="[3]")

    task = resumed(PLAIN, tasks).tasks["a"]

    assert (task.attempt, task.invoke_count, task.began_at) == (0, 9, None)
    assert (task.processing_data, task.error) == ("[3]", "OSError: away")


@pytest.mark.parametrize(
    ("attempt", "retries", "status"),
    [
        pytest.param(1, 0, Status.PENDING, id="a first crash"),
        pytest.param(2, 0, Status.FAILED, id="a second one without retries"),
        pytest.param(3, 3, Status.PENDING, id="within the budget"),
        pytest.param(4, 3, Status.FAILED, id="at its end"),
    ],
)
def test_a_crash_counts_within_the_budget_of_the_step_as_it_is_now(
    attempt: int, retries: int, status: Status
) -> None:
    plan = planned(a={"retry": retries}, b=None)
    tasks = left(plan, "a running")
    tasks[0] = replace(tasks[0], attempt=attempt, max_retries=99)

    task = resumed(plan, tasks).tasks["a"]

    assert (task.status, task.attempt) == (status, attempt)
    assert task.error == f"the runner died while it ran (attempt {attempt})"


@pytest.mark.parametrize(
    ("ended", "due"),
    [
        pytest.param(NOW - 9_000, NOW + 60_000, id="the clock went on"),
        pytest.param(NOW + 3_600_000, NOW + 30_000, id="it was set back by an hour"),
        pytest.param(None, NOW + 60_000, id="nobody knows when the attempt ended"),
    ],
)
def test_no_wait_is_longer_than_what_was_said_when_it_began(
    ended: int | None, due: int
) -> None:
    tasks = left(PLAIN, "a waiting")
    before = NOW + 60_000 if ended is None else max(ended + 30_000, NOW + 60_000)
    tasks[0] = replace(tasks[0], task_ended_at=ended, due=before)

    first = resumed(PLAIN, tasks)
    again = resume(PLAIN, held(PLAIN), first.tasks.values(), now=NOW + 10_000)

    assert (first.tasks["a"].due, again.tasks["a"].due) == (due, due)


def test_what_depends_on_a_change_is_changed_before_it() -> None:
    tasks = left(PLAIN, "a running, b failed, c failed")

    changes = resumed(PLAIN, tasks).changes

    assert [c.after.name for c in changes if c.after] == ["c", "b", "a"]


# -- a plan that changed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "stored", "plan", "after", "removed"),
    [
        pytest.param(
            PLAIN,
            "a done, b done, c done",
            planned(a=None, b=None, new=None, c=None),
            "a done, b done, new pending, c done",
            [],
            id="a step was added",
        ),
        pytest.param(
            PLAIN,
            "a done, b failed, c pending",
            planned(a=None, c=None),
            "a done, b failed, c pending",
            ["b"],
            id="a step was removed",
        ),
        pytest.param(
            PLAIN,
            "a done, b running, c pending",
            planned(a=None, c=None),
            "a done, b pending, c pending",
            ["b"],
            id="a step was removed while it ran",
        ),
        pytest.param(
            PLAIN,
            "a done, b done, c failed",
            planned(c=None, b=None, a=None),
            "c pending, b done, a done",
            [],
            id="steps were reordered",
        ),
        pytest.param(
            PLAIN,
            "a done, b done, c done",
            planned(a=None, better=None, c=None),
            "a done, b done, better pending, c done",
            ["b"],
            id="a step was renamed",
        ),
        pytest.param(
            PLAIN,
            "a done, b done, c done",
            planned(a=None, b={"each": "a"}, c=None),
            "a done, b done, c done",
            [],
            id="a done step fans out now: its items are not known yet",
        ),
        pytest.param(
            PLAIN,
            "a done, b failed, c pending",
            planned(a=None, b={"each": "a"}, c=None),
            "a done, c pending",
            [],
            id="a failed step fans out now: its record goes",
        ),
        pytest.param(
            FAN,
            "a done, b[1] done, b[2] failed, c[1] done, d pending",
            planned(a=None, b=None, d=None),
            "a done, b pending, b[1] done, d pending, c[1] done",
            ["c"],
            id="a fan-out is plain now: what is left of its items goes",
        ),
        pytest.param(
            PLAIN,
            "a done/finish, b skipped/finish, c skipped/finish",
            planned(a=None, b=None, c=None, d=None),
            "a done/finish, b skipped/finish, c skipped/finish, d pending",
            [],
            id="a step was added after a finish",
        ),
        pytest.param(
            planned(a=None, x=ALWAYS),
            "a done, x done",
            planned(a=None, b={"each": "a"}, x=ALWAYS),
            "a done, x pending",
            [],
            id="a fan-out was added: there may be work",
        ),
        pytest.param(
            planned(a=None, x=ALWAYS),
            "a done/finish, x done",
            planned(a=None, b={"each": "a"}, x=ALWAYS),
            "a done/finish, x done",
            [],
            id="a fan-out was added after a finish: there is none",
        ),
        pytest.param(
            planned(a=None, b={"each": "a"}, x=ALWAYS),
            "a done, b failed, x done",
            planned(a=None, b={"each": "a"}, x=ALWAYS),
            "a done, x pending",
            [],
            id="a fan-out was refused: there may be work",
        ),
    ],
)
def test_the_plan_may_have_changed(
    before: Plan, stored: str, plan: Plan, after: str, removed: list[str]
) -> None:
    tasks = left(before, stored)

    resumption = resume(plan, held(before), tasks, now=NOW)

    assert states(resumption) == after
    assert resumption.removed == removed
    _check_changes(tasks, resumption)


def test_steps_that_moved_take_their_items_with_them() -> None:
    tasks = left(FAN, "a done, b[1] done, b[2] done, d done")
    plan = planned(new=None, a=None, b={"each": "a"}, c={"each": "b"}, d=None)

    resumption = resume(plan, held(FAN), tasks, now=NOW)

    places = {name: task.position for name, task in resumption.tasks.items()}
    assert places == {
        "new": STRIDE,
        "a": 2 * STRIDE,
        "b[1]": 3 * STRIDE + 1,
        "b[2]": 3 * STRIDE + 2,
        "d": 5 * STRIDE,
    }
    _check_changes(tasks, resumption)


V2 = {"version": 2}


@pytest.mark.parametrize(
    ("plan", "stored", "after"),
    [
        pytest.param(
            planned(a=None, b=V2, c=None),
            "a done, b done, c done",
            "a done, b pending, c pending",
            id="it and what waits for it run again",
        ),
        pytest.param(
            planned(a=None, b={"version": 2, "parallel": True}, c={"parallel": True}),
            "a done, b done, c done",
            "a done, b pending, c done",
            id="not what runs beside it",
        ),
        pytest.param(
            planned(a=None, b=V2, c=None),
            "a done, b failed, c pending",
            "a done, b pending, c pending",
            id="what is not done runs anyway",
        ),
        pytest.param(
            planned(a=V2, b=None, x=ALWAYS),
            "a done/finish, b skipped/finish, x done",
            "a pending, b pending, x pending",
            id="a finish of an older version holds no more",
        ),
        pytest.param(
            planned(a=None, b=V2, c=None),
            "a done/finish, b done, c skipped/finish",
            "a done, b pending, c pending",
            id="another step's finish does not hold it back",
        ),
        pytest.param(
            planned(a=None, b={"each": "a", "version": 2}, c={"each": "b"}, d=None),
            "a done, b[1] done, b[2] skipped/body, c[1] done, d done",
            "a done, b[1] pending, b[2] pending, c[1] pending, d pending",
            id="every item",
        ),
        pytest.param(
            planned(a=V2, b=None),
            "a done, b running",
            "a pending, b pending",
            id="what was running below it starts afresh",
        ),
        pytest.param(
            planned(a=None, x={"always": True, "version": 2}),
            "a done, x done",
            "a done, x pending",
            id="what always runs, by itself",
        ),
    ],
)
def test_a_changed_version_runs_again(plan: Plan, stored: str, after: str) -> None:
    tasks = left(plan, stored)

    resumption = resumed(plan, tasks)

    assert states(resumption) == after
    _check_changes(tasks, resumption)


def test_a_version_that_was_recorded_is_not_run_again() -> None:
    plan = planned(a=V2, b=None)
    tasks = [replace(task, code_version=v) for task, v in zip(left(plan, "a done, b done"), ("2", ""), strict=True)]  # fmt: skip

    assert resumed(plan, tasks).changes == []


def test_a_version_says_nothing_of_a_record_from_before_it_fanned_out() -> None:
    plan = planned(a=None, b={"each": "a", "version": 2}, c=None)
    tasks = left(plan, "a done, b done, b[1] done, c done")
    tasks[2] = replace(tasks[2], code_version="2")

    assert resumed(plan, tasks).changes == []


@pytest.mark.parametrize(
    ("again", "after"),
    [
        pytest.param(["b"], "a done, b pending, x pending", id="the last"),
        pytest.param(["a"], "a pending, b pending, x pending", id="the first"),
        pytest.param(["x"], "a done, b done, x pending", id="what always runs"),
        pytest.param([], "a done, b done, x done", id="none"),
    ],
)
def test_a_person_may_want_a_step_run_again(again: list[str], after: str) -> None:
    tasks = left(CLEAN, "a done, b done, x done")

    resumption = resume(CLEAN, held(CLEAN), tasks, now=NOW, again=again)

    assert states(resumption) == after
    _check_changes(tasks, resumption)


def test_running_a_step_again_forgets_what_it_saved_but_not_its_invocations() -> None:
    tasks = [replace(left(PLAIN, "a running")[0], processing_data="[3]", attempt=4)]

    task = resume(PLAIN, held(PLAIN), tasks, now=NOW, again=["a"]).tasks["a"]

    assert (task.status, task.attempt, task.processing_data) == (
        Status.PENDING,
        0,
        None,
    )
    assert (task.invoke_count, task.error) == (1, None)


def test_a_step_that_never_ran_is_fresh_already() -> None:
    tasks = left(PLAIN, "a pending, b pending, c pending")

    assert resume(PLAIN, held(PLAIN), tasks, now=NOW, again=["a"]).changes == []


# -- what clients did ------------------------------------------------------------------


def a_client_s(name: str, status: Status, **fields: Any) -> TaskRecord:
    """Return a task that a client added."""
    return TaskRecord(name=name, position=0, version=3, status=status, **fields)


def test_a_client_s_own_tasks_are_left_alone() -> None:
    own = a_client_s("mine", Status.RUNNING, leased_till=NOW + 1)

    resumption = resumed(PLAIN, [own])

    assert resumption.tasks["mine"] is own
    assert resumption.removed == []


@pytest.mark.parametrize(
    ("name", "status", "after"),
    [
        pytest.param("a", Status.DONE, Status.DONE, id="done"),
        pytest.param("a", Status.PENDING, Status.PENDING, id="pending"),
        pytest.param("a", Status.RUNNING, Status.PENDING, id="checked out"),
        pytest.param("b[x]", Status.DONE, Status.DONE, id="an item"),
    ],
)
def test_a_task_that_a_client_named_like_a_step_is_the_step_s(
    name: str, status: Status, after: Status
) -> None:
    tasks = [a_client_s(name, status)]

    resumption = resumed(FAN, tasks)

    task = resumption.tasks[name]
    assert (task.step, task.key) == (name[0], "x" if "[" in name else None)
    assert task.status is after
    assert task.position // STRIDE == FAN.by_name[name[0]].index + 1
    _check_changes(tasks, resumption)


@pytest.mark.parametrize("name", ["b", "a[x]", "zzz[x]"])
def test_a_client_s_task_of_another_shape_is_no_step_s(name: str) -> None:
    tasks = [a_client_s(name, Status.DONE)]

    assert resumed(FAN, tasks).tasks[name] is tasks[0]


def test_a_task_that_a_client_renamed_with_its_step_is_kept() -> None:
    done = replace(left(PLAIN, "b done")[0], name="better")
    plan = planned(a=None, better=None, c=None)

    task = resume(plan, held(PLAIN), [done], now=NOW).tasks["better"]

    assert (task.status, task.step) == (Status.DONE, "better")


@pytest.mark.parametrize("key", ["y", "", None])
def test_an_item_whose_key_is_not_that_of_its_name_goes_by_its_name(
    key: str | None,
) -> None:
    done = a_client_s("b[x]", Status.DONE, step="b", key=key)

    task = resumed(FAN, [done]).tasks["b[x]"]

    assert (task.status, task.key) == (Status.DONE, "x")


# -- the task that finished ------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("a done, b done/finish, c skipped/finish", "b"),
        ("a done, b skipped/finish", None),
        ("", None),
    ],
)
def test_the_finisher_is_found(stored: str, expected: str | None) -> None:
    found = finisher(left(PLAIN, stored))

    assert (None if found is None else found.name) == expected


# -- forecasts ----------------------------------------------------------------------------


def foreseen(
    plan: Plan, tasks: list[TaskRecord], again: Iterable[str] = ()
) -> list[tuple[str, str, str]]:
    """Return what is foretold, task by task."""
    resumption = resume(plan, held(plan), tasks, now=NOW, again=again)
    return [
        (line.name, line.action, line.reason)
        for line in forecast(plan, tasks, resumption, list(again))
    ]


def test_a_forecast_of_a_new_container() -> None:
    assert foreseen(planned(a=None, b={"each": "a"}, x=ALWAYS), []) == [
        ("a", "run", "not run yet"),
        ("b", "run", "for each item of a"),
        ("x", "run", "not run yet"),
    ]


@pytest.mark.parametrize(
    ("stored", "fields", "expected"),
    [
        pytest.param("a done", {}, ("skip", "done: its result is kept"), id="done"),
        pytest.param(
            "a skipped/body", {}, ("skip", "skipped: nothing new"), id="skipped"
        ),
        pytest.param(
            "a skipped/body",
            {"status_text": ""},
            ("skip", "skipped: -"),
            id="skipped without a word",
        ),
        pytest.param("a pending", {}, ("run", "not run yet"), id="pending"),
        pytest.param(
            "a pending",
            {"invoke_count": 1},
            ("run", "it was reset"),
            id="reset",
        ),
        pytest.param(
            "a pending",
            {"invoke_count": 1, "task_ended_at": NOW},
            ("run", "it was stopped"),
            id="stopped",
        ),
        pytest.param(
            "a pending",
            {"invoke_count": 1, "error": "OSError: away"},
            ("run", "failed before: OSError: away"),
            id="given a new budget",
        ),
        pytest.param(
            "a pending",
            {"invoke_count": 1, "error": "it crashed", "task_ended_at": NOW},
            ("run", "it crashed"),
            id="pending after a crash",
        ),
        pytest.param(
            "a failed", {}, ("retry", "failed before: OSError: away"), id="failed"
        ),
        pytest.param(
            "a waiting", {}, ("retry", "failed before: OSError: away"), id="waiting"
        ),
        pytest.param(
            "a waiting",
            {"error": None, "status_text": "not posted yet"},
            ("retry", "put off before: not posted yet"),
            id="put off",
        ),
        pytest.param(
            "a running",
            {},
            ("run", "it was running when the runner was killed"),
            id="running",
        ),
        pytest.param(
            "a running",
            {"attempt": 4},
            ("skip", "failed: the runner died while it ran (attempt 4)"),
            id="running, for the last time",
        ),
    ],
)
def test_a_forecast_of_each_state(
    stored: str, fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    tasks = left(PLAIN, stored)
    tasks[0] = replace(tasks[0], **fields)

    assert foreseen(PLAIN, tasks)[0] == ("a", *expected)


def test_a_forecast_of_steps_to_run_again() -> None:
    tasks = left(CLEAN, "a done, b done, x done")

    assert foreseen(CLEAN, tasks, again=["b"]) == [
        ("a", "skip", "done: its result is kept"),
        ("b", "run", "run again, as asked for"),
        ("x", "run", "it always runs"),
    ]
    assert foreseen(PLAIN, left(PLAIN, "a done, b done"), again=["a"])[:2] == [
        ("a", "run", "run again, as asked for"),
        ("b", "run", "a step before it runs again"),
    ]


def test_a_forecast_tells_changed_code_and_a_changed_version_from_each_other() -> None:
    plan = planned(a=None, b={"version": "2"})
    a, b = left(plan, "a done, b done")
    other = plan.by_name["a"].code_hash + "0"
    tasks = [replace(a, code_hash=other), replace(b, code_version="1")]

    assert foreseen(plan, tasks, again=["a"]) == [
        ("a", "run", "its code changed since it ran"),
        ("b", "run", "its version= changed"),
    ]


def test_a_forecast_after_a_finish() -> None:
    plan = planned(a=None, b=None, c={"each": "a"}, d=None, x=ALWAYS)
    tasks = left(plan, "a done/finish, b running, x pending")

    assert foreseen(plan, tasks) == [
        ("a", "skip", "done: its result is kept"),
        ("b", "skip", "a finished the workflow"),
        ("c", "skip", "a finished the workflow"),
        ("d", "skip", "a finished the workflow"),
        ("x", "run", "not run yet"),
    ]


def test_a_forecast_of_items_is_in_their_order_and_ignores_what_was_removed() -> None:
    plan = planned(a=None, b={"each": "a"})
    tasks = left(plan, "gone failed, a done, b[2] failed, b[1] pending")
    tasks.append(a_client_s("mine", Status.PENDING))

    assert foreseen(plan, tasks) == [
        ("a", "skip", "done: its result is kept"),
        ("b[2]", "retry", "failed before: OSError: away"),
        ("b[1]", "run", "not run yet"),
        ("gone", "ignore", "its step is not in the workflow any more"),
    ]


def test_a_forecast_is_a_value() -> None:
    assert Forecast("a", "run", "x") == Forecast("a", "run", "x")


# -- what it costs -----------------------------------------------------------------------


def test_steps_and_items_are_resumed_in_proportion() -> None:
    def resume(count: int) -> None:
        steps: dict[str, Mapping[str, Any] | None] = {
            f"s{n}": None for n in range(count)
        }
        plan = planned(a=None, b={"each": "a"}, c={"each": "b"}, **steps)
        first = left(plan, "a done")[0]
        tasks = [first, *(new_task(each, fence=1) for each in plan.steps[3:])]
        tasks += [
            replace(new_task(step, fence=1, key=str(n), index=n), status=Status.DONE)
            for step in plan.steps[1:3]
            for n in range(10 * count)
        ]
        resumption = resumed(plan, tasks)
        assert resumption.changes == []
        assert len(forecast(plan, tasks, resumption)) == 21 * count + 1

    assert growth(resume, 100) < IN_PROPORTION
