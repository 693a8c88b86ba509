"""Renews the lease of a run from a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ptsflow.core.model import ContainerRecord, Stop
from ptsflow.errors import LeaseLost, StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

T = TypeVar("T")


#: A lease is renewed this many times before it would end.
RENEWALS = 6


#: The share of a lease after which an unconfirmed owner stops.
STOP_AFTER = 0.8


#: Seconds before a store that is away is asked again; doubled up to one second.
_FIRST_PAUSE = 0.05


#: How often an owner looks whether it was asked to stop, in seconds.
_HEAR_EVERY = 1.0


def patiently(
    ask: Callable[[], T],
    container: str,
    *,
    deadline: Callable[[], float],
    notice: Callable[[str], None],
) -> T:
    """Return what `ask` returns; ask again while the store is away and the lease ours.

    Args:
        ask: a call of the store that may be repeated as it was.
        container: the container's name.
        deadline: says, in seconds since boot, when the lease must be taken as lost.
        notice: told, in one line, that the store is waited for.

    Raises:
        LeaseLost: the store was away for longer.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return ask()
        except StoreUnavailable as error:
            if since_boot() + pause >= deadline():
                raise LeaseLost(
                    f"container {container!r}: the store was away for longer than the "
                    f"lease ({error}); what was recorded is safe, run again"
                ) from error
            if pause == _FIRST_PAUSE:
                notice(f"waiting for the store: {error}")
            time.sleep(pause)
            pause = min(1.0, pause * 2)


class Keeper:
    """Renews a lease from its own thread and connection until it is told to stop.

    It also hears, within a second, of somebody who asks the owner to stop.

    Only a confirmed renewal moves `deadline`; it counts from before the question was
    sent, on a clock that goes on while the machine sleeps.
    """

    def __init__(
        self,
        store: Store,
        record: ContainerRecord,
        lease_ms: int,
        *,
        asked_at: float,
        on_lost: Callable[[str], None],
        on_asked: Callable[[Stop], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._record = record
        self._lease_ms = lease_ms
        self._on_lost = on_lost
        self._on_asked = on_asked
        self._asked: Stop | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._keep, name="ptsflow-lease", daemon=True
        )
        #: Seconds since boot at which the lease must be taken as lost.
        self.deadline = asked_at + STOP_AFTER * lease_ms / 1000

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """End; the lease is not renewed any more when this returns."""
        self._stop.set()
        if self._thread.is_alive():
            # An answer that comes after the deadline is not worth waiting for.
            self._thread.join(timeout=max(0.0, self.deadline - since_boot()))

    def _keep(self) -> None:
        pause = self._lease_ms / 1000 / RENEWALS
        renew_at = since_boot() + pause
        connection: Store | None = None
        try:
            while not self._stop.wait(min(_HEAR_EVERY, renew_at - since_boot())):
                asked_at = since_boot()
                if asked_at >= self.deadline:
                    self._on_lost("its lease could not be renewed in time")
                    return
                try:
                    if connection is None:
                        connection = self._store.sibling()
                    if asked_at >= renew_at:
                        if not self._renew(connection):
                            self._on_lost("another runner took it over")
                            return
                        self.deadline = asked_at + STOP_AFTER * self._lease_ms / 1000
                        renew_at = asked_at + pause
                    self._hear(connection)
                except StoreUnavailable:
                    left = self.deadline - since_boot()
                    soon = since_boot() + min(pause, max(0.05, left / 4))
                    renew_at = soon if asked_at >= renew_at else min(renew_at, soon)
        except Exception as error:  # noqa: BLE001 - a silent keeper would lose the lease
            self._on_lost(f"renewing its lease failed: {error}")
        finally:
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.close()

    def _renew(self, connection: Store) -> bool:
        record = self._record
        return connection.renew(record.uid, record.fence, self._lease_ms)

    def _hear(self, connection: Store) -> None:
        """Pass on how others ask the owner to stop."""
        asked = connection.stop_asked(self._record.uid, self._record.fence)
        if asked is not None and asked is not self._asked:
            self._asked = asked
            self._on_asked(asked)
