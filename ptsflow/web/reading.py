"""Questions to a store, asked in a few threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from ptsflow.errors import StoreError
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

T = TypeVar("T")

#: How many questions are asked at a time.
_THREADS = 4
#: How long a question is waited for at the end, in seconds: a store that is away may take
#: longer to say so.
_PATIENCE = 0.5

#: A question, and what takes its answer or error from any thread.
_Asked = tuple[Callable[[Store], Any], Callable[[Any, BaseException | None], None]]


class Reading:
    """Asks a store questions from an event loop.

    Each question is a function of a store. It should be short: a transaction that lasts
    keeps the log of SQLite from starting anew.

    Args:
        open_store: opens a store for a thread; raises `ContainerNotFound` if there is none.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open = open_store
        self._asked = SimpleQueue[_Asked | None]()
        self._threads: list[threading.Thread] = []

    async def ask(self, question: Callable[[Store], T]) -> T:
        """Return the answer of the store to a question."""
        answer, _ = await self.timed(question)
        return answer

    async def timed(self, question: Callable[[Store], T]) -> tuple[T, float]:
        """Return the answer of the store, and how long it took, in seconds.

        Opening the store does not count: each thread does it once.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[T, float]] = loop.create_future()

        def settle(answer: Any, error: BaseException | None) -> None:
            # The loop may be closed while the store is still asked.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future, answer, error)

        if len(self._threads) < _THREADS:
            self._begin()
        self._asked.put((question, settle))
        return await future

    def close(self) -> None:
        """Close all connections; a store that does not answer is not waited for."""
        for _ in self._threads:
            self._asked.put(None)
        end = since_boot() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - since_boot()))

    def _begin(self) -> None:
        # A daemon, so that a store that is away does not keep the process from ending.
        thread = threading.Thread(target=self._answer, name="ptsflow-ui", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _answer(self) -> None:
        """Answer questions with a connection of this thread, until there is a None."""
        store: Store | None = None
        while (asked := self._asked.get()) is not None:
            question, settle = asked
            try:
                if store is None:
                    store = self._open()
                began = since_boot()
                answer = question(store), since_boot() - began
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked
                if isinstance(error, StoreError):
                    # The next question opens another connection.
                    _close(store)
                    store = None
                settle(None, error)
            else:
                settle(answer, None)
        _close(store)


def _settle(future: asyncio.Future[T], answer: T, error: BaseException | None) -> None:
    if future.done():  # Nobody waits for it any more.
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)


def _close(store: Store | None) -> None:
    if store is not None:
        with contextlib.suppress(StoreError):
            store.close()
