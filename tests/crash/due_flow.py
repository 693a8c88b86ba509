"""An hourly workflow whose steps fail often, and a caller of `--due` on a fast clock.

Run as a program it calls `ptsflow run ... --due` again and again: so many virtual hours
pass in so many seconds. Arguments: the store, the journal, when this began (in
milliseconds), how many hours there are, and how many seconds an hour takes.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from ptsflow import Cron, Hour, Retry, RunEnd, Workflow, step
from ptsflow.cli import due
from ptsflow.cli.main import call
from ptsflow.core.insight import RunRecord
from ptsflow.core.trouble import ordinal_after
from ptsflow.host.clock import system_clock
from ptsflow.runner import hooks
from tests.support import journals

JOURNAL = "DUE_JOURNAL"
#: What is added to the journal's name: for what hooks were told, and for the runs whose
#: hooks are done.
TOLD, DONE = ".told", ".done"
HOUR = 3_600_000
STEPS = ("fetch", "load", "save")
#: How often a body fails.
FAULTS = 0.3
#: The longest pause before a decision about hooks is kept, and within a hook, in seconds.
PAUSE = 0.1


class Hourly(Workflow):
    """Three steps, each of which fails now and then."""

    container = "hourly:{hour:%Y%m%dT%H}"
    schedule = Cron("0 * * * *", catch_up="30d", again="1ms")
    hour: Hour

    @step(retry=Retry(0))
    def fetch(self) -> int:
        return _body(self, "fetch")

    @step(retry=Retry(0))
    def load(self, fetch: int) -> int:
        return _body(self, "load") + fetch

    @step(retry=Retry(0))
    def save(self, load: int) -> int:
        return _body(self, "save") + load

    def on_failure(self, end: RunEnd) -> None:
        _tell(end)

    def on_recovery(self, end: RunEnd) -> None:
        _tell(end)


def _tell(end: RunEnd) -> None:
    _pause()
    journals.append(
        os.environ[JOURNAL] + TOLD, end.hook.value, end.container, end.ended_at
    )


def _call_hooks(call: Callable[..., None], *given: Any) -> None:
    """Call the hooks of a run, and note that they are done."""
    call(*given)
    run: RunRecord = given[-1]
    journals.append(os.environ[JOURNAL] + DONE, run.uid, run.fence, system_clock())


def _after_a_pause(call: Callable[..., Any], *given: Any) -> Any:
    _pause()
    return call(*given)


def _pause() -> None:
    """Wait a little: others decide meanwhile, or this process is killed."""
    time.sleep(random.uniform(0, PAUSE))  # noqa: S311 - no secret


def _body(workflow: Hourly, name: str) -> int:
    journal, hour = os.environ[JOURNAL], f"{workflow.hour:%Y%m%dT%H}"
    journals.append(journal, "begin", hour, name, os.getpid())
    time.sleep(0.01)
    if random.random() < FAULTS:  # noqa: S311 - no secret
        journals.append(journal, "fail", hour, name, os.getpid())
        raise OSError("a fault")
    journals.append(journal, "end", hour, name, os.getpid())
    return 1


def first_hour(began: int) -> int:
    """Return the next full hour: virtual time is never before the time that runs end at."""
    return (began // HOUR + 1) * HOUR


def virtual_time(began: int, hours: int, seconds: float) -> int:
    """Return the virtual time, which stands still when the hours are over."""
    passed = (system_clock() - began) * HOUR / (seconds * 1000)
    return first_hour(began) + min(round(passed), hours * HOUR - 1)


def main() -> None:
    store, journal, began, hours, seconds = sys.argv[1:]
    os.environ[JOURNAL] = journal
    now = partial(virtual_time, int(began), int(hours), float(seconds))
    mock.patch.object(due._Series, "_now", side_effect=now).start()
    slowly = partial(_after_a_pause, ordinal_after)
    mock.patch.object(hooks, "ordinal_after", side_effect=slowly).start()
    noting = partial(_call_hooks, hooks.call_hooks)
    mock.patch.object(hooks, "call_hooks", side_effect=noting).start()
    words = ["run", f"{Path(__file__)}:Hourly", "--due", "-q", "--store", store]
    while True:
        code = call(words)
        if code not in (0, 1):
            journals.append(journal, "code", code, "-", os.getpid())
        time.sleep(0.1)


if __name__ == "__main__":
    main()
