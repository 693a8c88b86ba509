"""Values of parameters, checked against their annotations, from Python or from text."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from ptsflow.errors import ParameterError
from ptsflow.workflow import secret
from ptsflow.workflow.secret import Secret

#: How the types that msgspec reads too strictly, or not at all, are read from text.
_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Path: Path,
    str: str,
    Any: str,
}
_YES_NO = {"yes": True, "true": True, "on": True, "1": True} | {
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
#: A bool is an int to Python and a datetime is a date, but not to those who declare one.
_STRICT = (int, date)
#: What reading raises where a value does not fit.
_MISFITS = (msgspec.DecodeError, TypeError, ValueError)


def convert(value: Any, hint: Any, label: str) -> Any:
    """Return `value` as `hint` wants it, without guessing: "5" is no int.

    Raises:
        ParameterError: it does not fit; the message begins with `label`.
    """
    if is_secret(hint):
        return _secret_of(value, hint, label)
    try:
        return _convert(value, hint)
    except _MISFITS as error:
        raise ParameterError(_unfit(label, hint, value, error)) from None


def parse(text: str, hint: Any, label: str) -> Any:
    """Return what `text` means as a `hint`: `5`, `2011-09-30T13`, `yes`, `a,b`.

    The text of a secret parameter is `env:VARIABLE` or `file:PATH`.

    Raises:
        ParameterError: it means nothing; the message begins with `label`.
    """
    if is_secret(hint):
        if text.lower() == "none" and type(None) in _choices(hint):
            return None
        try:
            return secret.read(text)
        except ParameterError as error:
            name = label.rpartition(" ")[2]
            raise ParameterError(
                f"{label}: {error}; give {secret.how_to_give(name)}"
            ) from None
    try:
        return _parse(text, hint)
    except _MISFITS as error:
        raise ParameterError(_unfit(label, hint, text, error)) from None


def is_secret(hint: Any) -> bool:
    """Whether an annotation is `Secret[str]`, `Secret`, or one of these or None."""
    kinds = [kind for kind in _choices(hint) or [hint] if kind is not type(None)]
    return kinds in ([Secret], [Secret[str]])


def has_secret(hint: Any) -> bool:
    """Whether `Secret` stands anywhere in an annotation."""
    return Secret in (hint, get_origin(hint)) or any(map(has_secret, get_args(hint)))


def _secret_of(value: Any, hint: Any, label: str) -> Secret[str] | None:
    """Return a value from Python as a secret; no message has the value."""
    if isinstance(value, Secret) or (value is None and type(None) in _choices(hint)):
        return value
    try:
        return Secret(value)
    except ParameterError as error:
        raise ParameterError(f"{label}: {error}") from None


def _convert(value: Any, hint: Any) -> Any:
    choices = _choices(hint)
    if hint is Any or type(value) is hint or type(value) in choices:
        return value
    if choices:
        return _first(choices, lambda choice: _convert(value, choice))
    try:
        return msgspec.convert(value, hint, dec_hook=_reads_path)
    except _MISFITS:
        if isinstance(hint, type) and isinstance(value, hint) and hint not in _STRICT:
            return value
        raise


def _parse(text: str, hint: Any) -> Any:
    choices = _choices(hint)
    if choices:
        if type(None) in choices and text.lower() in ("", "none"):
            return None
        return _first(choices, lambda choice: _parse(text, choice))
    if hint in _FROM_TEXT:
        return _FROM_TEXT[hint](text)
    if hint is bool:
        if text.lower() not in _YES_NO:
            raise ValueError("expected yes or no")
        return _YES_NO[text.lower()]
    if text.startswith(("[", "{")):
        return msgspec.json.decode(text, type=hint, dec_hook=_reads_path)
    kind = get_origin(hint) or hint
    if kind in (list, tuple, set, frozenset):
        return kind(_parse_parts(text.split(",") if text else [], kind, get_args(hint)))
    return msgspec.convert(text, hint, strict=False, dec_hook=_reads_path)


def _parse_parts(
    parts: Sequence[str], kind: type, entries: tuple[Any, ...]
) -> list[Any]:
    if kind is tuple and entries and entries[-1] is not Ellipsis:
        if len(parts) != len(entries):
            raise ValueError(f"expected {len(entries)} values with commas between them")
        pairs = zip(parts, entries, strict=True)
        return [_parse(part, entry) for part, entry in pairs]
    entry = entries[0] if entries else str
    return [_parse(part, entry) for part in parts]


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; nothing of anything else."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _first(choices: Sequence[Any], read: Callable[[Any], Any]) -> Any:
    """Return what the first choice that fits makes of it."""
    problem: Exception | None = None
    for choice in choices:
        if choice is not type(None):
            try:
                return read(choice)
            except _MISFITS as error:
                problem = error
    raise ValueError(str(problem))


def _reads_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind):
        return value
    raise TypeError(f"expected {kind.__name__}")


def _unfit(label: str, hint: Any, value: object, error: Exception) -> str:
    found = repr(value).replace("\n", " ")
    reason = str(error).replace("\n", " ")
    return f"{label}: expected {spelling_of(hint)}, found {found:.200} ({reason})"


def spelling_of(hint: Any) -> str:
    """Return an annotation as people read it."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(repr(member.value) for member in hint)}"
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__name__
    if choices := _choices(hint):
        # The last of `Optional[X]` is None, however it is spelt.
        return " | ".join(
            "None" if choice is type(None) else spelling_of(choice)
            for choice in choices
        )
    # A generic type is spelt with the modules of its parts.
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+", "", str(hint))
