"""`Cron`: when a workflow is due, as its class declares it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Never

from ptsflow.core.names import listed, similar
from ptsflow.errors import DeclarationError
from ptsflow.workflow import units

#: What a call does where more than one tick is due, or one is being run.
OVERLAPS = ("resume", "latest", "skip", "parallel")

#: A parameter at a tick: a text with `{tick}` and `{previous}`, or a function of the tick.
AtTick = str | Callable[[datetime], Any]

_OPTIONS = ("params", "timezone", "overlap", "catch_up", "again", "jitter")


class Cron:
    """When a workflow is due; `ptsflow run TARGET --due` runs what is.

    `schedule = Cron("5 * * * *", params={"hour": "{tick:%Y-%m-%dT%H}"})`

    Args:
        expression: the five fields of cron, or "@hourly", "@daily", "@weekly",
            "@monthly", "@yearly".
        params: parameters at a tick, by their names. A text such as
            "{tick:%Y-%m-%dT%H}" is read as that of `-p` would be; `{previous}` is the
            tick before. A function is given the tick, an aware datetime.
        timezone: whose clock the expression means, e.g. "Europe/Berlin".
        overlap: "resume" goes on with what is unfinished, oldest first, one at a time;
            "latest" runs the newest tick only; "skip" does too, unless one is being run;
            "parallel" runs each tick whatever became of others.
        catch_up: how late a tick may be; older ones are given up.
        again: how long after a failed run the tick is due again. Without it, the
            shortest time between two ticks.
        jitter: ticks are due later by up to so much, each by the name of its container.

    Raises:
        DeclarationError: a value does not fit.
    """

    def __init__(  # noqa: PLR0913 - the names of DESIGN's interface
        self,
        expression: str,
        *,
        params: Mapping[str, AtTick] | None = None,
        timezone: str = "UTC",
        overlap: str = "resume",
        catch_up: float | str = "24h",
        again: float | str | None = None,
        jitter: float | str = 0,
        **unknown: Never,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            raise DeclarationError(
                f"Cron(): unknown option {name!r}{similar(name, _OPTIONS)}; there are "
                f"{listed(_OPTIONS)}"
            )
        #: Five fields, whatever was given.
        self.expression = _fields(expression)
        self.params = _params(params)
        self.timezone = timezone
        self.zone = _zone(timezone)
        if overlap not in OVERLAPS:
            raise DeclarationError(
                f"Cron(overlap=): expected one of {', '.join(map(repr, OVERLAPS))}, "
                f"found {overlap!r:.80}"
            )
        self.overlap = overlap
        self.catch_up_ms = _milliseconds("catch_up", catch_up)
        self.again_ms = None if again is None else _milliseconds("again", again)
        self.jitter_ms = 0 if jitter == 0 else _milliseconds("jitter", jitter)

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, timezone={self.timezone!r})"


def _fields(expression: object) -> str:
    from ptsflow.core.ticks import spelt_out  # noqa: PLC0415 - only for schedules

    found = spelt_out(expression) if isinstance(expression, str) else None
    if found is not None:
        return found
    shown = f"{expression!r:.80}"
    parts = len(expression.split()) if isinstance(expression, str) else 0
    hint = ", found six: there are no seconds" if parts == 6 else ""  # noqa: PLR2004
    raise DeclarationError(
        f"Cron({shown}): expected minute, hour, day, month and weekday, such as "
        f'"5 * * * *", that name a time which comes, or "@hourly"{hint}'
    )


def _params(params: object) -> dict[str, AtTick]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise DeclarationError(
            "Cron(params=): expected a mapping of names to texts such as "
            f'"{{tick:%Y-%m-%d}}" or functions, found {params!r:.80}'
        )
    for name, value in params.items():
        if not isinstance(value, str) and not callable(value):
            raise DeclarationError(
                f"Cron(params=): {name}: expected a text such as "
                f'"{{tick:%Y-%m-%dT%H}}", or a function of the tick, found {value!r:.80}'
            )
    return dict(params)


def _zone(timezone: object) -> tzinfo:
    if timezone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only for schedules

    try:
        return ZoneInfo(timezone)  # type: ignore[arg-type] # whatever users write
    except (LookupError, ValueError, OSError, TypeError, AttributeError):
        raise DeclarationError(
            "Cron(timezone=): expected the name of a time zone that this machine knows, "
            f'such as "Europe/Berlin", found {timezone!r:.80}; pip install tzdata adds '
            "zones"
        ) from None


def _milliseconds(name: str, value: object) -> int:
    found = units.milliseconds(value)
    if found is None:
        raise DeclarationError(
            f'Cron({name}=): expected seconds above 0, or a text such as "2h", '
            f"found {value!r:.80}"
        )
    return found
