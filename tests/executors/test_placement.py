"""Which executor runs a step's bodies, and how many bodies run at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptsflow import Workflow, step
from ptsflow.core.model import ContainerRecord
from ptsflow.core.outcome import Interrupted, Outcome, returned
from ptsflow.errors import UsageError
from ptsflow.executors.attempt import Call
from ptsflow.executors.placement import Placement, default_jobs
from ptsflow.workflow.compile import plan_of


class Mixed(Workflow):
    """One step says where it runs, one says no more than Dask, one nothing."""

    @step(executor="process")
    def crunch(self) -> None: ...

    @step(executor="dask")
    def spread(self) -> None: ...

    @step
    def fetch(self) -> None: ...


class Plain(Workflow):
    """No step says where it runs."""

    @step
    def fetch(self) -> None: ...


class Recording:
    """An executor that remembers what it made."""

    def __init__(self, room: int | None) -> None:
        self.room = room
        self.made: list[str] = []
        self.is_stopped = False

    def run(self, call: Call) -> Outcome:
        """Make nothing."""
        self.made.append(call.step.name)
        return returned("null")

    def stop(self) -> None:
        """Remember it."""
        self.is_stopped = True


Made = dict[object, Recording]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return the executors that placements make from now on, by name."""
    found: Made = {}

    def make(_: Placement, name: Any) -> Recording:
        if name == "dask:absent":
            raise UsageError("there is none")
        return found.setdefault(name, Recording(room=100))

    monkeypatch.setattr(Placement, "_make", make)
    return found


def placement_of(
    workflow: Workflow,
    executor: str,
    jobs: int | None = None,
    on_room: Callable[[], None] = lambda: None,
) -> Placement:
    """Return the placement of a run."""
    return Placement(
        type(workflow),
        plan_of(type(workflow)),
        ContainerRecord(uid="uid", name="c", created_at=0),
        parameters={},
        key="store",
        executor=executor,
        jobs=jobs,
        on_room=on_room,
    )


def run(placement: Placement, workflow: Workflow, step_name: str) -> Outcome:
    """Make an attempt of a step."""
    planned = plan_of(type(workflow)).by_name[step_name]
    call: Any = type("FakeCall", (), {"step": planned})()
    return placement.run(call, lambda: False)


@pytest.mark.parametrize(
    ("of_run", "expected"),
    [
        pytest.param(
            "process", {"process": ["crunch", "fetch"], "dask": ["spread"]}, id="name"
        ),
        pytest.param(
            "dask://h:1",
            {"process": ["crunch"], "dask://h:1": ["spread", "fetch"]},
            id="address of the Dask that a step asks for",
        ),
    ],
)
def test_a_step_runs_where_it_says_or_else_where_the_run_says(
    made: Made, of_run: str, expected: dict[str, list[str]]
) -> None:
    workflow = Mixed()
    placement = placement_of(workflow, of_run)

    for name in ("crunch", "spread", "fetch"):
        run(placement, workflow, name)
    placement.stop()

    assert {name: executor.made for name, executor in made.items()} == expected
    assert all(executor.is_stopped for executor in made.values())


@pytest.mark.parametrize(
    ("workflow", "jobs", "expected"),
    [
        pytest.param(Plain(), None, 104, id="all on the cluster"),
        pytest.param(Plain(), 3, 3, id="a number is given"),
        pytest.param(Mixed(), None, default_jobs(), id="bodies beside the cluster"),
    ],
)
def test_a_cluster_gets_as_many_bodies_as_it_has_room_for(
    made: Made, workflow: Workflow, jobs: int | None, expected: int
) -> None:
    told: list[int] = []
    placement = placement_of(
        workflow, "dask", jobs, lambda: told.append(placement.jobs)
    )

    run(placement, workflow, "fetch")

    assert placement.jobs == expected
    assert told == ([expected] if expected == 104 else [])
    assert list(made) == ["dask"]


def test_nothing_is_made_for_a_body_that_must_not_begin(made: Made) -> None:
    workflow = Plain()
    planned = plan_of(Plain).by_name["fetch"]
    call: Any = type("FakeCall", (), {"step": planned})()

    outcome = placement_of(workflow, "process").run(call, lambda: True)

    assert outcome == Interrupted()
    assert not made


@pytest.mark.usefixtures("made")
def test_that_an_executor_cannot_be_had_is_said() -> None:
    with pytest.raises(UsageError):
        run(placement_of(Plain(), "dask:absent"), Plain(), "fetch")
