"""Whether a body's code changed: which edits count, and that every process agrees."""

from __future__ import annotations

import ast
import functools
import itertools
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptsflow.core.changed_code import is_changed
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


def loaded(source: str, file: str = "<made>") -> Callable[..., Any]:
    """Return the function `body` of a source; of a file that need not be there."""
    names: dict[str, Any] = {"option": lambda _: lambda function: function}
    exec(compile(source, file, "exec", dont_inherit=True), names)  # noqa: S102 - it is ours
    found: Callable[..., Any] = names["body"]
    return found


Made = Callable[[str], Callable[..., Any]]


@pytest.fixture(params=["a file", "no file"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Return what loads the function `body` of a source, which has a file or has none."""
    numbers = itertools.count()

    def load(source: str) -> Callable[..., Any]:
        if request.param == "no file":
            return loaded(source)
        return in_file(source, tmp_path / f"made{next(numbers)}.py")

    return load


def in_file(source: str, path: Path) -> Callable[..., Any]:
    """Return the function `body` of a source that is written to a file."""
    path.write_text(source, encoding="utf-8", errors="surrogatepass")
    return loaded(source, str(path))


FIRST = "    seen ="


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(FIRST, "    # Why.\n    seen =", id="a comment"),
        pytest.param("\ndef body", "\n\n\n\ndef body", id="lines above"),
        pytest.param(FIRST, "\n\n    seen =", id="blank lines"),
        pytest.param("size + 1)", "size+1 )", id="blanks"),
        pytest.param('"x"', "'x'", id="quotes"),
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
def test_an_edit_that_does_nothing_does_not_count(
    made: Made, old: str, new: str
) -> None:
    after = BODY.replace(old, new)
    assert after != BODY

    assert fingerprint(made(after)) == fingerprint(made(BODY))


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
def test_an_edit_that_may_matter_counts(made: Made, old: str, new: str) -> None:
    after = BODY.replace(old, new)
    assert after != BODY

    assert is_changed(fingerprint(made(BODY)), fingerprint(made(after)))


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
def test_what_else_counts(made: Made, one: str, other: str) -> None:
    assert is_changed(fingerprint(made(one)), fingerprint(made(other)))


def test_more_constants_than_a_byte_counts_are_all_seen(made: Made) -> None:
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


def test_it_names_its_kind(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"

    for body, kind in (
        (loaded(BODY), version),
        (in_file(BODY, tmp_path / "made.py"), "ast"),
    ):
        found, _, number = fingerprint(body).partition(":")
        assert (found, len(number)) == (kind, 8)
        assert int(number, 16) >= 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("body", "ast:2ec8245a"),
        ("simple", "ast:385a42ed"),
        ("decorated", "ast:a9508683"),
    ],
)
def test_every_version_of_python_and_of_ptsflow_makes_the_same(
    tmp_path: Path, name: str, expected: str
) -> None:
    source = (Path(__file__).parent / "every_syntax.txt").read_text(encoding="utf-8")
    body = in_file(f"{source}\nbody = Everything.{name}\n", tmp_path / "made.py")

    assert fingerprint(body) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            "print(a, b)", "print(\n  a,\n  b,\n )", id="a call that is broken"
        ),
        pytest.param("1, 2", "1,\n  2,\n ", id="a list that is broken into lines"),
        pytest.param(
            "x = a + b", "x = (\n  a\n  + b\n )", id="an expression in parentheses"
        ),
        pytest.param("'a' 'b'", '"ab"', id="texts that stand side by side"),
        pytest.param("f'{a}' 'b'", "f'{a}b'", id="an f-string beside a text"),
        pytest.param("n: int = 1", "n = 1", id="an annotation of a variable"),
        pytest.param("0xFF", "0xff", id="how a number is written"),
        pytest.param(" def f(): 'Why.'", " def f(): 'How.'", id="a docstring inside"),
        pytest.param(" x = a", " pass\n x = a", id="a pass"),
        pytest.param("else: pass", "else: ...", id="a statement that is a constant"),
    ],
)
def test_what_a_formatter_does_to_a_source_does_not_count(
    tmp_path: Path, old: str, new: str
) -> None:
    source = (
        "def body(self, a, b):\n n: int = 1\n x = a + b\n y = [1, 2]\n"
        " z = 'a' 'b'\n w = f'{a}' 'b'\n v = 0xFF\n def f(): 'Why.'\n"
        " if a: return n\n else: pass\n print(a, b)\n"
    )
    assert old in source

    before = fingerprint(in_file(source, tmp_path / "before.py"))
    after = fingerprint(in_file(source.replace(old, new), tmp_path / "after.py"))

    assert before.startswith("ast:")
    assert after == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("[a]", "(a,)", id="a list and a tuple"),
        pytest.param("'a'", "a", id="a text and a name"),
        pytest.param("1", "True", id="a number and a bool"),
        pytest.param("b'a'", "'a'", id="bytes and text"),
        pytest.param("f'{a}b'", "f'{a}' + 'b'", id="one text and two"),
        pytest.param("f'{a!r}'", "f'{a!s}'", id="how a value is written"),
        pytest.param("f'{a:>5}'", "f'{a:>6}'", id="a format"),
        pytest.param("f'{a}{b}'", "f'{b}{a}'", id="the order"),
        pytest.param("lambda a: a", "lambda b: b", id="a parameter of a lambda"),
        pytest.param("lambda a=1: a", "lambda a=2: a", id="a default of a lambda"),
        pytest.param("a.b", "b.a", id="an attribute"),
        pytest.param("{**a, b: c}", "{b: a, **c}", id="what is unpacked"),
        pytest.param("lambda *, a=1, b: a", "lambda *, a, b=1: a", id="whose default"),
        pytest.param("a[1:]", "a[:1]", id="an end of a slice"),
    ],
)
def test_two_expressions_are_told_apart(tmp_path: Path, one: str, other: str) -> None:
    first = in_file(f"def body(self): return {one}\n", tmp_path / "one.py")
    second = in_file(f"def body(self): return {other}\n", tmp_path / "other.py")

    assert is_changed(fingerprint(first), fingerprint(second))


def test_of_an_if_in_an_if_the_else_belongs_to_one_of_them(made: Made) -> None:
    inner = "def body(a):\n if a:\n  if a: b()\n  else: c()\n"
    outer = "def body(a):\n if a:\n  if a: b()\n else: c()\n"

    assert is_changed(fingerprint(made(inner)), fingerprint(made(outer)))


def test_fields_of_a_class_inside_count(tmp_path: Path) -> None:
    source = "def body(self):\n class Row:\n  size: int\n return Row\n"
    before = fingerprint(in_file(source, tmp_path / "before.py"))

    for old, new in (("size", "count"), ("int", "str")):
        path = tmp_path / f"{new}.py"
        after = fingerprint(in_file(source.replace(old, new), path))
        assert is_changed(before, after)


def test_a_file_that_was_edited_since_it_was_loaded_is_not_what_runs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "made.py"
    body = in_file(BODY, path)
    path.write_text(BODY.replace("size + 1", "size + 2"), encoding="utf-8")

    assert fingerprint(body) == fingerprint(loaded(BODY))


def test_a_file_that_was_edited_and_loaded_again_is_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    before = fingerprint(in_file(BODY, path))

    after = fingerprint(in_file(BODY.replace("size + 1", "size + 22"), path))

    assert is_changed(before, after)


def test_of_two_functions_in_one_place_neither_is_taken_for_the_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "made.py"
    source = "body, other = lambda self: [self], lambda self: [self]\n"

    assert fingerprint(in_file(source, path)).partition(":")[0] != "ast"


def test_a_deep_expression_has_a_fingerprint(tmp_path: Path) -> None:
    deep = " + ".join(["x"] * 2_000)
    body = in_file(f"def body(self, x): return {deep}\n", tmp_path / "made.py")

    assert fingerprint(body).startswith("ast:")


def test_a_warning_of_the_compiler_is_not_given_again(tmp_path: Path) -> None:
    with pytest.warns(SyntaxWarning):
        body = in_file("def body(self): return 5 is 5\n", tmp_path / "made.py")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fingerprint(body).startswith("ast:")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param("3.11:1a2b3c4d", "3.11:1a2b3c4e", True, id="another"),
        pytest.param("3.11:1a2b3c4d", "3.11:1a2b3c4d", False, id="the same"),
        pytest.param("3.11:1a2b3c4d", "3.12:1a2b3c4e", False, id="another Python"),
        pytest.param("3.1:1a2b3c4d", "3.11:1a2b3c4e", False, id="a Python like it"),
        pytest.param("3.11:1a2b3c4d", "3.11-O:1a2b3c4e", False, id="without asserts"),
        pytest.param("3.11:1a2b3c4d", "ast:1a2b3c4e", False, id="bytecode and source"),
        pytest.param("ast:1a2b3c4d", "ast:1a2b3c4e", True, id="another source"),
        pytest.param("", "3.11:1a2b3c4d", False, id="nothing known of before"),
        pytest.param("3.11:1a2b3c4d", "", False, id="nothing known of now"),
        pytest.param("", "", False, id="nothing known"),
    ],
)
def test_only_texts_of_one_kind_are_compared(
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

    assert found == {fingerprint(loaded(BODY))}


def test_a_body_that_is_formatted_all_over_is_the_same(made: Made) -> None:
    formatted = ast.unparse(ast.parse(BODY))

    assert fingerprint(made(formatted)) == fingerprint(made(BODY))


def test_a_file_is_read_once_for_all_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f" def s{n}(self, a): return a + {n}\n" for n in range(100))
    flow = in_file(f"class body:\n{lines}", tmp_path / "made.py")
    read: list[str] = []
    parse = ast.parse

    def counting(text: str) -> ast.Module:
        read.append(text)
        return parse(text)

    monkeypatch.setattr(ast, "parse", counting)

    found = {fingerprint(getattr(flow, f"s{n}")) for n in range(100)}

    assert len(found) == 100
    assert len(read) == 1
