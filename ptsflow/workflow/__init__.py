"""What users declare: workflows, steps and their options."""

from __future__ import annotations

from ptsflow.workflow.handle import TaskHandle
from ptsflow.workflow.step import step
from ptsflow.workflow.workflow import Workflow

__all__ = ["TaskHandle", "Workflow", "step"]
