"""Every error that ptsflow raises, and the signals that a step may raise.

```
PtsflowError
├── DeclarationError        the workflow class is wrong                     exit 4
├── LoadError               TARGET cannot be loaded                         exit 4
├── ParameterError          the parameters do not fit the workflow          exit 4
├── ContainerMismatch       the container was made by something else        exit 4
├── StoredValueError        a stored value does not fit what reads it       exit 4
├── FrozenWorkflow          a step assigned to self                         (a bug)
├── WrongProcess            the body's handle was used in another process   (a bug)
├── UsageError              the call or command line does not make sense    exit 2
│   └── ExtraMissing        … without an extra of ptsflow
│       └── PageMissing     … the one of the page, which is a part of it    exit 4
├── ContainerBusy           another live runner holds the container         exit 5
│   └── TurnLost            … by now, or has done its tick
├── StoreError              the store …                                     exit 6
│   ├── StoreURLError       … has a URL nobody understands                  exit 2
│   ├── StoreUnavailable    … cannot be reached just now
│   ├── StoreDamaged        … is not what it should be
│   │   └── StoreMoved      … any more: its file was moved, removed or replaced
│   └── StoreFull           … has no room left
├── RunFailed               a run ended and its container is not complete   exit 1
├── LeaseLost               somebody else owns the container now            exit 75
├── NoThread                the system grants no thread                     exit 75
├── AttemptLost             an attempt ended without its body's say
│   ├── TimedOut            it took too long, or reported nothing for too long
│   ├── ProcessDied         its process ended
│   └── WorkerLost          the worker of a cluster that made it is gone
├── Conflict                the task changed since it was read
├── ContainerNotFound, TaskNotFound                                         exit 2
├── WorkflowNotFound        no container or run is of that workflow         exit 4
└── InvalidValue            a refused argument of the client API
    ├── InvalidName, TaskExists, UnknownField
    ├── InvalidPercentage, InvalidCount, InvalidTime, InvalidFlag, InvalidText
    └── NotStorable         the path inside the value, and its type
        └── TooLarge
Signal (an Exception, so that it crosses the pools of a body)
└── Skip, Fail, RetryLater, Finish
```

This is the bottom layer: it imports nothing of ptsflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import ClassVar, Self


class PtsflowError(Exception):
    """The base of all errors that ptsflow raises.

    Each carries one line that says what was expected, what was found and what to do.
    """

    #: What `ptsflow run` exits with when this error ends it.
    exit_code: ClassVar[int] = 3
    #: The words of the command of `ptsflow` that ends the message; none if none does.
    command: tuple[str, ...] = ()

    def advise(self, *command: str) -> Self:
        """End the message with a command of `ptsflow`; return this error."""
        self.command = command
        self.args = (f"{self} {self.typed_command}",)
        return self

    @property
    def typed_command(self) -> str:
        """The command as it ends the message."""
        import shlex  # noqa: PLC0415 - 2 ms, only for a refusal

        return shlex.join(["ptsflow", *self.command])


class DeclarationError(PtsflowError):
    """A workflow class is declared wrongly; nothing was started."""

    exit_code = 4


class LoadError(PtsflowError):
    """A TARGET such as `module:Class` cannot be loaded."""

    exit_code = 4


class ParameterError(PtsflowError, ValueError):
    """A parameter is unknown, missing or of the wrong type."""

    exit_code = 4


class ContainerMismatch(PtsflowError):
    """The container belongs to another workflow or to other parameters."""

    exit_code = 4


class StoredValueError(PtsflowError):
    """A stored value cannot be read as what the workflow's annotations promise."""

    exit_code = 4


class FrozenWorkflow(PtsflowError, AttributeError):
    """A workflow object was assigned to; a resumed run could not know of it."""


class WrongProcess(PtsflowError, NotImplementedError):
    """What only the process of a body can do was asked for in one that the body started.

    As any bug, it is not tried again.
    """

    exit_code = 1


class UsageError(PtsflowError):
    """The call does not make sense as it stands."""

    exit_code = 2


class ExtraMissing(UsageError):
    """What was asked for needs libraries that are not installed."""


class PageMissing(ExtraMissing):
    """The page and reports need libraries that are not installed."""

    exit_code = 4


class ContainerBusy(PtsflowError):
    """Another live runner holds the container, or a store that must be upgraded."""

    exit_code = 5


class TurnLost(ContainerBusy):
    """The container was claimed for a tick that another runner has, or has done, by now."""


class StoreError(PtsflowError):
    """The store cannot do what it was asked."""

    exit_code = 6


class StoreURLError(StoreError, ValueError):
    """The store's URL is not one that ptsflow understands."""

    exit_code = 2


