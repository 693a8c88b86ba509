"""What becomes of a run whose steps fail, wait, skip, finish early or are stopped."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from tenacity import retry_if_exception_message, stop_after_attempt, wait_fixed

import ptsflow
from ptsflow import (
    Fail,
    Finish,
    Retry,
    RetryLater,
    Skip,
    Status,
    TaskHandle,
    Workflow,
    step,
)
from ptsflow.client import Client, Container
from ptsflow.events import Event, TaskChanged
from ptsflow.model import Progress
from ptsflow.report import Report
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.api.conftest import main_stores
from tests.api.test_run import PATIENCE

AT_ONCE = Retry(3, delay=0)
HOURS = 3600.0


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Have all of these on SQLite, unless a test says otherwise."""
    return getattr(request, "param", "sqlite")


def statuses(report: Report) -> dict[str, str]:
    return {task.name: str(task.status) for task in report.tasks}


# -- retries -------------------------------------------------------------------------


@main_stores
def test_a_failed_attempt_is_tried_again(url: str, name: str) -> None:
    attempts: list[int] = []

    class Flaky(Workflow):
        @step(retry=AT_ONCE)
        def work(self, task: TaskHandle) -> str:
            attempts.append(task.attempt)
            if len(attempts) < 3:
                raise OSError("no route")
            return "at last"

    report = ptsflow.run(Flaky(), url, name)
    (task,) = report.tasks

    assert report.ok
    assert report.result("work") == "at last"
    assert attempts == [1, 2, 3]
    assert (task.invoke_count, task.error, task.max_retries) == (3, None, 3)


def test_a_step_fails_for_good_when_its_retries_are_used_up(url: str) -> None:
    attempts: list[int] = []

    class Failing(Workflow):
        @step(retry=Retry(2, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            raise OSError("no route")

        @step
        def more(self) -> None:
            attempts.append(99)

    report = ptsflow.run(Failing(), url)
    task = report.tasks[0]

    assert not report.ok
    assert attempts == [1, 2, 3]
    assert report.failed == ["work"]
    assert (task.status, task.invoke_count) == (Status.FAILED, 3)
    assert str(task.error).startswith("OSError: no route (test_run_failures.py:")
    assert str(task.error).endswith(" in work)")
    assert repr(report) == "<report of 'Failing': failed>"


def test_the_next_run_tries_what_failed_with_a_fresh_budget(url: str) -> None:
    attempts: list[int] = []

    class Failing(Workflow):
        @step
        def before(self) -> None:
            attempts.append(0)

        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) < 6:
                raise OSError("no route")

    oks = [ptsflow.run(Failing(), url).ok for _ in range(3)]
    report = ptsflow.run(Failing(), url)

    assert oks == [False, False, True]
    assert attempts == [0, 1, 2, 1, 2, 1]
    assert report.tasks[1].invoke_count == 5


@pytest.mark.parametrize(
    ("error", "retry", "attempts"),
    [
        pytest.param(OSError("x"), AT_ONCE, 4, id="an error"),
        pytest.param(TypeError("x"), AT_ONCE, 1, id="a bug"),
        pytest.param(NotImplementedError("x"), AT_ONCE, 1, id="another bug"),
        pytest.param(TypeError("x"), Retry(3, delay=0, on=TypeError), 4, id="on"),
        pytest.param(OSError("x"), Retry(3, delay=0, on=ValueError), 1, id="not on"),
        pytest.param(
            OSError("x"), Retry(3, delay=0, give_up_on=OSError), 1, id="give up"
        ),
        pytest.param(
            TypeError("x"), Retry(3, delay=0, give_up_on=OSError), 4, id="no bugs"
        ),
        pytest.param(OSError("x"), 0, 1, id="no retries"),
        pytest.param(Fail("x"), AT_ONCE, 1, id="Fail"),
        pytest.param(SystemExit("x"), AT_ONCE, 1, id="SystemExit"),
        pytest.param(KeyboardInterrupt("x"), AT_ONCE, 1, id="KeyboardInterrupt"),
        pytest.param(GeneratorExit("x"), AT_ONCE, 1, id="GeneratorExit"),
        pytest.param(
            OSError("x"),
            Retry(stop=stop_after_attempt(2), wait=wait_fixed(0)),
            2,
            id="stop",
        ),
        pytest.param(
            OSError("x"),
            Retry(3, delay=0, retry=retry_if_exception_message(match="y")),
            1,
            id="tenacity's retry",
        ),
    ],
)
def test_how_often_an_error_is_tried(
    url: str, error: BaseException, retry: Retry | int, attempts: int
) -> None:
    class Failing(Workflow):
        @step(retry=retry)
        def work(self) -> None:
            raise error

    report = ptsflow.run(Failing(), url)

    assert report.failed == ["work"]
    assert report.tasks[0].invoke_count == attempts


def test_fail_says_why_and_nothing_else(url: str) -> None:
    class Failing(Workflow):
        @step
        def work(self) -> None:
            raise Fail("the file is not ours")

    assert ptsflow.run(Failing(), url).tasks[0].error == "the file is not ours"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(OSError(), "OSError (", id="without a message"),
        pytest.param(
            Unreadable(), "Unreadable: (its message cannot be read) (", id="unreadable"
        ),
        pytest.param(OSError("\ud800\0"), "OSError: \\ud800\0 (", id="no valid text"),
        pytest.param(OSError("x" * 10**6), "OSError: xxx", id="very long"),
    ],
)
def test_any_error_can_be_recorded(url: str, error: Exception, text: str) -> None:
    class Failing(Workflow):
        @step(retry=0)
        def work(self) -> None:
            raise error

    (task,) = ptsflow.run(Failing(), url).tasks

    assert str(task.error).startswith(text)
    assert len(str(task.error)) <= 16_000


