"""What a run would do, as a table: a dry run prints it."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.core.forecast import Forecast
from ptsflow.core.grouping import ForecastGroup, group_forecasts
from ptsflow.core.model import Status
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece

#: The most items with one forecast that are named; further ones are counted.
_NAMED = 3


def forecasts(foreseen: Iterable[Forecast]) -> list[Line]:
    """Return a line for each task; those of a step with like forecasts share a line."""
    return fmt.columns([_forecast(group) for group in group_forecasts(foreseen)])


_MEANINGS = {
    "run": Status.RUNNING,
    "retry": Status.WAITING,
    "check": Status.WAITING,
    "skip": Status.DONE,
    "blocked": Status.FAILED,
}


def _forecast(group: ForecastGroup) -> list[Piece]:
    names = ", ".join(group.names[:_NAMED])
    rest = len(group.names) - _NAMED
    return [
        Piece(group.action, _MEANINGS.get(group.action, "dim")),
        Piece(fmt.clean(f"{names} and {rest} more" if rest > 0 else names), "name"),
        Piece(fmt.clean(group.reason), "dim"),
    ]
