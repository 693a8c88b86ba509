"""Hooks: telling somebody how a run ended, after its lease is given back.

A hook is a command, an http(s) address or a method. That it was told is noted before it
is called, so no hook is called twice for one trouble, however many runs end at the same
time; if the runner is killed just then, it is not called at all. Whatever a hook does, the
run has ended as it did.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from threading import Thread
from typing import Any

from ptsflow.client.looking import runs_back
from ptsflow.client.status_object import status_object
from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.texts import cut, one_line
from ptsflow.core.trouble import (
    FAILURES,
    HookName,
    RunEnd,
    hook_for,
    ordinal_after,
    trouble_of,
)
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.errors import Conflict
from ptsflow.host.clock import since_boot
from ptsflow.runner import signals
from ptsflow.runner.planned_run import PlannedRun
from ptsflow.stores import absolute
from ptsflow.stores.base import Store
from ptsflow.workflow.class_options import Hook, hook_of

#: How long a hook may take, in seconds.
_SECONDS = 60.0
#: How many others may be told at the same time, before one of them gives up.
_MOST_OTHERS = 100
#: The longest text in the environment of a command, and the longest summary.
_LONGEST, _SUMMARY = 4_000, 200


def call_hooks(
    planned: PlannedRun, store: Store, notice: Callable[[str], None], run: RunRecord
) -> None:
    """Call the hooks of a run that has ended.

    Args:
        planned: the run.
        store: keeps the container and the ledger of runs.
        notice: told in a line if a hook fails.
        run: the run as the ledger has it.
    """
    what = f"somebody is told of the run's end, which takes up to {_SECONDS:g} s,"
    with signals.postponed(notice, what):
        _call_hooks(planned, store, notice, run)


def _call_hooks(
    planned: PlannedRun, store: Store, notice: Callable[[str], None], run: RunRecord
) -> None:
    until = since_boot() + _SECONDS
    try:
        found = list(_to_call(planned, store, run))
        if not found:
            return
        record = store.container(run.container)
        status = _status(store, record, run)
    except Exception as error:  # noqa: BLE001 - no run fails because of its hooks.
        notice(f"hooks: nobody could be told of the run's end: {one_line(error)}")
        return
    for end, hook in found:
        try:
            why = _call(planned, store, hook, end, status, until - since_boot())
        except Exception as error:  # noqa: BLE001 - of whatever kind it is.
            why = one_line(error)
        if why is None:
            why = f"it took longer than {_SECONDS:g} s"
        if why:
            notice(f"{end.hook} failed: {why}")


def _to_call(
    planned: PlannedRun, store: Store, run: RunRecord
) -> Iterator[tuple[RunEnd, Hook]]:
    """Yield the hooks to call, each noted as told."""
    options = type(planned.workflow).declared_options
    named = {name: hook_of(options, name) for name in HookName}
    if named[HookName.FAILURE] or named[HookName.RECOVERY]:
        name, failures = _trouble_hook(planned, store, run)
        if name is not None and (hook := named[name]):
            yield _end(name, run, failures), hook
    if run.status is RunStatus.DONE and (hook := named[HookName.DONE]):
        yield _end(HookName.DONE, run, 0), hook


def _trouble_hook(
    planned: PlannedRun, store: Store, run: RunRecord
) -> tuple[HookName | None, int]:
    """Return what is told of trouble, noted as told, and how many runs failed in it.

    Raises:
        Conflict: too many other runs ended meanwhile.
    """
    remind_ms = type(planned.workflow).declared_options.remind_ms
    for _ in range(_MOST_OTHERS):
        numbered = store.numbered_runs(run.workflow)
        trouble = trouble_of(numbered, _failures(store, run.workflow))
        now = store.now()
        is_unfinished = _unfinished(planned, store, now)
        name = hook_for(run, trouble, is_unfinished, now=now, remind_ms=remind_ms)
        failures = 1 if trouble is None else len(trouble.failures)
        if name is None and run.status not in FAILURES:
            return None, failures
        at = None if name is None else now
        if store.number_run(run.uid, run.fence, ordinal_after(numbered), told_at=at):
            return name, failures
    raise Conflict("the runs of the workflow end too fast")


def _failures(store: Store, workflow: str) -> Iterator[RunRecord]:
    for status in FAILURES:
        yield from runs_back(store, workflow, status=status)


def _unfinished(
    planned: PlannedRun, store: Store, now: int
) -> Callable[[RunRecord], bool]:
    """Return what tells whether the container of a failed run is still to be repaired."""
    schedule = type(planned.workflow).declared_options.schedule
    caught_up = None if schedule is None else now - schedule.catch_up_ms

    def is_unfinished(failed: RunRecord) -> bool:
        record = store.container(failed.container)
        if record is None or record.uid != failed.uid:
            return False
        is_given_up = (
            caught_up is not None
            and failed.tick is not None
            and failed.tick < caught_up
        )
        return record.status is not Status.DONE and not is_given_up

    return is_unfinished


def _end(name: HookName, run: RunRecord, failures: int) -> RunEnd:
    ended_at = run.began_at if run.ended_at is None else run.ended_at
    took = fmt.duration(ended_at - run.began_at)
    if name is HookName.RECOVERY:
        said = f"{run.workflow} works again: {run.container} done in {took}"
    elif name is HookName.DONE:
        said = f"{run.container} done in {took}"
    else:
        said = f"{run.container} {_how_it_failed(run)}"
    return RunEnd(
        hook=name,
        container=run.container,
        workflow=run.workflow,
        status=run.status.value,
        summary=cut(fmt.clean(said), _SUMMARY),
        percentage=run.percentage,
        failed=run.failed,
        failures=failures,
        tick=run.tick,
        began_at=run.began_at,
        ended_at=ended_at,
    )


def _how_it_failed(run: RunRecord) -> str:
    how = "took too long" if run.status is RunStatus.TIMEOUT else "failed"
    if not run.failed:
        return how
    first = run.failed[0]
    return f"{how}: {first.name}: {first.error}"


def _status(
    store: Store, record: ContainerRecord | None, run: RunRecord
) -> dict[str, Any]:
    """Return what a command reads and an address is sent; a little if it was deleted."""
    if record is not None and record.uid == run.uid:
        return status_object(store, record)
    return {"schema": as_json.SCHEMA, "container": run.container}


# -- calling ------------------------------------------------------------------


def _call(
    planned: PlannedRun,
    store: Store,
    hook: Hook,
    end: RunEnd,
    status: dict[str, Any],
    seconds: float,
) -> str | None:
    """Call a hook; return why it failed, or "". None: it took too long."""
    if not isinstance(hook, str):
        method = getattr(planned.workflow, end.hook)
        return _in_time(partial(method, end), seconds)
    text = as_json.dumps(status | {"hook": end.hook, "summary": end.summary})
    if hook.lower().startswith(("http://", "https://")):
        return _in_time(partial(_post, hook, text, seconds), seconds)
    from ptsflow.runner.hook_process import run_command  # noqa: PLC0415 - 10 ms

    return run_command(hook, text, _environment(store, end), seconds)


def _in_time(act: Callable[[], object], seconds: float) -> str | None:
    """Call what cannot be killed in a thread, which is left if it takes too long.

    Return as `run_command` does.
    """
    failed: list[str] = []

    def acted() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - a user's method
            failed.append(one_line(error))

    thread = Thread(target=acted, daemon=True, name="ptsflow-hook")
    thread.start()
    thread.join(max(0.0, seconds))
    return None if thread.is_alive() else "".join(failed)


def _post(address: str, text: str, seconds: float) -> None:
    from urllib.request import Request, urlopen  # noqa: PLC0415 - 40 ms

    headers = {"Content-Type": "application/json", "User-Agent": "ptsflow"}
    request = Request(address, text.encode(), headers)  # noqa: S310 - http or https
    with urlopen(request, timeout=seconds):  # noqa: S310 - http or https
        pass


def _environment(store: Store, end: RunEnd) -> dict[str, str]:
    """Return the environment of a command; what is of data is text that no shell reads."""
    told = {
        "CONTAINER": end.container,
        "WORKFLOW": end.workflow,
        "STATUS": end.status,
        "FAILED": ", ".join(task.name for task in end.failed),
        "SUMMARY": end.summary,
        "FAILURES": str(end.failures),
        "TICK": as_json.when(end.tick) or "",
    }
    named = {
        f"PTSFLOW_{name}": cut(fmt.clean(text), _LONGEST) for name, text in told.items()
    }
    with contextlib.suppress(Exception):
        # A URL with a password is masked here: then the command has what this process has.
        if "***" not in store.url:
            named["PTSFLOW_STORE"] = absolute(store.url)
    return os.environ | named
