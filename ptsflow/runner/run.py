"""`run`: runs a workflow, or what is left of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ptsflow.client.client import Client, store_url
from ptsflow.core.plan import Executor
from ptsflow.errors import UsageError
from ptsflow.events import Listener
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.options import RunOptions, names_of
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Report, Stopped
from ptsflow.stores import open_store
from ptsflow.workflow import loading
from ptsflow.workflow.workflow import Workflow


def run(  # noqa: PLR0913 - the names of DESIGN's interface
    workflow: Workflow,
    store: str | Client | None = None,
    container: str | None = None,
    jobs: int | None = None,
    lease: float = 60,
    *,
    wait: float = 0,
    fresh: bool = False,
    from_step: str | None = None,
    only: Sequence[str] | None = None,
    changed: bool = False,
    executor: Executor | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Run a workflow, or what is left of it; return how it went.

    In the main thread, the first SIGINT or SIGTERM stops gently: nothing more starts,
    and what runs may end. The second one stops at once. The state is recorded.

    Args:
        workflow: the workflow object, with its parameters.
        store: a URL, or a connected client. Without it $PTSFLOW_STORE, then
            `sqlite:///.ptsflow/ptsflow.db`.
        container: the container's name, instead of the workflow's own.
        jobs: how many bodies run at the same time. Without it, four more than there are
            processors, at most 32; on Dask four more than its threads, at most 256.
        lease: seconds until another host may take over from a dead runner; at least 5.
        wait: seconds to wait while another live runner holds the container.
        fresh: forget all that is stored of the container and begin anew.
        from_step: run this step, or this item such as "load[a]", again, and all that waits
            for it.
        only: run these steps and items alone.
        changed: run steps again whose code changed, and all that waits for them.
        executor: where bodies run whose step does not say it: "thread", "process",
            "dask", `dask://HOST:PORT`, or what makes a `concurrent.futures.Executor`.
        listeners: called with every event of `ptsflow.events`.

    Raises:
        ContainerBusy: another live runner holds the container.
        ContainerMismatch: it was made with other parameters, or by another workflow.
        LeaseLost: the lease ended while running; running again is safe.
        StoreError: the store cannot be reached, is damaged or full.
        KeyboardInterrupt: SIGINT stopped it.
        SystemExit: SIGTERM or `ptsflow cancel` stopped it, with code 143.
    """
    options = RunOptions(
        container=container,
        jobs=jobs,
        lease=lease,
        wait=wait,
        fresh=fresh,
        from_step=from_step,
        only=names_of(only),
        changed=changed,
        executor=executor,
    )
    try:
        return run_planned(plan_run(workflow, options), store, listeners)
    except Stopped as stopped:
        raise stopped.for_caller() from None


def run_planned(
    planned: PlannedRun, store: str | Client | None, listeners: Sequence[Listener]
) -> Report:
    """Do what `run` does; raise `Stopped` where a signal ended the run."""
    if loading.is_for_bodies:
        raise UsageError(
            "run: this script is being imported by a process for its bodies; put the "
            'call under if __name__ == "__main__":'
        )
    bus = Bus(listeners, planned.options.clock)
    from ptsflow.runner.session import execute  # noqa: PLC0415 - 20 ms, only for a run

    if isinstance(store, Client):
        held = store.store
        return execute(planned, held, bus, lambda: contextlib.nullcontext(held))
    url = store_url(store)
    opened = open_store(url, notice=bus.notice if bus else None)
    if opened.is_in_memory:
        return execute(planned, opened, bus, lambda: contextlib.nullcontext(opened))
    try:
        return execute(
            planned,
            opened,
            bus,
            lambda: contextlib.closing(open_store(url, upgrade=False)),
        )
    finally:
        # If the lease was lost, a body's thread may still use this connection, and
        # closing it may fail.
        with contextlib.suppress(Exception):
            opened.close()
