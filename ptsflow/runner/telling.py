"""What the store is told of a run's end and percentage, and keeps for screens.

The heartbeat tells what is expected, every ten seconds at most, and at once where the end
that was told has passed. The loop tells a percentage before it commits what takes
something from it, such as a list that has grown: so nobody sees the percentage fall, not
even if this process is killed in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.insight import Outlook
from ptsflow.core.model import ContainerRecord, Tally
from ptsflow.core.outlook_news import is_news
from ptsflow.core.packed import Tasks
from ptsflow.errors import StoreUnavailable
from ptsflow.host.clock import Clock, since_boot
from ptsflow.stores.base import Store

#: Seconds between two outlooks that the heartbeat tells.
_TELL_EVERY = 10.0


class Telling:
    """The outlook of one run, as the store was told it.

    Args:
        container: the container as it was claimed.
        clock: tells the time.
    """

    def __init__(self, container: ContainerRecord, clock: Clock) -> None:
        self._uid, self._fence = container.uid, container.fence
        self._clock = clock
        #: The largest percentage that was told of the container.
        self.percentage = 0.0
        #: What the store was told last by this run.
        self.told: Outlook | None = None
        #: Why nothing more is told by the heartbeat, if nothing is.
        self.problem: Exception | None = None
        self._proposed: Outlook | None = None
        self._tell_at = 0.0
        # The loop and the heartbeat tell; the one that comes second must know what the
        # first one told, or the percentage would fall.
        self._lock = threading.Lock()

    def begin(
        self,
        store: Store,
        container: ContainerRecord,
        tasks: Tasks,
        *,
        is_anew: bool,
    ) -> float:
        """Return the percentage that was shown of the container before this run.

        Args:
            store: where the container is.
            container: as earlier runs left it.
            tasks: its tasks as they left them.
            is_anew: whether a person wants it done again, or it is complete and opened
                again: then what was shown is forgotten, and 0 is returned.
        """
        told = (
            store.outlooks([self._uid], of_earlier_runs=True) if container.plan else {}
        )
        if is_anew and told:
            store.tell(self._uid, self._fence, None)
        if is_anew or not container.plan:
            return 0.0
        percentage = counts.percentage(container.plan, counts.tallies_of(tasks))
        return max(percentage, *(outlook.percentage for outlook in told.values()), 0.0)

    def propose(self, outlook: Outlook) -> None:
        """Have the heartbeat tell what is expected, where that is news."""
        self._proposed = outlook

    def tell(self, connection: Store) -> None:
        """Tell what was proposed, if it is time to. For the heartbeat.

        Raises:
            StoreUnavailable: the store is away; it is told later.
        """
        outlook = self._proposed
        if outlook is None or self.problem:
            return
        if since_boot() < self._tell_at and not self._has_passed(outlook.at):
            return
        try:
            if is_news(outlook, self.told):
                self._put(connection, outlook)
                self._tell_at = since_boot() + _TELL_EVERY
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - no run fails because of its outlook.
            self.problem = error
        if self._proposed is outlook:
            self._proposed = None

    def _has_passed(self, now: int) -> bool:
        """Whether the end that was told last should have come."""
        told = None if self.told is None else self.told.eta_at
        return told is not None and told <= now

    def hold_above(
        self,
        store: Store,
        shown: float,
        container: ContainerRecord,
        tallies: Iterable[Tally],
    ) -> None:
        """Have the store keep what was shown, if the tasks tell of less than that."""
        if shown and shown > counts.percentage(container.plan, tallies):
            self.hold(store, shown)

    def hold(self, store: Store, percentage: float) -> None:
        """Have the store keep a percentage that was shown. For the loop."""
        if percentage > self.percentage:
            now = self._clock()
            told = self.told or Outlook(at=now, percentage=percentage)
            self._put(store, replace(told, percentage=percentage))

    def _put(self, store: Store, outlook: Outlook) -> None:
        with self._lock:
            percentage = max(self.percentage, outlook.percentage)
            outlook = replace(outlook, percentage=percentage)
            if store.tell(self._uid, self._fence, outlook):
                self.percentage, self.told = percentage, outlook
