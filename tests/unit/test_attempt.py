"""One attempt: what a body is given, and every way in which it can end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tenacity

from ptsflow import Fail, Finish, Retry, RetryLater, Skip, TaskHandle, Workflow, step
from ptsflow.core.model import TaskRecord
from ptsflow.core.outcome import (
    Finished,
    Interrupted,
    Outcome,
    Postponed,
    Raised,
    Skipped,
    returned,
)
from ptsflow.core.retry import LONGEST_WAIT
from ptsflow.executors.attempt import Call, run
from ptsflow.executors.values import Element, Value, Values
from ptsflow.workflow.compile import plan_of
from tests.support.processes import environment
from tests.support.reports import Reports, handle_of
from tests.support.wording import THEIRS, Message

NOW = 1_000_000
HERE = Path(__file__).name


@dataclass
class File:
    name: str
    size: int = 0


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Exiting(Exception):
    def __str__(self) -> str:
        raise SystemExit(5)


class Unreachable(ExceptionGroup[OSError]):
    @property
    def exceptions(self) -> Any:
        raise SystemExit(5)


class Unknowing(Exception):
    def __getattr__(self, name: str) -> object:
        raise KeyError(name)


class Ends(Workflow):
    """Every way to end."""

    size: int = 2

    @step
    def returns(self) -> list[File]:
        return [File("a", self.size)]

    @step
    def returns_nothing(self) -> None: ...

    @step
    async def returns_later(self) -> int:
        await asyncio.sleep(0)
        return 5

    @step
    async def skips_later(self) -> int:
        await asyncio.sleep(0)
        raise Skip("nothing new")

    @step
    def skips(self) -> None:
        raise Skip("nothing new")

    @step
    def finishes(self) -> None:
        raise Finish("nothing new")

    @step
    def fails(self) -> None:
        raise Fail("no such feed")

    @step
    def fails_silently(self) -> None:
        raise Fail

    @step
    def puts_off(self) -> None:
        raise RetryLater(600, "not posted yet")

    @step
    def puts_off_backwards(self) -> None:
        raise RetryLater(-5)

    @step
    def puts_off_for_ever(self) -> None:
        raise RetryLater(float("inf"))

    @step
    def puts_off_for_no_number(self) -> None:
        raise RetryLater(float("nan"))

    @step(retry=Retry(1, delay=10, jitter=0))
    def breaks(self) -> None:
        raise OSError("away")

    @step
    def breaks_below(self) -> None:
        _below()

    @step(at_most_once=True)
    def breaks_once_for_all(self) -> None:
        raise OSError("away")

    @step
    def breaks_at_length(self) -> None:
        raise OSError("x" * 20_000)

    @step
    def breaks_elsewhere(self) -> None:
        int("x")

    @step(retry=0)
    def breaks_silently(self) -> None:
        raise OSError

    @step
    def breaks_unreadably(self) -> None:
        raise Unreadable

    @step
    def breaks_and_exits(self) -> None:
        raise Exiting

    @step
    def breaks_out_of_reach(self) -> None:
        raise Unreachable("many", [OSError("away")])

    @step
    def breaks_far_below(self) -> None:
        error: Exception = OSError("away")
        for _ in range(5_000):
            error = ExceptionGroup("many", [error])
        raise error

    @step
    def breaks_unknowingly(self) -> None:
        raise Unknowing("x")

    @step
    def takes_away(self) -> None:
        del sys.stderr, sys.stdout, sys.excepthook
        threading.excepthook = None  # type: ignore[assignment]

    @step
    def exits(self) -> None:
        raise SystemExit(3)

    @step
    def swallows(self) -> None:
        try:
            self.skips()
        except Exception:  # noqa: BLE001 - what it is about
            return

    @step
    def returns_what_cannot_be_stored(self) -> object:
        return {"a": [object()]}

    @step(retry=Retry(stop=tenacity.stop_after_delay(60), wait=tenacity.wait_fixed(1)))
    def breaks_for_a_minute(self) -> None:
        raise OSError("away")

    @step(retry=Retry(wait=lambda _: 1 // 0))
    def has_a_broken_strategy(self) -> None:
        raise OSError("away")

    @step
    def assigns(self) -> None:
        self.size = 5

    @step
    def takes(self, returns: list[File], task: TaskHandle) -> str:
        file = returns[0]
        file.name += "!"
        return f"{type(file).__name__} {file.name} for {task.name}"

    @step(each=returns)
    def takes_an_item(self, file: File) -> str:
        return file.name

    @step
    def joins(self, takes_an_item: list[str]) -> int:
        return len(takes_an_item)


def _below() -> None:
    raise OSError("away")


PLAN = plan_of(Ends)


def line_of(name: str, text: str) -> str:
    """Return where a step's body has a line, as errors say it."""
    code = PLAN.by_name[name].function.__code__
    lines = Path(__file__).read_text().splitlines()
    number = next(
        number
        for number, line in enumerate(lines, 1)
        if number > code.co_firstlineno and text in line
    )
    return f"({HERE}:{number} in {name})"


