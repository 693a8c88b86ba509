"""Dask as a backend. Only this module imports distributed."""

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

#: The loggers to which distributed adds handlers.
_LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application")
#: How long a scheduler may take to answer, in seconds.
_ANSWER_TIMEOUT = 10.0


def address_of(executor: str) -> str:
    """Return the scheduler's address that "dask" or `dask://HOST:PORT` means.

    Raises:
        UsageError: no address is known, or nobody answers at it.
        ExtraMissing: distributed is not installed.
    """
    _import_distributed()
    address = executor.removeprefix("dask").removeprefix("://")
    if executor.startswith("dask://") and address:
        address = f"tcp://{address.rstrip('/')}"
    elif executor == "dask":
        import dask.config  # noqa: PLC0415 - an extra

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
    _check_reachable(address, host, port)
    return address


def _check_reachable(address: str, host: str, port: int) -> None:
    """Raise `UsageError` unless a scheduler answers: schedulers send the first byte."""
    why = ""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_TIMEOUT) as end:
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


def _import_distributed() -> None:
    """Import distributed, without its log handlers.

    Raises:
        ExtraMissing: distributed is not installed.
    """
    is_ours = "distributed" not in sys.modules
    try:
        import distributed  # noqa: F401, PLC0415 - an extra; takes 0.4 s
    except ImportError as error:
        why = "" if error.name in ("distributed", "dask") else f" ({error})"
        raise ExtraMissing(
            f"executor \"dask\" needs the extra: pip install 'ptsflow[dask]'{why}"
        ) from None
    if is_ours:
        # distributed would print to stderr what the messages of ptsflow say as well.
        for name in _LOGGERS:
            logging.getLogger(name).handlers = [logging.NullHandler()]


class DaskBackend:
    """A connection to a scheduler, in the shape of a `concurrent.futures.Executor`.

    Args:
        address: the address of the scheduler.

    Raises:
        UsageError: the scheduler cannot be reached.
    """

    def __init__(self, address: str) -> None:
        import distributed  # noqa: PLC0415 - an extra

        connect: Any = distributed.Client  # its methods have no types
        parts = urlsplit(address)
        _check_reachable(address, parts.hostname or "", parts.port or 0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions that differ a little
                self.client = connect(
                    address,
                    timeout=_ANSWER_TIMEOUT,
                    set_as_default=False,
                    name="ptsflow",
                )
        except (OSError, ImportError, ValueError) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise _unreachable(address, why) from None

    def submit(self, call: Callable[..., str], /, *args: Any) -> _DaskFuture:
        """Have `call` called on some Dask worker."""
        if self.client.status != "running":
            raise BrokenExecutor("the connection to the Dask scheduler was lost")
        # pure=False: Dask must not merge equal calls. retries=0: ptsflow tries again.
        return _DaskFuture(self.client.submit(call, *args, pure=False, retries=0))

    def shutdown(self, **_given: bool) -> None:
        """Close the connection; calls that have not started never start."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=_ANSWER_TIMEOUT)


class _DaskFuture:
    """A future of Dask, which fetches what the call returned when `result` is called."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def done(self) -> bool:
        return bool(self._future.done())

    def result(self, timeout: float | None = None) -> str:
        if self._future.status == "cancelled":
            raise CancelledError
        return str(self._future.result(timeout))

    def cancel(self) -> bool:
        # Dask does not call, or call again, what no client holds a future of.
        self._future.release()
        return True


def host_for(backend: Any) -> str:
    """Return the address of this host at which the Dask workers can reach it."""
    client: Any = backend.client
    workers: tuple[str, ...] = ()
    with contextlib.suppress(Exception):  # whatever the end of a scheduler causes
        workers = tuple(client.scheduler_info()["workers"])
    # A scheduler on this host may have a loopback address, so look at the workers first.
    local = "127.0.0.1"
    for address in (*workers, client.scheduler.address):
        parts = urlsplit(address)
        if parts.hostname and parts.port:
            with contextlib.suppress(OSError):  # no route from here
                local = _source_address(parts.hostname, parts.port)
            if not local.startswith("127.") and local != "::1":
                break
    return local


def room_of(backend: Any) -> int | None:
    """Return how many threads the Dask workers have; None if the scheduler is silent."""
    client: Any = backend.client
    with contextlib.suppress(Exception):  # whatever the end of a scheduler causes
        threads = client.sync(client.scheduler.ncores, callback_timeout=_ANSWER_TIMEOUT)
        return int(sum(threads.values()))
    return None


def _source_address(host: str, port: int) -> str:
    """Return the address of this host from which packets to `host` leave; sends none."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        found: str = probe.getsockname()[0]
    return found
