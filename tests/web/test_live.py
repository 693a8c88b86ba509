"""Looks that are shared, and the events by which pages change."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from ptsflow.errors import StoreUnavailable
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.web import live
from ptsflow.web.answers import Answers
from ptsflow.web.live import Hub, Seen
from ptsflow.web.pages import Page, Part
from ptsflow.web.reading import Reading
from ptsflow.web.security import access
from ptsflow.web.views import Showing

Question = Callable[[Store], int]


@contextlib.asynccontextmanager
async def reading() -> AsyncIterator[Reading]:
    store = open_store("memory:")
    made = Reading(store.sibling)
    yield made
    made.close()
    store.close()


class Looks:
    """Counts how often it looks; raises while the store is said to be away."""

    def __init__(self) -> None:
        self.count = 0
        self.away = False

    def __call__(self, store: Store) -> int:
        if self.away:
            raise StoreUnavailable("the store is away")
        assert store.now()
        self.count += 1
        return self.count


def test_all_who_watch_a_thing_share_one_look() -> None:
    async def watch() -> None:
        looks = Looks()
        async with reading() as made:
            hub = Hub(made)
            first, second = hub.watching("a", looks), hub.watching("a", looks)
            one, _ = await anext(first)
            other, _ = await anext(second)
            assert one is other
            assert (hub.size, looks.count) == (1, 1)
            await first.aclose()
            assert hub.size == 1
            await second.aclose()
            assert hub.size == 0

    asyncio.run(watch())


def test_nobody_looks_once_all_have_left() -> None:
    async def watch() -> int:
        looks = Looks()
        async with reading() as made:
            watching = Hub(made).watching("a", looks)
            await anext(watching)
            await watching.aclose()
            before = looks.count
            await asyncio.sleep(1.2)
            return looks.count - before

    assert asyncio.run(watch()) == 0


def test_a_look_that_costs_is_made_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> list[float]:
        pauses: list[float] = []

        def pause_after(took: float, least: float) -> float:
            pauses.append(took)
            return least

        monkeypatch.setattr(live, "pause_after", pause_after)
        async with reading() as made:
            watching = Hub(made).watching("a", Looks())
            for _ in range(3):
                seen, _ = await anext(watching)
                assert seen is not None
                # What is read beside the look counts as well.
                seen.took += 100
            await anext(watching)
            await watching.aclose()
        return pauses

    assert max(asyncio.run(watch())) >= 100


def test_one_slow_look_among_quick_ones_does_not_make_the_page_late() -> None:
    async def watch() -> float:
        async with reading() as made:
            watching = Hub(made).watching("a", Looks())
            seen, _ = await anext(watching)
            assert seen is not None
            seen.took += 100
            began = time.monotonic()
            await anext(watching)
            await watching.aclose()
            return time.monotonic() - began

    assert asyncio.run(watch()) < 60


def test_a_further_question_is_asked_once_for_all() -> None:
    async def ask() -> tuple[int, int, int]:
        looks = Looks()
        async with reading() as made:
            seen = Seen(made, 0)
            both = await asyncio.gather(seen.ask("x", looks), seen.ask("x", looks))
            return *both, looks.count

    assert asyncio.run(ask()) == (1, 1, 1)


def test_a_store_that_comes_back_is_looked_at_again() -> None:
    async def watch() -> list[str]:
        looks = Looks()
        said = []
        async with reading() as made:
            watching = Hub(made).watching("a", looks)
            await anext(watching)
            for away in (True, False):
                looks.away = away
                async for seen, problem in watching:
                    assert seen is not None
                    if (problem is not None) is away:
                        said.append(str(problem))
                        break
            await watching.aclose()
        return said

    assert asyncio.run(watch()) == ["the store is away", "None"]


# -- events -----------------------------------------------------------------------


class Board:
    """What a page shows: a number, and a part that stays as it is."""

    def __init__(self, at: int, number: int) -> None:
        self.at = at
        self.number = number


async def _events(numbers: list[int | None], known: str | None = None) -> list[str]:
    """Return the events of a page that shows numbers; at None the store is away."""
    left = list(numbers)

    def look(_store: Store) -> Board:
        number = left.pop(0) if len(left) > 1 else left[0]
        if number is None:
            raise StoreUnavailable("the store is away")
        return Board(1_000, number)

    async def page(seen: Seen[Board]) -> Page:
        said = {"problem": f"number {seen.look.number}"}
        parts = {"a": Part("_problem.html", said), "b": Part("bottom.html", {})}
        return Page(title="", parts=parts)

    async with reading() as made:
        answers = Answers(
            made, access(None, port=1, has_actions=False, names=frozenset()), ""
        )
        shown = Showing("numbers", look, page, None)
        found = []
        async with contextlib.aclosing(answers.events(shown, known)) as events:
            async for event in events:
                found.append(event)
                if len(found) == len(numbers):
                    return found
    return found


def test_only_what_changed_is_sent() -> None:
    first, second, third = asyncio.run(_events([1, 1, 2]))

    assert "number 1" in first
    assert 'hx-target="#b"' in first
    assert second == live.NOTHING_NEW
    assert "number 2" in third
    assert 'hx-target="#b"' not in third


def test_a_browser_that_comes_again_is_sent_what_it_does_not_know() -> None:
    (first,) = asyncio.run(_events([1]))
    mark = first.partition("\n")[0].removeprefix("id: ")

    assert asyncio.run(_events([1], mark)) == [live.NOTHING_NEW]
    (event,) = asyncio.run(_events([2], mark))
    assert "number 2" in event


def test_a_store_that_is_away_is_said_with_the_age_of_what_is_shown() -> None:
    _, away, back = asyncio.run(_events([1, None, 1]))

    assert "the store is away" in away
    assert "What is shown is of" in away
    assert 'hx-target="#a"' not in away
    assert 'hx-target="#problem"' in back
    assert "away" not in back


ROWS = '<table><caption>{}</caption><tr id="a-1"><td>{}</td></tr><tr id="a-2"><td>{}</td></tr></table>'


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        (("x", 1, 1), ("x", 1, 1), {}),
        (("x", 1, 1), ("x", 1, 2), {"a-2": "<td>2</td>"}),
        (("x", 1, 1), ("x", 2, 2), {"a-1": "<td>2</td>", "a-2": "<td>2</td>"}),
        (("x", 1, 1), ("y", 1, 2), {"t": ROWS.format("y", 1, 2)}),
    ],
)
def test_of_a_table_only_the_rows_that_changed_are_sent(
    before: tuple[object, ...], after: tuple[object, ...], sent: dict[str, str]
) -> None:
    first, second = {"t": ROWS.format(*before)}, {"t": ROWS.format(*after)}

    assert live.changes(first, second) == sent


def test_a_table_with_other_rows_is_sent_whole() -> None:
    first, second = '<tr id="a-1">x</tr>', '<tr id="a-2">x</tr>'

    assert live.changes({"t": first}, {"t": second}) == {"t": second}
    assert live.changes({}, {"t": second}) == {"t": second}


def test_lines_of_an_event_cannot_be_ended_by_data() -> None:
    event = live.event({"a": "x\n\nid: 1\rdata: y\x0bz"}, "m")

    assert [
        line for line in event.rstrip("\n").split("\n") if line[:6] != "data: "
    ] == ["id: m"]


def test_a_connection_that_failed_is_replaced() -> None:
    store = open_store("memory:")
    opened = []

    def open_one() -> Store:
        opened.append(store.sibling())
        return opened[-1]

    def fail(_store: Store) -> None:
        raise StoreUnavailable("away")

    async def ask() -> None:
        made = Reading(open_one)
        with pytest.raises(StoreUnavailable):
            await made.ask(fail)
        await made.ask(lambda s: s.now())
        made.close()

    asyncio.run(ask())
    assert len(opened) == 2
    store.close()


def test_a_store_is_asked_by_four_at_a_time() -> None:
    async def ask() -> int:
        lock, here, most = threading.Lock(), 0, 0
        meet = threading.Barrier(4)

        def question(_store: Store) -> None:
            nonlocal here, most
            with lock:
                here += 1
                most = max(most, here)
            meet.wait(30)
            with lock:
                here -= 1

        async with reading() as made:
            await asyncio.gather(*(made.ask(question) for _ in range(12)))
        return most

    assert asyncio.run(ask()) == 4


def test_to_open_a_store_is_not_among_what_a_look_costs() -> None:
    store = open_store("memory:")

    def open_slowly() -> Store:
        time.sleep(3)
        return store.sibling()

    async def ask() -> float:
        made = Reading(open_slowly)
        _, took = await made.timed(lambda s: s.now())
        made.close()
        return took

    assert asyncio.run(ask()) < 3
    store.close()


def test_a_store_that_does_not_answer_is_not_waited_for_at_the_end() -> None:
    store = open_store("memory:")
    asked, go_on = threading.Event(), threading.Event()

    def hang(_store: Store) -> None:
        asked.set()
        go_on.wait(60)

    async def ask() -> float:
        made = Reading(store.sibling)
        waiting = asyncio.ensure_future(made.ask(hang))
        await asyncio.to_thread(asked.wait, 30)
        waiting.cancel()
        began = time.monotonic()
        made.close()
        return time.monotonic() - began

    took = asyncio.run(ask())
    assert not go_on.is_set()
    go_on.set()
    assert took < 30
    store.close()
