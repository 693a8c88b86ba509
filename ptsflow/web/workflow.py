"""The page of a workflow: its runs, and what these tell of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

from markupsafe import Markup
from msgspec import Struct

from ptsflow.client.looking import run_as_it_stands
from ptsflow.core.history import Profile, profile
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.trends import TOLD_OF, StepTrend, trends
from ptsflow.display import history_table
from ptsflow.display.format import Piece
from ptsflow.display.usual import usually
from ptsflow.errors import WorkflowNotFound
from ptsflow.stores.base import Store
from ptsflow.web.drawing import bars, sparkline
from ptsflow.web.pages import Page, Part
from ptsflow.web.schedules import ScheduleLook, look_at_schedule

#: How many runs are read, and of how many there is a row.
_READ, _ROWS = 200, 50


class RunRow(Struct, frozen=True, kw_only=True):
    """A run as a row shows it."""

    run: RunRecord
    stands: Piece
    took_ms: int | None
    outlook_error: float | None


class TrendRow(Struct, frozen=True, kw_only=True):
    """What runs tell of a step."""

    trend: StepTrend
    #: How long a task of it took in each run, the oldest first, in milliseconds.
    took: Sequence[float]

    @property
    def drawn(self) -> Markup:
        """The durations as a drawing."""
        return sparkline(self.took, self.trend.name or "the others")


class WorkflowLook(Struct, frozen=True, kw_only=True):
    """One look at the runs of a workflow."""

    at: int
    name: str
    #: The newest first.
    runs: Sequence[RunRecord]
    rows: Sequence[RunRow]
    steps: Sequence[TrendRow]
    usual: Profile
    #: The median error of the time left that was foretold; None if no run tells.
    outlook_error: float | None
    #: How its schedule stands; None if it has none.
    schedule: ScheduleLook | None
    #: By the names of containers that are there, their uids.
    uids: Mapping[str, str]


def look_at_workflow(store: Store, name: str) -> WorkflowLook:
    """Return what the runs of a workflow tell.

    Raises:
        WorkflowNotFound: there is neither a run, a container nor a schedule of it.
    """
    now = store.now()
    runs = store.runs(workflow=name, limit=_READ)
    records = store.recent(_READ, workflow=name, damaged=[])
    schedule = look_at_schedule(store, name, now)
    if not runs and not records and schedule is None:
        raise WorkflowNotFound(f"there is no workflow {name!r}")
    runs = [run_as_it_stands(store, run, now) for run in runs]
    errors = [e for e in map(history_table.outlook_error, runs) if e is not None]
    return WorkflowLook(
        at=now,
        name=name,
        runs=runs,
        rows=[_row(run, now) for run in runs[:_ROWS]],
        steps=[TrendRow(trend=t, took=_took(runs, t.name)) for t in trends(runs)],
        usual=profile(runs),
        outlook_error=sorted(errors)[len(errors) // 2] if errors else None,
        schedule=schedule,
        uids={record.name: record.uid for record in records},
    )


def _row(run: RunRecord, now: int) -> RunRow:
    return RunRow(
        run=run,
        stands=history_table.stands(run),
        took_ms=history_table.took_ms(run, now),
        outlook_error=history_table.outlook_error(run),
    )


def _took(runs: Sequence[RunRecord], step: str) -> list[float]:
    told = [run for run in runs if run.steps and run.status is RunStatus.DONE][:TOLD_OF]
    found = [
        stats.busy_ms / stats.count
        for run in told
        for stats in run.steps
        if stats.name == step and stats.count
    ]
    return found[::-1]


def _address(uids: Mapping[str, str], run: RunRecord) -> str | None:
    """Return the address of the container of a run; None if it is gone."""
    uid = uids.get(run.container)
    return None if uid is None else f"/c/{quote(uid, safe='')}"


def workflow_page(found: WorkflowLook) -> Page:
    """Return the page of a workflow."""
    slowest = sorted(found.steps, key=lambda s: s.trend.median_ms * s.trend.count)
    values = {
        "found": found,
        "now": found.at,
        "usually": usually(found.usual),
        "slowest": slowest[-1].trend if slowest else None,
        "drawn": bars(
            found.runs,
            now=found.at,
            usual_ms=found.usual.usual_ms,
            link=partial(_address, found.uids),
        )
        if found.runs
        else "",
        "retried": max(found.steps, key=lambda s: s.trend.retried, default=None),
    }
    return Page(
        title=f"{found.name} · ptsflow",
        parts={
            "head": Part("_workflow.html", values),
            "bars": Part("_bars.html", values),
            "trends": Part("_trends.html", values),
            "runs": Part("_runs.html", values),
        },
    )
