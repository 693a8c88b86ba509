"""Values of parameters, checked against their annotations, from Python or from text."""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec

from ptsflow.errors import ParameterError

#: How the types that msgspec reads too strictly, or not at all, are read from text.
_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Path: Path,
}
_YES_NO = {"yes": True, "true": True, "on": True, "1": True} | {
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}


def convert(value: Any, hint: Any, label: str) -> Any:
    """Return `value` as `hint` wants it, without guessing: "5" is no int.

    Raises:
        ParameterError: it does not fit; the message begins with `label`.
    """
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    try:
        return msgspec.convert(value, hint, dec_hook=_reads_path)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        if isinstance(hint, type) and isinstance(value, hint) and hint is not int:
            return value
        raise ParameterError(_unfit(label, hint, value, error)) from None


def parse(text: str, hint: Any, label: str) -> Any:
    """Return what `text` means as a `hint`: `5`, `2011-09-30T13`, `yes`, `a,b`.

    Raises:
        ParameterError: it means nothing; the message begins with `label`.
    """
    try:
        return _parse(text, hint)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise ParameterError(_unfit(label, hint, text, error)) from None


def _parse(text: str, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _parse_union(text, get_args(hint))
    if hint in _FROM_TEXT:
        return _FROM_TEXT[hint](text)
    if hint is bool:
        if text.lower() not in _YES_NO:
            raise ValueError("expected yes or no")
        return _YES_NO[text.lower()]
    if origin in (list, tuple, set, frozenset):
        entry = (get_args(hint) or (str,))[0]
        parts = [_parse(part, entry) for part in text.split(",")] if text else []
        return origin(parts)
    if hint in (Any, str):
        return text
    return msgspec.convert(text, hint, strict=False, dec_hook=_reads_path)


def _parse_union(text: str, choices: tuple[Any, ...]) -> Any:
    if type(None) in choices and text.lower() in ("", "none"):
        return None
    problem: Exception = ValueError("nothing fits")
    for choice in choices:
        if choice is not type(None):
            try:
                return _parse(text, choice)
            except (msgspec.ValidationError, TypeError, ValueError) as error:
                problem = error
    raise problem


def _reads_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind):
        return value
    raise TypeError(f"expected {kind.__name__}")


def _unfit(label: str, hint: Any, value: object, error: Exception) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    reason = str(error).replace("\n", " ")
    return f"{label}: expected {name}, found {value!r} ({reason})"
