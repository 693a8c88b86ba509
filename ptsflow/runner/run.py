"""`run`: runs a workflow, or what is left of it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from ptsflow.client.client import Client, store_url
from ptsflow.core.plan import Executor
from ptsflow.errors import UsageError
from ptsflow.events import Listener
from ptsflow.host.garbage import modules_stay
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.options import RunOptions, names_of
from ptsflow.runner.planned_run import PlannedRun, plan_run
from ptsflow.runner.report import Report, Stopped
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from ptsflow.stores.store_wait import NO_WAIT, StoreWait
from ptsflow.workflow import loading
from ptsflow.workflow.workflow import Workflow

_Opened = contextlib.AbstractContextManager[Store]


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
    show: bool = False,
    hooks: bool = True,
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
        wait: seconds to wait while another live runner holds the container, and for a store
            that is away at the start.
        fresh: forget all that is stored of the container and begin anew.
        from_step: run this step, or this item such as "load[a]", again, and all that waits
            for it.
        only: run these steps and items alone.
        changed: run steps again whose code changed, and all that waits for them.
        executor: where bodies run whose step does not say it: "thread", "process",
            "dask", `dask://HOST:PORT`, or what makes a `concurrent.futures.Executor`.
        listeners: called with every event of `ptsflow.events`.
        show: show the run while it lasts, and what bodies print: live on a terminal, in
            one cell of a notebook, else as lines on standard error.
        hooks: call `on_failure`, `on_recovery` and `on_done` when the run ends.

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
        hooks=hooks,
    )
    try:
        planned = plan_run(workflow, options)
        if show:
            return _run_shown(planned, store, listeners)
        return run_planned(planned, store, listeners)
    except Stopped as stopped:
        raise stopped.for_caller() from None


def _run_shown(
    planned: PlannedRun, store: str | Client | None, listeners: Sequence[Listener]
) -> Report:
    from ptsflow.display import screens  # noqa: PLC0415 - 10 ms, only for this
    from ptsflow.display.run_state import Board  # noqa: PLC0415

    board, clock = Board(), planned.options.clock
    with screens.shown_to_caller(board, clock) as screen:
        options = replace(
            planned.options, show_printed=partial(screens.show_printed, screen)
        )
        return run_planned(
            replace(planned, options=options), store, [board, screen, *listeners]
        )


def run_planned(
    planned: PlannedRun, store: str | Client | None, listeners: Sequence[Listener]
) -> Report:
    """Do what `run` does; raise `Stopped` where a signal ended the run."""
    if loading.is_for_bodies:
        raise UsageError(
            "run: this script is being imported by a process for its bodies; put the "
            'call under if __name__ == "__main__":'
        )
    _make_room_for_threads()
    bus = Bus(listeners, planned.options.clock)
    options = planned.options
    if options.wait and options.store_wait is NO_WAIT:
        options = replace(options, store_wait=StoreWait(options.wait, bus.notice))
        planned = replace(planned, options=options)
    if isinstance(store, Client):
        held = store.store
        return _run_and_keep(planned, held, bus, lambda: contextlib.nullcontext(held))
    url = store_url(store)
    opened = open_store(
        url, notice=bus.notice if bus else None, wait=options.store_wait
    )
    if opened.is_in_memory:
        return _run_and_keep(
            planned, opened, bus, lambda: contextlib.nullcontext(opened)
        )
    try:
        return _run_and_keep(
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


def _make_room_for_threads() -> None:
    # `ulimit -v`
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        from ptsflow.host.memory import share_heap  # noqa: PLC0415 - loads ctypes

        share_heap()


def _run_and_keep(
    planned: PlannedRun, store: Store, bus: Bus, reopen: Callable[[], _Opened]
) -> Report:
    """Run a workflow; after a good run, delete what `keep` of its class calls old."""
    with modules_stay():
        from ptsflow.runner.session import execute  # noqa: PLC0415 - 20 ms, only for a run

    report = execute(planned, store, bus, reopen)
    keep_ms = planned.workflow.declared_options.keep_ms
    if report.ok and keep_ms is not None:
        from ptsflow.client.retention import delete_old  # noqa: PLC0415 - seldom used

        delete_old(store, planned.plan.workflow, report.container, keep_ms, bus.notice)
    return report
