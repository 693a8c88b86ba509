"""What the schedule of a workflow has for a worker to do."""

from __future__ import annotations

from ptsflow.client.schedules import ScheduledWorkflow
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

#: A schedule is looked at when its next tick comes, and this often, in seconds: somebody
#: may have changed containers, or paused the schedule. More often while ticks are
#: delayed, or somebody runs one.
_LOOK_EVERY, _LOOK_OFTEN = 600.0, 60.0


class DueWork:
    """One workflow with a schedule.

    Args:
        workflow: the class and its schedule.
        words: the command that runs what is due.
    """

    def __init__(self, workflow: ScheduledWorkflow, words: list[str]) -> None:
        self.name = workflow.kind.__name__
        self.words = words
        self._workflow = workflow
        self._look_at = 0.0

    def look_again(self) -> None:
        """Look when it is next asked what is due."""
        self._look_at = 0.0

    def is_due(self, store: Store) -> bool:
        """Whether something is to be run now; the store is asked only now and then."""
        if since_boot() < self._look_at:
            return False
        now = store.now()
        schedule = self._workflow.keep(store, now)
        found = self._workflow.look(store, schedule, now)
        is_waiting = self._workflow.cron.jitter_ms > 0 or found.held is not None
        ahead = [_LOOK_OFTEN if is_waiting else _LOOK_EVERY]
        for at in (found.next_at, self._workflow.next_tick(now)):
            ahead += [] if at is None else [max(0.0, (at - now) / 1000)]
        self._look_at = since_boot() + min(ahead)
        return bool(found.due) and schedule.paused_at is None
