"""What a run costs is in proportion to its steps and items."""

from __future__ import annotations

from typing import Any

import ptsflow
from ptsflow import Workflow, step
from tests.support.cost import IN_PROPORTION, growth


class Wide(Workflow):
    count: int

    @step
    def numbers(self) -> list[int]:
        return list(range(self.count))

    @step(each=numbers)
    def use(self, number: int) -> int:
        return number

    @step
    def total(self, use: list[int]) -> int:
        return sum(use)


def test_items_cost_in_proportion(url: str, name: str) -> None:
    rounds = iter(range(100))

    def run(count: int) -> None:
        report = ptsflow.run(Wide(count=count), url, f"{name} {next(rounds)}", jobs=2)
        assert report.result("total") == sum(range(count))

    assert growth(run, 500) < IN_PROPORTION


def test_steps_cost_in_proportion(url: str, name: str) -> None:
    rounds = iter(range(100))

    def run(count: int) -> None:
        body: dict[str, Any] = {"__module__": __name__}
        for number in range(count):
            body[f"step_{number:04}"] = _numbered(number)
        long = type("Long", (Workflow,), body)
        report = ptsflow.run(long(), url, f"{name} {next(rounds)}")
        assert report.ok
        assert report.result(f"step_{count - 1:04}") == count - 1

    assert growth(run, 100) < IN_PROPORTION


def _numbered(number: int) -> Any:
    def body(_self: Workflow) -> int:
        return number

    body.__name__ = f"step_{number:04}"
    return step(body)
