"""A name that nobody knows: the one that was meant is offered, in a line that stays short."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.core.names import listed, similar
from ptsflow.errors import PtsflowError
from ptsflow.workflow.loading import load
from tests.support.processes import ROOT

#: As other libraries have it.
OLD: Any = {"retries": 3}
STEPS = [f"step_{number:04}" for number in range(2_000)]


@pytest.mark.parametrize(
    ("typed", "known", "offered"),
    [
        ("downlaod", ["check", "download"], "download"),
        ("Check", ["check", "download"], "check"),
        ("retries", ["after", "retry", "each"], "retry"),
        ("step_123", STEPS, "step_0123"),
        ("load[z]", ["load[a]", "unpack[z]"], "load[a]"),
        ("ab", ["a", "b"], "a"),
    ],
)
def test_the_nearest_name_is_offered(
    typed: str, known: list[str], offered: str
) -> None:
    assert similar(typed, known) == f" (did you mean {offered!r}?)"


@pytest.mark.parametrize("known", [[], ["download", "check"]])
def test_nothing_is_offered_where_nothing_is_near(known: list[str]) -> None:
    assert similar("zzz", known) == ""


def test_names_that_fit_in_a_sentence_are_all_there() -> None:
    names = ["download", "unpack", "load", "verify"]

    assert listed([]) == ""
    assert listed(names) == listed(names, "laod") == "download, unpack, load, verify"


def test_of_many_names_those_near_to_what_was_typed_come_first() -> None:
    assert listed(STEPS) == (
        "step_0000, step_0001, step_0002, step_0003, step_0004 and 1995 more"
    )
    assert listed(STEPS, "stop_1999").startswith("step_1999, ")
    assert listed(STEPS, "stop_1999").endswith(" and 1995 more")


def test_a_few_very_long_names_are_all_there_is() -> None:
    assert listed(["a" * 150, "b" * 150]) == f"{'a' * 150}, {'b' * 150}"


def _body(name: str) -> Callable[[Any], int]:
    def body(_self: Any) -> int:
        return 1

    body.__name__ = name
    return body


def _joined(_self: Any, step_123: int) -> int:
    return step_123


class Wide(Workflow):
    """Two thousand steps and parameters: what a program may declare."""

    vars().update({name: step(_body(name)) for name in STEPS})
    __annotations__ = {f"param_{number:04}": int for number in range(2_000)}
    vars().update(dict.fromkeys(__annotations__, 0))
    limits: ClassVar = {f"disk_{number:04}": 1 for number in range(2_000)}


def _mistyped_in_a_class(_: object) -> object:
    named = {name: vars(Wide)[name] for name in STEPS}
    return type("Wide", (Workflow,), named | {"_joined": step(_joined)})


def _mistyped_resource(_: object) -> object:
    last = step(uses="disk_123")(_body("last"))
    return type("Wider", (Wide,), {"last": last})


def _run(**options: Any) -> Callable[[str], object]:
    return lambda url: ptsflow.run(Wide(), store=url, **options)


def _in_container(act: Callable[[Any], object]) -> Callable[[str], object]:
    def attempt(url: str) -> object:
        with ptsflow.connect(url) as client:
            container, _ = client.get_or_create_task_container("wide")
            for name in STEPS[:300]:
                container.add_task(name)
            return act(container)

    return attempt


def _mistyped_class(_: object) -> object:
    Path("wide.py").write_text(
        "from ptsflow import Workflow, step\nbodies = {'a': step(lambda self: 1)}\n"
        "for i in range(2_000):\n    globals()[f'Feed{i:04}'] = type(f'Feed{i:04}', (Workflow,), {})\n"
    )
    return load("wide.py:Fed0123", Workflow)


@pytest.mark.parametrize(
    ("attempt", "offered"),
    [
        pytest.param(_mistyped_in_a_class, "step_0123", id="parameter of a step"),
        pytest.param(_mistyped_resource, "disk_0123", id="resource"),
        pytest.param(_run(only=["step_123"]), "step_0123", id="only"),
        pytest.param(_run(from_step="step_123"), "step_0123", id="from"),
        pytest.param(lambda _: Wide(parm_0123=1), "param_0123", id="parameter"),
        pytest.param(
            _in_container(lambda it: it.update_task("stp_0123", status_text="")),
            "step_0123",
            id="task",
        ),
        pytest.param(
            _in_container(lambda it: it.add_task("x", procesing_data=1)),
            "processing_data",
            id="field",
        ),
        pytest.param(_mistyped_class, "Feed0123", id="class"),
        pytest.param(lambda _: step(**OLD), "retry", id="option of @step"),
    ],
)
def test_a_typo_among_thousands_is_one_short_line_that_offers_the_name(
    attempt: Callable[[str], object],
    offered: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PtsflowError) as raised:
        attempt("memory:")

    assert f"did you mean {offered!r}" in str(raised.value)
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


def test_one_file_says_which_name_was_meant() -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "ptsflow").rglob("*.py"))
        if re.search("did you mean|difflib", path.read_text(encoding="utf-8"))
    ]

    assert files == ["ptsflow/core/names.py"]
