"""What a class of many steps costs."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

import ptsflow
from ptsflow import Workflow, step
from ptsflow.errors import DeclarationError
from ptsflow.workflow.compile import plan_of
from tests.bench.scale_cases import Case, Place

_STEPS = 20_000


def chain(steps: int) -> str:
    """Return the source of a module with a class whose steps follow each other."""
    head = "from ptsflow import Workflow, step\n\n\nclass Chain(Workflow):\n"
    first = "    @step\n    def step_00000(self) -> int:\n        return 0\n\n"
    return (
        head
        + first
        + "".join(
            f"    @step\n    def step_{number:05}(self, step_{number - 1:05}: int) -> int:\n"
            f"        return step_{number - 1:05} + 1\n\n"
            for number in range(1, steps)
        )
    )


def _imported(place: Place) -> type[Workflow]:
    (place.folder / "chain.py").write_text(chain(_STEPS), encoding="utf-8")
    sys.path.insert(0, str(place.folder))
    found: type[Workflow] = import_module("chain").Chain
    return found


def _made_and_planned(place: Place) -> float:
    """Return the seconds without those in which Python compiles the module."""
    made: dict[str, Any] = {"__name__": __name__}
    code = compile(chain(_STEPS), str(place.folder / "chain.py"), "exec")
    began = time.process_time()
    exec(code, made)  # noqa: S102 - ours
    plan_of(made["Chain"])
    return time.process_time() - began


def _code_hashes(place: Place) -> float:
    plan = plan_of(_imported(place))
    began = time.process_time()
    assert all(step.code_hash for step in plan.steps)
    return time.process_time() - began


def _typo(_place: Place) -> float:
    source = chain(2_000).replace("self, step_01998:", "self, stop_1998:")
    try:
        exec(source, {"__name__": __name__})  # noqa: S102 - ours
    except DeclarationError as error:
        return len(str(error))
    raise AssertionError


class Table(Workflow):
    """A thousand items that are all given one large table."""

    @step
    def table(self) -> dict[str, int]:
        return {f"key {number:05}": number for number in range(50_000)}

    @step
    def items(self) -> list[int]:
        return list(range(1_000))

    @step(each=items)
    def look_up(self, item: int, table: dict[str, int]) -> int:
        return table[f"key {item:05}"]


def _one_table(place: Place) -> float:
    began = time.process_time()
    assert ptsflow.run(Table(), store=place.sqlite()).ok
    return time.process_time() - began


CASES = [
    Case(
        *("class-20000", "a class of 20,000 steps is made and planned", "s", 0.4),
        _made_and_planned,
    ),
    Case(
        *("code-hashes", "the code hashes of 20,000 steps", "s", 2),
        _code_hashes,
    ),
    Case(
        *("one-table", "a dict of 50,000 keys is given to each of 1,000 items", "s", 1),
        _one_table,
    ),
    Case(
        *("typo", "the line for a typo in a class of 2,000 steps", "characters", 300),
        _typo,
        rounds=1,
    ),
]
