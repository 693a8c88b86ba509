"""The run of a workflow: claim, resume, loop, release."""

from __future__ import annotations

from ptsflow.runner.report import Report
from ptsflow.runner.run import run

__all__ = ["Report", "run"]
