"""Asking a store again and again, while it comes and goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ptsflow.cli.shared import open_to_look
from ptsflow.client.looking import pause_after
from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.stores import mask, store_exists
from ptsflow.stores.base import Store

T = TypeVar("T")

#: How long a store that was there is waited for, in seconds.
LONGEST_AWAY = 60.0


class Poller:
    """Asks a store again and again, also one that goes away and comes back.

    Args:
        url: the store's.
        interval: how long to wait between two questions at the least, in seconds.
        longest_away: how long the store may be away, in seconds.
    """

    def __init__(
        self, url: str, interval: float, longest_away: float = LONGEST_AWAY
    ) -> None:
        #: Why the store did not answer the last question; None if it did.
        self.problem: StoreUnavailable | None = None
        self._url = url
        self._interval = interval
        self._longest_away = longest_away
        self._store: Store | None = None
        self._has_answered = False
        self._away_since = 0.0
        self._took = 0.0

    def ask(self, question: Callable[[Store], T]) -> T | None:
        """Return the store's answer; None while the store is away.

        Raises:
            ContainerNotFound: there is no such store yet.
            StoreUnavailable: the store never answered, or was away for too long.
            StoreError: a person must act, such as where its file was replaced.
        """
        began = since_boot()
        try:
            answer = question(self._opened())
        except StoreUnavailable as error:
            self.close()
            self._away_since = began if self.problem is None else self._away_since
            is_over = since_boot() - self._away_since >= self._longest_away
            if is_over or not self._has_answered:
                raise
            self.problem = error
            return None
        self._took = since_boot() - began
        self.problem, self._has_answered = None, True
        return answer

    def pause(self) -> None:
        """Wait until it is time for the next question."""
        time.sleep(pause_after(self._took, self._interval))

    def close(self) -> None:
        """Close the store; the next question opens it again."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _opened(self) -> Store:
        if self._store is None:
            if self._has_answered and not store_exists(self._url):
                gone = f"{mask(self._url)} is not there any more; put it back"
                raise StoreUnavailable(gone)
            self._store = open_to_look(self._url)
        return self._store
