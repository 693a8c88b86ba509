"""Workflows whose steps are remembered: run again, and only what is left runs."""

from __future__ import annotations

from ptsflow import events
from ptsflow.client import Client, Container, connect
from ptsflow.client.task import Task
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
from ptsflow.runner.report import Report
from ptsflow.runner.run import run
from ptsflow.version import VERSION
from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.secret import Secret
from ptsflow.workflow.step import step
from ptsflow.workflow.workflow import Workflow

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
