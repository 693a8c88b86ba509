"""What shows looks at a store while they last: a live screen, lines, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from ptsflow.cli import streams
from ptsflow.cli.shared import say, show_json, show_text
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import Line
from ptsflow.display.run_state import Board
from ptsflow.display.streams import Outlet, is_drawable
from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import system_clock

if TYPE_CHECKING:
    from ptsflow.display.live import LiveScreen

#: What changes with time alone, and is no news.
_NO_NEWS = ("eta_seconds", "eta_low_seconds", "eta_high_seconds")


class Sight(Protocol):
    """What a look at a store tells, in the forms in which it can be shown."""

    @property
    def at(self) -> int:
        """The time of the store, in milliseconds since the epoch."""

    def frame(self, now: int, *, width: int, height: int, remark: str) -> list[Line]:
        """Return the rows of a live screen."""

    def objects(self) -> list[as_json.Json]:
        """Return an object for each container."""

    def changes(self, before: Self | None) -> Iterator[tuple[str, str]]:
        """Yield what changed, as lines: a name, and what is said of it."""


S = TypeVar("S", bound=Sight)
S_contra = TypeVar("S_contra", bound=Sight, contravariant=True)


class View(Protocol[S_contra]):
    """Shows looks of one kind, one after the other."""

    def show(self, sight: S_contra) -> None:
        """Show a look."""

    def note(self, problem: StoreUnavailable | None) -> None:
        """Say why the store does not answer; None that it answers again."""

    def close(self) -> None:
        """Leave the terminal in the state in which it was found."""


class Quiet(Generic[S]):
    """Shows nothing but that the store is away."""

    def show(self, sight: S) -> None:
        """Show nothing."""

    def note(self, problem: StoreUnavailable | None) -> None:
        """Say why the store does not answer, or that it answers again."""
        say(_said(problem) or "the store answers again")

    def close(self) -> None:
        """There is nothing to close."""


class Lines(Quiet[S]):
    """Writes a line for each change."""

    def __init__(self) -> None:
        self._before: S | None = None
        self._times = fmt.DayTimes()

    def show(self, sight: S) -> None:
        """Write what changed since the look before."""
        at = self._times.of(sight.at)
        for name, text in sight.changes(self._before):
            show_text(f"{at}  {fmt.clean(name)}  {text.rstrip()}\n")
        self._before = sight


class JsonLines(Quiet[S]):
    """Writes an object for each container that changed."""

    def __init__(self) -> None:
        self._shown: dict[str, as_json.Json] = {}

    def show(self, sight: S) -> None:
        """Write what is other than at the look before."""
        for found in sight.objects():
            owner = found["owner"]
            # A lease that was renewed is no news either.
            known = found | {"owner": owner and owner | {"until": None}}
            news = {name: known[name] for name in known if name not in _NO_NEWS}
            if self._shown.get(found["container"]) != news:
                self._shown[found["container"]] = news
                show_json(found)


class ScreenView(Generic[S]):
    """Draws the newest look in place.

    Args:
        sight: the first look.
    """

    def __init__(self, sight: S) -> None:
        self._sight = sight
        self._remark = ""
        #: How much the clock of the store is ahead of this host's.
        self._ahead = sight.at - system_clock()
        self._outlet = Outlet(streams.data())
        self._screen: LiveScreen | None = None

    def show(self, sight: S) -> None:
        """Draw this look from now on."""
        from ptsflow.display.live import LiveScreen  # noqa: PLC0415 - rich is for terminals alone.

        self._sight = sight
        self._ahead = sight.at - system_clock()
        if self._screen is None:
            self._screen = LiveScreen(
                Board(), self._outlet, clock=self._clock, drawn=self._frame
            )

    def note(self, problem: StoreUnavailable | None) -> None:
        """Say why the store does not answer, until it does."""
        self._remark = _said(problem)

    def close(self) -> None:
        """Remove the screen."""
        if self._screen is not None:
            self._screen.close()
        self._outlet.end()

    def _clock(self) -> int:
        return system_clock() + self._ahead

    def _frame(self, now: int, *, width: int, height: int) -> list[Line]:
        sight = self._sight
        return sight.frame(now, width=width, height=height, remark=self._remark)


def view_of(sight: S, *, json: bool, quiet: bool) -> View[S]:
    """Return what shows looks on standard output, beginning with this one."""
    if quiet:
        return Quiet()
    if json:
        return JsonLines()
    return ScreenView(sight) if is_drawable(streams.data()) else Lines()


def _said(problem: StoreUnavailable | None) -> str:
    return "" if problem is None else f"waiting for the store: {problem}"
