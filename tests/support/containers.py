"""What a container holds, for tests that know that it is there."""

from __future__ import annotations

from ptsflow.client import Client, Container, connect
from ptsflow.client.task import Task


def container_of(client: Client, name: str) -> Container:
    """Return the container of that name, which exists."""
    container = client.get_task_container(name)
    assert container is not None
    return container


def tasks_of(url: str, name: str) -> dict[str, Task]:
    """Return the tasks of a container by name."""
    with connect(url) as client:
        return {task.name: task for task in container_of(client, name).get_tasks()}
