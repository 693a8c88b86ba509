"""The heartbeat of a run: a thread that renews the lease."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ptsflow.core.model import ContainerRecord, Stop
from ptsflow.errors import LeaseLost, NoThread, StoreError, StoreUnavailable
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

T = TypeVar("T")

#: How many times a lease is renewed before it would end.
RENEWALS = 6
#: The share of a lease after which a runner without a confirmed renewal stops.
STOP_AFTER = 0.8
#: The first pause before a store that is away is asked again, in seconds; each pause is
#: twice the one before, up to one second.
_FIRST_PAUSE = 0.05
#: How often the heartbeat looks whether somebody asked the run to stop, in seconds.
_LOOK_EVERY = 1.0


def patiently(
    ask: Callable[[], T],
    container: str,
    *,
    deadline: Callable[[], float],
    notice: Callable[[str], None],
) -> T:
    """Return what `ask` returns; while the store is away and the lease held, ask again.

    Args:
        ask: calls the store, and may be called again after a failure.
        container: the container's name.
        deadline: says when the lease must be taken as lost, in seconds since boot.
        notice: told once, in one line, that the run waits for the store.

    Raises:
        LeaseLost: the store was away until the deadline.
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


class Heartbeat:
    """Renews a lease from its own thread and connection until `stop`.

    The heartbeat also sees, within a second, that somebody asks the run to stop.

    Only a confirmed renewal moves `deadline`. The new deadline counts from before the
    renewal was sent, on a clock that goes on while the machine sleeps.

    Args:
        store: keeps the container.
        record: the container as it was claimed.
        lease_ms: the length of the lease, in milliseconds.
        asked_at: when the claim was sent, in seconds since boot.
        on_lost: told why the lease is lost: in one line, or by the error of a store that
            is gone, damaged or full.
        on_stop: told how somebody asks the run to stop.
        tell: called once a second with the heartbeat's connection, to tell the store what
            the run expects.
    """

    def __init__(  # noqa: PLR0913 - made in one place, most by keyword
        self,
        store: Store,
        record: ContainerRecord,
        lease_ms: int,
        *,
        asked_at: float,
        on_lost: Callable[[str | StoreError], None],
        on_stop: Callable[[Stop], None] = lambda _: None,
        tell: Callable[[Store], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._record = record
        self._lease_ms = lease_ms
        self._on_lost = on_lost
        self._on_stop = on_stop
        self._tell = tell
        self._own: Store | None = None
        #: The last request to stop that was passed on.
        self._asked: Stop | None = None
        self._has_stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, name="ptsflow-lease", daemon=True
        )
        #: When the lease must be taken as lost, in seconds since boot.
        self.deadline = asked_at + STOP_AFTER * lease_ms / 1000

    def start(self) -> None:
        """Begin to renew the lease.

        Raises:
            NoThread: the system grants no thread for it.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise NoThread.for_("the lease", error) from None

    def stop(self) -> None:
        """End; the lease is not renewed any more when this returns."""
        self._has_stopped.set()
        if self._thread.is_alive():
            # A renewal that the store answers after the deadline moves nothing.
            self._thread.join(timeout=max(0.0, self.deadline - since_boot()))

    def _beat(self) -> None:
        pause = self._lease_ms / 1000 / RENEWALS
        renew_at = since_boot() + pause
        try:
            while not self._has_stopped.wait(min(_LOOK_EVERY, renew_at - since_boot())):
                asked_at = since_boot()
                if asked_at >= self.deadline:
                    self._on_lost("its lease could not be renewed in time")
                    return
                try:
                    connection = self._connection()
                    if asked_at >= renew_at:
                        if not self._renew(connection):
                            self._on_lost("another runner took it over")
                            return
                        self.deadline = asked_at + STOP_AFTER * self._lease_ms / 1000
                        renew_at = asked_at + pause
                    self._look(connection)
                    self._tell(connection)
                except (StoreUnavailable, MemoryError):
                    # A body that used up the memory lets go of it when it ends.
                    left = self.deadline - since_boot()
                    soon = since_boot() + min(pause, max(0.05, left / 4))
                    renew_at = soon if asked_at >= renew_at else min(renew_at, soon)
        except Exception as error:  # noqa: BLE001 - the run must hear of it and stop
            why = f"renewing its lease failed: {error}"
            self._on_lost(error if isinstance(error, StoreError) else why)
        finally:
            if self._own is not None:
                with contextlib.suppress(Exception):
                    self._own.close()

    def _connection(self) -> Store:
        """Return a connection of its own, or that of the run while no other can be opened.

        Bodies may have all files open that the system grants.
        """
        if self._own is None:
            with contextlib.suppress(StoreUnavailable, MemoryError):
                self._own = self._store.sibling()
        return self._own or self._store

    def _renew(self, connection: Store) -> bool:
        record = self._record
        return connection.renew(record.uid, record.fence, self._lease_ms)

    def _look(self, connection: Store) -> None:
        """Pass on a new request to stop."""
        asked = connection.stop_asked(self._record.uid, self._record.fence)
        if asked is not None and asked is not self._asked:
            self._asked = asked
            self._on_stop(asked)
