"""What runner, nursery and children say to each other: data alone, never pickles.

Values travel as the JSON text of the codec, messages as MessagePack of a closed set of
records. Nothing that arrives is executed. What bodies log goes the way of what they
print, so that both stay in order, and nothing is lost when the child is killed.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from ptsflow.core.outcome import Outcome


class Message(Struct, frozen=True, tag=True, array_like=True):
    """The base of all messages."""


# -- runner and nursery ---------------------------------------------------------


class Spawn(Message, frozen=True, tag=True, array_like=True):
    """To the nursery, with two file descriptors: make a child."""

    number: int


class Kill(Message, frozen=True, tag=True, array_like=True):
    """To the nursery: end a child at once."""

    number: int


class Exited(Message, frozen=True, tag=True, array_like=True):
    """From the nursery: a child ended. Memory is its peak, in bytes."""

    number: int
    status: int
    memory: int


class Failed(Message, frozen=True, tag=True, array_like=True):
    """From the nursery: it could not begin or import the workflow, and ends."""

    why: str


# -- runner and child -----------------------------------------------------------


class Setting(Message, frozen=True, tag=True, array_like=True):
    """To a child, first: the workflow that its tasks belong to."""

    container: str
    #: Parameter -> JSON text.
    parameters: dict[str, str]


class Assignment(Message, frozen=True, tag=True, array_like=True):
    """To a child: make this attempt."""

    task: str
    key: str | None
    step: str
    attempt: int
    fence: int
    #: Seconds since the first attempt of this budget began.
    elapsed: float
    #: Parameter -> JSON text of its value, or texts of a joined fan-out's.
    arguments: dict[str, str | list[str] | None]
    saved: str | None
    #: Where `task.workdir` is.
    folder: str
    #: Most memory in bytes that the attempt may ask for.
    memory: int | None


class Cancel(Message, frozen=True, tag=True, array_like=True):
    """To a child: `task.cancelled` becomes true."""


class Kept(Message, frozen=True, tag=True, array_like=True):
    """To a child: the checkpoint is durable, or will never be."""

    is_kept: bool


class Began(Message, frozen=True, tag=True, array_like=True):
    """From a child, first: from now on it makes attempts."""

    pid: int


class Progressing(Message, frozen=True, tag=True, array_like=True):
    """From a child: how far it is."""

    percentage: float
    text: str


class Checkpoint(Message, frozen=True, tag=True, array_like=True):
    """From a child: keep this; it waits for `Kept`."""

    text: str


class Ended(Message, frozen=True, tag=True, array_like=True):
    """From a child: the attempt is over; it waits for the next one."""

    outcome: Outcome


pack = Encoder().encode
read_order = Decoder(Spawn | Kill).decode
read_exit = Decoder(Exited | Failed).decode
read_task = Decoder(Setting | Assignment | Cancel | Kept).decode
read_report = Decoder(Began | Progressing | Checkpoint | Ended).decode


# -- what a child prints ----------------------------------------------------------
