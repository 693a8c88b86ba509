"""Where the nodes of layers are, so that lines go as straight as they can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from ptsflow.web.drawing.layers import Layers, Node

#: How often the layers are gone through, down and up.
_ROUNDS = 3


def straightened(
    found: Layers, room: Callable[[Node], float], gap: float
) -> dict[Node, float]:
    """Return the middle of each node along its layer; the first begins at 0.

    Each node is moved to the middle of its neighbours above, then of those below, as far
    as the order of its layer and the room of the others let it.

    Args:
        found: the layers, in order.
        room: returns how long a node is.
        gap: how far two nodes of a layer are apart at the least.
    """
    above: dict[Node, list[Node]] = defaultdict(list)
    below: dict[Node, list[Node]] = defaultdict(list)
    for a, b in found.lines:
        above[b].append(a)
        below[a].append(b)
    middles: dict[Node, float] = {}
    for layer in found.layers:
        ends = _ends([room(node) for node in layer], gap)
        middles |= {n: end - ends[-1] / 2 for n, end in zip(layer, ends, strict=True)}
    down = (above, found.layers)
    for neighbours, layers in (*((down, (below, found.layers[::-1])) * _ROUNDS), down):
        for layer in layers:
            wished = [_mean(middles, neighbours[n], middles[n]) for n in layer]
            rooms = [room(node) for node in layer]
            middles |= zip(layer, _apart(wished, rooms, gap), strict=True)
    first = min((at - room(n) / 2 for n, at in middles.items()), default=0.0)
    return {node: at - first for node, at in middles.items()}


def _mean(
    middles: Mapping[Node, float], neighbours: Sequence[Node], default: float
) -> float:
    if not neighbours:
        return default
    return sum(middles[node] for node in neighbours) / len(neighbours)


def _ends(rooms: Sequence[float], gap: float) -> list[float]:
    """Return the middles of nodes that stand as close as they may; the first is at 0."""
    found: list[float] = []
    for place, room in enumerate(rooms):
        before = found[-1] + rooms[place - 1] / 2 + gap if place else -room / 2
        found.append(before + room / 2)
    return found


def _apart(wished: Sequence[float], rooms: Sequence[float], gap: float) -> list[float]:
    """Return the places next to the wished ones at which nodes keep order and distance.

    Neighbours that would be too close are moved as a block to the mean of their wishes.
    """
    close = _ends(rooms, gap)
    # Blocks: the sum of the wishes, less the distances within, and how many they are.
    blocks: list[tuple[float, int]] = []
    for wish, least in zip(wished, close, strict=True):
        total, count = wish - least, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            total, count = total + blocks[-1][0], count + blocks[-1][1]
            blocks.pop()
        blocks.append((total, count))
    moved = [total / count for total, count in blocks for _ in range(count)]
    return [move + least for move, least in zip(moved, close, strict=True)]
