"""`run TARGET --due`: runs what a workflow's schedule says is due now."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace

from ptsflow.cli.common import Common
from ptsflow.cli.next_command import message_of
from ptsflow.cli.request import Request
from ptsflow.cli.run import TIMED_OUT, RunExit, run_request
from ptsflow.cli.shared import refuse, say, show_json, show_text
from ptsflow.client.schedules import ScheduledWorkflow
from ptsflow.core.due import Due, DueReason, DueTicks
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.names import listed
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.display.late import paused_in_words
from ptsflow.errors import (
    ContainerBusy,
    PtsflowError,
    TurnLost,
    UsageError,
)
from ptsflow.host.clock import since_boot, to_datetime, to_millis
from ptsflow.runner.planned_run import plan_run
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.workflow import schedule as schedules
from ptsflow.workflow.cron import Cron
from ptsflow.workflow.workflow import Workflow

#: How long a claimed container waits for a later tick to be given up, in seconds.
_TURN = 3.0
_LOOK_EVERY = 0.05
#: How often a container may be lost to others before this call leaves the rest to them.
_MOST_LOST = 20
#: Ticks are computed with days before them.
_EARLIEST = to_millis(datetime(1, 2, 1, tzinfo=UTC))
#: Of how many failed tasks the names are told.
_MOST_NAMED = 3


def run_due(common: Common, request: Request, kind: type[Workflow]) -> int:
    """Run what is due of a workflow, one container after the other.

    Raises:
        DeclarationError: the class has no schedule.
        UsageError: an option does not go with that.
    """
    _check(request)
    cron = kind.declared_options.schedule
    if cron is None:
        raise schedules.no_schedule(kind)
    workflow = ScheduledWorkflow(kind, cron, _since(request.since, cron))
    options = request.options()
    opened = open_store(common.url, notice=say, wait=options.store_wait)
    with contextlib.closing(opened) as store:
        return _Series(common, request, workflow, store, options.timeout).run()


def _check(request: Request) -> None:
    """Refuse options that contradict `--due`.

    Raises:
        UsageError: there is one.
    """
    if not request.due:
        raise UsageError("--since goes with --due; add --due")
    options = {
        "-p": request.param,
        "-c": request.container,
        "--stored": request.stored,
        "--fresh": request.fresh,
        "--from": request.from_step,
        "--only": request.only,
        "--changed": request.changed,
    }
    for option, given in options.items():
        if given:
            raise UsageError(
                f"--due: the schedule says which containers run, and how; leave {option} "
                "out, or run one container without --due"
            )


def _since(text: str | None, cron: Cron) -> int | None:
    """Return the time that `--since` means; without a zone in that of the schedule.

    Raises:
        UsageError: it means none.
    """
    if text is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=cron.zone)
        return max(_EARLIEST, to_millis(moment.astimezone(UTC)))
    raise UsageError(
        f"--since: expected a time such as 2026-11-01 or 2026-11-01T13:00+00:00, found "
        f"{text!r:.80}"
    )


class _Series:
    """Runs due ticks one after the other, asking again before each.

    Args:
        common: the options of all commands.
        request: the options of each run.
        workflow: the class and its schedule.
        store: keeps the containers.
        timeout: after how many seconds all is stopped; None for never.
    """

    def __init__(
        self,
        common: Common,
        request: Request,
        workflow: ScheduledWorkflow,
        store: Store,
        timeout: float | None,
    ) -> None:
        self._common = common
        self._request = replace(request, is_one_of_many=True)
        self._workflow = workflow
        self._store = store
        self._schedule = workflow.keep(store, self._now())
        self._until = None if timeout is None else since_boot() + timeout
        self._tried: set[str] = set()
        self._say = (lambda _: None) if request.quiet else say

    def _now(self) -> int:
        return self._store.now()

    def run(self) -> int:
        """Run all; return the exit code."""
        if self._is_paused():
            return 0
        found = self._look()
        self._tell(found)
        if self._request.dry_run:
            return 0
        worst = lost = 0
        while found.due and lost < _MOST_LOST:
            try:
                ended = self._run_one(found.due[0])
            except (TurnLost, ContainerBusy) as error:
                is_free = self._schedule.overlap == "parallel"
                if is_free or isinstance(error, TurnLost):
                    lost += 1
                    found = self._look()
                    continue
                self._say(f"left to its runner: {message_of(error, self._common)}")
                return worst
            self._tried.add(found.due[0].name)
            worst = max(worst, ended.code)
            if ended.code not in (0, 1):
                return ended.code
            if self._is_paused():
                return worst
            found = self._look()
            if found.held is not None:
                self._say(self._left(found.held))
        return worst

    def _is_paused(self) -> bool:
        """Whether the schedule is paused, which is said: also while a tick was run."""
        for schedule in self._store.schedules():
            if schedule.workflow == self._schedule.workflow and schedule.paused_at:
                self._say(paused_in_words(schedule, self._now()))
                return True
        return False

    def _look(self, mine: str | None = None) -> DueTicks:
        now = self._now()
        look = self._workflow.look
        return look(self._store, self._schedule, now, tried=self._tried, mine=mine)

    def _run_one(self, one: Due) -> RunExit:
        left = None if self._until is None else self._until - since_boot()
        if left is not None and left <= 0:
            return RunExit(TIMED_OUT)
        moment = to_datetime(one.tick.at)
        try:
            made = schedules.at(self._workflow.kind, self._workflow.cron, moment)
            options = replace(
                self._request.options(),
                timeout=left,
                tick=one.tick.at,
                admit=partial(self._admit, one),
            )
            return run_request(self._common, self._request, plan_run(made, options))
        except ContainerBusy:
            raise
        except PtsflowError as error:
            refuse(error, self._common)
            return RunExit(error.exit_code)

    def _admit(self, one: Due, _store: Store, claimed: ContainerRecord) -> None:
        """Refuse a claimed container whose turn it is not any more.

        If two callers claim two ticks at the same time, the one with the later tick gives
        up at once. The other one waits for that.
        """
        until = since_boot() + _TURN
        while True:
            found = self._look(mine=claimed.name)
            held = found.held
            if held is None or held.tick.at < one.tick.at or since_boot() > until:
                break
            time.sleep(_LOOK_EVERY)
        mine = found.due if self._schedule.overlap == "parallel" else found.due[:1]
        if one.name not in [each.name for each in mine]:
            raise TurnLost(f"container {claimed.name!r}: it is not its turn any more")

    # -- telling ----------------------------------------------------------------

    def _tell(self, found: DueTicks) -> None:
        if self._common.json and self._request.dry_run:
            for one in found.due:
                head = {"schema": as_json.SCHEMA, "container": one.name}
                tick = as_json.when(one.tick.at)
                show_json(head | {"tick": tick, "reason": one.reason.value})
        elif self._request.dry_run:
            show_text("".join(f"{self._described(one)}\n" for one in found.due))
        elif found.due:
            self._say(f"due: {listed([self._described(one) for one in found.due])}")
        if found.held is not None:
            self._say(self._left(found.held))
        elif not found.due:
            self._say(self._nothing(found))

    def _described(self, one: Due) -> str:
        name, record = fmt.clean(one.name), one.container
        if one.reason is DueReason.NEW or record is None:
            return f"{name} (new)"
        if one.reason is DueReason.UNFINISHED:
            return f"{name} (unfinished)"
        when = fmt.moment(record.ended_at, self._now())
        page, _ = self._store.page(record.uid, status=Status.FAILED, limit=_MOST_NAMED)
        names = ", ".join(fmt.clean(task.name) for task in page)
        return f"{name} (failed {when}{', ' if names else ''}{names})"

    def _left(self, held: Due) -> str:
        by = "run" if held.container is None else tables.run_by(held.container)
        return f"{fmt.clean(held.name)} is {by}; what is due is left to that runner"

    def _nothing(self, found: DueTicks) -> str:
        now = self._now()
        times = [self._workflow.next_tick(now), found.next_at]
        known = [at for at in times if at is not None]
        if not known:
            return "nothing is due"
        return f"nothing is due before {fmt.moment(min(known), now)}"
