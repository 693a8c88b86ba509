"""The state machine: every row of its table, every refusal, and what always holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec import UNSET
from msgspec.structs import replace

from ptsflow.core import transitions
from ptsflow.core.model import (
    Cause,
    Status,
    TaskRecord,
    progressed,
    without_payloads,
)
from ptsflow.core.texts import ERROR_LIMIT, TEXT_LIMIT, cut

NOW = 1_000_000
FENCE = 7

EVENTS: dict[str, Callable[[TaskRecord], TaskRecord]] = {
    "start": lambda task: transitions.start(task, now=NOW, fence=FENCE),
    "check_out": lambda task: transitions.check_out(task, now=NOW, lease_ms=60_000),
    "succeed": lambda task: transitions.succeed(
        task, now=NOW, result='{"a":1}', code_version="2"
    ),
    "retry": lambda task: transitions.retry(
        task, now=NOW, due=NOW + 30_000, error="OSError: away"
    ),
    "give_up": lambda task: transitions.give_up(task, now=NOW, error="OSError: away"),
    "postpone": lambda task: transitions.postpone(
        task, now=NOW, due=NOW + 600_000, why="not posted yet"
    ),
    "hasten": lambda task: transitions.hasten(task, now=NOW, fence=FENCE),
    "interrupt": lambda task: transitions.interrupt(task, now=NOW),
    "crash": lambda task: transitions.crash(
        task, now=NOW, fence=FENCE, max_retries=3, error="the runner died"
    ),
    "lose": lambda task: transitions.lose(
        task, now=NOW, fence=FENCE, code_version="2", error="unknown"
    ),
    "settle": lambda task: transitions.settle(task, now=NOW, fence=FENCE),
    "save": lambda task: transitions.save(
        task, processing_data="[3]", attempt=task.attempt
    ),
    "skip": lambda task: transitions.skip(
        task, now=NOW, fence=FENCE, cause=Cause.BODY, why="nothing new"
    ),
    "finish": lambda task: transitions.finish(
        task, now=NOW, why="nothing new", code_version="2"
    ),
    "reopen": lambda task: transitions.reopen(task, fence=FENCE),
    "carry_on": lambda task: transitions.carry_on(task, fence=FENCE),
    "reset": lambda task: transitions.reset(task, fence=FENCE),
}

#: The table of the module's docstring: from, event, to.
TABLE = {
    ("pending", "start"): "running",
    ("waiting", "start"): "running",
    ("pending", "check_out"): "running",
    ("waiting", "check_out"): "running",
    ("running", "check_out"): "running",
    ("running", "succeed"): "done",
    ("running", "retry"): "waiting",
    ("running", "give_up"): "failed",
    ("running", "postpone"): "waiting",
    ("waiting", "hasten"): "waiting",
    ("running", "interrupt"): "pending",
    ("running", "crash"): "pending",
    ("running", "lose"): "failed",
    ("failed", "settle"): "done",
    ("running", "save"): "running",
    ("pending", "skip"): "skipped",
    ("waiting", "skip"): "skipped",
    ("running", "skip"): "skipped",
    ("running", "finish"): "done",
    ("failed", "reopen"): "pending",
    ("waiting", "reopen"): "pending",
    ("skipped", "reopen"): "pending",
    ("done", "carry_on"): "done",
    **{(status.value, "reset"): "pending" for status in Status},
}
EVERY_PAIR = [(status, event) for status in Status for event in EVENTS]


def task_in(status: Status) -> TaskRecord:
    """Return a task in the middle of its second attempt, put into `status`."""
    return TaskRecord(
        name="download[songs]",
        step="download",
        key="songs",
        position=3,
        status=status,
        version=5,
        fence=6,
        attempt=2,
        invoke_count=4,
        percentage_complete=40.0,
        status_text="3 of 7",
        due=NOW - 1 if status is Status.WAITING else None,
        began_at=NOW - 90_000,
        last_invoked_at=NOW - 5_000,
        error="OSError: before",
        task_data='{"url":1}',
        processing_data="[2]",
        result=None,
    )


@pytest.mark.parametrize(
    ("status", "event"), [pytest.param(s, e, id=f"{s}-{e}") for s, e in EVERY_PAIR]
)
def test_a_task_does_what_the_table_says_and_nothing_else(
    status: Status, event: str
) -> None:
    task = task_in(status)
    expected = TABLE.get((status.value, event))
    if expected is None:
        with pytest.raises(
            ValueError, match=rf"^task 'download\[songs\]' cannot {event}:"
        ):
            EVENTS[event](task)
        return

    after = EVENTS[event](task)

    assert after.status == expected
    assert after.version == task.version + 1
    assert (after.name, after.step, after.key) == (task.name, task.step, task.key)
    assert (after.position, after.task_data) == (task.position, task.task_data)


def test_the_docstring_has_the_same_table() -> None:
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (transitions.__doc__ or "").splitlines()
        if line.startswith("|")
    ][2:]
    documented = {
        (source, event): target
        for sources, event, target, _ in lines
        for source in (
            [status.value for status in Status]
            if sources == "any"
            else sources.replace(" ", "").split(",")
        )
    }

    assert documented == TABLE


def test_a_refusal_says_what_was_asked_what_is_and_what_may_be() -> None:
    with pytest.raises(ValueError, match="cannot start") as raised:
        transitions.start(task_in(Status.DONE), now=NOW, fence=FENCE)

    assert str(raised.value) == (
        "task 'download[songs]' cannot start: it is done, expected pending or waiting"
    )


def test_start_counts_the_attempt_and_forgets_how_the_last_one_ended() -> None:
    after = EVENTS["start"](task_in(Status.WAITING))

    assert (after.attempt, after.invoke_count, after.fence) == (3, 5, FENCE)
    assert (after.last_invoked_at, after.began_at) == (NOW, NOW - 90_000)
    assert (after.due, after.error, after.task_ended_at) == (None, None, None)
    assert after.task_duration_ms is None
    assert after.processing_data == "[2]"


def test_the_first_start_of_a_budget_notes_when_it_began() -> None:
    fresh = TaskRecord(name="check", step="check")

    assert EVENTS["start"](fresh).began_at == NOW


def test_succeed_keeps_the_result_and_the_version_of_the_code() -> None:
    after = EVENTS["succeed"](task_in(Status.RUNNING))

    assert (after.result, after.code_version) == ('{"a":1}', "2")
    assert (after.percentage_complete, after.status_text) == (100.0, "3 of 7")
    assert (after.task_ended_at, after.task_duration_ms) == (NOW, 5_000)


def test_a_result_of_none_is_not_kept() -> None:
    after = transitions.succeed(task_in(Status.RUNNING), now=NOW, result="null")

    assert after.result is None


def test_finish_marks_the_task_with_its_reason() -> None:
    after = EVENTS["finish"](task_in(Status.RUNNING))

    assert (after.cause, after.status_text) == (Cause.FINISH, "nothing new")
    assert (after.result, after.code_version) == (None, "2")


def test_retry_waits_with_the_error_and_keeps_what_was_saved() -> None:
    after = EVENTS["retry"](task_in(Status.RUNNING))

    assert (after.due, after.error) == (NOW + 30_000, "OSError: away")
    assert (after.attempt, after.processing_data) == (2, "[2]")


@pytest.mark.parametrize("event", ["postpone", "interrupt"])
def test_what_is_no_attempt_is_not_counted_as_one(event: str) -> None:
    after = EVENTS[event](task_in(Status.RUNNING))

    assert (after.attempt, after.invoke_count) == (1, 4)
    assert after.began_at == NOW - 90_000


@pytest.mark.parametrize("event", ["postpone", "interrupt"])
def test_a_budget_without_attempts_has_not_begun(event: str) -> None:
    """Else stop_after_delay would give up at the first error after a day of waiting."""
    first = replace(task_in(Status.RUNNING), attempt=1)

    after = EVENTS[event](first)

    assert (after.attempt, after.began_at) == (0, None)


@pytest.mark.parametrize("event", ["postpone", "interrupt"])
def test_a_task_that_a_client_checked_out_has_no_attempt_to_take_back(
    event: str,
) -> None:
    leased = EVENTS["check_out"](TaskRecord(name="check"))

    assert EVENTS[event](leased).attempt == 0


@pytest.mark.parametrize(
    ("attempt", "max_retries", "status"),
    [
        pytest.param(1, 0, Status.PENDING, id="one crash never fails a task"),
        pytest.param(2, 0, Status.FAILED, id="a second one does without retries"),
        pytest.param(2, 1, Status.FAILED, id="a second one does with one retry"),
        pytest.param(2, 2, Status.PENDING, id="within the budget"),
        pytest.param(3, 3, Status.PENDING, id="at the last retry but one"),
        pytest.param(4, 3, Status.FAILED, id="at the last retry"),
    ],
)
def test_a_crash_counts_and_fails_at_the_last_attempt(
    attempt: int, max_retries: int, status: Status
) -> None:
    running = replace(task_in(Status.RUNNING), attempt=attempt)

    after = transitions.crash(
        running, now=NOW, fence=FENCE, max_retries=max_retries, error="died"
    )

    assert (after.status, after.attempt) == (status, attempt)
    assert (after.error, after.fence) == ("died", FENCE)


def test_check_out_leases_the_task_and_counts_an_invocation() -> None:
    after = EVENTS["check_out"](task_in(Status.WAITING))

    assert (after.leased_till, after.invoke_count) == (NOW + 60_000, 5)
    assert (after.attempt, after.due) == (2, None)


@pytest.mark.parametrize(
    ("status", "duration"),
    [(Status.PENDING, None), (Status.WAITING, None), (Status.RUNNING, 5_000)],
)
def test_a_skipped_task_is_complete_and_says_why(
    status: Status, duration: int | None
) -> None:
    after = EVENTS["skip"](task_in(status))

    assert (after.cause, after.status_text) == (Cause.BODY, "nothing new")
    assert (after.percentage_complete, after.result, after.due) == (100.0, None, None)
    assert (after.task_ended_at, after.task_duration_ms) == (NOW, duration)


def test_reopen_gives_a_fresh_budget_and_keeps_what_was_saved() -> None:
    after = EVENTS["reopen"](task_in(Status.FAILED))

    assert (after.attempt, after.began_at, after.invoke_count) == (0, None, 4)
    assert (after.processing_data, after.percentage_complete) == ("[2]", 40.0)
    assert (after.error, after.status_text) == ("OSError: before", "3 of 7")


def test_reopening_what_was_skipped_forgets_its_reason_and_its_percentage() -> None:
    skipped = EVENTS["skip"](task_in(Status.RUNNING))

    after = EVENTS["reopen"](skipped)

    assert (after.percentage_complete, after.status_text) == (0.0, "")
    assert (after.cause, after.processing_data) == (Cause.NONE, "[2]")


def test_reset_forgets_all_but_the_count_of_invocations_and_what_the_task_needs() -> (
    None
):
    done = replace(
        EVENTS["finish"](task_in(Status.RUNNING)), result="[1]", leased_till=NOW
    )

    after = EVENTS["reset"](done)

    assert after == TaskRecord(
        name="download[songs]",
        step="download",
        key="songs",
        position=3,
        version=7,
        fence=FENCE,
        invoke_count=4,
        last_invoked_at=NOW - 5_000,
        task_data='{"url":1}',
        processing_data=None,
        result=None,
    )


def test_carry_on_takes_the_mark_of_finish_off_and_keeps_the_rest() -> None:
    done = EVENTS["finish"](task_in(Status.RUNNING))

    after = EVENTS["carry_on"](done)

    assert after == replace(
        done, cause=Cause.NONE, version=done.version + 1, fence=FENCE
    )


def test_progress_moves_no_version() -> None:
    after = progressed(task_in(Status.RUNNING), 55.0, "x" * 5_000)

    assert (after.version, after.percentage_complete) == (5, 55.0)
    assert len(after.status_text) <= TEXT_LIMIT


def test_a_task_without_payloads_has_none_loaded() -> None:
    after = without_payloads(task_in(Status.DONE))

    assert (after.task_data, after.processing_data, after.result) == (
        UNSET,
        UNSET,
        UNSET,
    )


def test_a_clock_that_steps_back_makes_no_negative_duration() -> None:
    running = replace(task_in(Status.RUNNING), last_invoked_at=NOW + 1)

    assert EVENTS["succeed"](running).task_duration_ms == 0


def test_a_task_that_was_never_invoked_has_no_duration() -> None:
    running = replace(task_in(Status.RUNNING), last_invoked_at=None)

    assert EVENTS["succeed"](running).task_duration_ms is None


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        pytest.param("short", 5, "short", id="fits"),
        pytest.param(
            "0123456789ABCDEF", 11, "012 ... DEF", id="the middle is left out"
        ),
        pytest.param("é" * 3, 10, "é" * 3, id="not ascii, and valid"),
        pytest.param("a\udc80b", 10, r"a\udc80b", id="no valid text"),
        pytest.param(
            "\udc80" * 9, 11, r"\ud ... c80", id="cut after it was made valid"
        ),
    ],
)
def test_text_is_cut_so_that_it_can_be_stored(text: str, limit: int, kept: str) -> None:
    assert cut(text, limit) == kept


@pytest.mark.parametrize(
    ("event", "limit"), [("retry", ERROR_LIMIT), ("give_up", ERROR_LIMIT)]
)
def test_an_error_of_any_length_is_cut(event: str, limit: int) -> None:
    change = getattr(transitions, event)
    due = {"due": NOW} if event == "retry" else {}

    after = change(task_in(Status.RUNNING), now=NOW, error="x" * 100_000, **due)

    assert len(after.error) <= limit


PLAIN = st.sampled_from(sorted(EVENTS.keys() - {"start", "check_out", "crash"}))


class TaskMachine(RuleBasedStateMachine):
    """One task, any event the table allows, in any order."""

    @initialize(max_retries=st.integers(0, 3))
    def begin(self, max_retries: int) -> None:
        self.task = TaskRecord(name="check", step="check", version=1)
        self.max_retries = max_retries
        self.now = NOW

    def _move(self, after: TaskRecord, event: str) -> None:
        before, self.task = self.task, after

        assert after.version > before.version
        assert after.invoke_count >= before.invoke_count
        if before.status is Status.DONE and event not in ("reset", "carry_on"):
            assert after.status is Status.DONE

    @rule(later=st.integers(-1_000, 100_000))
    def time_passes(self, later: int) -> None:
        self.now += later

    @precondition(lambda self: self.task.status in (Status.PENDING, Status.WAITING))
    @rule()
    def start(self) -> None:
        self._move(transitions.start(self.task, now=self.now, fence=FENCE), "start")

    @precondition(lambda self: self.task.status is Status.RUNNING)
    @rule()
    def fail(self) -> None:
        if self.task.attempt > self.max_retries:
            after = transitions.give_up(self.task, now=self.now, error="x")
        else:
            due = self.now + 1
            after = transitions.retry(self.task, now=self.now, due=due, error="x")
        self._move(after, "fail")

    @precondition(lambda self: self.task.status is Status.RUNNING)
    @rule()
    def crash(self) -> None:
        after = transitions.crash(
            self.task,
            now=self.now,
            fence=FENCE,
            max_retries=self.max_retries,
            error="x",
        )
        self._move(after, "crash")

    @precondition(lambda self: self.task.status is Status.RUNNING)
    @rule(percentage=st.floats(0, 100), text=st.text(max_size=5))
    def progress(self, percentage: float, text: str) -> None:
        self.task = progressed(self.task, percentage, text)

    @rule(event=PLAIN.filter(lambda event: event not in ("retry", "give_up")))
    def anything_else(self, event: str) -> None:
        if (self.task.status.value, event) in TABLE:
            self._move(EVENTS[event](self.task), event)
        else:
            with pytest.raises(ValueError, match=f"cannot {event}"):
                EVENTS[event](self.task)

    @invariant()
    def attempts_are_within_the_budget(self) -> None:
        assert 0 <= self.task.attempt <= max(self.max_retries, 1) + 1
        assert (self.task.began_at is None) == (self.task.attempt == 0)

    @invariant()
    def a_due_time_belongs_to_waiting(self) -> None:
        assert (self.task.due is not None) == (self.task.status is Status.WAITING)

    @invariant()
    def the_percentage_is_one(self) -> None:
        assert 0 <= self.task.percentage_complete <= 100
        if self.task.status in (Status.DONE, Status.SKIPPED):
            assert self.task.percentage_complete == 100

    @invariant()
    def what_ended_has_its_end(self) -> None:
        if self.task.is_complete:
            assert self.task.task_ended_at is not None
        assert (self.task.task_duration_ms or 0) >= 0

    @invariant()
    def only_what_failed_says_so(self) -> None:
        assert self.task.has_failed == (self.task.status is Status.FAILED)
        if self.task.status is Status.DONE:
            assert self.task.error is None


TaskMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestTaskMachine = TaskMachine.TestCase
