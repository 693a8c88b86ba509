"""The graph of a plan, as a tree and as Mermaid."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ptsflow.core.model import (
    StepSummary,
)
from ptsflow.core.names import listed
from ptsflow.core.plan import named_by
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece


class Edge(Struct, frozen=True):
    """One step waits for another."""

    before: str
    after: str


def edges(plan: Sequence[StepSummary]) -> list[Edge]:
    """Return the edges; at a barrier, only from steps that no step above it waits for."""
    sources: dict[str, list[str]] = {}
    ends: dict[str, None] = {}
    passed = 0
    for step in plan:
        reached = dict.fromkeys(named_by(step))
        if step.above:
            waited_for = {above for name in reached for above in sources.get(name, ())}
            if step.above < passed:
                ends, passed = {}, 0
            # Invariant: `ends` are those of the first `passed` steps that none of these
            # waits for. So a chain of barriers costs as much as its edges are many.
            for before in plan[passed : step.above]:
                for name in sources[before.name]:
                    ends.pop(name, None)
                ends[before.name] = None
            passed = step.above
            reached.update((name, None) for name in ends if name not in waited_for)
        sources[step.name] = list(reached)
    return [Edge(name, after) for after, names in sources.items() for name in names]


def tree(title: str, plan: Sequence[StepSummary]) -> list[Line]:
    """Return the steps in order, with what each waits for."""
    before: dict[str, list[str]] = {step.name: [] for step in plan}
    for edge in edges(plan):
        before[edge.after].append(edge.before)
    rows = [
        [
            Piece(f"{'└─' if index == len(plan) - 1 else '├─'} {step.name}", "name"),
            Piece(", ".join(_kinds(step))),
            Piece(f"after {listed(before[step.name])}" if before[step.name] else ""),
            Piece(fmt.clean(step.text), "dim"),
        ]
        for index, step in enumerate(plan)
    ]
    return [[Piece(fmt.clean(title), "name")], *fmt.columns(rows)]


def _kinds(step: StepSummary) -> list[str]:
    kinds = [f"each of {step.each}"] if step.each else []
    marks = {
        "parallel": step.parallel,
        "always": step.always,
        "optional": step.optional,
    }
    return kinds + [mark for mark, is_set in marks.items() if is_set]


def mermaid(plan: Sequence[StepSummary]) -> str:
    """Return the graph as Mermaid's text; fan-outs are drawn as stacks."""
    lines = ["flowchart TD"]
    for step in plan:
        left, right = ("[[", "]]") if step.each else ("[", "]")
        lines.append(f'    {_node(step.name)}{left}"{step.name}"{right}')
    lines += [f"    {_node(e.before)} --> {_node(e.after)}" for e in edges(plan)]
    return "\n".join(lines) + "\n"


def _node(name: str) -> str:
    # Some bare words, such as `end`, are keywords of Mermaid.
    return f"step_{name}"
