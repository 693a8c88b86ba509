"""The backend that calls functions on cluster workers: Dask, or any executor.

Any `concurrent.futures.Executor` is a backend.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Protocol

from msgspec import Struct

from ptsflow.errors import AttemptLost, UsageError
from ptsflow.version import VERSION

#: How long fetching the result of a call may take, in seconds.
_FETCH_TIMEOUT = 5.0


class BackendFuture(Protocol):
    """The part of `concurrent.futures.Future` that is used."""

    def done(self) -> bool:
        """Return whether the call has ended or was given up."""

    def result(self, timeout: float | None = None) -> str:
        """Return what the call returned, or raise what it raised."""

    def cancel(self) -> bool:
        """Prevent the call if it has not started."""


class Backend(Protocol):
    """The part of `concurrent.futures.Executor` that is used."""

    def submit(self, call: Callable[..., str], /, *args: Any) -> BackendFuture:
        """Have `call` called on some cluster worker."""

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """End the backend."""


class BackendSpec(Struct, frozen=True):
    """How a backend is made, and what messages call it."""

    #: Makes the backend; called again if the backend broke.
    make: Callable[[], Backend]
    #: What messages call the backend, and one of its workers.
    name: str
    worker: str
    #: Returns the address of this host at which cluster workers can reach it.
    host: Callable[[Any], str] = lambda _: "127.0.0.1"
    #: Returns how many calls the backend makes at a time; None if that is unknown.
    room: Callable[[Any], int | None] = lambda _: None

    def why(self, error: BaseException) -> str:
        """Return what a failed attempt says of an error that the backend raised."""
        if isinstance(error, CancelledError):
            return f"{self.name} was lost"
        if isinstance(error, AttemptLost):
            return str(error)
        if isinstance(error, UsageError):
            return f"{self.name} was lost: {error}"
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, ImportError):
                return (
                    f"{self.worker} could not import ptsflow: {_line_of(link)}; install "
                    f"ptsflow {VERSION} there"
                )
            link = link.__cause__ or link.__context__
        return f"{self.worker} could not be used: {_line_of(error)}"

    def why_ended(self, future: BackendFuture) -> str:
        """Return why a call has ended although no cluster worker reached the runner."""
        try:
            return f"{self.worker} {future.result(timeout=_FETCH_TIMEOUT)}"
        except BaseException as error:  # noqa: BLE001 - whatever a backend raises
            return self.why(error)


def backend_spec(executor: str | Callable[[], Any]) -> BackendSpec:
    """Return which backend `executor` asks for, without making it.

    Raises:
        UsageError: the backend is unknown, or cannot be reached.
    """
    if callable(executor):
        name = getattr(executor, "__name__", repr(executor))
        return BackendSpec(
            _checked(executor, name), f"the executor {name}", "the worker"
        )
    if executor == "dask" or executor.startswith("dask:"):
        from ptsflow.executors.cluster import dask  # noqa: PLC0415 - rarely needed

        address = dask.address_of(executor)
        return BackendSpec(
            lambda: dask.DaskBackend(address),
            f"the Dask scheduler at {address}",
            "the Dask worker",
            dask.host_for,
            dask.room_of,
        )
    raise UsageError(
        'executor: expected "thread", "process", "dask", "dask://HOST:PORT" or what '
        f"makes a concurrent.futures.Executor, found {executor!r}"
    )


def _checked(make: Callable[[], Any], name: str) -> Callable[[], Backend]:
    def checked() -> Backend:
        backend = make()
        if not hasattr(backend, "submit"):
            raise UsageError(
                f"executor: expected {name} to make a concurrent.futures.Executor, "
                f"found {backend!r}"
            )
        return backend  # type: ignore[no-any-return] # it has `submit`

    return checked


def _line_of(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
