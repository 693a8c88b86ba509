"""What a timeline is told of stored containers."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from ptsflow.client.looking import look_at
from ptsflow.core.insight import Outlook, Spans
from ptsflow.core.model import Status, StepSummary, TaskRecord
from ptsflow.display.format import duration
from ptsflow.display.step_board import StepBoard
from ptsflow.stores import open_store
from ptsflow.web.container import step_rows
from ptsflow.web.drawing import MOST_DRAWN, legend, timeline
from ptsflow.web.times import _without_running, times_of
from tests.web.drawn import Drawn
from tests.web.serving import Shelf


def drawn_of(shelf: Shelf, kind: str) -> Drawn:
    with closing(open_store(shelf.url)) as store:
        record = store.container(shelf.names[kind])
        assert record is not None
        look = look_at(store, record)
        steps, ledgers = times_of(store, look)
    return Drawn(timeline(steps, ledgers, now=look.at))


def test_items_are_read_one_by_one_as_long_as_they_are_few(stored: Shelf) -> None:
    drawn = drawn_of(stored, "failed")

    assert len(drawn.boxes("wait")) == 2
    assert any("load[songs]: attempt 2 failed" in t for t in drawn.titles("is-failed"))
    assert any("load[artists]: attempt 2 done" in t for t in drawn.titles("is-done"))


def test_of_many_items_the_longest_the_failed_and_when_all_ran(stored: Shelf) -> None:
    with closing(open_store(stored.url)) as store:
        record = store.container(stored.names["many"])
        assert record is not None
        steps, ledgers = times_of(store, look_at(store, record))

    (item,) = [step for step in steps if step.total > MOST_DRAWN]
    failed = [task for task in item.tasks if task.status is Status.FAILED]
    assert item.spans is not None
    assert len(item.spans.began) == item.total
    assert len(item.tasks) <= 12
    assert {task.name for task in failed} == {"item[7]", "item[1007]"}
    assert {task.name for task in failed} <= ledgers.keys()


@pytest.mark.parametrize("kind", ["orphaned", "running"])
def test_nothing_runs_on_where_the_runner_was_killed(stored: Shelf, kind: str) -> None:
    drawn = drawn_of(stored, kind)

    is_killed = kind == "orphaned"
    assert bool(drawn.titles("is-killed")) == is_killed
    assert bool(drawn.titles("is-running")) != is_killed
    assert drawn.titles("is-failed") == []


def test_what_was_killed_lasted_until_its_runner_was_last_heard_of(
    stored: Shelf,
) -> None:
    with closing(open_store(stored.url)) as store:
        record = store.container(stored.names["orphaned"])
        assert record is not None
        look = look_at(store, record)
        sign = Outlook(at=look.at + 90_000, percentage=5)
        steps, _ = times_of(store, replace(look, outlook=sign))

    ends = {task.name: task.task_ended_at for step in steps for task in step.tasks}
    assert ends["work"] == sign.at
    assert ends["last"] is None
    assert ends["first"] not in {None, sign.at}


def test_a_stopped_attempt_is_told_as_show_tells_it(tmp_path: Path) -> None:
    class Stopping(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            signal.raise_signal(signal.SIGTERM)
            while not task.cancelled:
                threading.Event().wait(0.01)
            raise OSError

    url = f"sqlite:///{tmp_path}/pts.db"
    with pytest.raises(SystemExit):
        ptsflow.run(Stopping(), url)
    with closing(open_store(url)) as store:
        record = store.container("Stopping")
        assert record is not None
        look = look_at(store, record)
        (attempt,) = store.attempts(record.uid, "work")
        steps, ledgers = times_of(store, look)
    markup = timeline(steps, ledgers, now=look.at)
    drawn = Drawn(markup)

    (told,) = drawn.titles("is-waiting")
    assert f"work: attempt 1 stopped after {duration(attempt.took_ms)}" in told
    assert drawn.titles("is-killed") == []
    assert [word for _, word in legend(markup)] == ["stopped, or put off"]
    assert [row.took_ms for row in step_rows(look)] == [attempt.took_ms]


def test_what_a_step_took_is_what_its_task_took() -> None:
    board = StepBoard(StepSummary(name="work"))
    board.begun, board.ended = 1_000, 9_000
    assert board.took_ms == 8_000
    board.single = TaskRecord(name="work", position=0, task_duration_ms=4_000)
    assert board.took_ms == 4_000


def test_items_of_a_killed_runner_do_not_reach_up_to_now() -> None:
    spans = Spans(began=[1, 5], ended=[3, 0], statuses=[Status.DONE, Status.RUNNING])

    assert _without_running(spans).ended == [3, 5]
