"""The messages between runner, fork server and worker processes.

Messages are MessagePack of a closed set of records, and values in them are JSON text of
the codec: nothing that arrives is executed, and nothing is pickled. Log lines travel in
the pipe of the printed output (see `output`), so that both stay in order and nothing is
lost when a worker process is killed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from ptsflow import errors
from ptsflow.core.outcome import Outcome


class Message(Struct, frozen=True, tag=True, array_like=True):
    """The base of all messages."""


# -- runner and fork server -----------------------------------------------------


class Spawn(Message, frozen=True, tag=True, array_like=True):
    """To the fork server, with two file descriptors: fork a worker process."""

    number: int


class Kill(Message, frozen=True, tag=True, array_like=True):
    """To the fork server: kill a worker process."""

    number: int


class Exited(Message, frozen=True, tag=True, array_like=True):
    """From the fork server: a worker process ended. `memory` is its peak, in bytes."""

    number: int
    status: int
    memory: int


class Refused(Message, frozen=True, tag=True, array_like=True):
    """From the fork server: the system granted no process. Others are not touched."""

    number: int
    why: str


class Failed(Message, frozen=True, tag=True, array_like=True):
    """From the fork server: it cannot start or cannot import the workflow, and ends."""

    why: str


# -- runner and worker process --------------------------------------------------


class Setting(Message, frozen=True, tag=True, array_like=True):
    """To a worker process, first: the container and the parameters of its workflow."""

    container: str
    #: Parameter -> JSON text, secrets with their values.
    parameters: dict[str, str]

    def __repr__(self) -> str:
        return f"Setting({self.container!r})"


class Assignment(Message, frozen=True, tag=True, array_like=True):
    """To a worker process: make this attempt."""

    task: str
    key: str | None
    step: str
    attempt: int
    fence: int
    #: Seconds since the first attempt of this budget began.
    elapsed: float
    #: Parameter -> JSON text of its value; of a joined fan-out, a list of texts.
    arguments: dict[str, str | list[str] | None]
    saved: str | None
    #: The path of `task.workdir`.
    folder: str
    #: The most memory that the attempt may ask for, in bytes.
    memory: int | None


class Cancel(Message, frozen=True, tag=True, array_like=True):
    """To a worker process: `task.cancelled` becomes true."""


class CheckpointAnswer(Message, frozen=True, tag=True, array_like=True):
    """To a worker process: its checkpoint is durable, or never will be."""

    is_saved: bool


class WorkerReady(Message, frozen=True, tag=True, array_like=True):
    """From a worker process, first: it makes attempts from now on."""

    pid: int


class Progressing(Message, frozen=True, tag=True, array_like=True):
    """From a worker process: how far the body is."""

    percentage: float
    text: str


class Checkpoint(Message, frozen=True, tag=True, array_like=True):
    """From a worker process: save this. The body waits for the `CheckpointAnswer`."""

    text: str


class BodyEnded(Message, frozen=True, tag=True, array_like=True):
    """From a worker process: the body ended so; the process is free again."""

    outcome: Outcome
    #: Whether the body left nothing in the process that the next one would find.
    is_clean: bool = True
    #: How much more memory the process has asked for than a new one, in bytes.
    held: int = 0
    #: How long the attempt took, in milliseconds.
    took_ms: int | None = None


class Lost(Message, frozen=True, tag=True, array_like=True):
    """The attempt ended, and its body could not say how: its process died or was killed.

    The runner decides what follows, because the runner alone knows the step's `retry=`.
    """

    kind: Literal["TimedOut", "ProcessDied", "ImportFailed", "WorkerLost"]
    why: str
    #: How long the attempt took, in milliseconds; None where no body began.
    took_ms: int | None = None

    def error(self) -> errors.AttemptLost:
        """Return the error by which the attempt ended."""
        error: errors.AttemptLost = getattr(errors, self.kind)(self.why)
        return error


pack = Encoder().encode
read_order = Decoder(Spawn | Kill).decode
read_exit = Decoder(Exited | Refused | Failed).decode
read_task = Decoder(Setting | Assignment | Cancel | CheckpointAnswer).decode
read_report = Decoder(WorkerReady | Progressing | Checkpoint | BodyEnded).decode
