"""Workflows whose steps are remembered: run again, and only what is left runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ptsflow.host.garbage import modules_stay

with modules_stay():
    from ptsflow.core.model import Status
    from ptsflow.core.retry import Retry
    from ptsflow.errors import (
        DeclarationError,
        Fail,
        Finish,
        PtsflowError,
        RetryLater,
        Skip,
    )
    from ptsflow.version import VERSION
    from ptsflow.workflow.cron import Cron
    from ptsflow.workflow.handle import TaskHandle
    from ptsflow.workflow.periods import Day, Hour
    from ptsflow.workflow.secret import Secret
    from ptsflow.workflow.step import step
    from ptsflow.workflow.workflow import Workflow

if TYPE_CHECKING:
    from ptsflow import events
    from ptsflow.client import Client, Container, Task, connect
    from ptsflow.core.trouble import RunEnd
    from ptsflow.runner.report import Report
    from ptsflow.runner.run import run

__all__ = [
    "Client",
    "Container",
    "Cron",
    "Day",
    "DeclarationError",
    "Fail",
    "Finish",
    "Hour",
    "PtsflowError",
    "Report",
    "Retry",
    "RetryLater",
    "RunEnd",
    "Secret",
    "Skip",
    "Status",
    "Task",
    "TaskHandle",
    "Workflow",
    "connect",
    "events",
    "run",
    "step",
]
__version__ = VERSION

#: Where what a file of workflows seldom names stands: it is loaded when it is first
#: asked for.
_LOADED_WHEN_ASKED_FOR = {
    "Client": "ptsflow.client",
    "Container": "ptsflow.client",
    "Report": "ptsflow.runner.report",
    "RunEnd": "ptsflow.core.trouble",
    "Task": "ptsflow.client",
    "connect": "ptsflow.client",
    "events": "ptsflow.events",
    "run": "ptsflow.runner.run",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_ASKED_FOR:
        raise AttributeError(f"module 'ptsflow' has no attribute {name!r}")
    module = import_module(_LOADED_WHEN_ASKED_FOR[name])
    found = globals()[name] = getattr(module, name, module)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