def test_a_failed_step_blocks_only_what_depends_on_it(url: str) -> None:
    class Branches(Workflow):
        @step(parallel=True, retry=0)
        def bad(self) -> int:
            raise OSError("no")

        @step(parallel=True)
        def good(self) -> int:
            return 1

        @step(after=bad)
        def behind_bad(self) -> None: ...

        @step(after=good)
        def behind_good(self) -> None: ...

        @step
        def behind_both(self) -> None: ...

    report = ptsflow.run(Branches(), url)

    assert statuses(report) == {
        "bad": "failed",
        "good": "done",
        "behind_bad": "pending",
        "behind_good": "done",
        "behind_both": "pending",
    }


def test_what_failed_is_listed_in_the_order_of_the_plan(url: str) -> None:
    class Several(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [2, 1]

        @step(each=numbers, retry=0, optional=True)
        def use(self, number: int) -> None:
            raise OSError(f"no {number}")

        @step(parallel=True, retry=0)
        def left(self) -> None:
            raise OSError("no")

        @step(parallel=True, retry=0)
        def right(self) -> None:
            raise OSError("no")

    assert ptsflow.run(Several(), url).failed == ["use[2]", "use[1]", "left", "right"]


def test_an_optional_step_that_failed_hands_on_none(url: str) -> None:
    class Optional(Workflow):
        @step(optional=True, retry=0)
        def extra(self) -> int:
            raise OSError("no")

        @step
        def use(self, extra: int | None) -> list[int | None]:
            return [extra]

    report = ptsflow.run(Optional(), url)

    assert report.ok
    assert report.failed == ["extra"]
    assert report.result("use") == [None]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param(
            {"rows": [1, object()]},
            "NotStorable: the result of step work: rows[1]: an object (class "
            "builtins.object) cannot be stored; store its data as a dict, or make it a "
            "dataclass",
            id="outside the closed set",
        ),
        pytest.param(
            "x" * (9 * 1024 * 1024),
            "TooLarge: the result of step work: 9.1 MiB of JSON text is over the limit "
            "of 8 MiB; write it to a file and return the file's path",
            id="over 8 MiB",
        ),
    ],
)
def test_a_result_that_cannot_be_stored_fails_the_step(
    url: str, value: object, line: str
) -> None:
    class Unstorable(Workflow):
        @step
        def work(self) -> Any:
            return value

        @step
        def use(self, work: object) -> None: ...

    report = ptsflow.run(Unstorable(), url)
    task = report.tasks[0]

    assert statuses(report) == {"work": "failed", "use": "pending"}
    assert (task.error, task.result, task.invoke_count) == (line, None, 1)


def test_a_strategy_that_raises_fails_the_step(url: str) -> None:
    def broken(_state: object) -> float:
        raise RuntimeError("no idea")

    class Failing(Workflow):
        @step(retry=Retry(wait=broken))
        def work(self) -> None:
            raise OSError("no route")

    assert str(ptsflow.run(Failing(), url).tasks[0].error).endswith(
        "; and its retry strategy raised RuntimeError: no idea"
    )


# -- what a body can say -------------------------------------------------------------


