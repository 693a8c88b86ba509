"""Task containers for users: make, read, update and lease tasks without a runner."""

from __future__ import annotations

from ptsflow.client.client import Client, connect
from ptsflow.client.container import Container
from ptsflow.client.task import Task

__all__ = ["Client", "Container", "Task", "connect"]
