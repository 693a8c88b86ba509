"""The bus: events in order, to every listener, whatever one of them does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ptsflow.core.texts import one_line
from ptsflow.events import Event, Notice
from ptsflow.runner.event_bus import Bus, name_of

FIRST, SECOND = Notice(at=1, text="first"), Notice(at=2, text="second")


def test_every_listener_hears_every_event_in_order() -> None:
    one: list[Event] = []
    two: list[Event] = []
    bus = Bus([one.append, two.append])

    bus.emit(FIRST)
    bus.emit(SECOND)

    assert one == two == [FIRST, SECOND]


class Broken:
    """A listener that raises."""

    def __init__(self, error: BaseException) -> None:
        self.asked: list[Event] = []
        self._error = error

    def __call__(self, event: Event) -> None:
        self.asked.append(event)
        raise self._error


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("a broken screen\nwith details"), "OSError: a broken screen"),
        (KeyError(), "KeyError"),
        (Unreadable(), "Unreadable: (its message cannot be read)"),
    ],
)
def test_a_listener_that_raises_is_named_once_to_the_others_and_dropped(
    error: Exception, told: str
) -> None:
    before: list[Event] = []
    after: list[Event] = []
    broken = Broken(error)
    bus = Bus([before.append, broken, after.append])
    bus.emit(FIRST)
    bus.emit(SECOND)
    text = f"the listener {__name__}:Broken raised {told}; the run goes on without it"

    assert broken.asked == [FIRST]
    assert before == after == [FIRST, Notice(at=FIRST.at, text=text), SECOND]


def test_a_listener_that_raises_at_the_notice_about_another_is_named_too() -> None:
    heard: list[Event] = []

    def deaf_to_more(event: Event) -> None:
        if event is not FIRST:
            raise OSError

    Bus([Broken(OSError()), deaf_to_more, heard.append]).emit(FIRST)
    first, *notices = heard
    names = [n.text.split()[2] for n in notices if isinstance(n, Notice)]

    assert first is FIRST
    assert [name.rpartition(".")[2].rpartition(":")[2] for name in names] == [
        *("Broken", "deaf_to_more"),
    ]


@pytest.mark.parametrize(
    ("listener", "name"),
    [
        pytest.param(print, "builtins:print", id="a builtin"),
        pytest.param(one_line, "ptsflow.core.texts:one_line", id="a function"),
        pytest.param([].append, "builtins:list.append", id="a builtin's method"),
        pytest.param(Bus([]).emit, "ptsflow.runner.event_bus:Bus.emit", id="a method"),
        pytest.param(Broken(OSError()), f"{__name__}:Broken", id="an object"),
    ],
)
def test_a_listener_is_named_by_its_module_and_name(
    listener: Callable[..., object], name: str
) -> None:
    assert name_of(listener) == name


def test_a_listener_that_is_there_twice_is_dropped_twice() -> None:
    def broken(_: Event) -> None:
        raise ZeroDivisionError

    bus = Bus([broken, broken])
    bus.emit(FIRST)

    assert not bus


def test_a_listener_that_tells_of_itself_breaks_once() -> None:
    bus: Bus

    def broken(event: Event) -> None:
        if event is FIRST:
            bus.emit(SECOND)
        raise ZeroDivisionError

    bus = Bus([broken])
    bus.emit(FIRST)

    assert not bus


def test_ctrl_c_in_a_listener_is_not_swallowed() -> None:
    def interrupted(_: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bus([interrupted]).emit(FIRST)


def test_a_bus_without_listeners_is_false() -> None:
    heard: list[Event] = []

    assert not Bus([])
    assert Bus([heard.append])
