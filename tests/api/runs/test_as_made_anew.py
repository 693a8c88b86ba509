"""After resets, a run leaves what it would make anew: nothing old stays, nothing is missing."""

# ruff: noqa: S311 - nothing here is secret.

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import ptsflow
from ptsflow import Fail, Skip, Task, Workflow, step
from ptsflow.client import Client, admin

#: What the bodies of `Lab` find; without `broken` they do not fail by it.
WORLD: dict[str, Any] = {}


def _pass(name: str) -> None:
    if name in WORLD.get("broken", ()):
        raise Fail("as it was told")


class Lab(Workflow):
    """Chains and joins whose items skip themselves, or fail and are let fail."""

    @step
    def samples(self) -> list[str]:
        _pass("samples")
        return list(WORLD["samples"])

    @step
    def factor(self) -> int:
        _pass("factor")
        return int(WORLD["factor"])

    @step(each=samples, tolerate=10)
    def measure(self, sample: str, factor: int) -> int:
        found: int = WORLD["measure"][sample] * factor
        if found % 7 == 3:
            raise Skip("seven")
        if found % 11 == 5:
            raise Fail("eleven")
        return found // 3

    @step(each=measure)
    def weigh(self, measured: int) -> int:
        _pass("weigh")
        if measured % 5 == 4:
            raise Skip("five")
        return measured // 2

    @step
    def split(self, weigh: list[int], factor: int) -> list[int]:  # noqa: ARG002 - it waits
        _pass("split")
        return sorted({weight % 4 for weight in weigh})

    @step(each=split)
    def part(self, part: int, weigh: list[int]) -> int:
        _pass("part")
        return sum(weight for weight in weigh if weight % 4 == part)

    @step(optional=True)
    def maybe(self, split: list[int]) -> int:
        if len(split) == 2:
            raise Fail("two")
        return len(split)

    @step
    def report(self, part: list[int], maybe: int | None, samples: list[str]) -> str:
        _pass("report")
        return f"{part} {maybe} {len(samples)}"


@pytest.fixture
def client() -> Iterator[Client]:
    WORLD.clear()
    with ptsflow.connect("memory:") as opened:
        yield opened


def reset(client: Client, name: str, **given: Any) -> None:
    record = client.store.container("Lab")
    assert record is not None
    admin.reset(client.store, record, step=name, **given)


def stands(tasks: list[Task]) -> dict[str, tuple[str, object]]:
    return {task.name: (task.status, task.result) for task in tasks}


def made_anew() -> dict[str, tuple[str, object]]:
    return stands(ptsflow.run(Lab(), "memory:").tasks)


#: Of one sample: values that it measures before and after, by what comes of them.
DONE, SKIPPED, FAILED, SKIPPED_BEHIND = 6, 3, 5, 12


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(DONE, SKIPPED, id="an item above is skipped now"),
        pytest.param(SKIPPED, DONE, id="an item above was skipped"),
        pytest.param(DONE, FAILED, id="an item above is let fail now"),
        pytest.param(FAILED, DONE, id="an item above was let fail"),
        pytest.param(SKIPPED_BEHIND, SKIPPED, id="an item skipped itself"),
        pytest.param(SKIPPED, SKIPPED, id="nothing changed"),
    ],
)
@pytest.mark.parametrize("what", ["factor", "measure", "measure[A]"])
def test_an_item_behind_another_goes_with_it(
    client: Client, what: str, before: int, after: int
) -> None:
    WORLD.update(samples="AB", factor=1, measure={"A": before, "B": DONE})
    first = ptsflow.run(Lab(), client)
    # So that the factor is another one, and what is measured the same.
    WORLD.update(measure={"A": after, "B": DONE})
    if what == "factor":
        WORLD.update(factor=-1, measure={"A": -after, "B": -DONE})
    reset(client, what)
    second = ptsflow.run(Lab(), client)

    assert (first.ok, second.ok) == (True, True)
    assert stands(second.tasks) == made_anew()


def _change(chance: random.Random, what: str) -> list[str]:
    """Change a part of the world; return what must be reset for it."""
    if what in {"samples", "both"}:
        WORLD["samples"] = chance.sample("ABCDE", chance.randint(1, 4))
    if what in {"factor", "both"}:
        WORLD["factor"] = chance.randint(1, 9)
    if what == "measure":
        WORLD["measure"] = {sample: chance.randint(0, 40) for sample in "ABCDE"}
    if what == "item":
        sample = chance.choice(WORLD["samples"])
        WORLD["measure"] = WORLD["measure"] | {sample: chance.randint(0, 40)}
        return [f"measure[{sample}]"]
    return ["samples", "factor"] if what == "both" else [what]


@pytest.mark.parametrize(
    "seed",
    [*range(20), *(pytest.param(n, marks=pytest.mark.soak) for n in range(20, 200))],
)
def test_after_any_resets_all_is_as_if_it_were_made_anew(
    client: Client, seed: int
) -> None:
    chance = random.Random(seed)
    for what in ("both", "measure"):
        _change(chance, what)
    ptsflow.run(Lab(), client)
    for _ in range(4):
        changed = chance.choice(["samples", "factor", "measure", "item", "both"])
        with_downstream = chance.random() < 0.3
        for name in _change(chance, changed):
            reset(client, name, with_downstream=with_downstream)
        # Runs that do a part, or break off: what is in doubt stays so.
        if chance.random() < 0.3:
            ptsflow.run(Lab(), client, only=[chance.choice(["samples", "measure"])])
        if chance.random() < 0.5:
            some = ["samples", "factor", "weigh", "split", "part", "report"]
            WORLD["broken"] = chance.sample(some, 2)
            ptsflow.run(Lab(), client)
            WORLD["broken"] = ()
        report = ptsflow.run(Lab(), client)

        assert report.ok
        assert stands(report.tasks) == made_anew()
