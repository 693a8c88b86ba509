"""How a workflow stands, in figures that a monitor keeps."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ptsflow.core.insight import RunRecord
from ptsflow.core.model import Status

#: The status of a container whose runner is gone without a word, as screens call it.
KILLED = "killed"
#: All that a container's status can be.
STATUSES = (Status.PENDING, Status.RUNNING, Status.DONE, Status.FAILED, KILLED)


class WorkflowFigures(Struct, frozen=True, kw_only=True):
    """How one workflow stands. Times are milliseconds."""

    workflow: str
    #: How many containers have each of `STATUSES`.
    containers: Mapping[str, int]
    #: The tasks that are failed in containers that are not complete.
    failed_tasks: int
    #: The last run that completed a container; None if there was none.
    last_done: RunRecord | None
    #: The last run that ended.
    last_ended: RunRecord | None
    #: How much of the container that runs is complete, 0 to 100: of the newest one.
    percentage: float | None
    #: When the last of the containers that run is expected to be complete.
    eta_at: int | None
    #: How many ticks of its schedule are late; None for a workflow without a schedule.
    overdue: int | None = None
