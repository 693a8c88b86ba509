"""Whether and when a failed attempt is tried again.

The decision is a value, and nobody sleeps: the runner stores when the next attempt is
due, so that attempts and waits survive a crash. Strategies of tenacity are asked once,
with a `RetryCallState` made from the stored attempt count, as if tenacity's own loop had
come this far. Without strategies nothing is loaded here, as the attempt may have failed
because no memory or no file descriptor was left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Never

from msgspec import Struct

from ptsflow.core.names import similar
from ptsflow.core.numbers import is_number, is_whole
from ptsflow.errors import AttemptLost, DeclarationError, Fail, Signal

if TYPE_CHECKING:
    from tenacity import RetryCallState

#: Errors that are bugs: they do not get better by waiting.
BUGS: tuple[type[BaseException], ...] = (
    NameError,
    TypeError,
    AttributeError,
    ImportError,
    SyntaxError,
    NotImplementedError,
)

#: The longest wait, in seconds: a year. Strategies may compute any number.
LONGEST_WAIT = 365 * 24 * 3600.0

ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]
#: A tenacity strategy: asked with a `RetryCallState`.
Strategy = Callable[["RetryCallState"], Any]


class Retry:
    """How often, when and after which errors a step is tried again.

    `Retry(5, delay=10)` is six attempts at the most, with 10, 20, 40, 80 and 160 seconds
    between them, each up to a tenth longer or shorter.

    Args:
        max_retries: attempts after the first one; 0 for none.
        delay: seconds before the first retry.
        backoff: by how much each delay is longer than the one before.
        max_delay: the longest delay in seconds, before jitter.
        jitter: the share by which a delay is longer or shorter at random, 0 to 1.
        on: the errors to try again after. Without it and `give_up_on`: all but bugs
            (NameError, TypeError, AttributeError, ImportError, SyntaxError,
            NotImplementedError).
        give_up_on: errors not to try again after.
        stop: a tenacity stop strategy, instead of `max_retries`.
        wait: a tenacity wait strategy, instead of the delays.
        retry: a tenacity retry strategy, instead of `on` and `give_up_on`.
        renew_on_checkpoint: an attempt that saved something else by `task.checkpoint`
            than the attempt before it uses up none of these attempts.

    Raises:
        DeclarationError: a value is out of its range, or contradicts another.
    """

    def __init__(  # noqa: PLR0913 - the names of DESIGN's interface
        self,
        max_retries: int = 3,
        *,
        delay: float = 30,
        backoff: float = 2,
        max_delay: float = 3600,
        jitter: float = 0.1,
        on: ErrorTypes | None = None,
        give_up_on: ErrorTypes | None = None,
        stop: Strategy | None = None,
        wait: Strategy | None = None,
        retry: Strategy | None = None,
        renew_on_checkpoint: bool = False,
        **unknown: Never,
    ) -> None:
        if unknown:
            raise DeclarationError(_unknown_option(next(iter(unknown))))
        _check_number("max_retries", max_retries, int, 0, 1_000_000)
        _check_number("delay", delay, float, 0, LONGEST_WAIT)
        _check_number("backoff", backoff, float, 1, 1000)
        _check_number("max_delay", max_delay, float, 0, LONGEST_WAIT)
        _check_number("jitter", jitter, float, 0, 1)
        _check_errors("on", on)
        _check_errors("give_up_on", give_up_on)
        for name, strategy in (("stop", stop), ("wait", wait), ("retry", retry)):
            if strategy is not None and not callable(strategy):
                raise DeclarationError(
                    f"Retry({name}=): expected a tenacity strategy, "
                    f"found {strategy!r}; pass for example tenacity.{_EXAMPLES[name]}"
                )
        if retry is not None and (on is not None or give_up_on is not None):
            raise DeclarationError(
                "Retry(): retry= decides alone which errors are tried again; "
                "leave out on= and give_up_on="
            )
        if not isinstance(renew_on_checkpoint, bool):
            raise DeclarationError(
                "Retry(renew_on_checkpoint=): expected True or False, "
                f"found {renew_on_checkpoint!r}"
            )
        self.has_strategy = not (stop is wait is retry is None)
        if self.has_strategy:
            import tenacity  # noqa: F401, PLC0415 - 25 ms; too late once an attempt failed
        self.max_retries = max_retries
        self.delay = float(delay)
        self.backoff = float(backoff)
        self.max_delay = float(max_delay)
        self.jitter = float(jitter)
        self.on = on
        self.give_up_on = give_up_on
        self.renew_on_checkpoint = renew_on_checkpoint
        self.stop = stop
        self.wait = wait
        self.retry = retry

    def __repr__(self) -> str:
        return (
            f"Retry({self.max_retries}, delay={self.delay:g}, backoff={self.backoff:g})"
        )


_EXAMPLES = {
    "stop": "stop_after_attempt(3)",
    "wait": "wait_fixed(10)",
    "retry": "retry_if_exception_type(OSError)",
}


class RetryIn(Struct, frozen=True):
    """Try again in so many seconds."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Do not try again."""


