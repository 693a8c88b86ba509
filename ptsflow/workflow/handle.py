"""What a body may ask and tell while it runs: its `TaskHandle`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from ptsflow import codec
from ptsflow.core import texts
from ptsflow.core.model import LogLine, TaskRecord
from ptsflow.core.numbers import is_amount
from ptsflow.core.secrets import Concealer
from ptsflow.errors import Fail, WrongProcess
from ptsflow.host import atomic_files
from ptsflow.host.clock import since_boot

if TYPE_CHECKING:
    import logging

T = TypeVar("T")


class Reporter(Protocol):
    """Takes what a body reports; the runner is one."""

    def progressed(self, name: str, percentage: float, text: str) -> None:
        """Note progress; cheap, and written when it suits."""

    def save(self, name: str, text: str) -> None:
        """Keep processing data; durable when this returns."""

    def logged(self, name: str, lines: Sequence[LogLine]) -> None:
        """Keep what the body logged or printed; cheap, and written when it suits."""


class Watch:
    """Sees whether an attempt takes too long, or is silent for too long."""

    __slots__ = ("_overdue", "began", "heard", "stall", "timeout")

    def __init__(
        self, timeout: float | None = None, stall: float | None = None
    ) -> None:
        self.timeout = timeout
        self.stall = stall
        self._overdue = ""
        self.began = self.heard = since_boot()

    def begin(self) -> None:
        """Start both clocks: the attempt had to wait for a worker, and begins only now."""
        self._overdue = ""
        self.began = self.heard = since_boot()

    def hear(self) -> None:
        """The body gave a sign of life; an overdue attempt stays overdue."""
        self.overdue()
        self.heard = since_boot()

    def excuse(self) -> None:
        """Restart the stall clock: the runner waited for the store, the body was not silent."""
        self.heard = since_boot()

    def overdue(self) -> str:
        """Return why the attempt is over; "" while it is not."""
        if self.timeout is None and self.stall is None:
            return ""
        self._overdue = self._why()
        return self._overdue

    def lateness(self) -> str:
        """Return for how long an overdue attempt has been overdue; "" while it is not."""
        now = since_boot()
        if self.timeout is not None and now - self.began >= self.timeout:
            return f"over timeout={self.timeout:g} for {now - self.began - self.timeout:.0f} s"
        if self.stall is not None and now - self.heard >= self.stall:
            return f"stalled for {now - self.heard:.0f} s"
        return ""

    def _why(self) -> str:
        if self._overdue:
            return self._overdue
        now = since_boot()
        if self.timeout is not None and now - self.began >= self.timeout:
            return f"timed out after {self.timeout:g} s"
        if self.stall is not None and now - self.heard >= self.stall:
            return f"stalled: no progress was reported for {self.stall:g} s"
        return ""


#: The watch of an attempt without limits.
UNWATCHED = Watch()


class TaskHandle:
    """One attempt of one task, as its body sees it.

    A process that the body starts gets a copy, by `os.fork` or pickled. In a copy
    `checkpoint`, `progress`, `track` and `cancelled` raise `WrongProcess`, as they need
    the runner; all else works.

    Attributes:
        name: the task's name, e.g. `download[songs.tbz]`.
        key: the item's key in a fan-out, else None.
        attempt: 1 for the first attempt of this budget, 2 for the first retry.
        idempotency_key: `container/task`: the same for every attempt.
        fence: grows with every claim of the container. A service that remembers the
            largest it has seen can refuse a runner that lost its lease.
    """

    def __init__(  # noqa: PLR0913 - made in two places, by keyword
        self,
        container: str,
        task: TaskRecord,
        *,
        saved: str | None,
        reporter: Reporter,
        cancelled: Callable[[], bool],
        watch: Watch | None = None,
        folder: str | Callable[[], str] = "",
    ) -> None:
        self.name = task.name
        self.key = task.key
        self.attempt = task.attempt
        self.idempotency_key = f"{container}/{task.name}"
        self.fence = task.fence
        #: What `checkpoint` saved last, as JSON text.
        self.saved = saved
        self._saved_before = saved
        self.reporter = reporter
        self.watch = UNWATCHED if watch is None else watch
        #: Takes the values of secret parameters out of texts.
        self.concealer: Concealer | None = None
        self._cancelled = cancelled
        #: Where `workdir` is, whether it was made or not; "" outside a run.
        self._folder = folder
        #: The process of the body; 0 in a handle that was pickled.
        self._pid = os.getpid()
        #: `host:pid` of the process that makes the attempt, where it is not the runner.
        self.ran_by = ""
        #: How long the attempt took where it was made, in milliseconds; None before.
        self.took_ms: int | None = None
        #: Whether the body reports its progress; else the progress bars that it draws do.
        self.reports_progress = False
        self.bar_percentage = 0.0

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_folder": self.folder, "_pid": 0}
        for name in ("reporter", "watch", "_cancelled"):
            state.pop(name, None)
        return state | {"concealer": None}

    def __copy__(self, _memo: object = None) -> Self:
        return self

    __deepcopy__ = __copy__

    @property
    def folder(self) -> str:
        """Where `workdir` is, or would be; "" where there is none."""
        return self._folder if isinstance(self._folder, str) else self._folder()

    @property
    def cancelled(self) -> bool:
        """Whether to stop: save what you have with `checkpoint`, and raise anything.

        The run is being stopped: what is raised then does not count as an attempt. Or
        this attempt took longer than its `timeout=` or `stall=`, and has failed.

        Raises:
            WrongProcess: this is not the process of the body.
        """
        self._refuse_elsewhere("cancelled")
        return self.is_stopping or bool(self.watch.overdue())

    @property
    def is_stopping(self) -> bool:
        """Whether the run is being stopped."""
        return self._cancelled()

    @property
    def has_advanced(self) -> bool:
        """Whether something else was saved than what the attempt began with."""
        return self.saved != self._saved_before

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

    @property
    def workdir(self) -> Path:
        """A folder of this task, made when it is first asked for.

        The next attempt finds in it what this one left, after a failure or a crash. It
        is deleted when the task is done, unless its step has `keep_workdir=True`, and
        when the task is reset or its container deleted.

        Raises:
            RuntimeError: the body was called without a run.
            OSError: the folder cannot be made; the error says what to do.
        """
        if not self.folder:
            raise RuntimeError(
                f"task.workdir of {self.name}: expected a task of a run, found one that "
                "was made by itself; give TaskHandle a folder="
            )
        return atomic_files.make_task_folder(Path(self.folder))

    def output(self, path: str | os.PathLike[str]) -> AbstractContextManager[Path]:
        """Write a file or a folder whole or not at all: `with task.output(path) as part:`.

        Write to `part`, of the same name in a hidden folder beside `path`. When the block
        ends it is renamed to `path`, durably; when it raises it is removed, and `path` is
        as it was.

        Args:
            path: a file, or a folder that is absent or empty; the folders above it are
                made.

        Raises:
            FileExistsError: `path` is a folder that is not empty, or no file.
            FileNotFoundError: the block wrote nothing.
        """
        return atomic_files.replacing(path, self.idempotency_key)

    def hide(self, text: str) -> str:
        """Return a text without the values of secret parameters."""
        return text if self.concealer is None else self.concealer.hide(text)

    def refuse_lost_files(self, result: str, step: str) -> None:
        """Refuse a result that names a file in `workdir`, which is about to go.

        Args:
            result: as it will be stored.
            step: the step's name.

        Raises:
            Fail: it does.
        """
        # The last two parts: the path may be relative, or have no links any more.
        own = "/".join(self.folder.split("/")[-2:]) if "/" in result else ""
        if own and own in result:
            raise Fail(
                f"the result of step {step} names a file in task.workdir, which is "
                "deleted when the task is done; add keep_workdir=True to the step, or "
                "write it elsewhere with task.output(...)"
            )

    def progress(self, done: float, total: float = 100, text: str = "") -> None:
        """Say that `done` of `total` is complete, in whatever unit both are.

        Call it as often as you like: the store hears of it once a second at most.

        Raises:
            ValueError: `done` or `total` is no finite number, or negative.
            WrongProcess: this is not the process of the body.
        """
        self._refuse_elsewhere("progress")
        if not (is_amount(done) and is_amount(total)):
            raise ValueError(
                f"progress of {self.name}: expected 0 <= done <= total, "
                f"found done={done!r}, total={total!r}; a text is given as text=..."
            )
        self.watch.hear()
        self.reports_progress = True
        share = 1.0 if done >= total else float(done) / float(total)
        percentage = min(100.0, round(100.0 * share, 6))
        self.reporter.progressed(self.name, percentage, _text(text))

    def track(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield from `items`, reporting progress after each one.

        Args:
            items: anything iterable.
            total: how many there are; needed for a percentage where `items` has no len.

        Raises:
            WrongProcess: this is not the process of the body.
        """
        self._refuse_elsewhere("track")
        if total is None and isinstance(items, Sized):
            total = len(items)
        for count, item in enumerate(items, 1):
            yield item
            if total is None:
                self._refuse_elsewhere("track")
                self.watch.hear()
                self.reports_progress = True
                self.reporter.progressed(self.name, 0.0, f"{count}")
            else:
                self.progress(min(count, total), total, f"{count} of {total}")

    def checkpoint(self, data: object) -> None:
        """Save how far this task is; durable when it returns.

        The next attempt finds it in `processing_data`, after a failure or a crash.

        Raises:
            NotStorable: `data` is outside what the codec keeps exactly.
            LeaseLost: another runner owns the container now.
            WrongProcess: this is not the process of the body.
        """
        self._refuse_elsewhere("checkpoint")
        what = f"the checkpoint of {self.name}"
        text = codec.encode(data, what=what)
        if self.concealer is not None:
            self.concealer.refuse(text, what)
        self.watch.hear()
        self.reporter.save(self.name, text)
        self.watch.excuse()  # The body waited for the store.
        self.saved = text

    def _refuse_elsewhere(self, what: str) -> None:
        """Raise `WrongProcess` in a process that the body started.

        The connection to the runner belongs to the body: a fork that used it would take
        the answer away from the body, or find a lock held that nobody releases there.
        """
        pid = os.getpid()
        if pid != self._pid:
            raise WrongProcess(
                f"task.{what} of {self.name}: expected the process of the body, found "
                f"pid {pid}, which the body started; hand over to the body what it needs "
                "(return it, or use a queue), and call it there"
            )


def _text(text: object) -> str:
    return texts.cut(str(text), texts.TEXT_LIMIT)
