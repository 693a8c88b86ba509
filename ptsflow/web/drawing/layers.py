"""Layers of a graph: each node below all that it waits for, crossing few lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

#: With more bends than this in all, lines that pass layers go straight.
_MOST_BENDS = 400

#: What is placed: the name of a step, or the number of a bend or a junction.
Node = str | int
Line = tuple[Node, Node]


class Layers(Struct, frozen=True):
    """Where the nodes of a graph are."""

    #: From the first layer to the last, the nodes of each in order.
    layers: Sequence[Sequence[Node]]
    #: Lines from one layer to a later one: to the next one, if there are not too many.
    lines: Sequence[Line]


def layered(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layers:
    """Return the nodes of a graph in layers.

    Where all of some nodes wait for all of some others, their lines meet in a junction.
    Lines that others imply are left out.

    Args:
        names: the nodes; each edge leads from one of them to a later one.
        edges: from what is waited for to what waits.
    """
    reduced = _reduced(names, edges)
    before, junctions = _joined(reduced)
    order: list[Node] = []
    for name in names:
        order += [n for n in before[name] if isinstance(n, int) and n not in order]
        order.append(name)
    before |= junctions
    level: dict[Node, int] = {}
    for node in order:
        level[node] = max((level[n] + 1 for n in before.get(node, ())), default=0)
    lines: list[Line] = [(a, b) for b in order for a in before.get(b, ())]
    return _swept(order, level, _bent(lines, level, len(junctions)))


def _reduced(
    names: Sequence[str], edges: Iterable[tuple[str, str]]
) -> dict[str, list[str]]:
    """Return what each node waits for directly."""
    sources: dict[str, list[str]] = defaultdict(list)
    for before, after in edges:
        sources[after].append(before)
    above: dict[str, set[str]] = {}
    found: dict[str, list[str]] = {}
    for name in names:
        own = list(dict.fromkeys(sources[name]))
        implied = set[str]().union(*(above[source] for source in own))
        found[name] = [source for source in own if source not in implied]
        above[name] = implied.union(own)
    return found


def _joined(
    reduced: Mapping[str, Sequence[str]],
) -> tuple[dict[Node, Sequence[Node]], dict[Node, Sequence[Node]]]:
    """Return what each node waits for, by way of junctions; and what these wait for."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, sources in reduced.items():
        alike[tuple(sources)].append(name)
    before: dict[Node, Sequence[Node]] = {}
    junctions: dict[Node, Sequence[Node]] = {}
    for sources, names in alike.items():
        waits: Sequence[Node] = sources
        if len(sources) > 1 and len(names) > 1:
            waits = [len(junctions)]
            junctions[len(junctions)] = sources
        before |= dict.fromkeys(names, waits)
    return before, junctions


def _bent(lines: Sequence[Line], level: dict[Node, int], number: int) -> list[Line]:
    """Return lines that bend in each layer they pass; the bends get their levels, too."""
    bends = sum(level[b] - level[a] - 1 for a, b in lines)
    if bends > _MOST_BENDS:
        return list(lines)
    found: list[Line] = []
    for begin, end in lines:
        last = begin
        for between in range(level[begin] + 1, level[end]):
            level[number] = between
            found.append((last, number))
            last = number
            number += 1
        found.append((last, end))
    return found


def _swept(
    order: Sequence[Node], level: Mapping[Node, int], lines: Sequence[Line]
) -> Layers:
    """Return the layers, each ordered by the middle of its neighbours: down, then up."""
    layers: list[list[Node]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    bends = [node for node in level if node not in set(order)]
    for node in (*order, *bends):
        layers[level[node]].append(node)
    above: dict[Node, list[Node]] = defaultdict(list)
    below: dict[Node, list[Node]] = defaultdict(list)
    for a, b in lines:
        above[b].append(a)
        below[a].append(b)
    for neighbours, sweep in ((above, layers), (below, layers[::-1])):
        place = {n: _middle(i, layer) for layer in layers for i, n in enumerate(layer)}
        for layer in sweep:
            wished = {
                n: sum(place[m] for m in neighbours[n]) / len(neighbours[n])
                if neighbours[n]
                else place[n]
                for n in layer
            }
            layer.sort(key=wished.__getitem__)
            place |= {n: _middle(i, layer) for i, n in enumerate(layer)}
    return Layers(layers, lines)


def _middle(index: int, layer: Sequence[Node]) -> float:
    """Return the place of a node, seen from the middle of its layer."""
    return index - (len(layer) - 1) / 2