def test_a_skipped_step_hands_on_none(url: str) -> None:
    class Skipping(Workflow):
        @step
        def check(self) -> int:
            raise Skip("nothing new")

        @step
        def use(self, check: int | None) -> str:
            return repr(check)

    report = ptsflow.run(Skipping(), url)
    task = report.tasks[0]

    assert report.ok
    assert report.result("use") == "None"
    assert (task.status, task.status_text) == (Status.SKIPPED, "nothing new")
    assert (task.percentage_complete, task.has_failed) == (100.0, False)


def test_an_except_exception_in_a_body_does_not_swallow_a_signal(url: str) -> None:
    class Careful(Workflow):
        @step
        def work(self) -> str:
            try:
                raise Skip("not today")
            except Exception:  # noqa: BLE001 - what users write
                return "swallowed"

    assert statuses(ptsflow.run(Careful(), url)) == {"work": "skipped"}


def test_retry_later_is_not_an_attempt(url: str) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) < 5:
                raise RetryLater(0.001, "not posted yet")
            if len(attempts) < 6:
                raise OSError("no")

    report = ptsflow.run(Waiting(), url)

    assert report.ok
    assert attempts == [1, 1, 1, 1, 1, 2]
    assert report.tasks[0].invoke_count == 6


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(float("inf"), id="for ever"),
        pytest.param(1e300, id="beyond all dates"),
    ],
)
def test_retry_later_than_any_date_waits(url: str, name: str, seconds: float) -> None:
    class Waiting(Workflow):
        @step
        def work(self) -> None:
            raise RetryLater(seconds, "never")

    _run_until(Waiting(), url, name, "work", Status.WAITING)

    assert _task(url, name, "work").status_text == "never"


@pytest.mark.parametrize("seconds", [-5.0, 0.0, float("nan")])
def test_retry_later_in_the_past_is_at_once(url: str, seconds: float) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                raise RetryLater(seconds)

    assert ptsflow.run(Waiting(), url).ok
    assert len(attempts) == 2


@main_stores
def test_finish_skips_the_rest_and_the_container_is_complete(
    url: str, name: str
) -> None:
    ran: list[str] = []

    class Early(Workflow):
        @step
        def check(self) -> list[int]:
            ran.append("check")
            raise Finish("nothing new")

        @step(each=check)
        def load(self, number: int) -> None:
            ran.append("load")

        @step
        def verify(self) -> None:
            ran.append("verify")

        @step(always=True)
        def tidy(self, check: list[int] | None) -> None:
            ran.append(f"tidy {check}")

    report = ptsflow.run(Early(), url, name)
    again = ptsflow.run(Early(), url, name)
    tasks = {task.name: task for task in report.tasks}

    assert ran == ["check", "tidy None"]
    assert report.ok
    assert again.ok
    assert statuses(report) == statuses(again)
    assert statuses(report) == {"check": "done", "verify": "skipped", "tidy": "done"}
    assert tasks["check"].status_text == "nothing new"
    assert tasks["verify"].status_text == "check finished"
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert (container.is_complete, container.percentage_complete) == (True, 100.0)


def finishing(other: Callable[[threading.Event], Any]) -> type[Workflow]:
    """Make a workflow in which one step finishes while another one runs."""
    has_finished = threading.Event()

    class Finishing(Workflow):
        @step(parallel=True)
        def check(self) -> None:
            raise Finish("nothing new")

        @step(parallel=True, retry=Retry(3, delay=HOURS))
        def slow(self) -> Any:
            assert has_finished.wait(PATIENCE)
            return other(has_finished)

        @step(each=slow)
        def load(self, number: int) -> None: ...

        @step
        def last(self) -> None: ...

    def tell(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.after is not None:
            if event.after.name == "check" and event.after.is_complete:
                has_finished.set()

    Finishing.listener = tell  # type: ignore[attr-defined]
    return Finishing


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("other", "status"),
    [
        pytest.param(lambda _: [1, 2], "done", id="returns a list to fan out over"),
        pytest.param(lambda _: _raise(OSError("no")), "skipped", id="fails"),
        pytest.param(lambda _: _raise(RetryLater(HOURS)), "skipped", id="would wait"),
        pytest.param(lambda _: _raise(Skip("no")), "skipped", id="skips"),
        pytest.param(lambda _: _raise(Finish("too")), "done", id="finishes too"),
    ],
)
def test_what_runs_when_another_step_finishes_may_end(
    url: str, name: str, other: Callable[[threading.Event], Any], status: str
) -> None:
    flow = finishing(other)
    listener: Any = flow.listener  # type: ignore[attr-defined]
    report = ptsflow.run(flow(), url, name, jobs=2, listeners=[listener])
    found = statuses(report)

    assert report.ok
    assert (found["check"], found["slow"], found["last"]) == ("done", status, "skipped")
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert (container.is_complete, container.status) == (True, Status.DONE)


