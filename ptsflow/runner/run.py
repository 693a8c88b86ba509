"""`run`: running a workflow, or what is left of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ptsflow.client.client import Client, store_url
from ptsflow.core.plan import Executor, Plan
from ptsflow.errors import UsageError
from ptsflow.events import Listener, Notice
from ptsflow.runner.event_bus import Bus
from ptsflow.runner.options import Options, check_options, names_of
from ptsflow.runner.report import Report, Stopped
from ptsflow.stores import open_store
from ptsflow.workflow import loading
from ptsflow.workflow.compile import plan_of
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
    and what runs may end. The second one stops at once.

    Args:
        workflow: the workflow object, with its parameters.
        store: a URL, or a connected client. Without it $PTSFLOW_STORE, then
            `sqlite:///.ptsflow/ptsflow.db`.
        container: the container's name, instead of the workflow's own.
        jobs: how many bodies run at the same time. Without it, four more than the
            machine has processors, 32 at the most; where all steps run on a Dask
            cluster at least four more than it has threads, 256 at the most.
        lease: seconds after which another host may take over a runner that died; at
            least 5.
        wait: seconds to wait while another live runner holds the container.
        fresh: forget all that is stored of the container and begin anew.
        from_step: run this step again, and all that waits for it.
        only: run these steps alone.
        changed: run steps again whose code changed since they ran, and all that waits
            for them.
        executor: where bodies run whose step does not say it: "thread", "process",
            "dask", `dask://HOST:PORT`, or a callable that makes an executor of
            `concurrent.futures`.
        listeners: called with every event.

    Raises:
        ContainerBusy: another live runner holds the container.
        ContainerMismatch: it was made with other parameters, or by another workflow.
        LeaseLost: the lease ended while running; running again is safe.
        StoreError: the store cannot be reached, is damaged or full.
        KeyboardInterrupt: SIGINT stopped it; the state is recorded.
        SystemExit: SIGTERM or `ptsflow cancel` stopped it, with code 143; the state is
            recorded.
    """
    options = Options(
        container=container,
        jobs=jobs,
        lease=lease,
        wait=wait,
        fresh=fresh,
        from_step=from_step,
        only=names_of(only),
        changed=changed,
        executor=executor,
        listeners=tuple(listeners),
    )
    try:
        return run_with(workflow, store, options)
    except Stopped as stopped:
        import signal  # noqa: PLC0415 - 1 ms, only for a run that a signal ended

        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + stopped.number) from None


def run_with(
    workflow: Workflow, store: str | Client | None, options: Options
) -> Report:
    """Do what `run` does; raise `Stopped` where a signal ended it."""
    if loading.is_for_bodies:
        raise UsageError(
            "run: this script is being imported by a process for its bodies; put the "
            'call under if __name__ == "__main__":'
        )
    plan = planned(workflow)
    check_options(plan, options)
    from ptsflow.runner.session import execute  # noqa: PLC0415 - 20 ms, only for who runs

    if isinstance(store, Client):
        held = store.store
        return execute(
            workflow, plan, held, options, lambda: contextlib.nullcontext(held)
        )
    url = store_url(store)
    opened = open_store(url, notice=_notice(options))
    if opened.is_in_memory:
        return execute(
            workflow, plan, opened, options, lambda: contextlib.nullcontext(opened)
        )
    try:
        return execute(
            workflow,
            plan,
            opened,
            options,
            lambda: contextlib.closing(open_store(url, upgrade=False)),
        )
    finally:
        # After a lost lease, a body's thread may still wait for the store in it.
        with contextlib.suppress(Exception):
            opened.close()


def _notice(options: Options) -> Callable[[str], None] | None:
    """Return a function that hands a line to the listeners, before the run begins."""
    bus = Bus(options.listeners)
    if not bus:
        return None
    return lambda text: bus.emit(Notice(at=options.clock(), text=text))


def planned(workflow: Workflow) -> Plan:
    """Return the plan of a workflow object.

    Raises:
        UsageError: it is something else, most often its class.
    """
    if isinstance(workflow, Workflow):
        return plan_of(type(workflow))
    what, advice = repr(workflow), "make one of a Workflow class"
    if isinstance(workflow, type):
        what = f"the class {workflow.__name__}"
        advice = f"call it with its parameters, e.g. {workflow.__name__}(...)"
    raise UsageError(f"run: expected a workflow object, found {what}; {advice}")
