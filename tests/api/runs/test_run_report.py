"""What a run says of itself afterwards, and what it refuses before."""

from __future__ import annotations

from typing import Any

import pytest

import ptsflow
from ptsflow.client.task import Task
from ptsflow.errors import InvalidName, ParameterError, TaskNotFound, UsageError
from tests.api.runs.flows import Base
from tests.support.wording import THEIRS, Message

# -- reports --------------------------------------------------------------------------


def test_a_report_shows_tasks_as_a_client_does(url: str) -> None:
    report = ptsflow.run(Base(), url)
    first = report.tasks[0]

    assert isinstance(first, Task)
    assert (first.name, first.step, first.key) == ("first", "first", None)
    assert (first.is_complete, first.percentage_complete) == (True, 100.0)
    assert (first.invoke_count, first.error) == (1, None)
    assert first.last_invoked_at is not None
    assert first.task_ended_at is not None
    took = (first.task_ended_at - first.last_invoked_at).total_seconds() * 1000
    assert first.task_duration_ms is not None
    assert 0 <= first.task_duration_ms <= round(took)
    assert repr(report) == "<report of 'Base:greeting=hello': ok>"


def test_a_report_of_a_memory_store_can_be_read() -> None:
    assert ptsflow.run(Base(), "memory:").result("second") == "HELLO FROM BASE"


def test_a_result_that_there_is_not_is_refused(url: str) -> None:
    report = ptsflow.run(Base(), url)

    with pytest.raises(TaskNotFound) as refused:
        report.result("secund")
    assert str(refused.value) == (
        "container 'Base:greeting=hello': there is no step 'secund' (did you mean "
        "'second'?); it has first, second, tidy"
    )


# -- refusals -------------------------------------------------------------------------


BASE = "Base has no step"
HAS = "it has first, second, tidy"


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        pytest.param(
            {"lease": 4.9},
            UsageError,
            "lease: expected 5 to 86400 seconds, found 4.9",
            id="a lease too short",
        ),
        pytest.param(
            {"lease": float("nan")},
            UsageError,
            "lease: expected 5 to 86400 seconds, found nan",
            id="a lease of NaN",
        ),
        pytest.param(
            {"jobs": 0},
            UsageError,
            "jobs: expected a whole number of 1 or more, found 0",
            id="no jobs",
        ),
        pytest.param(
            {"jobs": 1.5},
            UsageError,
            "jobs: expected a whole number of 1 or more, found 1.5",
            id="half a job",
        ),
        pytest.param(
            {"from_step": "secund"},
            UsageError,
            f"{BASE} 'secund' (did you mean 'second'?); {HAS}",
            id="from a step that there is not",
        ),
        pytest.param(
            {"only": ["first", "zzz"]},
            UsageError,
            f"{BASE} 'zzz'; {HAS}",
            id="only a step that there is not",
        ),
        pytest.param(
            {"container": ""},
            InvalidName,
            "the name of a container must be a str of 1 to 200 bytes, found an empty one",
            id="an empty name",
        ),
        pytest.param(
            {"container": "x" * 201},
            InvalidName,
            "the name of a container must be a str of 1 to 200 bytes, found 201 bytes: "
            f"{'x' * 40!r}...",
            id="a long name",
        ),
    ],
)
def test_a_run_that_makes_no_sense_leaves_nothing(
    url: str, options: dict[str, Any], error: type[Exception], line: str
) -> None:
    with pytest.raises(error) as refused:
        ptsflow.run(Base(), url, **options)
    with ptsflow.connect(url) as client:
        containers = client.get_task_containers()

    assert str(refused.value) == line
    assert containers == []


def test_a_class_is_no_workflow_object(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        ptsflow.run(Base, url)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "run: expected a workflow object, found the class Base; call it with its "
        "parameters, e.g. Base(...)"
    )


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        pytest.param(
            {"greting": "x"},
            "Base: there is no parameter 'greting' (did you mean 'greeting'?); it takes "
            "greeting",
            id="unknown",
        ),
        pytest.param(
            {"greeting": 5},
            f"Base: the parameter greeting: expected str, found 5 ({THEIRS})",
            id="of another type",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    parameters: dict[str, Any], line: str
) -> None:
    with pytest.raises(ParameterError) as refused:
        Base(**parameters)

    assert str(refused.value) == Message(line)
