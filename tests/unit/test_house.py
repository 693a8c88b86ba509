"""Rules of the house that no tool checks: sizes, names, docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptsflow
from tests.support.processes import ROOT

PACKAGE = ROOT / "ptsflow"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Functions that are still longer than others may be: shorten them, add none.
STILL_LONG = {
    "ptsflow/runner/prepare.py": {"prepare"},
    "ptsflow/runner/session.py": {"execute"},
}

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """Return how a test calls a file."""
    return path.relative_to(ROOT).as_posix()


def public(tree: ast.Module | ast.ClassDef) -> Iterator[_Documented]:
    """Yield the public classes and functions of a module, and their public methods."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        overloaded = any(
            isinstance(mark, ast.Name) and mark.id == "overload"
            for mark in node.decorator_list
        )
        if node.name.startswith("_") or overloaded:
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public(node)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short_enough_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has without its docstring."""
    said = node.body[0] if ast.get_docstring(node) else None
    docstring = 0 if said is None else (said.end_lineno or 0) - said.lineno + 1
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_is_short_enough_to_be_read_at_once(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]

    long = {node.name for node in functions if lines_of_code(node) > 60}

    assert long <= STILL_LONG.get(name_of(path), set())


def test_no_public_class_has_the_name_of_another() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in public(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name_of(path))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        getattr(node, "name", "the module")
        for node in (tree, *public(tree))
        if not ast.get_docstring(node)
    ]

    assert silent == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_is_called_by_a_name_that_says_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    names = [node.name for node in ast.walk(tree) if isinstance(node, kinds)]
    empty = re.compile(r"utils?|helpers?|manager|misc|stuff", re.IGNORECASE)

    assert [name for name in (path.stem, *names) if empty.search(name)] == []


def test_all_is_sorted_and_there() -> None:
    assert sorted(ptsflow.__all__) == ptsflow.__all__
    assert all(hasattr(ptsflow, name) for name in ptsflow.__all__)