def attempted(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    attempt: int = 1,
    began_at: int = NOW,
    handle: TaskHandle | None = None,
) -> Outcome:
    """Make an attempt of a step."""
    call = Call(
        workflow=Ends(),
        step=PLAN.by_name[name],
        arguments=arguments or {},
        handle=handle or HANDLE,
        attempt=attempt,
        began_at=began_at,
        clock=lambda: NOW,
    )
    return run(call)


FILE = '{"$":"dataclass","n":"File","v":{"name":"a","size":2}}'


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("returns", returned(f"[{FILE}]")),
        ("returns_nothing", returned("null")),
        ("returns_later", returned("5")),
        ("skips", Skipped("nothing new")),
        ("skips_later", Skipped("nothing new")),
        ("swallows", returned("null")),
        ("finishes", Finished("nothing new")),
        ("puts_off", Postponed(600.0, "not posted yet")),
        ("puts_off_backwards", Postponed(0.0, "")),
        ("puts_off_for_ever", Postponed(LONGEST_WAIT, "")),
    ],
)
def test_how_a_body_ends(name: str, outcome: Outcome) -> None:
    assert attempted(name) == outcome


@pytest.mark.parametrize(
    ("name", "error"), [("fails", "no such feed"), ("fails_silently", "Fail")]
)
def test_fail_is_not_tried_again(name: str, error: str) -> None:
    outcome = attempted(name)

    assert isinstance(outcome, Raised)
    assert (outcome.error, outcome.again_in) == (error, None)
    assert outcome.error_type == "Fail"


def test_an_error_is_tried_again_and_says_where_it_was_raised() -> None:
    outcome = attempted("breaks")

    where = line_of("breaks", "raise OSError")
    assert isinstance(outcome, Raised)
    assert (outcome.error, outcome.again_in) == (f"OSError: away {where}", 10.0)
    assert outcome.error_type == "OSError"


def test_a_traceback_begins_at_the_body_and_shows_no_values() -> None:
    outcome = attempted("breaks_below")

    assert isinstance(outcome, Raised)
    lines = outcome.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(" in breaks_below")
    assert lines[-1] == "OSError: away"
    assert "attempt.py" not in outcome.traceback.replace(HERE, "")


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    outcome = attempted("breaks_at_length")

    assert isinstance(outcome, Raised)
    assert len(outcome.traceback) == 6_000 - 1
    assert outcome.traceback.startswith("Traceback (most recent call last):")
    assert outcome.traceback.endswith("x\n")


def test_after_the_last_attempt_it_is_given_up() -> None:
    outcome = attempted("breaks", attempt=2)

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None


def test_an_error_from_below_says_the_last_line_of_the_step_s_file() -> None:
    outcome = attempted("breaks_below")

    assert isinstance(outcome, Raised)
    assert outcome.error.startswith(f"OSError: away ({HERE}:")
    assert outcome.error.endswith(" in _below)")


def test_an_error_from_elsewhere_says_the_step_s_own_line() -> None:
    outcome = attempted("breaks_elsewhere")

    where = line_of("breaks_elsewhere", 'int("x")')
    assert isinstance(outcome, Raised)
    assert outcome.error == Message(f"ValueError: {THEIRS} {where}")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("breaks_silently", "OSError ("),
        ("breaks_unreadably", "Unreadable: (its message cannot be read) ("),
        ("breaks_unknowingly", "Unknowing: x ("),
        ("breaks_and_exits", "Exiting: (its message cannot be read) ("),
        ("breaks_out_of_reach", "SystemExit: 5"),
        ("breaks_far_below", "ExceptionGroup of OSError: away ("),
        (
            "puts_off_for_no_number",
            "ValueError: RetryLater: expected a number of seconds, found nan (",
        ),
        ("exits", "SystemExit: 3 ("),
    ],
)
def test_any_error_can_be_told(name: str, error: str) -> None:
    outcome = attempted(name)

    assert isinstance(outcome, Raised)
    assert outcome.error.startswith(error)


def test_threads_begin_although_a_body_took_away_what_they_need() -> None:
    before = sys.stdout, sys.stderr

    assert attempted("takes_away") == returned("null")

    threading.Thread(target=lambda: None).start()
    assert before == (sys.stdout, sys.stderr)
    assert callable(sys.excepthook)


def test_a_body_that_exits_is_not_tried_again() -> None:
    outcome = attempted("exits")

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None


def test_a_result_that_cannot_be_stored_fails_the_attempt_for_good() -> None:
    outcome = attempted("returns_what_cannot_be_stored")

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None
    assert outcome.error.startswith(
        "NotStorable: the result of step returns_what_cannot_be_stored"
    )


def test_assigning_to_self_fails_the_attempt_for_good() -> None:
    outcome = attempted("assigns")

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None
    assert outcome.error.startswith("FrozenWorkflow: Ends.size: a workflow object is")


