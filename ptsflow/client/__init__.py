"""Task containers for users: make, read, update and lease tasks without a runner."""

from __future__ import annotations

from ptsflow.client.client import Client, Container, connect
from ptsflow.client.task import Task

__all__ = ["Client", "Container", "Task", "connect"]
