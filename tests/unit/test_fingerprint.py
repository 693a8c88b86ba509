"""Whether a body's code changed: which edits count, and that every process agrees."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import pytest

from ptsflow.core.resume import is_changed
from ptsflow.workflow.code_hash import fingerprint

BODY = '''
def body(self, file, *, size=5, unit="MB"):
    """Load a file."""
    seen = {"a", "b"} if file in {"x", "y", "z"} else set()
    for part in sorted(file):
        if part not in seen:
            self.load(part, size=size + 1)
    return [part.upper() for part in seen]
'''


def made(source: str) -> Callable[..., Any]:
    """Return the function `body` of a source."""
    names: dict[str, Any] = {"option": lambda _: lambda function: function}
    exec(compile(source, "made", "exec", dont_inherit=True), names)  # noqa: S102 - it is ours
    found: Callable[..., Any] = names["body"]
    return found


BEFORE = fingerprint(made(BODY))
FIRST = "    seen ="


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(FIRST, "    # Why.\n    seen =", id="a comment"),
        pytest.param("\ndef body", "\n\n\n\ndef body", id="lines above"),
        pytest.param(FIRST, "\n\n    seen =", id="blank lines"),
        pytest.param("size + 1)", "size+1 )", id="blanks"),
        pytest.param('"x"', "'x'", id="quotes"),
        pytest.param("part, size=size + 1", "part,\n  size=size + 1,\n ", id="wrapped"),
        pytest.param("part not in seen", "(part not in seen)", id="parentheses"),
        pytest.param("Load a file", "Load it, with more to say", id="another docstring"),
        pytest.param('    """Load a file."""\n', "", id="no docstring"),
        pytest.param("def body", "@option(5)\ndef body", id="a decorator's options"),
        pytest.param("file, *,", "file: str, *,", id="an annotation"),
        pytest.param("unit=", "unit: str=", id="an annotation of a default"),
        pytest.param('):\n    "', ') -> list:\n    "', id="what it returns, said"),
        pytest.param("size=5", "size=2 + 3", id="what the compiler folds"),
    ],
)  # fmt: skip
def test_an_edit_that_does_nothing_does_not_count(old: str, new: str) -> None:
    after = BODY.replace(old, new)
    assert after != BODY

    assert fingerprint(made(after)) == BEFORE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("size + 1", "size + 2", id="a number"),
        pytest.param("size + 1", "size + 1.0", id="a number of another type"),
        pytest.param("size + 1", "size - 1", id="an operator"),
        pytest.param("not in", "in", id="a condition"),
        pytest.param('"z"', '"w"', id="an element of a set"),
        pytest.param("self.load", "self.store", id="what is called"),
        pytest.param("size=size", "bulk=size", id="a keyword"),
        pytest.param("upper", "lower", id="inside a comprehension"),
        pytest.param("    return", "            return", id="indentation"),
        pytest.param("size=5", "size=6", id="a default"),
        pytest.param('unit="MB"', 'unit="GB"', id="a default that is a text"),
        pytest.param('unit="MB"', "unit", id="no default"),
        pytest.param("*, ", "", id="a kind of parameter"),
        pytest.param(
            "file, *, size", "file, *size, new", id="a parameter for the rest"
        ),
        pytest.param("file, *,", "file, more, *,", id="another parameter"),
        pytest.param("def body", "async def body", id="async"),
        pytest.param(FIRST, "    print(file)\n    seen =", id="a statement"),
        pytest.param(FIRST, "    'x'.join(file)\n    seen =", id="a text that is used"),
    ],
)
def test_an_edit_that_may_matter_counts(old: str, new: str) -> None:
    after = BODY.replace(old, new)
    assert after != BODY

    assert is_changed(BEFORE, fingerprint(made(after)))


def in_a_try(inside: str, outside: str) -> str:
    return f"def body(f):\n try:\n  f()\n{inside} except OSError:\n  pass\n{outside}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            "def body(x): return x[1:2]", "def body(x): return x[1:3]", id="a slice"
        ),
        pytest.param(
            "def body(x=(1, 2)): return x", "def body(x=(1, 3)): return x", id="a tuple"
        ),
        pytest.param(
            "def body(x=...): return x", "def body(x=None): return x", id="an ellipsis"
        ),
        pytest.param(
            "def body():\n def f(*a): return a\n return f",
            "def body():\n def f(**a): return a\n return f",
            id="an inner function's rest",
        ),
        pytest.param(
            "def body(x): return x in {1, (2, 'a')}",
            "def body(x): return x in {1, (2, 'b')}",
            id="a tuple in a set",
        ),
        pytest.param(
            in_a_try("  f.a()\n", ""), in_a_try("", " f.a()\n"), id="out of the try"
        ),
        pytest.param("def body(x): return x.a", "def body(x): return x.b", id="a name"),
    ],
)
def test_what_else_counts(one: str, other: str) -> None:
    assert is_changed(fingerprint(made(one)), fingerprint(made(other)))


def test_more_constants_than_a_byte_counts_are_all_seen() -> None:
    lines = "".join(f"    x = 'constant {number}'\n" for number in range(400))
    plain = f"def body():\n{lines}"

    assert fingerprint(made(plain)) == fingerprint(made(f"# Why.\n{plain}"))
    for number in (3, 255, 256, 399):
        edited = plain.replace(f"'constant {number}'", "'another'")
        assert is_changed(fingerprint(made(plain)), fingerprint(made(edited)))


def test_a_default_that_is_no_simple_value_counts_by_its_type_alone() -> None:
    def body(self: object, found: object = object()) -> object:
        return self, found

    before = fingerprint(body)
    body.__defaults__ = (object(),)
    assert fingerprint(body) == before

    body.__defaults__ = (RuntimeError(),)

    assert is_changed(before, fingerprint(body))


def test_a_body_behind_a_decorator_counts() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: object) -> object:
            return function(*args)

        return wrapper

    def one(self: object) -> object:
        return self

    def two(self: object) -> object:
        return [self]

    assert is_changed(fingerprint(logged(one)), fingerprint(logged(two)))
    assert is_changed(fingerprint(logged(one)), fingerprint(one))


def test_what_has_no_code_has_no_fingerprint() -> None:
    assert fingerprint(len) == ""


def test_it_names_the_python_that_compiled_it() -> None:
    version, _, number = BEFORE.partition(":")

    assert version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert len(number) == 8
    assert int(number, 16) >= 0


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param("3.11:1a2b3c4d", "3.11:1a2b3c4e", True, id="another"),
        pytest.param("3.11:1a2b3c4d", "3.11:1a2b3c4d", False, id="the same"),
        pytest.param("3.11:1a2b3c4d", "3.12:1a2b3c4e", False, id="another Python"),
        pytest.param("3.1:1a2b3c4d", "3.11:1a2b3c4e", False, id="a Python like it"),
        pytest.param("3.11:1a2b3c4d", "3.11-O:1a2b3c4e", False, id="without asserts"),
        pytest.param("", "3.11:1a2b3c4d", False, id="nothing known of before"),
        pytest.param("3.11:1a2b3c4d", "", False, id="nothing known of now"),
        pytest.param("", "", False, id="nothing known"),
    ],
)
def test_only_what_the_same_python_compiled_is_compared(
    before: str, now: str, *, expected: bool
) -> None:
    assert is_changed(before, now) is expected


def test_every_process_agrees() -> None:
    script = textwrap.dedent(
        """
        import sys
        from ptsflow.workflow.code_hash import fingerprint
        names = {}
        exec(sys.stdin.read(), names)
        for _ in range(2_000):  # So that the interpreter specialises the code.
            try: names["body"](None, "")
            except AttributeError: pass
        print(fingerprint(names["body"]), end="")
        """
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            input=BODY,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "random")
    }

    assert found == {BEFORE}


def test_a_body_that_is_formatted_all_over_is_the_same() -> None:
    formatted = ast.unparse(ast.parse(BODY))

    assert fingerprint(made(formatted)) == BEFORE


def test_it_takes_microseconds() -> None:
    body = made(BODY)

    best = min(timeit.repeat(lambda: fingerprint(body), number=200, repeat=10)) / 200

    assert best < 100e-6
