"""Names that a class cannot have are refused when it is made, with what was meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from ptsflow import Retry, Workflow, step
from ptsflow.core.model import NAME_LIMIT
from ptsflow.errors import DeclarationError, ParameterError


def refused(declare: Callable[[], object]) -> str:
    """Return the one line that a declaration is refused with."""
    with pytest.raises(DeclarationError) as raised:
        declare()
    message = str(raised.value)
    assert "\n" not in message
    return message


def body(name: str) -> Callable[..., object]:
    """Return the body of a step of that name."""

    def returns_its_object(self: object) -> object:
        return self

    returns_its_object.__name__ = name
    return returns_its_object


def made(*steps: str, **more: Any) -> type[Workflow]:
    """Return a class with these steps, as a program makes one."""
    names = {name: step(body(name)) for name in steps}
    return type("Made", (Workflow,), {**names, **more})


UNUSABLE = [
    pytest.param("a\0b", "it has a NUL", id="NUL"),
    pytest.param("a\udc80", "it is no valid text", id="half of a surrogate pair"),
    pytest.param("ü" * 101, "it has 202 bytes", id="long"),
    pytest.param("", "it is blank", id="empty"),
    pytest.param(" \t", "it is blank", id="blank"),
]


@pytest.mark.parametrize(("name", "why"), UNUSABLE)
def test_a_name_that_no_store_can_keep_is_refused_where_it_is_declared(
    name: str, why: str
) -> None:
    expected = (
        f"of 1 to {NAME_LIMIT} bytes of valid text without NUL, found {name!r:.80}"
    )

    assert refused(lambda: made(name)).endswith(f"a step {expected}: {why}")
    annotated = {"__annotations__": {name: int}, "first": step(body("first"))}
    said = refused(lambda: type("Made", (Workflow,), annotated))
    assert said.endswith(f"a parameter {expected}: {why}")


@pytest.mark.parametrize(
    ("name", "why"), [each for each in UNUSABLE if each.id != "empty"]
)
def test_a_template_or_a_class_is_held_to_the_same(name: str, why: str) -> None:
    assert refused(lambda: made("first", container=name)).endswith(f": {why}")
    if "\0" not in name and "\udc80" not in name:  # Python itself refuses those.
        said = refused(lambda: type(name, (Workflow,), {}))
        assert said.endswith(f": {why}")


def test_names_of_the_longest_kind_are_taken() -> None:
    assert list(made("x" * NAME_LIMIT, "load[1]", "ü" * 100).declared_steps)


def test_a_step_named_like_an_item_of_another_is_refused() -> None:
    source = step(body("source"))

    def load(self: object, row: object) -> object:
        return self, row

    names = {"source": source, "load": step(each=source)(load)}
    for name in ("load[1]", "load[a[b]]"):
        more = {**names, name: step(body(name))}
        said = refused(partial(type, "Made", (Workflow,), more))
        assert said == (
            f"Made.{name}: an item of the step load may have this name; "
            "give the step another name"
        )
    # Of a step that does not fan out there are no items.
    assert len(made("source", "source[1]", "load]", "x[load]").declared_steps) == 4


def test_an_init_says_how_parameters_are_declared() -> None:
    def by_hand(self: object, hour: datetime, size: int = 3, *rest: int) -> None:
        del self, hour, size, rest

    names = {"__init__": by_hand, "first": step(body("first"))}
    assert refused(lambda: type("Made", (Workflow,), names)) == (
        "Made.__init__: the parameters of a workflow are the annotated attributes of its "
        "class (did you mean hour: datetime; size: int = 3 in the class body?); leave "
        "__init__ out"
    )


def test_parameters_that_are_given_by_place_are_refused_with_their_names() -> None:
    annotated = {"__annotations__": {"hour": int}, "first": step(body("first"))}
    kind: Any = type("Made", (Workflow,), annotated)
    with pytest.raises(ParameterError) as raised:
        kind(5)

    assert str(raised.value) == "Made: parameters are given by name, Made(hour=...)"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("retries", "max_retries"), ("max_retry", "max_retries"), ("delays", "delay")],
)
def test_an_unknown_option_of_retry_names_what_was_meant(name: str, meant: str) -> None:
    options: Any = {name: 3}
    said = refused(lambda: Retry(**options))

    assert said.startswith(
        f"Retry(): unknown option {name!r} (did you mean {meant!r}?); "
    )
    assert "; there are max_retries, delay, backoff, " in said
    assert "unknown," not in said.partition("; there are ")[2]


def test_an_unknown_option_of_a_step_names_what_was_meant() -> None:
    options: Any = {"retries": 3}
    assert "unknown option 'retries' (did you mean 'retry'?)" in refused(
        lambda: step(**options)
    )
