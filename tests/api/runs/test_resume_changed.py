"""Steps and versions that changed since: what is done is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ptsflow
from ptsflow import Skip, Workflow
from ptsflow.events import Event, Notice
from tests.api.runs.flows import Body, again, fail, flow, statuses

# -- other steps ----------------------------------------------------------------------


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def listeners(notices: list[str]) -> list[Callable[[Event], None]]:
    def note(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    return [note]


def test_an_added_step_runs_and_what_is_done_does_not(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, a=None, c=None), url)
    report = again(ran, flow(ran, a=None, b=None, c=None, d=None), url)

    assert report.ok
    assert ran == ["b", "d"]
    assert [task.name for task in report.tasks] == ["a", "b", "c", "d"]


def test_a_removed_step_is_reported_and_ignored(
    url: str, ran: list[str], notices: list[str], listeners: Any
) -> None:
    ptsflow.run(flow(ran, a=None, gone=None, b=None), url)
    report = again(ran, flow(ran, a=None, b=None), url, listeners=listeners)

    assert report.ok
    assert ran == []
    assert notices == ["not in the workflow any more, and ignored: gone"]


def test_a_removed_step_that_failed_fails_nothing(
    url: str, ran: list[str], notices: list[str], listeners: Any
) -> None:
    first = ptsflow.run(flow(ran, a=None, gone=fail, b=None), url)
    report = again(ran, flow(ran, a=None, b=None), url, listeners=listeners)

    assert (first.ok, report.ok) == (False, True)
    assert ran == ["b"]
    assert report.failed == []
    assert notices == ["not in the workflow any more, and ignored: gone"]


def test_a_removed_step_that_was_open_leaves_the_container_complete(
    url: str, ran: list[str]
) -> None:
    ptsflow.run(flow(ran, a=fail, gone=None), url)
    report = again(ran, flow(ran, a=None), url)

    assert report.ok
    assert statuses(report) == {"a": "done", "gone": "skipped"}
    with ptsflow.connect(url) as client:
        container = client.get_task_container("Flow")
        assert container is not None
        assert (container.is_complete, container.percentage_complete) == (True, 100.0)


def test_reordered_steps_are_not_repeated_and_listed_in_the_new_order(
    url: str, ran: list[str]
) -> None:
    ptsflow.run(flow(ran, a=None, b=None, c=fail), url)
    report = again(ran, flow(ran, c=None, b=None, a=None), url)

    assert report.ok
    assert ran == ["c"]
    assert [task.name for task in report.tasks] == ["c", "b", "a"]


def test_a_renamed_step_is_a_new_one(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, a=None, b=None), url)
    report = again(ran, flow(ran, a=None, bee=None), url)

    assert report.ok
    assert ran == ["bee"]


def test_a_step_that_fans_out_now_is_run_again(url: str, ran: list[str]) -> None:
    ptsflow.run(flow(ran, numbers=lambda: [1, 2], use=None, last=fail), url)
    fans = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "does": lambda item: item * 2},
        last=None,
    )
    report = again(ran, fans, url)

    assert report.ok
    assert sorted(ran) == ["last", "use 1", "use 2"]
    assert report.result("use") == [2, 4]


def test_a_step_that_fans_out_no_more_is_run_again(url: str, ran: list[str]) -> None:
    fans = flow(
        ran,
        numbers=lambda: [1, 2],
        use={"each": "numbers", "does": lambda item: item * 2},
        last=fail,
    )
    ptsflow.run(fans, url)
    report = again(
        ran, flow(ran, numbers=lambda: [1, 2], use=lambda: "all", last=None), url
    )

    assert report.ok
    assert ran == ["use", "last"]
    assert report.result("use") == "all"


def test_items_that_have_other_keys_now_are_run_again(url: str, ran: list[str]) -> None:
    def fans(key: Body, last: Body | None) -> Workflow:
        return flow(
            ran,
            numbers=lambda: [1, 2],
            use={"each": "numbers", "key": key, "does": lambda item: item * 2},
            last=last,
        )

    ptsflow.run(fans(lambda item: f"a{item}", fail), url)
    report = again(ran, fans(lambda item: f"b{item}", None), url)

    assert report.ok
    assert sorted(ran) == ["last", "use 1", "use 2"]
    assert report.result("use") == [2, 4]


# -- other versions -------------------------------------------------------------------


def test_another_version_has_the_step_and_what_waits_for_it_run_again(
    url: str, ran: list[str]
) -> None:
    def versioned(version: int) -> Workflow:
        return flow(
            ran,
            a={"parallel": True},
            b={"parallel": True, "version": version},
            behind_a={"after": "a"},
            behind_b={"after": "b"},
            last=None,
        )

    ptsflow.run(versioned(1), url)
    changed = again(ran, versioned(2), url)
    assert changed.ok
    assert ran == ["b", "behind_b", "last"]
    again(ran, versioned(2), url)
    assert ran == []


def test_another_version_has_items_run_again_and_their_chains(
    url: str, ran: list[str]
) -> None:
    def versioned(version: str) -> Workflow:
        return flow(
            ran,
            numbers=lambda: [1, 2],
            use={"each": "numbers", "version": version, "does": lambda item: item},
            chained={"each": "use", "does": lambda item: item},
        )

    ptsflow.run(versioned("1"), url)
    report = again(ran, versioned("2"), url)

    assert report.ok
    assert sorted(ran) == ["chained 1", "chained 2", "use 1", "use 2"]


def test_a_step_that_skipped_itself_runs_again_in_another_version(
    url: str, ran: list[str]
) -> None:
    def skip() -> None:
        raise Skip("not in this version")

    ptsflow.run(flow(ran, a={"version": 1, "does": skip}), url)
    again(ran, flow(ran, a={"version": 1, "does": skip}), url)
    same = list(ran)
    report = again(ran, flow(ran, a={"version": 2}), url)

    assert same == []
    assert ran == ["a"]
    assert statuses(report) == {"a": "done"}
