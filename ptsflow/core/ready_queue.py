"""Which of the ready tasks start next: they stand in lanes and take turns under limits.

Tasks of the same rank that use as much of the same limits stand in one lane, in the
order in which they start: the oldest first, tasks of one age as declared. A rank is a
priority, and where durations are known, a place by the longest path to the end. So only the
head of a lane is looked at. A head either stands among `heads`, of which the least starts
next, or is held by a limit: the first one without room for it, or one for whose room an
earlier head waits. So a task that uses much is not overtaken for ever by tasks that use
little. Ten thousand items behind a limit are one lane, and cost as much as one item.

An item whose item-wise chain has begun stands in no lane: it goes on before the heads of
the lanes of its priority, of several the one whose chain is the older.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush, heapreplace

from ptsflow.core.longest_path import Rank
from ptsflow.core.plan import PlanStep


class Limit:
    """A resource of which there is only so much."""

    __slots__ = ("capacity", "held", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        #: The heads of lanes that wait for room here, with how much; a heap.
        self.held: list[tuple[Entry, int]] = []


class Lane:
    """Tasks that start one after the other."""

    __slots__ = ("begun", "queue", "rank", "wants")

    def __init__(self, rank: Rank, wants: Iterable[tuple[Limit, int]]) -> None:
        self.rank, self.begun = rank.own, rank.begun
        self.wants = tuple(wants)
        self.queue: deque[Entry] = deque()


#: Rank, turn, index of the step, index of the item: the least entry starts first. The task
#: and its lane follow; they never decide the order. If the chain of an item has begun, the
#: turn is one of `_BEGUN`, and step and index are those of the chain.
Entry = tuple[int, int, int, int, str, Lane]

#: What is added to the turn of a chain that has begun: all such turns are below zero.
_BEGUN = -(2**62)


class ReadyQueue:
    """All tasks that are ready to start.

    Args:
        limits: how much there is of what the steps share.
        ranks: of each step.
    """

    def __init__(self, limits: Mapping[str, int], ranks: Mapping[str, Rank]) -> None:
        self._ranks = ranks
        self._limits = {name: Limit(capacity) for name, capacity in limits.items()}
        self._lanes: dict[object, Lane] = {}
        self._heads: list[Entry] = []
        #: The tasks that became ready since the last `take`, in any order.
        self._fresh: list[Entry] = []
        #: How often tasks that became ready were lined up.
        self.turn = 0
        #: How many tasks are ready, with those whose lane is held.
        self.count = 0

    def lane_of(self, step: PlanStep) -> Lane:
        """Return the lane in which the tasks of a step stand."""
        own = None if step.limit is None else step.name
        rank = self._ranks[step.name]
        alike = (rank.own, rank.begun, own, frozenset(step.uses.items()))
        lane = self._lanes.get(alike)
        if lane is None:
            # The step's own limit comes first: a head that it holds blocks no other step.
            wants = [] if step.limit is None else [(Limit(step.limit), 1)]
            wants += [(self._limits[name], n) for name, n in step.uses.items()]
            lane = self._lanes[alike] = Lane(rank, wants)
        return lane

    def add(self, task: str, lane: Lane, step: int, item: int) -> None:
        """A task became ready: the `item`-th of the `step`-th step."""
        self._fresh.append((lane.rank, self.turn, step, item, task, lane))
        self.count += 1

    def go_on(self, task: str, lane: Lane, chain: tuple[int, int, int]) -> None:
        """A task became ready whose item-wise chain has begun.

        Args:
            task: its name.
            lane: that of its step.
            chain: the turn in which the first step of the chain opened, the index of that
                step, and the place of the task among all tasks of all its chains.
        """
        since, root, within = chain
        self._fresh.append((lane.begun, since + _BEGUN, root, within, task, lane))
        self.count += 1

    def take(self, free: int) -> list[str]:
        """Return up to `free` tasks that start now."""
        if self._fresh:
            self._line_up()
        heads = self._heads
        taken: list[str] = []
        while heads and len(taken) < free:
            head = heads[0]
            lane = head[5]
            for limit, wanted in lane.wants:
                is_full = limit.used + wanted > limit.capacity
                if is_full or (limit.held and limit.held[0][0] < head):
                    self._hold(head, limit, wanted)
                    break
            else:
                taken.append(head[4])
                if head[1] < 0:
                    heappop(heads)
                else:
                    queue = lane.queue
                    queue.popleft()
                    if queue:
                        heapreplace(heads, queue[0])
                    else:
                        heappop(heads)
                if lane.wants:
                    self.use(lane)
        self.count -= len(taken)
        return taken

    def use(self, lane: Lane) -> None:
        """A task of the lane runs: it uses what the lane wants."""
        for limit, wanted in lane.wants:
            limit.used += wanted
            if limit.held:
                self._wake(limit)

    def give_back(self, lane: Lane) -> None:
        """A task of the lane runs no longer: free what it used."""
        for limit, wanted in lane.wants:
            limit.used -= wanted
            if limit.held:
                self._wake(limit)

    def clear(self) -> None:
        """Forget all ready tasks; what running tasks use stays used."""
        self.count = 0
        self._fresh.clear()
        self._heads.clear()
        for lane in self._lanes.values():
            lane.queue.clear()
            for limit, _ in lane.wants:
                limit.held.clear()

    def _line_up(self) -> None:
        """Put the fresh tasks at the end of their lanes: all that stand there are older."""
        self._fresh.sort()
        for entry in self._fresh:
            queue = entry[5].queue
            if entry[1] < 0 or not queue:
                heappush(self._heads, entry)
            if entry[1] >= 0:
                queue.append(entry)
        self._fresh.clear()
        self.turn += 1

    def _hold(self, head: Entry, limit: Limit, wanted: int) -> None:
        """Make the first of the heads wait for room in a limit."""
        heappop(self._heads)
        heappush(limit.held, (head, wanted))
        for other, _ in head[5].wants:
            # Heads that waited behind this one in its other limits may start now.
            if other is not limit and other.held:
                self._wake(other)

    def _wake(self, limit: Limit) -> None:
        """Let the first head that a limit holds try again, if there is room for it.

        That head wakes the next one when it starts, or when another limit holds it.
        """
        head, wanted = limit.held[0]
        if limit.used + wanted <= limit.capacity:
            heappop(limit.held)
            heappush(self._heads, head)