# -- saved on the way ----------------------------------------------------------------


@main_stores
def test_what_a_body_saved_the_next_attempt_and_the_next_run_find(
    url: str, name: str
) -> None:
    found: list[object] = []

    class Saving(Workflow):
        @step(retry=Retry(1, delay=0))
        def work(self, task: TaskHandle) -> None:
            found.append(task.processing_data)
            task.checkpoint({"offset": len(found), "tags": {1}})
            assert task.processing_data == {"offset": len(found), "tags": {1}}
            if len(found) < 4:
                raise OSError("no")

    first = ptsflow.run(Saving(), url, name)
    second = ptsflow.run(Saving(), url, name)

    assert (first.ok, second.ok) == (False, True)
    assert found == [None, *({"offset": n, "tags": {1}} for n in (1, 2, 3))]


@main_stores
def test_a_checkpoint_is_durable_when_it_returns(url: str, name: str) -> None:
    seen: list[object] = []

    class Saving(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            for offset in range(3):
                task.checkpoint(offset)
                seen.append(_task(url, name, "work").processing_data)

    assert ptsflow.run(Saving(), url, name).ok
    assert seen == [0, 1, 2]


def test_a_large_checkpoint_is_found_again(url: str) -> None:
    found: list[int] = []

    class Saving(Workflow):
        @step(retry=AT_ONCE)
        def work(self, task: TaskHandle) -> None:
            found.append(len(str(task.processing_data)))
            if len(found) < 3:
                task.checkpoint("x" * 1_000_000)
                raise OSError("no")

    assert ptsflow.run(Saving(), url).ok
    assert found == [4, 1_000_000, 1_000_000]


def test_a_checkpoint_that_cannot_be_stored_is_refused_in_the_body(url: str) -> None:
    lines: list[str] = []

    class Saving(Workflow):
        @step
        def work(self, task: TaskHandle) -> object:
            task.checkpoint({"fine": 1})
            try:
                task.checkpoint({"bad": [object()]})
            except ptsflow.PtsflowError as error:
                lines.append(str(error))
            return task.processing_data

    report = ptsflow.run(Saving(), url)

    assert lines[0].startswith("the checkpoint of work: bad[0]: an object ")
    assert report.result("work") == {"fine": 1}


# -- progress ------------------------------------------------------------------------


class Counting:
    """A store that counts what is written to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.touched: list[list[Progress]] = []
        self.committed = 0

    def sibling(self) -> Store:
        """Return itself over another connection: the run's own."""
        if threading.current_thread() is threading.main_thread():
            self.store = self.store.sibling()
            return cast("Store", self)
        return self.store.sibling()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def touch(self, uid: str, progress: Sequence[Progress], *, fence: int) -> None:
        self.touched.append(list(progress))
        self.store.touch(uid, progress, fence=fence)

    def commit(self, uid: str, changes: Sequence[Any], *, fence: int | None) -> None:
        self.committed += 1
        self.store.commit(uid, changes, fence=fence)


@pytest.fixture
def counting(url: str) -> Iterator[Counting]:
    store = open_store(url)
    yield Counting(store)
    store.close()


def test_10_000_calls_of_progress_a_second_are_a_write_a_second(
    counting: Counting,
) -> None:
    calls = 0

    class Progressing(Workflow):
        @step
        def work(self, task: TaskHandle) -> float:
            nonlocal calls
            began = time.monotonic()
            while time.monotonic() < began + 2.3:
                calls += 1
                task.progress(calls % 100, 100, f"call {calls}")
            return time.monotonic() - began

    client = Client(cast("Store", counting))
    report = ptsflow.run(Progressing(), client)

    assert calls > 20_000
    assert 2 <= len(counting.touched) <= report.result("work") + 1
    assert counting.committed == 2


@main_stores
def test_progress_is_seen_from_everywhere(url: str, name: str) -> None:
    class Progressing(Workflow):
        @step(weight=3)
        def work(self, task: TaskHandle) -> list[float]:
            for done in range(4):
                task.progress(done + 1, 8, f"{done + 1} of 8")
            with ptsflow.connect(url) as client:
                container = _container(client, name)
                until = time.monotonic() + PATIENCE
                while container.percentage_complete == 0.0:
                    assert time.monotonic() < until
                    container.refresh()
                seen = container.get_tasks()[0]
                return [container.percentage_complete, seen.percentage_complete]

        @step
        def more(self) -> None: ...

    report = ptsflow.run(Progressing(), url, name)

    assert report.result("work") == [37.5, 50.0]
    assert report.tasks[0].percentage_complete == 100.0
    assert report.tasks[0].status_text == "4 of 8"


def test_the_steps_count_by_their_weights(url: str, name: str) -> None:
    seen: list[float] = []

    def look() -> None:
        with ptsflow.connect(url) as client:
            seen.append(_container(client, name).percentage_complete)

    class Weighted(Workflow):
        @step(weight=6)
        def heavy(self) -> list[int]:
            look()
            return [1, 2]

        @step(each=heavy, weight=2)
        def use(self, number: int) -> None:
            look()

        @step(weight=2)
        def light(self) -> None:
            look()

    ptsflow.run(Weighted(), url, name, jobs=1)

    assert seen == [0.0, 60.0, 70.0, 80.0]


def test_the_progress_of_a_failed_attempt_stays(url: str) -> None:
    class Failing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(3, 4, "3 of 4")
            raise OSError("no")

    (task,) = ptsflow.run(Failing(), url).tasks

    assert (task.percentage_complete, task.status_text) == (75.0, "3 of 4")


def test_track_reports_how_far_an_iteration_is(url: str) -> None:
    class Tracking(Workflow):
        @step(retry=0)
        def sized(self, task: TaskHandle) -> None:
            for number in task.track([1, 2, 3, 4]):
                if number == 4:
                    raise OSError("no")

        @step(after=(), retry=0)
        def unsized(self, task: TaskHandle) -> None:
            for number in task.track(iter(range(9))):
                if number == 7:
                    raise OSError("no")

    sized, unsized = ptsflow.run(Tracking(), url).tasks

    assert (sized.percentage_complete, sized.status_text) == (75.0, "3 of 4")
    assert (unsized.percentage_complete, unsized.status_text) == (0.0, "7")


@pytest.mark.parametrize(
    ("done", "total", "percentage"),
    [
        pytest.param(1, 3, 100 / 3, id="a third"),
        pytest.param(5, 4, 100.0, id="more than all"),
        pytest.param(0, 0, 100.0, id="all of nothing"),
    ],
)
def test_progress_is_a_percentage(
    url: str, done: float, total: float, percentage: float
) -> None:
    class Progressing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(done, total)
            raise OSError("no")

    (task,) = ptsflow.run(Progressing(), url).tasks

    assert task.percentage_complete == pytest.approx(percentage)


@pytest.mark.parametrize("done", [-1, float("nan"), float("inf")])
def test_progress_that_is_no_number_is_refused(url: str, done: float) -> None:
    class Progressing(Workflow):
        @step(retry=0)
        def work(self, task: TaskHandle) -> None:
            task.progress(done, 10)

    (task,) = ptsflow.run(Progressing(), url).tasks

    assert str(task.error).startswith(
        "ValueError: progress of work: expected 0 <= done <= total, found "
        f"done={done!r}, total=10 ("
    )


@main_stores
def test_any_text_can_be_reported_as_progress(url: str, name: str) -> None:
    class Progressing(Workflow):
        @step
        def work(self, task: TaskHandle) -> str:
            task.progress(1, 2, "\ud800" + "x" * 10_000)
            until = time.monotonic() + PATIENCE
            while not (text := _task(url, name, "work").status_text):
                assert time.monotonic() < until
            return text

    report = ptsflow.run(Progressing(), url, name)

    assert report.ok
    assert report.result("work").startswith("\\ud800xxx")
    assert len(report.result("work")) <= 4000


# -- stopping ------------------------------------------------------------------------


def _signal(number: signal.Signals) -> None:
    """Send a signal as from a terminal: the main thread wakes."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _run_until(
    flow: Workflow, url: str, name: str, task: str, status: Status, **options: Any
) -> None:
    """Run until a task stands so, then have the run stop as Ctrl-C does."""

    def stop(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.after is not None:
            if (event.after.name, event.after.status) == (task, status):
                _signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(flow, url, name, listeners=[stop], **options)


def _container(client: Client, name: str) -> Container:
    container = client.get_task_container(name)
    assert container is not None
    return container


def _task(url: str, name: str, task: str) -> ptsflow.Task:
    with ptsflow.connect(url) as client:
        found = _container(client, name).get_task(task)
        assert found is not None
        return found


def _until_cancelled(task: TaskHandle) -> None:
    until = time.monotonic() + PATIENCE
    while not task.cancelled:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_the_first_signal_lets_bodies_end_and_starts_nothing_more(
    url: str, name: str
) -> None:
    ran: list[str] = []

    class Stopping(Workflow):
        @step(parallel=True)
        def work(self, task: TaskHandle) -> str:
            _until_cancelled(task)
            return "ended"

        @step
        def more(self) -> None:
            ran.append("more")

        @step(always=True)
        def tidy(self) -> None:
            ran.append("tidy")

    _run_until(Stopping(), url, name, "work", Status.RUNNING)
    with ptsflow.connect(url) as client:
        container = _container(client, name)
        status = container.status
        tasks = {task.name: task for task in container.get_tasks()}
    meanwhile = list(ran)
    report = ptsflow.run(Stopping(), url, name)

    assert status is Status.PENDING
    assert (tasks["work"].status, tasks["work"].result) == (Status.DONE, "ended")
    assert tasks["more"].status is Status.PENDING
    assert meanwhile == []
    assert report.ok
    assert ran == ["more", "tidy"]


def test_a_stopped_run_leaves_no_handlers(url: str, name: str) -> None:
    class Waiting(Workflow):
        @step
        def work(self) -> None:
            raise RetryLater(HOURS)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    _run_until(Waiting(), url, name, "work", Status.WAITING)

    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_sigterm_exits_with_143(url: str, name: str) -> None:
    class Terminated(Workflow):
        @step
        def work(self) -> None:
            _signal(signal.SIGTERM)
            raise RetryLater(HOURS)

    with pytest.raises(SystemExit) as stopped:
        ptsflow.run(Terminated(), url, name)

    assert stopped.value.code == 143
    assert _task(url, name, "work").status is Status.WAITING


def test_the_second_signal_stops_at_once_and_does_not_count(
    url: str, name: str
) -> None:
    leave = threading.Event()
    attempts: list[int] = []

    class Hanging(Workflow):
        @step
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                _signal(signal.SIGINT)
                _until_cancelled(task)
                _signal(signal.SIGINT)
                assert leave.wait(PATIENCE)
                with pytest.raises(ptsflow.PtsflowError, match="was not saved"):
                    task.checkpoint("too late")

    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(Hanging(), url, name)
    stopped = _task(url, name, "work")
    leave.set()
    report = ptsflow.run(Hanging(), url, name)

    assert (stopped.status, stopped.status_text) == (Status.PENDING, "interrupted")
    assert report.ok
    assert attempts == [1, 1]
    assert report.tasks[0].invoke_count == 2
    assert report.tasks[0].processing_data is None


def test_attempts_and_waits_survive_the_end_of_the_run(url: str, name: str) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(2, delay=HOURS, jitter=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            raise OSError(f"no {len(attempts)}")

    _run_until(Waiting(), url, name, "work", Status.WAITING)
    with ptsflow.connect(url) as client:
        record = client.store.container(name)
        assert record is not None
        (task,) = client.store.tasks(record.uid)

    assert attempts == [1]
    assert (task.status, task.attempt, task.invoke_count) == (Status.WAITING, 1, 1)
    assert task.due == (task.task_ended_at or 0) + 3_600_000
    assert str(task.error).startswith("OSError: no 1 (")


def test_a_wait_that_is_over_by_the_next_run_is_not_waited_again(
    url: str, name: str
) -> None:
    attempts: list[int] = []

    class Waiting(Workflow):
        @step(retry=Retry(2, delay=0.2, jitter=0))
        def work(self, task: TaskHandle) -> None:
            attempts.append(task.attempt)
            if len(attempts) == 1:
                raise OSError("no")

    _run_until(Waiting(), url, name, "work", Status.WAITING)
    due = (_task(url, name, "work").task_ended_at or _never()) + timedelta(seconds=0.2)
    report = ptsflow.run(Waiting(), url, name)
    started = report.tasks[0].last_invoked_at

    assert attempts == [1, 2]
    assert started is not None
    assert timedelta(0) <= started - due < timedelta(seconds=1)


def _never() -> Any:
    raise AssertionError
