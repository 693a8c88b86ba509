"""What a look takes in: the same as if each change had been told when it happened."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core.durations import Durations
from ptsflow.core.history import Profile
from ptsflow.core.model import Progress, Status, TaskRecord
from ptsflow.core.packed import Tasks
from ptsflow.core.run_observer import RunObserver
from ptsflow.core.run_progress import RunProgress
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of
from tests.support.packs import with_packs

# ruff: noqa: S311 - nothing here is secret.


class Import(Workflow):
    @step
    def check(self) -> None: ...

    @step(each=check)
    def load(self, item: object) -> None: ...

    @step(each=load)
    def store(self, load: object) -> None: ...

    @step
    def publish(self) -> None: ...


PLAN = plan_of(Import)
USUAL = Durations(PLAN, Profile())


class Watched:
    """A run with its tasks, and what is told of them."""

    def __init__(self) -> None:
        self.schedule = Schedule(PLAN)
        self.schedule.load({}, {})
        self.tasks: Tasks = {
            name: TaskRecord(name=name, step=name, version=1)
            for name in ("check", "publish")
        }
        self.observer = RunObserver(PLAN, USUAL, began_at=100, percentage=3.0)
        #: What it would be if each change was told at once.
        self.told = RunProgress(PLAN, USUAL, began_at=100)

    def listed(self, keys: list[str]) -> None:
        self.schedule.take(1, 0)
        self.change("check", Status.DONE)
        self.schedule.settle("check", Status.DONE)
        for name in ("load", "store"):
            for key in keys:
                item = f"{name}[{key}]"
                self.tasks[item] = TaskRecord(name=item, step=name, key=key, version=1)
        self.schedule.to_expand.clear()
        self.schedule.expand("load", keys)
        self.told.expand("load", keys)

    def change(self, name: str, status: Status, **fields: Any) -> None:
        task = self.tasks[name]
        fields = {"last_invoked_at": 200, "task_ended_at": 250} | fields
        task = replace(task, status=status, version=task.version + 1, **fields)
        self.tasks[name] = task
        by_this_run = (task.last_invoked_at or 0) >= 100
        place = int(task.key or 0)
        self.told.take_in(task, place, by_this_run=by_this_run)

    def look(self) -> RunProgress:
        return self.observer.look(self.schedule, self.tasks)


def known(progress: RunProgress) -> object:
    """Return all that an outlook asks of it."""
    return (
        progress.complete,
        {step: family.complete for step, family in progress.families.items()},
        set(progress.running),
        set(progress.waiting),
        {name: task for name, (task, _) in progress.waiting.items()},
        {step: family.undone for step, family in progress.families.items()},
        progress.finished,
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_look_takes_in_all_that_happened_since_the_last_one(seed: int) -> None:
    chance, run = random.Random(seed), Watched()
    if chance.random() < 0.5:
        run.look()
    run.listed([str(n) for n in range(6)])
    states = [Status.RUNNING, Status.WAITING, Status.DONE, Status.SKIPPED]
    for _ in range(60):
        task = run.tasks[chance.choice(list(run.tasks))]
        before = run.tasks.get(f"load[{task.key}]", run.tasks["check"])
        if task.is_complete or (
            task.step == "store" and before.status is not Status.DONE
        ):
            continue
        began = chance.choice([50, 200])
        count = task.invoke_count + 1
        status = chance.choice(states)
        run.change(task.name, status, last_invoked_at=began, invoke_count=count)
        if chance.random() < 0.2:
            run.look()

    assert known(run.look()) == known(run.told)


def test_what_is_packed_is_done_and_not_of_this_run() -> None:
    run = Watched()
    run.listed(["0", "1", "2"])
    for name in ("load[0]", "load[2]", "store[2]"):
        run.change(name, Status.DONE, last_invoked_at=50)
    run.tasks = with_packs(run.tasks.values())
    assert known(run.look()) == known(run.told)

    run.change("load[1]", Status.DONE)
    run.change("load[0]", Status.RUNNING)
    assert known(run.look()) == known(run.told)


def test_another_list_of_a_fan_out_begins_anew() -> None:
    run = Watched()
    run.listed(["0", "1"])
    run.change("load[1]", Status.DONE)
    assert run.look().families["load"].complete == [0, 1]
    run.tasks["load[2]"] = TaskRecord(name="load[2]", step="load", key="2", version=1)
    run.tasks["store[2]"] = TaskRecord(name="store[2]", step="store", key="2")
    run.schedule.expand("load", ["1", "0", "2"])

    assert run.look().families["load"].complete == [1, 0, 0]
    assert run.look().first_percentage == 3.0


def test_a_look_sees_that_the_rest_is_not_needed() -> None:
    run = Watched()
    assert not run.look().is_finished

    run.schedule.finish()
    assert run.look().is_finished


def test_a_list_that_was_refused_is_a_task_of_its_step() -> None:
    run = Watched()
    run.change("check", Status.DONE)
    run.tasks["load"] = TaskRecord(name="load", step="load", version=1)
    run.change("load", Status.FAILED)
    run.schedule.refuse("load")

    assert run.look().complete == {"check": Status.DONE, "load": Status.FAILED}


def test_what_an_attempt_said_counts_from_its_first_report() -> None:
    run = Watched()
    run.listed(["0"])

    def begins(attempt: int, at: int) -> None:
        run.change("load[0]", Status.RUNNING, last_invoked_at=at, invoke_count=attempt)
        run.schedule.running.add("load[0]")

    def says(percentage: float, at: int) -> None:
        run.observer.report(run.tasks, [Progress("load[0]", percentage, "")], at)

    begins(2, 1_000)
    says(40.0, 2_000)
    says(60.0, 3_000)
    says(60.0, 9_000)
    assert run.look().running["load[0]"].total(0) == 100 * 1_000 / 20
    # A checkpoint makes another version of the same attempt.
    run.change("load[0]", Status.RUNNING, last_invoked_at=1_000, invoke_count=2)
    assert run.look().running["load[0]"].total(0) == 100 * 1_000 / 20

    begins(3, 10_000)
    assert run.look().running["load[0]"].total(0) is None
    says(10.0, 11_000)
    says(20.0, 13_000)
    assert run.look().running["load[0]"].total(0) == 100 * 2_000 / 10
