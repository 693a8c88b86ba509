"""Where bodies run."""

from __future__ import annotations

from ptsflow import presence
from ptsflow.executors.base import Executor
from ptsflow.model import ContainerRecord
from ptsflow.step import Executor as Place
from ptsflow.workflow import Workflow


def begin(
    where: Place,
    workflow: Workflow,
    container: ContainerRecord,
    store: str,
) -> Executor:
    """Return what makes attempts elsewhere than in this process's threads.

    Args:
        where: "process", "dask", `dask://HOST:PORT`, or what makes an engine.
        workflow: whose steps they are.
        container: as it is held.
        store: the store's identity.

    Raises:
        PtsflowError: it cannot be had.
    """
    if where == "process":
        from ptsflow.executors import processes  # noqa: PLC0415 - rarely needed

        lock = presence.file_of(store, container.uid)
        return processes.begin(workflow, container.name, lock)
    from ptsflow.executors import cluster  # noqa: PLC0415 - rarely needed

    return cluster.begin(where, workflow, container.name, store, container.uid)
