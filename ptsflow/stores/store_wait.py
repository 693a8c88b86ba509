"""Waiting for a store that is away for a moment, before a run begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import since_boot

T = TypeVar("T")

#: The first pause before a store that is away is asked again, in seconds; each pause is
#: twice the one before, up to one second.
_FIRST_PAUSE = 0.05


class StoreWait:
    """How long to wait for a store that elects a primary, starts, or is locked.

    Args:
        seconds: from the first failure on, for all calls together.
        notice: told once, in one line, that the store is waited for.
    """

    def __init__(
        self, seconds: float = 0.0, notice: Callable[[str], None] = lambda _: None
    ) -> None:
        self._seconds = seconds
        self._began: float | None = None
        self._notice = notice
        self._is_told = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for any more."""
        began = since_boot() if self._began is None else self._began
        return since_boot() >= began + self._seconds

    def through(
        self, ask: Callable[[], T], notice: Callable[[str], None] | None = None
    ) -> T:
        """Return what `ask` returns; while the store is away, ask again.

        Args:
            ask: calls the store, and may be called again after a failure.
            notice: told instead of the one that `StoreWait` was given.

        Raises:
            StoreUnavailable: the store was away for too long, or for a cause that does
                not pass by itself.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                self._began = self._began or since_boot()
                if not error.may_pass or self.is_over:
                    raise
                if not self._is_told:
                    self._is_told = True
                    (notice or self._notice)(f"waiting for the store: {error}")
            time.sleep(pause)
            pause = min(1.0, pause * 2)


#: Waits for nothing.
NO_WAIT = StoreWait()
