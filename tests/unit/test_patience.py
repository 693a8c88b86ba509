"""How long `RetryLater` may put a step off, and which checkpoints renew the attempts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tenacity import stop_after_delay, wait_fixed

from ptsflow import (
    DeclarationError,
    Retry,
    RetryLater,
    Status,
    TaskHandle,
    Workflow,
    connect,
    step,
)
from ptsflow.client import Client
from ptsflow.core.retry import GiveUp, RetryIn, decide
from ptsflow.testing import ManualClock, run_inline

HOUR = 3600


@pytest.fixture
def client() -> Client:
    return connect("memory:")


#: What the bodies do, one attempt after the other.
acts: list[Callable[[TaskHandle], None]] = []
#: When the bodies began, in seconds since the first one did.
began: list[float] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    acts.clear()
    began.clear()


class Feed(Workflow):
    """Its file may not be posted yet."""

    @step(timeout=HOUR, retry=Retry(2, delay=10, backoff=1, jitter=0))
    def check(self, task: TaskHandle) -> str:
        began.append(CLOCK() / 1000)
        if not acts:
            raise RetryLater(1000, "not posted yet")
        acts.pop(0)(task)
        return "posted"


CLOCK = ManualClock()


def offsets() -> list[float]:
    return [at - began[0] for at in began]


def check(client: Client) -> tuple[Status, str | None]:
    """Run once more; return how the step stands."""
    report = run_inline(Feed(), client=client, clock=CLOCK)
    (task,) = report.tasks
    return task.status, task.error


def fail(_: TaskHandle) -> None:
    raise OSError("down")


def put_off(_: TaskHandle) -> None:
    raise RetryLater(1000, "not posted yet")


def test_retry_later_ends_when_the_timeout_has_passed_since_the_first(
    client: Client,
) -> None:
    found = check(client)

    assert offsets() == [0, 1000, 2000, 3000, HOUR]
    error = "put off for longer than timeout=3600: not posted yet"
    assert found == (Status.FAILED, error)


def test_the_next_run_has_as_much_patience_again(client: Client) -> None:
    check(client)
    began.clear()

    check(client)

    assert offsets() == [0, 1000, 2000, 3000, HOUR]


def test_it_counts_from_the_first_retry_later_not_from_an_attempt_that_failed(
    client: Client,
) -> None:
    acts.extend([fail, put_off, fail])

    check(client)

    assert offsets() == [0, 10, 1010, 1020, 2020, 3020, HOUR + 10]


def test_a_step_without_a_timeout_is_put_off_for_as_long_as_it_asks() -> None:
    class Patient(Workflow):
        @step
        def check(self) -> None:
            began.append(0)
            if len(began) < 500:
                raise RetryLater(HOUR, "not posted yet")

    assert run_inline(Patient()).ok


def test_a_checkpoint_that_renews_the_attempts_renews_patience() -> None:
    clock = ManualClock()

    class Slow(Workflow):
        @step(timeout=HOUR, retry=Retry(renew_on_checkpoint=True))
        def load(self, task: TaskHandle) -> None:
            began.append(clock() / 1000)
            if len(began) == 3:
                task.checkpoint(len(began))
            raise RetryLater(1000, "busy")

    assert not run_inline(Slow(), clock=clock).ok
    assert offsets() == [0, 1000, 2000, 3000, 4000, 5000, 2000 + HOUR]


# -- renew_on_checkpoint ------------------------------------------------------------------


def test_an_attempt_that_saved_something_else_uses_up_none_of_the_attempts() -> None:
    class Download(Workflow):
        @step(retry=Retry(1, delay=1, renew_on_checkpoint=True))
        def load(self, task: TaskHandle) -> None:
            began.append(task.attempt)
            offset = task.processing_data
            assert offset is None or isinstance(offset, int)
            if (offset or 0) < 5:
                task.checkpoint((offset or 0) + 1)
            raise OSError("cut")

    assert not run_inline(Download()).ok
    assert began == [1, 1, 1, 1, 1, 1, 2]


def test_an_attempt_that_got_only_as_far_as_the_one_before_counts() -> None:
    class FromTheStart(Workflow):
        @step(retry=Retry(2, delay=1, renew_on_checkpoint=True))
        def load(self, task: TaskHandle) -> None:
            began.append(task.attempt)
            for offset in (10, 20, 30):
                task.checkpoint(offset)
            raise OSError("cut")

    assert not run_inline(FromTheStart()).ok
    assert began == [1, 1, 2, 3]


def test_without_it_a_checkpoint_renews_nothing() -> None:
    class Download(Workflow):
        @step(retry=Retry(1, delay=1))
        def load(self, task: TaskHandle) -> None:
            began.append(task.attempt)
            task.checkpoint(len(began))
            raise OSError("cut")

    assert not run_inline(Download()).ok
    assert began == [1, 2]


def test_an_attempt_that_renewed_them_is_tried_again_whatever_stop_says() -> None:
    renewing = Retry(0, delay=7, jitter=0)
    strategy = Retry(stop=stop_after_delay(100), wait=wait_fixed(3))

    assert decide(renewing, attempt=0, error=OSError()) == RetryIn(7)
    assert decide(strategy, attempt=0, error=OSError(), elapsed=999) == RetryIn(3)
    assert decide(renewing, attempt=0, error=TypeError()) == GiveUp()


def test_the_time_of_a_strategy_begins_anew_with_the_attempts() -> None:
    clock = ManualClock()
    for_100_seconds = Retry(
        stop=stop_after_delay(100), wait=wait_fixed(60), renew_on_checkpoint=True
    )

    class Download(Workflow):
        @step(retry=for_100_seconds)
        def load(self, task: TaskHandle) -> None:
            began.append(clock() / 1000)
            if len(began) <= 3:
                task.checkpoint(len(began))
            raise OSError("cut")

    assert not run_inline(Download(), clock=clock).ok
    assert offsets() == [0, 60, 120, 180, 240, 300]


def test_it_is_true_or_false() -> None:
    with pytest.raises(DeclarationError, match=r"renew_on_checkpoint=.*found 1"):
        Retry(renew_on_checkpoint=1)  # type: ignore[arg-type]
