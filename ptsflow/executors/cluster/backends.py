"""Which engine calls the workers: Dask, or any `concurrent.futures.Executor`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Protocol

from msgspec import Struct

from ptsflow.errors import AttemptLost, UsageError
from ptsflow.version import VERSION


class Promise(Protocol):
    """What is used of a `concurrent.futures.Future`."""

    def done(self) -> bool:
        """Whether the call has ended, or was given up."""

    def result(self, timeout: float | None = None) -> str:
        """Return what the call did, or raise what it raised."""

    def cancel(self) -> bool:
        """Do not call it, if that can be helped."""


class Engine(Protocol):
    """What is used of a `concurrent.futures.Executor`."""

    def submit(self, call: Callable[..., str], /, *args: Any) -> Promise:
        """Call it somewhere."""

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """End."""


class Place(Struct, frozen=True):
    """Which engine it is, and how it is spoken of."""

    #: Makes it, and makes it anew after it broke.
    make: Callable[[], Engine]
    engine: str
    worker: str
    #: The address of this host at which workers can reach it.
    host: Callable[[Any], str] = lambda _: "127.0.0.1"
    #: How many calls it can have made at a time, where that can be known.
    room: Callable[[Any], int | None] = lambda _: None

    def why(self, error: BaseException) -> str:
        """Return what is to be said of an error that the engine raised."""
        if isinstance(error, CancelledError):
            return f"{self.engine} was lost"
        if isinstance(error, AttemptLost):
            return str(error)
        if isinstance(error, UsageError):
            return f"{self.engine} was lost: {error}"
        link: BaseException | None = error
        while link is not None:
            if isinstance(link, ImportError):
                return (
                    f"{self.worker} could not import ptsflow: {_line_of(link)}; install "
                    f"ptsflow {VERSION} there"
                )
            link = link.__cause__ or link.__context__
        return f"{self.worker} could not be used: {_line_of(error)}"

    def why_not(self, promise: Promise) -> str:
        """Return why a call has ended that never reached the runner."""
        try:
            return f"{self.worker} {promise.result(timeout=_FETCH)}"
        except BaseException as error:  # noqa: BLE001 - whatever an engine raises
            return self.why(error)


#: How long it may take to fetch what a call returned, in seconds.
_FETCH = 5.0


def place_of(executor: str | Callable[[], Any]) -> Place:
    """Return which engine `executor` asks for, without making it.

    Raises:
        UsageError: none that is known, or one that cannot be had.
    """
    if callable(executor):
        name = getattr(executor, "__name__", repr(executor))
        return Place(_checked(executor, name), f"the executor {name}", "the worker")
    if executor == "dask" or executor.startswith("dask:"):
        from ptsflow.executors.cluster import dask  # noqa: PLC0415 - rarely needed

        address = dask.address_of(executor)
        return Place(
            lambda: dask.Engine(address),
            f"the Dask scheduler at {address}",
            "the Dask worker",
            dask.host_for,
            dask.room_of,
        )
    raise UsageError(
        'executor: expected "thread", "process", "dask", "dask://HOST:PORT" or what '
        f"makes a concurrent.futures.Executor, found {executor!r}"
    )


def _checked(make: Callable[[], Any], name: str) -> Callable[[], Engine]:
    def checked() -> Engine:
        engine = make()
        if not hasattr(engine, "submit"):
            raise UsageError(
                f"executor: expected {name} to make a concurrent.futures.Executor, "
                f"found {engine!r}"
            )
        return engine  # type: ignore[no-any-return] # it has `submit`

    return checked


def _line_of(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
