"""How to run: what a run may be told, and what of it makes no sense."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from ptsflow.core.plan import Executor, Plan
from ptsflow.errors import UsageError, similar
from ptsflow.events import Listener
from ptsflow.host.clock import Clock, system_clock
from ptsflow.workflow.step_options import check_executor

#: The shortest lease, in seconds: six renewals must fit into it.
SHORTEST_LEASE = 5


class Options(Struct, frozen=True, kw_only=True):
    """How to run."""

    container: str | None = None
    jobs: int | None = None
    lease: float = 60
    wait: float = 0
    fresh: bool = False
    from_step: str | None = None
    only: tuple[str, ...] | None = None
    #: Whether steps whose code changed since they ran are run again.
    changed: bool = False
    executor: Executor | None = None
    #: Seconds after which the run is stopped.
    timeout: float | None = None
    #: What the command line was given, kept so that others can run it again.
    target: str | None = None
    listeners: tuple[Listener, ...] = ()
    clock: Clock = system_clock


def names_of(only: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the steps to run alone.

    Raises:
        UsageError: it is one text, which would be taken letter by letter.
    """
    if isinstance(only, str):
        raise UsageError(
            f"only: expected a list of steps, found {only!r}; write [{only!r}]"
        )
    return None if only is None else tuple(only)


def check_options(plan: Plan, options: Options) -> None:
    """Refuse options that make no sense for the plan.

    Raises:
        UsageError: one does not.
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
        if name not in plan.by_name:
            raise UsageError(
                f"{plan.workflow} has no step {name!r}{similar(name, plan.by_name)}; "
                f"it has {', '.join(plan.by_name) or 'none'}"
            )


def _check_executor(plan: Plan, options: Options) -> None:
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
