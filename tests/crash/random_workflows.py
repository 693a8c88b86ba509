"""Workflow classes made from a seed: sequence, groups, fan-outs, chains and joins."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from ptsflow import Retry, Skip, TaskHandle, Workflow, step
from ptsflow.workflow.step import Step
from tests.crash.journal import noted

_AGAIN = Retry(9, delay=0.001)


def __getattr__(name: str) -> type[Workflow]:
    """Return a workflow by its name: a process for bodies imports it from this module."""
    seed = name.removeprefix("Random")
    if seed == name or not seed.isdecimal():
        raise AttributeError(name)
    return random_workflow(int(seed))


def random_workflow(seed: int) -> type[Workflow]:
    """Return the workflow of a seed, the same in every process."""
    chance = random.Random(seed)
    steps: dict[str, Step[..., Any]] = {}
    lists: list[Step[..., Any]] = []
    for number in range(chance.randrange(5, 12)):
        name = f"step{number}"
        options: dict[str, Any] = {"retry": _AGAIN}
        kind = chance.choice(["plain", "parallel", "parallel", "after", "each", "each"])
        if kind == "parallel":
            options["parallel"] = True
        elif kind == "after" and steps:
            options["after"] = chance.choice(list(steps.values()))
        elif kind == "each" and lists:
            options["each"] = chance.choice(lists)
            options["limit"] = chance.choice([None, 1, 2])
        body = _body(name, chance.randrange(2**30), fans_out="each" in options)
        steps[name] = made = step(**options)(body)
        if chance.random() < 0.6 or "each" in options:
            lists.append(made)
    return type(f"Random{seed}", (Workflow,), dict(steps))


def _body(name: str, seed: int, *, fans_out: bool) -> Callable[..., Any]:
    def work(task: TaskHandle, item: object) -> list[int]:
        chance = random.Random(f"{seed}{task.key}")
        with noted(task):
            time.sleep(chance.uniform(0, 0.01))
            fails, skips = chance.random() < 0.2, chance.random() < 0.1
            if task.attempt == 1 and fails:
                raise OSError("not yet")
            if chance.random() < 0.3:
                task.checkpoint({"item": item})
            if skips and fans_out:
                raise Skip("nothing to do")
            return [chance.randrange(10**6) for _ in range(chance.randrange(4))]

    def plain(_self: Workflow, task: TaskHandle) -> list[int]:
        return work(task, None)

    def each(_self: Workflow, item: Any, task: TaskHandle) -> list[int]:
        return work(task, item)

    body = each if fans_out else plain
    body.__name__ = body.__qualname__ = name
    return body
