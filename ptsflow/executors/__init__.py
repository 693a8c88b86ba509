"""Where bodies run."""

from __future__ import annotations

from ptsflow.core.model import ContainerRecord
from ptsflow.core.plan import Executor as Place
from ptsflow.executors.base import Executor
from ptsflow.host import container_lock
from ptsflow.workflow.workflow import Workflow


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
        from ptsflow.executors.processes import pool  # noqa: PLC0415 - rarely needed

        lock = container_lock.file_of(store, container.uid)
        return pool.begin(workflow, container.name, lock)
    from ptsflow.executors.cluster import coordinator  # noqa: PLC0415 - rarely needed

    return coordinator.begin(where, workflow, container.name, store, container.uid)
