"""What is overdue, in words and as JSON."""

from __future__ import annotations

from typing import Any

from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.model import Status
from ptsflow.core.names import listed
from ptsflow.core.overdue import Lateness, Overdue
from ptsflow.display import as_json
from ptsflow.display import format as fmt


def late_in_words(late: Overdue, now: int) -> str:
    """Return one line of what is late, with times of the local time zone."""
    name = fmt.clean(late.workflow)
    if late.lateness is Lateness.SILENT:
        done = f"last done {fmt.moment(late.tick, now)}" if late.tick else "never done"
        return f"{name} is silent: {done}, now {fmt.moment(now, now)}"
    tick = fmt.moment(late.tick, now)
    if late.lateness is Lateness.SLOW:
        eta = fmt.moment(late.expected_at, now)
        return f"{name} {tick} is slow: expected to end {eta}, after the next tick"
    is_late = "given up" if late.lateness is Lateness.GIVEN_UP else "late"
    usually = (
        f", usually done {fmt.moment(late.expected_at, now)}"
        if late.expected_at
        else ""
    )
    return f"{name} {tick} is {is_late}: due {tick}{usually}, now {fmt.moment(now, now)}; {_stands(late)}"


def _stands(late: Overdue) -> str:
    if late.is_live:
        return "it runs"
    if late.status is None:
        return "never begun"
    if late.status is Status.FAILED:
        failed = listed([fmt.clean(task.name) for task in late.failed])
        return f"failed{': ' if failed else ''}{failed}"
    return "interrupted"


def late_as_json(late: Overdue) -> dict[str, Any]:
    """Return the object that `overdue --json` prints."""
    return {
        "schema": as_json.SCHEMA,
        "workflow": late.workflow,
        "lateness": late.lateness.value,
        "tick": as_json.when(late.tick),
        "expected_at": as_json.when(late.expected_at),
        "container": late.container or None,
        "status": late.status,
        "is_live": late.is_live,
        "failed": [task.name for task in late.failed],
    }


def paused_in_words(schedule: ScheduleRecord, now: int) -> str:
    """Say that a schedule is paused, since when, by whom and why."""
    since = fmt.moment(schedule.paused_at, now)
    why = f": {fmt.clean(schedule.why)}" if schedule.why else ""
    return (
        f"{fmt.clean(schedule.workflow)} is paused since {since} by "
        f"{fmt.clean(schedule.paused_by)}{why}"
    )


def policy_in_words(schedule: ScheduleRecord) -> str:
    """Say how a schedule is kept to."""
    rule = {
        "resume": "what is unfinished goes on, oldest first, one at a time",
        "latest": "only the newest tick runs, older ones are passed over",
        "skip": "only the newest tick runs, and not while another one does",
        "parallel": "every tick runs, whatever became of others",
    }[schedule.overlap]
    jitter = (
        f"; up to {fmt.duration(schedule.jitter_ms)} later"
        if schedule.jitter_ms
        else ""
    )
    return (
        f"{schedule.cron} ({schedule.zone}){jitter}; {schedule.overlap}: {rule}; up to "
        f"{fmt.duration(schedule.catch_up_ms)} late; again "
        f"{fmt.duration(schedule.again_ms)} after a failure"
    )