@pytest.mark.parametrize(
    ("began_at", "again_in"),
    [
        pytest.param(NOW - 59_000, 1.0, id="within the minute"),
        pytest.param(NOW - 60_000, None, id="after it"),
        pytest.param(NOW + 5_000, 1.0, id="the clock stepped back"),
    ],
)
def test_strategies_know_the_time_since_the_first_attempt(
    began_at: int, again_in: float | None
) -> None:
    outcome = attempted("breaks_for_a_minute", attempt=99, began_at=began_at)

    assert isinstance(outcome, Raised)
    assert outcome.again_in == again_in


def test_a_strategy_that_raises_gives_up_and_is_named() -> None:
    outcome = attempted("has_a_broken_strategy")

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None
    assert outcome.error.startswith("OSError: away (")
    assert outcome.error.endswith(
        "; and its retry strategy raised ZeroDivisionError: "
        "integer division or modulo by zero"
    )


# -- what a body is given ---------------------------------------------------------------


HANDLE = handle_of(Reports(), TaskRecord(name="takes"))


def test_a_body_receives_results_as_its_annotations_say() -> None:
    value = Value(f"[{FILE}]", list[File])

    assert attempted("takes", {"returns": value, "task": HANDLE}) == returned(
        '"File a! for takes"'
    )


def test_what_one_attempt_does_to_a_value_another_does_not_see() -> None:
    value = Value(f"[{FILE}]", list[File])
    element = Element(
        {"$": "dataclass", "n": "File", "v": {"name": "a", "size": 2}}, File
    )

    for _ in range(2):
        assert attempted("takes", {"returns": value, "task": HANDLE}) == returned(
            '"File a! for takes"'
        )
        assert element.read().name == "a"
        element.read().name = "changed"


def test_a_fan_out_is_joined_in_order() -> None:
    texts = ['"b"', "null", '"a"']
    values = Values(list(texts), str)

    assert values.read() == ["b", None, "a"]
    joined = attempted("joins", {"takes_an_item": Values(texts, str)})
    assert joined == returned("3")


def test_a_joined_list_is_not_in_memory_twice() -> None:
    size, count = 2**20, 30
    tracemalloc.start()
    values = Values([json.dumps(chr(97 + n) * size) for n in range(count)], str)
    read = values.read()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(read) == count
    assert most < 1.2 * size * count


#: Says the peak of its memory in bytes. (`ru_maxrss` begins with that of who started it.)
_JOIN_ELSEWHERE = """
import threading
from ptsflow.executors.values import Values
quoted = (b'"' + bytes([97 + n % 26]) * (7 << 20) + b'"' for n in range(40))
values = Values([text.decode() for text in quoted], str)
body = threading.Thread(target=values.read)
body.start()
body.join()
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured as Linux does")
def test_a_joined_list_that_another_thread_read_is_not_in_memory_twice() -> None:
    said = subprocess.run(
        [sys.executable, "-c", _JOIN_ELSEWHERE],
        capture_output=True,
        check=True,
        text=True,
        env=environment(),
    )

    assert int(said.stdout) < 1.6 * 40 * (7 << 20)


def test_a_result_that_was_not_handed_on_is_none() -> None:
    assert Value(None, list[File]).read() is None


def test_an_item_is_read_as_its_annotation_says() -> None:
    element = Element(
        {"$": "dataclass", "n": "File", "v": {"name": "a", "size": 2}}, File
    )

    assert attempted("takes_an_item", {"file": element}) == returned('"a"')


def test_a_stored_value_that_does_not_fit_is_not_tried_again_and_names_the_parameter() -> (
    None
):
    outcome = attempted("takes", {"returns": Value("[", list[File]), "task": HANDLE})

    assert isinstance(outcome, Raised)
    assert outcome.again_in is None
    assert outcome.error.startswith(
        "StoredValueError: for the parameter returns: the stored result of returns does "
        "not fit: stored value: "
    )


# -- while the run is being stopped -----------------------------------------------------

STOPPING = handle_of(Reports(), TaskRecord(name="takes"), cancelled=lambda: True)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        pytest.param("breaks", Interrupted(), id="it raises"),
        pytest.param("exits", Interrupted(), id="it exits"),
        pytest.param("returns_nothing", returned("null"), id="it returns"),
        pytest.param("skips", Skipped("nothing new"), id="it skips"),
        pytest.param("puts_off_backwards", Interrupted(), id="it waits for nothing"),
        pytest.param("puts_off", Postponed(600.0, "not posted yet"), id="it waits"),
    ],
)
def test_what_a_body_raises_that_was_asked_to_stop_does_not_count(
    name: str, outcome: Outcome
) -> None:
    assert attempted(name, handle=STOPPING) == outcome


@pytest.mark.parametrize("name", ["fails", "breaks_once_for_all"])
def test_a_failure_that_is_meant_counts_all_the_same(name: str) -> None:
    assert isinstance(attempted(name, handle=STOPPING), Raised)
