"""Dask's scheduler as an engine; distributed is spoken in this file alone."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any
from urllib.parse import urlsplit

from ptsflow.errors import ExtraMissing, UsageError

#: Those to which distributed gives a handler of their own.
_LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application")
#: How long a scheduler may take to answer, in seconds.
_ANSWER = 10.0


def address_of(executor: str) -> str:
    """Return the scheduler's address that "dask" or `dask://HOST:PORT` means.

    Raises:
        UsageError: there is none, distributed is not installed, or nobody answers.
    """
    _install()
    address = executor.removeprefix("dask").removeprefix("://")
    if executor.startswith("dask://") and address:
        address = f"tcp://{address.rstrip('/')}"
    elif executor == "dask":
        import dask.config  # noqa: PLC0415 - it is an extra

        configured = dask.config.get("scheduler-address", None)
        address = os.environ.get("DASK_SCHEDULER_ADDRESS") or configured or ""
        if address and "://" not in address:
            address = f"tcp://{address}"
    else:
        address = ""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(
            f"executor {executor!r} names no Dask scheduler; give its host and port, as "
            "in --executor dask://HOST:8786, or set DASK_SCHEDULER_ADDRESS"
        )
    _call(address, host, port)
    return address


def _call(address: str, host: str, port: int) -> None:
    """See that somebody answers: a scheduler speaks first."""
    why = ""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER) as end:
            if not address.startswith("tls:") and not end.recv(1):
                why = "it hung up"
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else str(error)
    if why:
        raise _unreachable(address, why)


def _unreachable(address: str, why: str) -> UsageError:
    return UsageError(
        f"no Dask scheduler can be reached at {address}: {why}; start one there with "
        "`dask scheduler`, or correct the address"
    )


def _install() -> None:
    """Import distributed, quietly.

    Raises:
        ExtraMissing: it is not there.
    """
    is_ours = "distributed" not in sys.modules
    try:
        import distributed  # noqa: F401, PLC0415 - it is an extra, and takes 0.4 s
    except ImportError as error:
        why = "" if error.name in ("distributed", "dask") else f" ({error})"
        raise ExtraMissing(
            f"executor \"dask\" needs the extra: pip install 'ptsflow[dask]'{why}"
        ) from None
    if is_ours:
        # It writes to stderr what is told here in other words.
        for name in _LOGGERS:
            logging.getLogger(name).handlers = [logging.NullHandler()]


class Engine:
    """A connection to a scheduler, in the shape of a `concurrent.futures.Executor`.

    Args:
        address: the scheduler's.

    Raises:
        UsageError: it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        import distributed  # noqa: PLC0415 - it is an extra

        connect: Any = distributed.Client  # its methods have no types
        parts = urlsplit(address)
        _call(address, parts.hostname or "", parts.port or 0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions that differ a little
                self.client = connect(
                    address, timeout=_ANSWER, set_as_default=False, name="ptsflow"
                )
        except (OSError, ImportError, ValueError) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise _unreachable(address, why) from None

    def submit(self, call: Callable[..., str], /, *args: Any) -> _Promise:
        """Call it on some worker."""
        if self.client.status != "running":
            raise BrokenExecutor("the connection to the Dask scheduler was lost")
        # Two equal calls are two; and it is tried again by ptsflow, not by Dask.
        return _Promise(self.client.submit(call, *args, pure=False, retries=0))

    def shutdown(self, **_given: bool) -> None:
        """End the connection; what was not called yet is not called any more."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=_ANSWER)


class _Promise:
    """A future of Dask; what the call returned is fetched only when it is asked for."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def done(self) -> bool:
        return bool(self._future.done())

    def result(self, timeout: float | None = None) -> str:
        if self._future.status == "cancelled":
            raise CancelledError
        return str(self._future.result(timeout))

    def cancel(self) -> bool:
        # As nobody asks for it any more it is not called, and not called again.
        self._future.release()
        return True


def host_for(engine: Any) -> str:
    """Return the address of this host at which the scheduler's workers can reach it."""
    client: Any = engine.client
    workers: tuple[str, ...] = ()
    with contextlib.suppress(Exception):  # whatever a scheduler that goes away causes
        workers = tuple(client.scheduler_info()["workers"])
    # A scheduler beside the runner may be known to it by a name for this host alone.
    local = "127.0.0.1"
    for address in (*workers, client.scheduler.address):
        parts = urlsplit(address)
        if parts.hostname and parts.port:
            with contextlib.suppress(OSError):  # there is no way to it from here
                local = _way_to(parts.hostname, parts.port)
            if not local.startswith("127.") and local != "::1":
                break
    return local


def room_of(engine: Any) -> int | None:
    """Return how many threads the scheduler's workers have; None if it does not say."""
    client: Any = engine.client
    with contextlib.suppress(Exception):  # whatever a scheduler that goes away causes
        threads = client.sync(client.scheduler.ncores, callback_timeout=_ANSWER)
        return int(sum(threads.values()))
    return None


def _way_to(host: str, port: int) -> str:
    """Return the own address from which packets for a host leave; sends none."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        found: str = probe.getsockname()[0]
    return found
