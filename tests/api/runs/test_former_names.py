"""A parameter that is added to a class does not begin an unfinished container anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import ptsflow
from ptsflow import Retry, Workflow, step
from ptsflow.errors import ContainerMismatch
from ptsflow.events import Event, Notice
from ptsflow.testing import run_inline
from tests.api.conftest import main_stores

Ran = list[str]


@pytest.fixture
def made(ran: Ran) -> Callable[..., type[Workflow]]:
    """Return what makes a class Import with parameters and their defaults."""

    class Steps(Workflow):
        is_broken = True

        @step
        def unpack(self) -> int:
            ran.append("unpack")
            return 1

        @step(retry=Retry(0))
        def load(self, unpack: int) -> int:
            ran.append("load")
            if self.is_broken:
                raise OSError("database away")
            return unpack

    def make(*, is_broken: bool = False, **defaults: object) -> type[Workflow]:
        hints = {name: type(value) for name, value in defaults.items()}
        body = {"__annotations__": hints, "__module__": __name__}
        return type("Import", (Steps,), defaults | body | {"is_broken": is_broken})

    return make


class Listening:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)


@main_stores
def test_the_unfinished_container_of_before_is_continued_and_named(
    url: str, name: str, made: Any, ran: Ran
) -> None:
    ptsflow.run(made(is_broken=True, day=name)(), url)
    heard = Listening()
    ran.clear()
    report = ptsflow.run(
        made(day=name, batch=500, mode="fast")(), url, listeners=[heard]
    )

    assert report.ok
    assert ran == ["load"]
    assert report.container == f"Import:day={name}"
    (notice,) = heard.notices
    assert notice == (
        f"continuing the unfinished container 'Import:day={name}', which was made before "
        "the class had batch, mode"
    )


def test_the_container_that_was_continued_stays_the_same_commands(
    url: str, made: Any, ran: Ran
) -> None:
    ptsflow.run(made(is_broken=True, day="1")(), url)
    ptsflow.run(made(day="1", batch=500)(), url)
    heard = Listening()
    ran.clear()
    again = ptsflow.run(made(day="1", batch=500)(), url, listeners=[heard])
    # One more parameter: the container is finished, so other work begins.
    other = ptsflow.run(made(day="1", batch=500, mode="fast")(), url)

    assert (again.ok, again.container, heard.notices) == (True, "Import:day=1", [])
    assert other.container == "Import:day=1,batch=500,mode=fast"
    assert ran == ["unpack", "load"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"batch": 100}, id="a value that is not the default"),
        pytest.param({"day": "2"}, id="another value of a former parameter"),
    ],
)
def test_other_values_are_other_work(url: str, made: Any, given: Any) -> None:
    ptsflow.run(made(is_broken=True, day="1")(), url)
    report = ptsflow.run(made(day="1", batch=500)(**given), url)

    assert report.container == f"Import:day={given.get('day', 1)},batch=" + str(
        given.get("batch", 500)
    )


def test_a_finished_container_of_before_is_left_alone(url: str, made: Any) -> None:
    before = ptsflow.run(made(day="1")(), url)
    after = ptsflow.run(made(day="1", batch=500)(), url)

    assert (before.ok, after.container) == (True, "Import:day=1,batch=500")


def test_fresh_and_a_name_of_ones_own_look_for_no_former_container(
    url: str, made: Any, ran: Ran
) -> None:
    ptsflow.run(made(is_broken=True, day="1")(), url)
    ran.clear()
    workflow = made(day="1", batch=500)()

    assert ptsflow.run(workflow, url, "mine").container == "mine"
    assert ptsflow.run(workflow, url, fresh=True).container == workflow.container_name
    assert ran == ["unpack", "load"] * 2


def test_the_former_container_of_another_workflow_is_no_former_one(
    url: str, made: Any
) -> None:
    ptsflow.run(made(is_broken=True)(), url, "Import:day=1")
    other = type("Other", (made(day="1"),), {"__module__": __name__})
    ptsflow.run(other(), url, "Import", fresh=True)

    assert ptsflow.run(made(day="1")(), url).container == "Import:day=1"


def test_run_inline_continues_the_former_container_too(made: Any, ran: Ran) -> None:
    with ptsflow.connect("memory:") as client:
        run_inline(made(is_broken=True)(), client=client)
        ran.clear()
        report = run_inline(made(batch=500)(), client=client)

    assert (report.container, ran) == ("Import", ["load"])


class Moments(Workflow):
    container = "feed:{hour:%Y%m%dT%H}"
    hour: datetime
    server: str = "a"

    @step
    def check(self) -> str:
        return self.server


def test_two_moments_of_one_name_are_told_apart_with_the_cure(url: str) -> None:
    hour = datetime(2011, 9, 30, 13, tzinfo=UTC)
    ptsflow.run(Moments(hour=hour), url)
    with pytest.raises(ContainerMismatch) as refused:
        ptsflow.run(Moments(hour=hour.replace(minute=5), server="b"), url)

    assert str(refused.value) == (
        "container 'feed:20110930T13' was made with other parameters: hour was "
        "2011-09-30 13:00:00+00:00, is 2011-09-30 13:05:00+00:00; server was a, is b; the "
        "name tells only a part of hour, as 'feed:{hour:%Y%m%dT%H}' says: give hour "
        "truncated to that part; or choose another container with -c NAME, or begin this "
        "one anew with --fresh"
    )
