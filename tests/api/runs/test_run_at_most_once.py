"""`at_most_once=True`: found running after a crash, a person says what it did."""

from __future__ import annotations

import pytest

import ptsflow
from ptsflow import Client, Workflow, step
from ptsflow.client import admin
from ptsflow.core.model import Cause, Change, Status
from ptsflow.core.resume import new_task, unknown
from ptsflow.core.transitions import start
from ptsflow.errors import TaskNotFound, UsageError
from ptsflow.workflow.compile import plan_of

RAN: list[str] = []


class Pay(Workflow):
    @step
    def prepare(self) -> int:
        RAN.append("prepare")
        return 5

    @step(at_most_once=True)
    def pay(self, prepare: int) -> None:
        assert prepare == 5
        RAN.append("pay")

    @step
    def confirm(self) -> None:
        RAN.append("confirm")


class Refused(Workflow):
    @step(at_most_once=True)
    def pay(self) -> None:
        RAN.append("pay")
        raise OSError("refused")


@pytest.fixture(autouse=True)
def forget() -> None:
    RAN.clear()


def died_while_paying(client: Client) -> None:
    """Leave the container as a runner does that died in `pay`."""
    container, _ = client.get_or_create_task_container("Pay")
    store = client.store
    record = store.container(container.name)
    assert record is not None
    begun = new_task(plan_of(Pay).by_name["pay"], fence=0)
    store.commit(record.uid, [Change(None, begun)], fence=None)
    running = start(begun, now=store.now(), fence=0)
    store.commit(record.uid, [Change(begun, running)], fence=None)


def test_it_is_not_repeated_but_unknown(client: Client) -> None:
    died_while_paying(client)
    report = ptsflow.run(Pay(), client)
    task = next(task for task in report.tasks if task.name == "pay")

    assert not report.ok
    assert RAN == ["prepare"]
    assert (task.status, task.invoke_count) == ("failed", 1)
    assert task.error == (
        "unknown: it may run at most once and the runner ended while it ran; mark pay "
        "done, or pending to run it again"
    )


def test_neither_a_rerun_nor_retry_repeats_it(client: Client) -> None:
    died_while_paying(client)
    ptsflow.run(Pay(), client)
    record = client.store.container("Pay")
    assert record is not None
    admin.retry(client.store, record)
    report = ptsflow.run(Pay(), client)

    assert not report.ok
    assert RAN == ["prepare"]


def test_marked_done_it_counts_as_done_and_the_rest_goes_on(client: Client) -> None:
    died_while_paying(client)
    ptsflow.run(Pay(), client)
    record = client.store.container("Pay")
    assert record is not None
    admin.mark(client.store, record, "pay", Status.DONE)
    report = ptsflow.run(Pay(), client)

    assert report.ok
    assert RAN == ["prepare", "confirm"]


def test_marked_pending_it_runs_again(client: Client) -> None:
    died_while_paying(client)
    ptsflow.run(Pay(), client)
    record = client.store.container("Pay")
    assert record is not None
    admin.mark(client.store, record, "pay", Status.PENDING)
    report = ptsflow.run(Pay(), client)

    assert report.ok
    assert RAN == ["prepare", "pay", "confirm"]


def test_an_error_of_its_body_is_known_and_not_tried_again_by_itself(
    client: Client,
) -> None:
    report = ptsflow.run(Refused(), client)
    (task,) = report.tasks

    assert RAN == ["pay"]
    assert task.error is not None
    assert task.error.startswith("OSError: refused")


def test_only_a_task_that_failed_can_be_marked(client: Client) -> None:
    ptsflow.run(Pay(), client)
    record = client.store.container("Pay")
    assert record is not None
    with pytest.raises(UsageError) as refused:
        admin.mark(client.store, record, "pay", Status.DONE)
    with pytest.raises(TaskNotFound) as missing:
        admin.mark(client.store, record, "pai", Status.DONE)

    assert str(refused.value) == (
        "container 'Pay': pay is done; only a task that failed can be marked"
    )
    assert str(missing.value) == (
        "container 'Pay': there is no task 'pai' (did you mean 'pay'?); "
        "see ptsflow show Pay"
    )


def test_the_text_names_the_task() -> None:
    task = new_task(plan_of(Pay).by_name["pay"], fence=1)

    assert "mark pay done" in unknown(task)
    assert Cause.UNKNOWN.value == "unknown"
