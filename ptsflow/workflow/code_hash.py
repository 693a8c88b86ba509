"""Whether the code of a body changed: a short text that is made of what was compiled.

So comments, formatting, the place in the file, annotations, the docstring and the options
of its decorator do not count; seldom, the compiler decides otherwise where an expression
is broken into lines. What the body calls is not looked into. Another version of Python
compiles otherwise: fingerprints of two versions cannot be compared.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any
from zlib import crc32

_COMPILER = f"{sys.version_info[0]}.{sys.version_info[1]}" + "-O" * sys.flags.optimize
_LOADS_CONSTANT = tuple(bytes([number]) for number in opcode.hasconst if number < 256)  # noqa: PLR2004 - a byte
_EXTENDS = opcode.opmap["EXTENDED_ARG"]
#: Bits of a code's flags that tell *args and **kwargs.
_VARIADIC = 0x04 | 0x08
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})


def fingerprint(function: Callable[..., Any]) -> str:
    """Return e.g. "3.11:1a2b3c4d", the same in every process; "" where it has no code."""
    shape: list[object] = []
    part: Any = function
    # A decorator that wraps the body has code of its own; both count.
    while isinstance(code := getattr(part, "__code__", None), CodeType):
        named = tuple((part.__kwdefaults__ or {}).items())
        shape.append((_code(code), _value(part.__defaults__), _value(named)))
        part = getattr(part, "__wrapped__", None)
    if not shape:
        return ""
    text = repr(shape).encode(errors="surrogatepass")
    return f"{_COMPILER}:{crc32(text):08x}"


def _code(code: CodeType) -> object:
    instructions, constants = _loaded(code)
    return (
        instructions,
        constants,
        code.co_exceptiontable,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & _VARIADIC,
    )


def _loaded(code: CodeType) -> tuple[bytes, list[object]]:
    """Return the instructions without the places of constants, and the constants.

    A docstring stands among the constants, moves their places, and is never loaded.
    """
    raw, constants = code.co_code, code.co_consts
    numbers, arguments = raw[::2], bytearray(raw[1::2])
    found: list[object] = []
    for loads in _LOADS_CONSTANT:
        at = numbers.find(loads)
        while at >= 0:
            place = arguments[at]
            if at and numbers[at - 1] == _EXTENDS:
                place += arguments[at - 1] << 8
                arguments[at - 1] = 0
            arguments[at] = 0
            found.append(_value(constants[place]))
            at = numbers.find(loads, at + 1)
    return numbers + arguments, found


def _value(value: object) -> object:
    """Return what has the same `repr` in every process, and another for another value."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, tuple):
        return tuple(map(_value, value))
    if isinstance(value, frozenset):
        return sorted(repr(_value(item)) for item in value)
    if isinstance(value, slice):
        return ("slice", _value((value.start, value.stop, value.step)))
    return ("some", kind.__qualname__)
