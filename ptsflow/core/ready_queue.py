"""Who starts next: what is ready stands in lines, and takes turns under the limits.

Tasks that take the same of the same limits, with the same priority, stand in one line,
in the order in which they start: the oldest first, of one age as they are declared. So
only the first of a line has to be looked at. It is either among the `heads`, of which the
least is next, or held by the first limit that has no room for it, or whose room somebody
before it is waiting for: who wants much is not overtaken for ever by those who want
little. Ten thousand items behind a limit are one line, and cost as much as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush, heapreplace

from ptsflow.core.plan import PlanStep


class Limit:
    """A resource of which there is only so much."""

    __slots__ = ("capacity", "held", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        #: The heads of lines that wait for room here, with how much; a heap.
        self.held: list[tuple[Entry, int]] = []


class Line:
    """Tasks that start one after the other."""

    __slots__ = ("queue", "rank", "wants")

    def __init__(self, rank: int, wants: Iterable[tuple[Limit, int]]) -> None:
        self.rank = rank
        self.wants = tuple(wants)
        self.queue: deque[Entry] = deque()


#: Rank, turn, place of its step and of it among the step's: the least starts first. Then
#: the task and its line; no two are compared by these.
Entry = tuple[int, int, int, int, str, Line]


class Ready:
    """All tasks that are ready to start.

    Args:
        limits: how much there is of what the steps share.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = {name: Limit(capacity) for name, capacity in limits.items()}
        self._lines: dict[object, Line] = {}
        self._heads: list[Entry] = []
        #: What became ready since the last turn, in any order.
        self._fresh: list[Entry] = []
        self._turn = 0
        #: How many are ready, held or not.
        self.count = 0

    def line_of(self, step: PlanStep) -> Line:
        """Return the line in which the tasks of a step stand."""
        own = None if step.limit is None else step.name
        alike = (step.priority, own, frozenset(step.uses.items()))
        line = self._lines.get(alike)
        if line is None:
            # Its own limit first: who waits there is not in the way of other steps.
            wants = [] if step.limit is None else [(Limit(step.limit), 1)]
            wants += [(self._limits[name], n) for name, n in step.uses.items()]
            line = self._lines[alike] = Line(-step.priority, wants)
        return line

    def add(self, task: str, line: Line, step: int, item: int) -> None:
        """A task became ready: the `item`-th of the `step`-th step."""
        self._fresh.append((line.rank, self._turn, step, item, task, line))
        self.count += 1

    def take(self, free: int) -> list[str]:
        """Return up to `free` tasks that start now."""
        if self._fresh:
            self._line_up()
        heads = self._heads
        taken: list[str] = []
        while heads and len(taken) < free:
            head = heads[0]
            line = head[5]
            for limit, wanted in line.wants:
                is_full = limit.used + wanted > limit.capacity
                if is_full or (limit.held and limit.held[0][0] < head):
                    self._hold(head, limit, wanted)
                    break
            else:
                taken.append(head[4])
                queue = line.queue
                queue.popleft()
                if queue:
                    heapreplace(heads, queue[0])
                else:
                    heappop(heads)
                for limit, wanted in line.wants:
                    limit.used += wanted
                    if limit.held:
                        self._wake(limit)
        self.count -= len(taken)
        return taken

    def give_back(self, line: Line) -> None:
        """A task of the line that was taken runs no longer."""
        for limit, wanted in line.wants:
            limit.used -= wanted
            if limit.held:
                self._wake(limit)

    def clear(self) -> None:
        """Forget all that is ready; what was taken still counts."""
        self.count = 0
        self._fresh.clear()
        self._heads.clear()
        for line in self._lines.values():
            line.queue.clear()
            for limit, _ in line.wants:
                limit.held.clear()

    def _line_up(self) -> None:
        """Put what is fresh at the end of its line: all that stands there is older."""
        self._fresh.sort()
        for entry in self._fresh:
            queue = entry[5].queue
            if not queue:
                heappush(self._heads, entry)
            queue.append(entry)
        self._fresh.clear()
        self._turn += 1

    def _hold(self, head: Entry, limit: Limit, wanted: int) -> None:
        """Have the first of the heads wait for room."""
        heappop(self._heads)
        heappush(limit.held, (head, wanted))
        for other, _ in head[5].wants:
            # What it leaves there may be enough for another.
            if other is not limit and other.held:
                self._wake(other)

    def _wake(self, limit: Limit) -> None:
        """Let the first that waits for room here try again, where there is enough.

        When it has started, or waits elsewhere, the next one is woken.
        """
        head, wanted = limit.held[0]
        if limit.used + wanted <= limit.capacity:
            heappop(limit.held)
            heappush(self._heads, head)
