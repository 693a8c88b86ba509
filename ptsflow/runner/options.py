"""The options of a run, and which of them make no sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct, field

from ptsflow.core.model import ContainerRecord, LogLine
from ptsflow.core.names import listed, similar
from ptsflow.core.plan import Executor, Plan
from ptsflow.errors import UsageError
from ptsflow.host.clock import Clock, steady_clock
from ptsflow.stores.base import Store
from ptsflow.stores.store_wait import NO_WAIT, StoreWait
from ptsflow.workflow.step_options import check_executor

#: The shortest lease in seconds: six renewals must fit into it.
SHORTEST_LEASE = 5


class RunOptions(Struct, frozen=True, kw_only=True):
    """The options of a run, as `ptsflow.run` and the command line take them."""

    #: The container's name; None for the workflow's own.
    container: str | None = None
    #: How many bodies run at a time; None if no number was given.
    jobs: int | None = None
    #: In seconds.
    lease: float = 60
    #: Seconds to wait while another live runner holds the container; for a store that is
    #: away, if `store_wait` does not say more.
    wait: float = 0
    #: How long to wait for a store that is away before the container is claimed.
    store_wait: StoreWait = NO_WAIT
    #: Whether all that is stored is forgotten first.
    fresh: bool = False
    #: The step, or the item such as `load[a]`, that is run again, with all that waits
    #: for it.
    from_step: str | None = None
    #: The only steps and items that are run; None for all.
    only: tuple[str, ...] | None = None
    #: Whether steps whose code changed since they ran are run again.
    changed: bool = False
    #: Where bodies run whose step does not say it; None for the workflow's own choice.
    executor: Executor | None = None
    #: Seconds after which the run is stopped.
    timeout: float | None = None
    #: Whether hooks are called when the run ends.
    hooks: bool = True
    #: TARGET as the command line was given it; kept, so that others can run it again.
    target: str | None = None
    #: Shows what bodies print, with the name of their task; without it, a body in a
    #: thread prints to the streams of this process.
    show_printed: Callable[[str, Sequence[LogLine]], object] | None = None
    #: The tick of the schedule that names the container.
    tick: int | None = None
    #: Called with the claimed container before anything is changed; raises `TurnLost`
    #: where it is not to be run after all.
    admit: Callable[[Store, ContainerRecord], None] | None = None
    clock: Clock = field(default_factory=steady_clock)

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return round(self.lease * 1000)


def names_of(only: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return `only` as a tuple.

    Raises:
        UsageError: `only` is one str, whose letters would be taken for steps.
    """
    if isinstance(only, str):
        raise UsageError(
            f"only: expected a list of steps, found {only!r}; write [{only!r}]"
        )
    return None if only is None else tuple(only)


def check_options(plan: Plan, options: RunOptions) -> None:
    """Refuse options that make no sense for the plan.

    Raises:
        UsageError: an option is out of its range, or names a step that there is not.
    """
    lease, jobs = options.lease, options.jobs
    if not SHORTEST_LEASE <= lease <= 24 * 3600:
        raise UsageError(
            f"lease: expected {SHORTEST_LEASE} to 86400 seconds, found {lease:g}"
        )
    if jobs is not None and not (type(jobs) is int and jobs >= 1):
        raise UsageError(f"jobs: expected a whole number of 1 or more, found {jobs!r}")
    _check_executor(plan, options)
    for name in [
        *(options.only or ()),
        *([options.from_step] if options.from_step else []),
    ]:
        if plan.named(name) is None:
            raise UsageError(
                f"{plan.workflow} has no step {name!r}{similar(name, plan.by_name)}; "
                f"it has {listed(plan.by_name, name) or 'none'}"
            )


def _check_executor(plan: Plan, options: RunOptions) -> None:
    if options.executor is None:
        return
    wrong = check_executor(options.executor)
    if wrong is not None:
        raise UsageError(f"executor: {wrong}")
    limited = [
        step.name
        for step in plan.steps
        if step.memory is not None and not step.executor
    ]
    if options.executor == "thread" and limited:
        raise UsageError(
            f"executor: expected one with processes, as {plan.workflow}.{limited[0]} has "
            "memory=, found 'thread'; choose 'process'"
        )
