"""Workflows whose steps are remembered: run again, and only what is left runs."""

from __future__ import annotations

from ptsflow.client import Client, Container, connect
from ptsflow.context import TaskHandle
from ptsflow.errors import (
    DeclarationError,
    Fail,
    Finish,
    PtsflowError,
    RetryLater,
    Skip,
)
from ptsflow.model import Status
from ptsflow.report import Report
from ptsflow.retry import Retry
from ptsflow.runner import run
from ptsflow.step import step
from ptsflow.task import Task
from ptsflow.version import VERSION
from ptsflow.workflow import Workflow

__all__ = [
    "Client",
    "Container",
    "DeclarationError",
    "Fail",
    "Finish",
    "PtsflowError",
    "Report",
    "Retry",
    "RetryLater",
    "Skip",
    "Status",
    "Task",
    "TaskHandle",
    "Workflow",
    "connect",
    "run",
    "step",
]
__version__ = VERSION
