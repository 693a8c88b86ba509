"""The source of functions as Python parses it: a checksum of what each one does.

Two sources that a formatter turns into each other have the same checksum, and so have
sources that differ in comments, annotations and docstrings. Python 3.11, 3.12 and 3.13
make the same checksums.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any
from zlib import crc32

#: The name of a function, and the line on which its decorators or its `def` begin.
Place = tuple[str, int]


def checksum(shape: object) -> int:
    """Return a number made of the `repr` of a value."""
    return crc32(repr(shape).encode(errors="surrogatepass"))


def sources_in(tree: ast.Module) -> dict[Place, int | None]:
    """Return a checksum of each function's parameters and body; None if two share a place."""
    found: dict[Place, int | None] = {}
    words: list[str] = []
    begun: list[int] = []
    # A stack instead of recursion: a long `a + b + c + ...` nests deeper than calls may.
    todo: list[Any] = [tree]
    parts_of: Callable[[Any], list[Any]]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is str:
            words.append(item)
        elif kind is list:
            todo += ["]", *reversed(item), "["]
        elif kind is tuple:
            text = "\n".join(words[begun.pop() :])
            found[item] = None if item in found else checksum(text)
        elif item is _BEGIN:
            begun.append(len(words))
        elif item is None:
            words.append("None")
        else:
            parts_of = _PARTS.get(kind, _fields)
            todo += reversed(parts_of(item))
    return found


#: Stands before the words of a function, as a place stands behind them.
_BEGIN = object()
_LEFT_OUT = frozenset({"annotation", "ctx", "kind", "returns", "type_comment"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})


def _fields(node: ast.AST) -> list[Any]:
    """Return the words and the nodes of which the text of a node consists, in order.

    Fields that are empty are left out: newer versions of Python add such ones.
    """
    parts: list[Any] = [f"({type(node).__name__}"]
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _LEFT_OUT:
            continue
        if name in _BLOCKS and isinstance(value, list):
            value = _block(value)
        parts += (name, value if isinstance(value, (ast.AST, list)) else repr(value))
    parts.append(")")
    return parts


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
    inside = [f"({type(node).__name__}", *_parameters(node.args), _block(node.body)]
    first = min((mark.lineno for mark in node.decorator_list), default=node.lineno)
    return [*made, _BEGIN, *inside, ")", (node.name, first)]


def _lambda(node: ast.Lambda) -> list[Any]:
    inside = ["(Lambda", *_parameters(node.args), node.body, ")"]
    return [*_defaults(node.args), _BEGIN, *inside, ("<lambda>", node.lineno)]


def _defaults(given: ast.arguments) -> list[Any]:
    return [given.defaults, given.kw_defaults]


def _parameters(given: ast.arguments) -> list[Any]:
    rest = [[given.vararg], given.kwonlyargs, [given.kwarg]]
    return [given.posonlyargs, given.args, *rest]


def _class(node: ast.ClassDef) -> list[Any]:
    fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
    return [[[f.target, f.annotation] for f in fields], *_fields(node)]


def _annotated(node: ast.AnnAssign) -> list[Any]:
    return _fields(ast.Assign([node.target], node.value)) if node.value else []


def _name(node: ast.Name) -> list[Any]:
    return [f"(Name {node.id})"]


def _constant(node: ast.Constant) -> list[Any]:
    value = node.value
    # Python refuses to write a very long int in decimals.
    return [f"(Constant {hex(value) if type(value) is int else repr(value)})"]


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
    ast.Name: _name,
    ast.Constant: _constant,
    ast.JoinedStr: _joined,
}
