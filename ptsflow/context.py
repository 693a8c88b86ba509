"""What a body may ask and tell while it runs: its `TaskHandle`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Protocol, TypeVar

from ptsflow import codec, transitions
from ptsflow.clock import since_boot
from ptsflow.model import TaskRecord

if TYPE_CHECKING:
    import logging

T = TypeVar("T")


class Reporter(Protocol):
    """Takes what a body reports; the runner is one."""

    def progressed(self, name: str, percentage: float, text: str) -> None:
        """Note progress; cheap, and written when it suits."""

    def save(self, name: str, text: str) -> None:
        """Keep processing data; durable when this returns."""


class Watch:
    """Sees whether an attempt takes too long, or is silent for too long."""

    __slots__ = ("began", "heard", "stall", "timeout")

    def __init__(
        self, timeout: float | None = None, stall: float | None = None
    ) -> None:
        self.timeout = timeout
        self.stall = stall
        self.began = self.heard = since_boot()

    def hear(self) -> None:
        """It gave a sign of life."""
        self.heard = since_boot()

    def overdue(self) -> str:
        """Return why the attempt is over; "" while it is not."""
        if self.timeout is None and self.stall is None:
            return ""
        now = since_boot()
        if self.timeout is not None and now - self.began >= self.timeout:
            return f"timed out after {self.timeout:g} s"
        if self.stall is not None and now - self.heard >= self.stall:
            return f"stalled: no progress was reported for {self.stall:g} s"
        return ""


#: Of an attempt without limits.
UNWATCHED = Watch()


class TaskHandle:
    """One attempt of one task, as its body sees it.

    Attributes:
        name: the task's name, e.g. `download[songs.tbz]`.
        key: the item's key in a fan-out, else None.
        attempt: 1 for the first attempt of this budget, 2 for the first retry.
        idempotency_key: `container/task`: the same for every attempt.
        fence: grows with every claim of the container. A service that remembers the
            largest it has seen can refuse a runner that lost its lease.
    """

    def __init__(
        self,
        container: str,
        task: TaskRecord,
        *,
        saved: str | None,
        reporter: Reporter,
        cancelled: Callable[[], bool],
        watch: Watch | None = None,
    ) -> None:
        self.name = task.name
        self.key = task.key
        self.attempt = task.attempt
        self.idempotency_key = f"{container}/{task.name}"
        self.fence = task.fence
        #: What `checkpoint` saved last, as JSON text.
        self.saved = saved
        self.reporter = reporter
        self.watch = UNWATCHED if watch is None else watch
        self._cancelled = cancelled

    @property
    def cancelled(self) -> bool:
        """Whether to stop: save what you have, and return or raise.

        The run is being stopped, or this attempt took longer than its `timeout=` or
        `stall=`.
        """
        return self._cancelled() or bool(self.watch.overdue())

    @property
    def processing_data(self) -> object:
        """What `checkpoint` saved last, in this attempt or an earlier one; else None."""
        return None if self.saved is None else codec.decode(self.saved)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The standard logger `ptsflow.task`; its records have the task as `.task`."""
        import logging  # noqa: PLC0415 - 5 ms, only for who uses it

        logger = logging.getLogger("ptsflow.task")
        return logging.LoggerAdapter(logger, {"task": self.idempotency_key})

    def progress(self, done: float, total: float = 100, text: str = "") -> None:
        """Say that `done` of `total` is complete, in whatever unit both are.

        Call it as often as you like: the store hears of it once a second at most.

        Raises:
            ValueError: `done` or `total` is not a finite number, or negative.
        """
        if not (math.isfinite(done) and math.isfinite(total) and done >= 0 <= total):
            raise ValueError(
                f"progress of {self.name}: expected 0 <= done <= total, "
                f"found done={done!r}, total={total!r}"
            )
        self.watch.hear()
        share = 1.0 if done >= total else float(done) / float(total)
        percentage = min(100.0, round(100.0 * share, 6))
        self.reporter.progressed(self.name, percentage, _text(text))

    def track(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield from `items`, reporting progress after each one.

        Args:
            items: anything iterable.
            total: how many there are; needed for a percentage where `items` has no len.
        """
        if total is None and isinstance(items, Sized):
            total = len(items)
        for count, item in enumerate(items, 1):
            yield item
            if total is None:
                self.watch.hear()
                self.reporter.progressed(self.name, 0.0, f"{count}")
            else:
                self.progress(min(count, total), total, f"{count} of {total}")

    def checkpoint(self, data: object) -> None:
        """Save how far this task is; durable when it returns.

        The next attempt finds it in `processing_data`, after a failure or a crash.

        Raises:
            NotStorable: `data` is outside what the codec keeps exactly.
            LeaseLost: another runner owns the container now.
        """
        text = codec.encode(data, what=f"the checkpoint of {self.name}")
        self.reporter.save(self.name, text)
        self.watch.hear()
        self.saved = text


def _text(text: object) -> str:
    return transitions.cut(str(text), transitions.TEXT_LIMIT)
