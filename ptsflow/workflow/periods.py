"""`Hour` and `Day`: parameters that mean a whole hour or day, whatever moment is given."""

from __future__ import annotations

import types
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from msgspec import Struct

from ptsflow.errors import ParameterError

if TYPE_CHECKING:
    Hour = datetime
    Day = date
else:

    class Hour:
        """A moment, in the zone of the class's schedule, else UTC, at its full hour."""

    class Day:
        """The date of a moment, in the zone of the class's schedule, else in UTC."""


class Period(Struct, frozen=True):
    """What a parameter that means an hour or a day makes of a moment."""

    name: str
    zone: tzinfo
    #: Whether it may be None.
    is_optional: bool

    @property
    def hint(self) -> Any:
        """The type of its value."""
        plain = datetime if self.name == "Hour" else date
        return plain | None if self.is_optional else plain

    @property
    def spelling(self) -> str:
        """Its annotation as people read it."""
        return f"{self.name} | None" if self.is_optional else self.name

    def of_value(self, value: Any, label: str) -> datetime | date | None:
        """Return the hour or day of a moment; one without a zone is taken to be in ours.

        Raises:
            ParameterError: it is no moment; the message begins with `label`.
        """
        if value is None and self.is_optional:
            return None
        if isinstance(value, datetime):
            try:
                return self._truncated(value)
            except (ValueError, OverflowError, OSError):
                raise self._unfit(value, label) from None
        if isinstance(value, date) and self.name == "Day":
            return value
        raise self._unfit(value, label)

    def of_text(self, text: str, label: str) -> datetime | date | None:
        """Return what a text means, such as that of `date -Is`.

        Raises:
            ParameterError: it means no moment; the message begins with `label`.
        """
        if self.is_optional and text.lower() in ("", "none"):
            return None
        try:
            return self.of_value(datetime.fromisoformat(text), label)
        except ValueError:
            raise self._unfit(text, label) from None

    def _truncated(self, moment: datetime) -> datetime | date:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        shown = moment.astimezone(UTC).astimezone(self.zone)
        if self.name == "Day":
            return shown.date()
        full = shown.replace(minute=0, second=0, microsecond=0)
        # By way of UTC: equal hours have an equal `fold` then.
        return full.astimezone(UTC).astimezone(self.zone)

    def _unfit(self, value: object, label: str) -> ParameterError:
        found = f"{value!r:.200}".replace("\n", " ")
        example = "2011-09-30T13" if self.name == "Hour" else "2011-09-30"
        return ParameterError(
            f"{label}: expected {self.spelling}, a time such as {example} or "
            f"2011-09-30T13:05:00+00:00, found {found}"
        )


def period_of(hint: Any, zone: tzinfo) -> Period | None:
    """Return what an annotation makes of a moment; None if it means no period."""
    choices = (
        get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    )
    kinds = [kind for kind in choices if kind is not type(None)]
    if len(kinds) != 1 or kinds[0] not in (Hour, Day):
        return None
    return Period(kinds[0].__name__, zone, is_optional=len(choices) > 1)


def has_period(hint: Any) -> bool:
    """Whether `Hour` or `Day` stands anywhere in an annotation."""
    return hint in (Hour, Day) or any(map(has_period, get_args(hint)))
