"""The source of functions as Python parses it: a checksum of what each one does.

Two sources that a formatter turns into each other have the same checksum, and so have
sources that differ in comments, annotations and docstrings. Python 3.11, 3.12 and 3.13
make the same checksums.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any
from zlib import crc32

#: The name of a function, and the line on which its decorators or its `def` begin.
Place = tuple[str, int]
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def checksum(shape: object) -> int:
    """Return a number made of the `repr` of a value."""
    return crc32(repr(shape).encode(errors="surrogatepass"))


def functions_in(tree: ast.Module, *, lambdas: bool) -> dict[Place, Function | None]:
    """Return the functions of a file by their places; None where two share a place.

    Args:
        tree: what Python parsed.
        lambdas: return lambdas instead of what `def` makes; finding them takes longer.
    """
    if lambdas:
        every = (node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
        return _by_place(every)
    return _by_place(_defined(tree))


def _defined(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield what `def` makes: a statement, so that no expression is looked into."""
    todo: list[Any] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        for name in _blocks_of(node.__class__):
            todo += getattr(node, name)


@cache
def _blocks_of(kind: Any) -> tuple[str, ...]:
    return tuple(
        name for name in kind._fields if name in {*_BLOCKS, "handlers", "cases"}
    )


def _by_place(functions: Iterable[Function]) -> dict[Place, Function | None]:
    found: dict[Place, Function | None] = {}
    for node in functions:
        place = _place(node)
        found[place] = None if place in found else node
    return found


def _place(node: Function) -> Place:
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(mark.lineno for mark in node.decorator_list)])


def checksum_of(function: Function) -> int:
    """Return a checksum of a function's parameters and body."""
    words: list[str] = []
    parts_of: Callable[[Any], list[Any]]
    # A stack instead of recursion: a long `a + b + c + ...` nests deeper than calls may.
    todo: list[Any] = _inside(function)[::-1]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is str:
            words.append(item)
        elif kind in _LEAVES:
            words.append(_LEAVES[kind](item))
        elif kind is list:
            todo += ("]", *item[::-1], "[")
        elif item is None:
            words.append("None")
        else:
            parts_of = _PARTS.get(kind, _fields)
            todo += parts_of(item)[::-1]
    return checksum("\n".join(words))


_LEFT_OUT = frozenset({"annotation", "ctx", "kind", "returns", "type_comment"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})


def _fields(node: ast.AST) -> list[Any]:
    """Return the words and the nodes of which the text of a node consists, in order.

    Fields that are empty are left out: newer versions of Python add such ones.
    """
    parts: list[Any] = []
    words = [f"({type(node).__name__}"]
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _LEFT_OUT:
            continue
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            words += (name, leaf(value))
        elif isinstance(value, (ast.AST, list)):
            parts += ("\n".join([*words, name]), value)
            words = []
            if name in _BLOCKS and isinstance(value, list):
                parts[-1] = _block(value)
        else:
            words += (name, repr(value))
    return [*parts, "\n".join([*words, ")"])]


def _block(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that do something: no `pass`, docstring or other constant."""
    return [
        statement
        for statement in statements
        if not isinstance(statement, ast.Pass)
        and not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
        )
    ]


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Any]:
    # Decorators and defaults run where the function is made, not in its body.
    made = [repr(node.name), node.decorator_list, *_defaults(node.args)]
    return [*made, *_inside(node)]


def _lambda(node: ast.Lambda) -> list[Any]:
    return [*_defaults(node.args), *_inside(node)]


def _inside(node: Function) -> list[Any]:
    """Return the words and the nodes of a function's parameters and its body."""
    body = node.body if isinstance(node, ast.Lambda) else _block(node.body)
    return [f"({type(node).__name__}", *_parameters(node.args), body, ")"]


def _defaults(given: ast.arguments) -> list[Any]:
    return [given.defaults, given.kw_defaults]


_EMPTY = "[\n]"


def _parameters(given: ast.arguments) -> list[Any]:
    rest = [[given.vararg], given.kwonlyargs, [given.kwarg]]
    return [each or _EMPTY for each in (given.posonlyargs, given.args, *rest)]


def _class(node: ast.ClassDef) -> list[Any]:
    fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
    return [[[f.target, f.annotation] for f in fields], *_fields(node)]


def _annotated(node: ast.AnnAssign) -> list[Any]:
    return _fields(ast.Assign([node.target], node.value)) if node.value else []


def _name(node: ast.Name) -> str:
    return f"(Name {node.id})"


def _constant(node: ast.Constant) -> str:
    value = node.value
    # Python refuses to write a very long int in decimals.
    return f"(Constant {hex(value) if type(value) is int else repr(value)})"


def _argument(node: ast.arg) -> str:
    return f"(arg\narg\n{node.arg!r}\n)"


def _joined(node: ast.JoinedStr) -> list[Any]:
    """Return the parts of an f-string; versions of Python cut its texts differently."""
    parts: list[Any] = ["(JoinedStr"]
    text = ""
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
        else:
            parts += (repr(text), value)
            text = ""
    return [*parts, repr(text), ")"]


#: What the text of a node consists of, where that is not simply its fields.
_PARTS: dict[type, Callable[[Any], list[Any]]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _lambda,
    ast.ClassDef: _class,
    ast.AnnAssign: _annotated,
    ast.JoinedStr: _joined,
}
#: The text of what has no nodes below it.
_LEAVES: dict[type, Callable[[Any], str]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.arg: _argument,
}
