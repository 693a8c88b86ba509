"""What follows a failed attempt: tables over policies, errors and attempts."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from ptsflow.core.retry import LONGEST_WAIT, GiveUp, Retry, RetryIn, decide
from ptsflow.errors import DeclarationError, NotStorable

GIVE_UP = GiveUp()


class Away(OSError):
    """A server that is not there."""


def waits(policy: Retry, error: BaseException | None = None) -> list[float]:
    """Return the seconds before each retry, until the policy gives up."""
    found: list[float] = []
    while True:
        decision = decide(policy, attempt=len(found) + 1, error=error or Away("away"))
        if isinstance(decision, GiveUp):
            return found
        found.append(decision.seconds)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(Retry(jitter=0), [30, 60, 120], id="the default"),
        pytest.param(Retry(0), [], id="none"),
        pytest.param(
            Retry(5, delay=10, jitter=0), [10, 20, 40, 80, 160], id="the documented one"
        ),
        pytest.param(Retry(3, delay=0), [0, 0, 0], id="no delay"),
        pytest.param(
            Retry(3, delay=7, backoff=1, jitter=0), [7, 7, 7], id="no backoff"
        ),
        pytest.param(
            Retry(3, delay=10, backoff=1.5, jitter=0), [10, 15, 22.5], id="slow backoff"
        ),
        pytest.param(
            Retry(4, delay=10, max_delay=25, jitter=0), [10, 20, 25, 25], id="max_delay"
        ),
        pytest.param(
            Retry(1, delay=10, max_delay=5, jitter=0), [5], id="max below delay"
        ),
        pytest.param(
            Retry(2, delay=LONGEST_WAIT, max_delay=LONGEST_WAIT, jitter=1),
            None,
            id="never over a year",
        ),
    ],
)
def test_the_waits_of_a_policy(policy: Retry, expected: list[float] | None) -> None:
    found = waits(policy)

    if expected is None:
        assert max(found) <= LONGEST_WAIT
    else:
        assert found == expected


def test_a_backoff_beyond_all_numbers_waits_the_longest_delay() -> None:
    policy = Retry(1_000_000, delay=1, backoff=1000, jitter=0)

    assert decide(policy, attempt=900_000, error=Away()) == RetryIn(3600.0)


@given(
    jitter=st.floats(0, 1),
    delay=st.floats(0, 1000),
    attempt=st.integers(1, 3),
    chance=st.floats(0, 1),
)
def test_jitter_stays_within_its_share(
    jitter: float, delay: float, attempt: int, chance: float
) -> None:
    policy = Retry(3, delay=delay, jitter=jitter)
    plain = min(delay * 2 ** (attempt - 1), 3600)

    decision = decide(policy, attempt=attempt, error=Away(), chance=chance)

    assert isinstance(decision, RetryIn)
    slack = plain * 1e-9
    assert plain * (1 - jitter) - slack <= decision.seconds
    assert decision.seconds <= plain * (1 + jitter) + slack


def test_jitter_tells_tasks_apart_that_failed_together() -> None:
    policy = Retry(delay=128, jitter=0.5)
    chances = (0, 0.25, 0.5, 1)

    found = [decide(policy, attempt=1, error=Away(), chance=c) for c in chances]

    assert found == [RetryIn(64), RetryIn(96), RetryIn(128), RetryIn(192)]


ONLY_OS = Retry(on=OSError)
NOT_OS = Retry(give_up_on=OSError)


@pytest.mark.parametrize(
    ("policy", "error", "is_retried"),
    [
        pytest.param(Retry(), OSError(), True, id="an error"),
        pytest.param(Retry(), ValueError(), True, id="a value error"),
        pytest.param(Retry(), RecursionError(), True, id="recursion"),
        pytest.param(Retry(), NameError(), False, id="a bug: name"),
        pytest.param(Retry(), UnboundLocalError(), False, id="a bug: unbound name"),
        pytest.param(Retry(), TypeError(), False, id="a bug: type"),
        pytest.param(Retry(), AttributeError(), False, id="a bug: attribute"),
        pytest.param(Retry(), ImportError(), False, id="a bug: import"),
        pytest.param(Retry(), ModuleNotFoundError(), False, id="a bug: module"),
        pytest.param(Retry(), SyntaxError(), False, id="a bug: syntax"),
        pytest.param(
            Retry(), NotImplementedError(), False, id="a bug: not implemented"
        ),
        pytest.param(Retry(), NotStorable("x"), False, id="what cannot be stored"),
        pytest.param(Retry(), KeyboardInterrupt(), False, id="no Exception"),
        pytest.param(Retry(), SystemExit(), False, id="exit"),
        pytest.param(Retry(), GeneratorExit(), False, id="generator exit"),
        pytest.param(ONLY_OS, Away(), True, id="on: a subclass"),
        pytest.param(ONLY_OS, ValueError(), False, id="on: another one"),
        pytest.param(
            Retry(on=TypeError), TypeError(), True, id="on: a bug, if asked for"
        ),
        pytest.param(
            Retry(on=(OSError, KeyError)), KeyError(), True, id="on: of several"
        ),
        pytest.param(Retry(on=()), OSError(), False, id="on: nothing"),
        pytest.param(Retry(on=SystemExit), SystemExit(), True, id="on: no Exception"),
        pytest.param(NOT_OS, Away(), False, id="give_up_on: a subclass"),
        pytest.param(NOT_OS, ValueError(), True, id="give_up_on: another one"),
        pytest.param(
            NOT_OS, TypeError(), True, id="give_up_on: it decides alone of bugs"
        ),
        pytest.param(NOT_OS, SystemExit(), False, id="give_up_on: no Exception"),
        pytest.param(
            Retry(on=OSError, give_up_on=Away), Away(), False, id="both: given up"
        ),
        pytest.param(
            Retry(on=OSError, give_up_on=Away), OSError(), True, id="both: tried"
        ),
    ],
)
def test_which_errors_are_tried_again(
    policy: Retry, error: BaseException, *, is_retried: bool
) -> None:
    decision = decide(policy, attempt=1, error=error)

    assert isinstance(decision, RetryIn) is is_retried


T = tenacity


@pytest.mark.parametrize(
    ("policy", "attempt", "elapsed", "expected"),
    [
        pytest.param(
            Retry(stop=T.stop_after_attempt(2), wait=T.wait_fixed(9)),
            1,
            0.0,
            RetryIn(9.0),
            id="stop_after_attempt goes on",
        ),
        pytest.param(
            Retry(stop=T.stop_after_attempt(2), wait=T.wait_fixed(9)),
            2,
            0.0,
            GIVE_UP,
            id="stop_after_attempt stops",
        ),
        pytest.param(
            Retry(stop=T.stop_after_delay(60), wait=T.wait_fixed(1)),
            50,
            59.0,
            RetryIn(1.0),
            id="stop_after_delay goes on, whatever max_retries would say",
        ),
        pytest.param(
            Retry(stop=T.stop_after_delay(60), wait=T.wait_fixed(1)),
            1,
            60.0,
            GIVE_UP,
            id="stop_after_delay stops",
        ),
        pytest.param(
            Retry(stop=T.stop_before_delay(60), wait=T.wait_fixed(10)),
            1,
            49.0,
            RetryIn(10.0),
            id="stop_before_delay goes on",
        ),
        pytest.param(
            Retry(stop=T.stop_before_delay(60), wait=T.wait_fixed(10)),
            1,
            50.0,
            GIVE_UP,
            id="stop_before_delay knows the wait to come",
        ),
        pytest.param(
            Retry(stop=T.stop_never, wait=T.wait_none()),
            999,
            0.0,
            RetryIn(0.0),
            id="never",
        ),
        pytest.param(
            Retry(stop=T.stop_after_attempt(9) | T.stop_after_delay(5)),
            1,
            5.0,
            GIVE_UP,
            id="stops combined by |",
        ),
        pytest.param(
            Retry(
                stop=T.stop_after_attempt(1) & T.stop_after_delay(5),
                wait=T.wait_none(),
            ),
            1,
            4.0,
            RetryIn(0.0),
            id="stops combined by &",
        ),
        pytest.param(
            Retry(wait=T.wait_chain(T.wait_fixed(1), T.wait_fixed(2))),
            1,
            0.0,
            RetryIn(1.0),
            id="wait_chain at its first",
        ),
        pytest.param(
            Retry(wait=T.wait_chain(T.wait_fixed(1), T.wait_fixed(2))),
            3,
            0.0,
            RetryIn(2.0),
            id="wait_chain stays at its last",
        ),
        pytest.param(
            Retry(wait=T.wait_fixed(3) + T.wait_fixed(4)),
            1,
            0.0,
            RetryIn(7.0),
            id="waits added",
        ),
        pytest.param(
            Retry(wait=T.wait_incrementing(start=5, increment=5)),
            3,
            0.0,
            RetryIn(15.0),
            id="wait_incrementing",
        ),
        pytest.param(
            Retry(wait=T.wait_fixed(9)), 4, 0.0, GIVE_UP, id="max_retries stays"
        ),
        pytest.param(
            Retry(wait=lambda _: math.inf),
            1,
            0.0,
            RetryIn(LONGEST_WAIT),
            id="inf",
        ),
        pytest.param(Retry(wait=lambda _: math.nan), 1, 0.0, RetryIn(0.0), id="nan"),
        pytest.param(Retry(wait=lambda _: -5), 1, 0.0, RetryIn(0.0), id="negative"),
    ],
)
def test_tenacity_s_own_strategies_decide(
    policy: Retry, attempt: int, elapsed: float, expected: RetryIn | GiveUp
) -> None:
    decision = decide(policy, attempt=attempt, error=Away("away"), elapsed=elapsed)

    assert decision == expected


BUSY = T.retry_if_exception_message(match="busy")
IS_OS = T.retry_if_exception_type(OSError)


@pytest.mark.parametrize(
    ("strategy", "error", "is_retried"),
    [
        pytest.param(IS_OS, Away(), True, id="type"),
        pytest.param(IS_OS, ValueError(), False, id="another type"),
        pytest.param(BUSY, ValueError("busy now"), True, id="message"),
        pytest.param(BUSY, ValueError("gone"), False, id="another message"),
        pytest.param(BUSY | IS_OS, OSError("gone"), True, id="one of two"),
        pytest.param(BUSY & IS_OS, OSError("gone"), False, id="both of two"),
        pytest.param(BUSY & IS_OS, OSError("busy"), True, id="both of two are met"),
        pytest.param(IS_OS, KeyboardInterrupt(), False, id="no Exception"),
        pytest.param(T.retry_never, OSError(), False, id="never"),
        pytest.param(T.retry_always, TypeError(), True, id="always, even a bug"),
        pytest.param(
            T.retry_if_not_exception_type(OSError), ValueError(), True, id="not a type"
        ),
        pytest.param(
            T.retry_if_exception(lambda error: "5" in str(error)),
            OSError("HTTP 503"),
            True,
            id="a function of the error",
        ),
    ],
)
def test_a_retry_strategy_decides_alone(
    strategy: Callable[[Any], Any], error: BaseException, *, is_retried: bool
) -> None:
    decision = decide(Retry(retry=strategy), attempt=1, error=error)

    assert isinstance(decision, RetryIn) is is_retried


def test_a_strategy_sees_what_tenacity_s_own_loop_would_show_it() -> None:
    seen: dict[str, Any] = {}
    error = Away("away")

    def look(state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        seen.update(
            attempt=state.attempt_number,
            elapsed=state.seconds_since_start,
            error=state.outcome.exception(),
            failed=state.outcome.failed,
        )
        return 0

    decide(Retry(wait=look), attempt=3, error=error, elapsed=12.5)

    assert seen == {"attempt": 3, "elapsed": 12.5, "error": error, "failed": True}


def test_what_a_strategy_raises_comes_through() -> None:
    def broken(_state: object) -> bool:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        decide(Retry(stop=broken), attempt=1, error=Away())


WHOLE = "expected a whole number from 0 to 1000000, found"
YEAR = "expected a number from 0 to 31536000, found"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_retries": -1}, f"Retry(max_retries=): {WHOLE} -1"),
        ({"max_retries": 1.5}, f"Retry(max_retries=): {WHOLE} 1.5"),
        ({"max_retries": True}, f"Retry(max_retries=): {WHOLE} True"),
        ({"max_retries": "3"}, f"Retry(max_retries=): {WHOLE} '3'"),
        ({"max_retries": None}, f"Retry(max_retries=): {WHOLE} None"),
        ({"max_retries": 10**7}, f"Retry(max_retries=): {WHOLE} 10000000"),
        ({"delay": -1}, f"Retry(delay=): {YEAR} -1"),
        ({"delay": "10"}, f"Retry(delay=): {YEAR} '10'"),
        ({"delay": math.nan}, f"Retry(delay=): {YEAR} nan"),
        ({"delay": math.inf}, f"Retry(delay=): {YEAR} inf"),
        ({"delay": False}, f"Retry(delay=): {YEAR} False"),
        ({"max_delay": 10**400}, f"Retry(max_delay=): {YEAR} {10**400}"),
        (
            {"backoff": 0.5},
            "Retry(backoff=): expected a number from 1 to 1000, found 0.5",
        ),
        ({"jitter": 1.1}, "Retry(jitter=): expected a number from 0 to 1, found 1.1"),
        (
            {"on": OSError()},
            "Retry(on=): expected an exception class or a tuple of them, found OSError()",
        ),
        (
            {"on": "OSError"},
            "Retry(on=): expected an exception class or a tuple of them, found 'OSError'",
        ),
        (
            {"on": [OSError]},
            (
                "Retry(on=): expected an exception class or a tuple of them, "
                "found [<class 'OSError'>]"
            ),
        ),
        (
            {"give_up_on": (OSError, int)},
            (
                "Retry(give_up_on=): expected an exception class or a tuple of them, "
                "found (<class 'OSError'>, <class 'int'>)"
            ),
        ),
        (
            {"stop": 3},
            (
                "Retry(stop=): expected a tenacity strategy, found 3; "
                "pass for example tenacity.stop_after_attempt(3)"
            ),
        ),
        (
            {"wait": 10},
            (
                "Retry(wait=): expected a tenacity strategy, found 10; "
                "pass for example tenacity.wait_fixed(10)"
            ),
        ),
        (
            {"retry": "OSError"},
            (
                "Retry(retry=): expected a tenacity strategy, found 'OSError'; "
                "pass for example tenacity.retry_if_exception_type(OSError)"
            ),
        ),
        (
            {"retry": IS_OS, "on": OSError},
            (
                "Retry(): retry= decides alone which errors are tried again; "
                "leave out on= and give_up_on="
            ),
        ),
        (
            {"retry": IS_OS, "give_up_on": OSError},
            (
                "Retry(): retry= decides alone which errors are tried again; "
                "leave out on= and give_up_on="
            ),
        ),
    ],
)
def test_a_wrong_policy_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        Retry(**given)

    assert str(raised.value) == message


def test_a_policy_shows_itself() -> None:
    assert repr(Retry(5, delay=10, backoff=1.5)) == "Retry(5, delay=10, backoff=1.5)"


def test_decisions_are_values() -> None:
    assert pickle.loads(pickle.dumps(RetryIn(3.0))) == RetryIn(3.0)  # noqa: S301 - ours
    assert pickle.loads(pickle.dumps(GIVE_UP)) == GIVE_UP  # noqa: S301 - ours
