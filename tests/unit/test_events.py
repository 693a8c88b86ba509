"""The bus: events in order, to every listener, whatever one of them does."""

from __future__ import annotations

import pytest

from ptsflow.events import Bus, Event, Notice

FIRST, SECOND = Notice(at=1, text="first"), Notice(at=2, text="second")


def test_every_listener_hears_every_event_in_order() -> None:
    one: list[Event] = []
    two: list[Event] = []
    bus = Bus([one.append, two.append])

    bus.emit(FIRST)
    bus.emit(SECOND)

    assert one == two == [FIRST, SECOND]


def test_a_listener_that_raises_is_not_asked_again_and_the_others_are() -> None:
    heard: list[Event] = []
    asked: list[Event] = []

    def broken(event: Event) -> None:
        asked.append(event)
        raise ZeroDivisionError("a broken screen")

    bus = Bus([broken, heard.append])
    bus.emit(FIRST)
    bus.emit(SECOND)

    assert asked == [FIRST]
    assert heard == [FIRST, SECOND]


def test_a_listener_that_is_there_twice_breaks_twice() -> None:
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
