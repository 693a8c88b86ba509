"""The errors: pickled whole, each with its exit code, and drawn as they are."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from ptsflow import errors
from ptsflow.errors import PtsflowError, RetryLater, Signal

ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
RAISED = [error for error in ERRORS.values() if issubclass(error, PtsflowError)]
SIGNALS = [error for error in ERRORS.values() if issubclass(error, Signal)]


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_from_a_pickle(kind: type[PtsflowError]) -> None:
    error = kind("container 'x': one line")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - ours

    assert type(copy) is kind
    assert (str(copy), copy.args) == (str(error), error.args)
    assert copy.exit_code == kind.exit_code


@pytest.mark.parametrize("kind", SIGNALS, ids=lambda kind: kind.__name__)
def test_a_signal_comes_back_from_a_pickle(kind: type[Signal]) -> None:
    signal = RetryLater(5, "why") if issubclass(kind, RetryLater) else kind("why")

    copy = pickle.loads(pickle.dumps(signal))  # noqa: S301 - ours

    assert type(copy) is kind
    assert (copy.why, copy.args) == ("why", signal.args)
    assert getattr(copy, "seconds", None) == getattr(signal, "seconds", None)


def test_every_error_is_an_error_or_a_signal() -> None:
    assert len(RAISED) + len(SIGNALS) == len(ERRORS)
    assert all(issubclass(signal, Exception) for signal in SIGNALS)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (
            2,
            (
                "UsageError ExtraMissing StoreURLError ContainerNotFound TaskNotFound InvalidValue "
                "InvalidName TaskExists UnknownField InvalidPercentage InvalidCount "
                "InvalidTime InvalidFlag InvalidText"
            ),
        ),
        (3, "PtsflowError FrozenWorkflow Conflict"),
        (
            4,
            (
                "DeclarationError LoadError ParameterError ContainerMismatch "
                "StoredValueError NotStorable TooLarge WorkflowNotFound PageMissing"
            ),
        ),
        (5, "ContainerBusy TurnLost"),
        (6, "StoreError StoreUnavailable StoreDamaged StoreMoved StoreFull"),
        (75, "LeaseLost NoThread"),
    ],
)
def test_what_a_run_exits_with(code: int, names: str) -> None:
    found = {error.__name__ for error in RAISED if error.exit_code == code}

    assert found == set(names.split())


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ParameterError, ValueError),
        (errors.FrozenWorkflow, AttributeError),
        (errors.StoreURLError, ValueError),
        (errors.ContainerNotFound, LookupError),
        (errors.TaskNotFound, LookupError),
        (errors.InvalidValue, ValueError),
        (errors.NotStorable, TypeError),
    ],
)
def test_an_error_is_also_what_python_would_raise(
    error: type[PtsflowError], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)


def _drawn() -> Iterator[tuple[str, str | None, int | None]]:
    """Yield what the docstring draws: a name, its base, its exit code."""
    drawing = (errors.__doc__ or "").split("```")[1]
    path: list[tuple[int, str]] = []
    for line in drawing.strip().splitlines():
        text = line.lstrip("│├└─ ")
        depth = len(line) - len(text)
        path = [(d, name) for d, name in path if d < depth]
        names = re.match(r"[A-Z]\w+(, [A-Z]\w+)*", text)
        code = re.search(r"exit (\d+)$", line)
        assert names is not None
        for name in names[0].split(", "):
            yield name, path[-1][1] if path else None, int(code[1]) if code else None
        path.append((depth, name))


def test_the_drawing_has_every_class_under_its_base() -> None:
    drawn = {name: base for name, base, _ in _drawn()}

    assert drawn.keys() == ERRORS.keys()
    for name, base in drawn.items():
        assert base is None or ERRORS[name].__bases__[0] is ERRORS[base]
    assert {name for name, base in drawn.items() if base is None} == {
        "PtsflowError",
        "Signal",
    }


def test_the_drawing_has_the_right_exit_codes() -> None:
    for name, _, code in _drawn():
        if code is not None:
            assert getattr(ERRORS[name], "exit_code", None) == code


def test_a_signal_says_why() -> None:
    assert errors.Skip("nothing new").why == "nothing new"
    assert errors.Fail().why == ""
    assert (RetryLater(5).seconds, RetryLater(5, "later").why) == (5.0, "later")
    assert str(errors.Finish("done")) == "done"
