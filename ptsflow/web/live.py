"""Looks that many share: one poller for each thing looked at, however many look at it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from ptsflow.client.looking import pause_after
from ptsflow.client.sound import readable
from ptsflow.stores.base import Store
from ptsflow.web.reading import Reading

L = TypeVar("L")
A = TypeVar("A")

#: The least time between two looks, in seconds.
_INTERVAL = 0.5
#: What a look costs is told by the cheapest of this one and so many before it: the first
#: ones load and open things, and others on the machine only make a look take longer.
_EARLIER = 2
#: Without a change something is sent after so long, which tells whether the browser left.
_STILL_THERE = 15.0

#: A comment, by which a server finds out that the browser has left.
NOTHING_NEW = ": nothing new\n\n"

#: A row, or a section, that has an id; it has none like it inside.
_ROW = re.compile(
    r'<(?:tr|section) id="([a-z]+-[A-Za-z0-9]+)"[^>]*>(.*?)</(?:tr|section)>', re.DOTALL
)

#: The parts of a page that change, as HTML by their ids.
Fragments = Mapping[str, str]


class Seen(Generic[L]):
    """One look at a store, and what was read beside it, once for all who look.

    Args:
        reading: asks the store.
        look: what was seen.
        took: how long that took the store, in seconds.
    """

    def __init__(self, reading: Reading, look: L, took: float = 0.0) -> None:
        self.look = look
        self.took = took
        self._reading = reading
        self._made: dict[Hashable, asyncio.Future[Any]] = {}

    async def ask(self, key: Hashable, question: Callable[[Store], A]) -> A:
        """Return the answer to a further question, which is asked once under its key."""

        async def asked() -> A:
            look = self.look
            answer, took = await self._reading.timed(
                lambda store: question(readable(store, look))
            )
            self.took += took
            return answer

        return await self.once(("ask", key), asked)

    async def once(self, key: Hashable, make: Callable[[], Awaitable[A]]) -> A:
        """Return what `make` makes, which is made once under its key."""
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = asyncio.ensure_future(make())
        result: A = await asyncio.shield(made)
        return result


class _Poller(Generic[L]):
    """Looks at one thing again and again."""

    def __init__(self, reading: Reading, look: Callable[[Store], L]) -> None:
        self._reading = reading
        self._look = look
        self._earlier = deque([0.0] * _EARLIER, maxlen=_EARLIER)
        self.seen: Seen[L] | None = None
        #: Why the last look failed; None if it did not.
        self.problem: Exception | None = None
        self.number = 0
        self.watchers = 0
        self.turned = asyncio.Condition()
        #: Whether no look comes any more.
        self.is_over = False

    async def turn_after(self, number: int) -> int:
        """Wait for a look of another number, but not for ever; return the number."""
        async with self.turned:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STILL_THERE):
                    while self.number in {0, number} and not self.is_over:
                        await self.turned.wait()
        return self.number

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                look, took = await self._reading.timed(self._look)
                if self.seen is not None:
                    self._earlier.append(self.seen.took)
                self.seen, self.problem = Seen(self._reading, look, took), None
            except Exception as error:  # noqa: BLE001 - those who look are told
                self.problem = error
            async with self.turned:
                self.number += 1
                self.turned.notify_all()
            slept = 0.0
            # What is read beside the look, meanwhile, costs as well.
            while (pause := self._pause()) > slept:
                await asyncio.sleep(pause - slept)
                slept = pause

    def _pause(self) -> float:
        """Return how many seconds lie between two looks."""
        took = self.seen.took if self.seen is not None else 0.0
        return pause_after(min([took, *self._earlier]), _INTERVAL)


class Hub:
    """Has a poller for each thing that is looked at, as long as somebody looks."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pollers: dict[Hashable, tuple[_Poller[Any], asyncio.Task[None]]] = {}

    @property
    def size(self) -> int:
        """How many things are looked at."""
        return len(self._pollers)

    async def watching(
        self, key: Hashable, look: Callable[[Store], L]
    ) -> AsyncGenerator[tuple[Seen[L] | None, Exception | None]]:
        """Yield the last look, and why there is no later one; None while all is well.

        This ends when the hub is closed.

        Args:
            key: looks under one key are made once for all.
            look: looks at a store.
        """
        poller = self._begin(key, look)
        number = -1
        try:
            while True:
                number = await poller.turn_after(number)
                if poller.is_over:
                    return
                yield poller.seen, poller.problem
        finally:
            self._end(key, poller)

    async def close(self) -> None:
        """End all pollers, and everything that watches."""
        pollers = list(self._pollers.values())
        self._pollers.clear()
        for poller, task in pollers:
            task.cancel()
            poller.is_over = True
            async with poller.turned:
                poller.turned.notify_all()

    def _begin(self, key: Hashable, look: Callable[[Store], L]) -> _Poller[L]:
        found = self._pollers.get(key)
        if found is None:
            made = _Poller(self._reading, look)
            found = self._pollers[key] = (made, asyncio.ensure_future(made.run()))
        poller: _Poller[L] = found[0]
        poller.watchers += 1
        return poller

    def _end(self, key: Hashable, poller: _Poller[Any]) -> None:
        poller.watchers -= 1
        found = self._pollers.get(key)
        if poller.watchers == 0 and found is not None and found[0] is poller:
            del self._pollers[key]
            found[1].cancel()


def mark_of(fragments: Fragments) -> str:
    """Return a short text that is another one when any fragment is."""
    digest = hashlib.sha256()
    for name, html in sorted(fragments.items()):
        digest.update(f"{name}\0{html}\0".encode())
    return digest.hexdigest()[:16]


def changes(before: Fragments, after: Fragments) -> dict[str, str]:
    """Return what to put into which elements of a page, by their ids.

    If some rows of a table changed and nothing else of its part, these rows are enough.
    """
    found: dict[str, str] = {}
    for name, html in after.items():
        known = before.get(name)
        if known == html:
            continue
        if known is None or _ROW.sub(_without, known) != _ROW.sub(_without, html):
            found[name] = html
        else:
            rows = dict(_ROW.findall(known))
            found |= {k: row for k, row in _ROW.findall(html) if rows[k] != row}
    return found


def _without(row: re.Match[str]) -> str:
    return f"<{row[1]}>"


def event(fragments: Fragments, mark: str) -> str:
    """Return the event by which htmx puts fragments into a page."""
    lines = [f"id: {mark}"]
    for name, html in fragments.items():
        partial = (
            f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{html}</hx-partial>'
        )
        lines += [f"data: {line}" for line in partial.splitlines()]
    return "\n".join([*lines, "", ""])