class StoreUnavailable(StoreError):
    """The store cannot be reached just now; the same call may work later.

    `may_pass` says whether the cause may pass by itself: an election, a server that
    starts, a lock of another process. `ptsflow run` waits for that.
    """

    def __init__(self, text: str = "", *, may_pass: bool = False) -> None:
        super().__init__(text)
        self.may_pass = may_pass


class StoreDamaged(StoreError):
    """The store is cut, foreign, newer or fails its own checks; it was not touched."""


class StoreMoved(StoreDamaged):
    """The store's file was moved, removed or replaced while it was open."""


class StoreFull(StoreError):
    """The store has no room left; nothing of the last write was kept."""


class RunFailed(PtsflowError):
    """A run ended, and its container is not complete: `Report.raise_for_failure`.

    Attributes:
        container: the container's name.
        errors: the error of each task that failed, by its name.
    """

    exit_code = 1

    def __init__(
        self, message: str, container: str = "", errors: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.container = container
        self.errors = dict(errors or {})

    def __reduce__(self) -> tuple[type[RunFailed], tuple[str, str, dict[str, str]]]:
        return RunFailed, (str(self), self.container, self.errors)


class LeaseLost(PtsflowError):
    """The container's lease ended or another runner took it; running again is safe."""

    exit_code = 75


class NoThread(PtsflowError):
    """The system grants no thread just now; running again is safe."""

    exit_code = 75

    @classmethod
    def for_(cls, what: str, why: object) -> NoThread:
        """Return the error that says for what no thread can be started, and why."""
        return cls(
            f"no thread can be started for {what}: {why}; raise what limits the "
            "processes, threads and memory of this user (ulimit -u, ulimit -v)"
        )


class AttemptLost(PtsflowError):
    """An attempt ended without its body's say; it is tried again like any failure."""

    exit_code = 1


class TimedOut(AttemptLost, TimeoutError):
    """The attempt took longer than `timeout=`, or reported nothing for `stall=`."""


class ProcessDied(AttemptLost):
    """The process that ran the body was killed, or ended by itself."""


class WorkerLost(AttemptLost):
    """The worker of a cluster that made the attempt, or was to make it, is gone."""


class Conflict(PtsflowError):
    """A task changed, or was made or deleted, since it was read."""

    exit_code = 3


class ContainerNotFound(PtsflowError, LookupError):
    """There is no container of that name, or it was deleted meanwhile."""

    exit_code = 2


class WorkflowNotFound(PtsflowError, LookupError):
    """No container, and no run, is of a workflow of that name."""

    exit_code = 4


class TaskNotFound(PtsflowError, LookupError):
    """There is no task of that name in the container."""

    exit_code = 2


class InvalidValue(PtsflowError, ValueError):
    """The client API was given something that it refuses."""

    exit_code = 2


class InvalidName(InvalidValue):
    """A name is empty, over 200 bytes, or not a str."""


class TaskExists(InvalidValue):
    """The name is taken in the container."""


class UnknownField(InvalidValue):
    """A task has no field of that name, or it cannot be set."""


class InvalidPercentage(InvalidValue):
    """A percentage is not a number from 0 to 100."""


class InvalidCount(InvalidValue):
    """A count or a duration is negative or not a number."""


class InvalidTime(InvalidValue):
    """A time is not an aware datetime."""


class InvalidFlag(InvalidValue):
    """A flag is not a bool, or contradicts another one."""


class InvalidText(InvalidValue):
    """A text is not a str, or cannot be encoded."""


class NotStorable(InvalidValue, TypeError):
    """A value is outside the closed set of types that the codec keeps exactly."""

    exit_code = 4


class TooLarge(NotStorable):
    """A value is over the limit of 8 MiB."""


class Signal(Exception):
    """The base of what a step raises to tell the runner how it ended.

    An `Exception`, as the workers of `multiprocessing.Pool` pass on nothing else: the pool
    would wait for ever. A body that catches `Exception` has to let signals through.
    """

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = str(why)


class Skip(Signal):
    """This step has nothing to do: it is skipped and hands on None."""


class Fail(Signal):
    """This step failed and trying again would not help."""


class RetryLater(Signal):
    """Not now: try again in some seconds. Does not count as an attempt.

    The step's `timeout=` limits for how long, from the first time on.
    """

    def __init__(self, seconds: float, why: str = "") -> None:
        super().__init__(why)
        self.args = (seconds, why)
        self.seconds = float(seconds)
        if isnan(self.seconds):
            raise ValueError(
                f"RetryLater: expected a number of seconds, found {seconds}"
            )


class Finish(Signal):
    """The rest of the workflow is not needed: the container is complete."""
