"""`Secret`: a parameter whose value is never stored, shown or logged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

from ptsflow.codec.scalars import surrogate_in
from ptsflow.core.secrets import HIDDEN
from ptsflow.errors import ParameterError

T = TypeVar("T")


class Secret(Generic[T]):
    """A text that only the body sees that asks for it, by `get_secret_value`.

    A parameter of a workflow is secret if it is annotated `Secret[str]`.

    Args:
        value: the text.

    Raises:
        ParameterError: the value is no `str`, or it is empty.
    """

    __slots__ = ("_source", "_value")

    def __init__(self, value: T) -> None:
        if type(value) is not str or not value:
            found = type(value).__name__ if value != "" else "an empty one"
            raise ParameterError(f"Secret: expected a text (str), found {found}")
        self._value = value
        self._source = ""

    def get_secret_value(self) -> T:
        """Return the value."""
        return self._value

    @property
    def source(self) -> str:
        """Where the value was read from, such as `env:TOKEN`; "" if it was given as such."""
        return self._source

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)


def read(text: str) -> Secret[str]:
    """Return the secret that `env:VARIABLE` or `file:PATH` names.

    One line end at the end of a file is no part of the value.

    Raises:
        ParameterError: the value is not there or empty, or the text names neither.
    """
    kind, _, place = text.partition(":")
    if kind == "env" and place:
        value, what = os.environ.get(place), f"the variable {place}"
        problem = "is not set" if value is None else "is empty"
    elif kind == "file" and place:
        what = f"the file {place}"
        value, problem = _content(Path(place))
        # It is named again in commands that are typed in other folders.
        text = f"file:{Path(place).absolute()}"
    else:
        raise ParameterError(
            "the value of a secret does not stand on the command line, where every user "
            "of the machine can read it"
        )
    if not value:
        raise ParameterError(f"{what} {problem}")
    if surrogate_in(value) is not None:
        raise ParameterError(f"{what} is not UTF-8")
    secret = Secret(value)
    secret._source = text  # noqa: SLF001 - only what is read here has a source
    return secret


def _content(path: Path) -> tuple[str, str]:
    """Return what a file has, without a line end at its end, and why it has nothing."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    except (OSError, ValueError) as error:
        return "", f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return text.removesuffix("\n").removesuffix("\r"), "is empty"


def how_to_give(name: str) -> str:
    """Return how a secret parameter is given on the command line."""
    return f"-p {name}=env:VARIABLE or -p {name}=file:PATH"
