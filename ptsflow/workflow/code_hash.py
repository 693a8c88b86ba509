"""Whether the code of a body changed: a short text that is made of its source.

Comments, formatting, the place in the file, annotations, docstrings and the options of the
body's decorators do not count, and the functions that the body calls are not looked into.

The source counts only if it compiles to the code that is loaded, as a file may be edited
while its functions run. Where there is no such source (`exec`, a frozen program) the text is
made of the bytecode. Each text names its kind: "ast" for a source, the version of Python for
bytecode. Texts of two kinds cannot be compared.
"""

from __future__ import annotations

import ast
import linecache
import opcode
import sys
import threading
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any

from msgspec import Struct

from ptsflow.host.garbage import uncollected
from ptsflow.workflow.source_hash import (
    Function,
    Place,
    checksum,
    checksum_of,
    functions_in,
)

_COMPILER = f"{sys.version_info[0]}.{sys.version_info[1]}" + "-O" * sys.flags.optimize
_LOADS_CONSTANT = tuple(bytes([number]) for number in opcode.hasconst if number < 256)  # noqa: PLR2004 - a byte
_EXTENDS = opcode.opmap["EXTENDED_ARG"]
#: Bits of a code's flags that tell *args and **kwargs.
_VARIADIC = 0x04 | 0x08
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})


class _Read(Struct):
    """What was read of one version of a file."""

    lines: list[str]
    #: A function's code and its source, or the checksum of that once it was asked for;
    #: None where a line has two of a name.
    functions: dict[Place, tuple[CodeType, Function | int] | None]


#: By file, and whether its lambdas were read, or what `def` made.
_FILES: dict[tuple[str, bool], _Read] = {}
_reading = threading.Lock()


def fingerprint(function: Callable[..., Any]) -> str:
    """Return e.g. "ast:1a2b3c4d", the same in every process; "" where there is no code."""
    parts = _parts(function)
    if not parts:
        return ""
    shape: list[object] = list(map(_source, parts))
    kind = "ast"
    if None in shape:
        kind, shape = _COMPILER, [_code(part.__code__) for part in parts]
    defaults = list(map(_defaults, parts))
    return f"{kind}:{checksum((shape, defaults)):08x}"


def _parts(function: Any) -> list[Any]:
    """Return the function and what it wraps: the code of a decorator counts as well."""
    found = []
    while isinstance(getattr(function, "__code__", None), CodeType):
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def _defaults(function: Any) -> tuple[object, object]:
    given, named = function.__defaults__, function.__kwdefaults__
    if given is None and not named:
        return None, ()
    return _value(given), _value(tuple((named or {}).items()))


# -- source -----------------------------------------------------------------


def _source(function: Any) -> int | None:
    """Return the checksum of a function's source; None if it is not what is loaded."""
    code: CodeType = function.__code__
    place = code.co_name, code.co_firstlineno
    key = code.co_filename, code.co_name == "<lambda>"
    with _reading:
        # Look at the file only if what was read of it before is not what is loaded.
        read = _FILES.get(key)
        found = None if read is None else read.functions.get(place)
        if read is None or found is None or not _is_same(found[0], code):
            read = _read_again(*key, function.__globals__)
            found = read.functions.get(place)
            if found is None or not _is_same(found[0], code):
                return None
        compiled, source = found
        if not isinstance(source, int):
            source = checksum_of(source)
            read.functions[place] = compiled, source
    return source


def _is_same(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same; equal ones also stand in the same places."""
    return one == other or repr(_code(one)) == repr(_code(other))


def _read_again(file: str, lambdas: bool, names: dict[str, Any]) -> _Read:  # noqa: FBT001
    """Return the functions of a file as it is now; each version of it is read once."""
    linecache.checkcache(file)
    lines = linecache.getlines(file, names)
    read = _FILES.get((file, lambdas))
    if read is None or read.lines is not lines:
        with uncollected():
            functions = _functions_in("".join(lines), file, lambdas=lambdas)
        read = _FILES[file, lambdas] = _Read(lines, functions)
    return read


def _compiled(tree: ast.Module, source: str, file: str) -> CodeType:
    try:  # Half as long as from the text, but a tree nests less deeply than a text may.
        return compile(tree, file, "exec", dont_inherit=True)
    except RecursionError:
        return compile(source, file, "exec", dont_inherit=True)


def _functions_in(
    source: str, file: str, *, lambdas: bool
) -> dict[Place, tuple[CodeType, Function | int] | None]:
    with warnings.catch_warnings():
        # Python warned when it loaded the file.
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            compiled = _compiled(tree, source, file)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}
    sources = functions_in(tree, lambdas=lambdas)
    found: dict[Place, tuple[CodeType, Function | int] | None] = {}
    todo = [compiled]
    while todo:
        code = todo.pop()
        todo += [entry for entry in code.co_consts if isinstance(entry, CodeType)]
        place = code.co_name, code.co_firstlineno
        node = sources.get(place)
        if node is not None:
            found[place] = None if place in found else (code, node)
    return found


# -- bytecode ---------------------------------------------------------------


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