def decide(
    policy: Retry,
    *,
    attempt: int,
    error: BaseException,
    elapsed: float = 0.0,
    chance: float = 0.5,
) -> RetryIn | GiveUp:
    """Say what follows after attempt number `attempt` (1 is the first) raised `error`.

    Args:
        policy: the step's.
        attempt: attempts made so far in this budget; 0 if the last one renewed it.
        error: what the last one raised.
        elapsed: seconds since the first attempt of this budget began.
        chance: a random number from 0 to 1; where in the range of `jitter` the wait is.
    """
    if not policy.has_strategy:
        if attempt > policy.max_retries or not _is_retryable(policy, error):
            return GiveUp()
        return RetryIn(min(own_wait(policy, attempt, chance), LONGEST_WAIT))
    state = _state(attempt, error, elapsed)
    if not (
        _is_retryable(policy, error) if policy.retry is None else policy.retry(state)
    ):
        return GiveUp()
    own = own_wait(policy, attempt, chance)
    wait = min(
        max(0.0, float(policy.wait(state) if policy.wait else own)), LONGEST_WAIT
    )
    # Before stop is asked, as in tenacity: stop_before_delay looks at it.
    state.upcoming_sleep = wait
    stop = policy.stop
    if attempt and (stop(state) if stop is not None else attempt > policy.max_retries):
        return GiveUp()
    return RetryIn(wait)


def _state(attempt: int, error: BaseException, elapsed: float) -> RetryCallState:
    from tenacity import RetryCallState, Retrying  # noqa: PLC0415 - loaded by `Retry`

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(error), error, error.__traceback__))
    state.start_time = 0.0
    state.outcome_timestamp = elapsed
    return state


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in an exception group, however deep; else the error alone."""
    found: list[BaseException] = []
    left = [error]
    while left:  # A stack of its own: a group may be deeper than calls may be.
        each = left.pop()
        if isinstance(each, BaseExceptionGroup):
            left += reversed(each.exceptions)
        else:
            found.append(each)
    return found


def _is_retryable(policy: Retry, error: BaseException) -> bool:
    # A group is tried again if each of its errors by itself would be.
    return all(_is_retryable_leaf(policy, leaf) for leaf in leaves(error))


def _is_retryable_leaf(policy: Retry, error: BaseException) -> bool:
    if isinstance(error, Signal):
        return not isinstance(error, Fail)
    if isinstance(error, AttemptLost):
        # Not one of the body's errors, which `on` and `give_up_on` are about.
        return True
    if policy.on is None and policy.give_up_on is None:
        return isinstance(error, Exception) and not isinstance(error, BUGS)
    if policy.give_up_on is not None and isinstance(error, policy.give_up_on):
        return False
    return isinstance(error, Exception if policy.on is None else policy.on)


def own_wait(policy: Retry, attempt: int, chance: float = 0.5) -> float:
    """Return the delay after an attempt by `Retry`'s own numbers, in seconds."""
    try:
        longer = policy.backoff ** max(0, attempt - 1)
        wait = min(policy.delay * longer, policy.max_delay)
    except OverflowError:
        wait = policy.max_delay if policy.delay else 0.0
    # So that many tasks that failed together do not come back together.
    return wait * (1 + policy.jitter * (2 * chance - 1))


def _unknown_option(name: str) -> str:
    import inspect  # noqa: PLC0415 - only for a refusal

    _, *known = inspect.signature(Retry.__init__).parameters
    known.remove("unknown")
    near = similar(name, known) or similar(
        name.replace("retries", "max_retries"), known
    )
    return f"Retry(): unknown option {name!r}{near}; there are {', '.join(known)}"


def _check_number(
    name: str, value: object, kind: type, least: int, most: float
) -> None:
    is_right = is_whole if kind is int else is_number
    if is_right(value, least, most):
        return
    noun = "a whole number" if kind is int else "a number"
    raise DeclarationError(
        f"Retry({name}=): expected {noun} from {least} to {most:.0f}, found {value!r}"
    )


def _check_errors(name: str, value: object) -> None:
    types = value if isinstance(value, tuple) else (value,)
    if value is None or all(
        isinstance(entry, type) and issubclass(entry, BaseException) for entry in types
    ):
        return
    raise DeclarationError(
        f"Retry({name}=): expected an exception class or a tuple of them, found {value!r}"
    )
