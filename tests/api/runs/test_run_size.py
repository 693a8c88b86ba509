"""Thousands of steps and items take seconds."""

from __future__ import annotations

import time
from typing import Any

import ptsflow
from ptsflow import Workflow, step


def test_20_000_items_take_seconds(url: str) -> None:
    class Wide(Workflow):
        @step
        def numbers(self) -> list[int]:
            return list(range(20_000))

        @step(each=numbers)
        def use(self, number: int) -> int:
            return number

        @step
        def total(self, use: list[int]) -> int:
            return sum(use)

    began = time.monotonic()
    report = ptsflow.run(Wide(), url, jobs=2)
    took = time.monotonic() - began

    assert report.result("total") == sum(range(20_000))
    assert took < 40, "2 ms an item at the most"


def test_2_000_steps_take_seconds(url: str) -> None:
    body: dict[str, Any] = {"__module__": __name__}
    for number in range(2_000):
        body[f"step_{number:04}"] = _numbered(number)
    long = type("Long", (Workflow,), body)
    began = time.monotonic()
    report = ptsflow.run(long(), url)
    took = time.monotonic() - began

    assert report.ok
    assert report.result("step_1999") == 1999
    assert took < 20, "10 ms a step at the most"


def _numbered(number: int) -> Any:
    def body(_self: Workflow) -> int:
        return number

    body.__name__ = f"step_{number:04}"
    return step(body)
