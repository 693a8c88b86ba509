"""Runs beside a test, and what is read of them in the end."""

from __future__ import annotations

import threading
from typing import Any

import ptsflow
from ptsflow import Workflow
from ptsflow.client import connect
from tests.executors.cluster_flows import entries

#: The error of an attempt whose worker is gone.
LOST = r"the Dask worker [\w.-]+:\d+ was lost"


def errors_of(url: str) -> list[tuple[str, str]]:
    """Return class and text of what failed attempts ended by."""
    with connect(url) as client:
        record = client.store.container("tested")
        assert record is not None
        tasks = client.store.tasks(record.uid)
        ledgers = [client.store.attempts(record.uid, task.name) for task in tasks]
    return [(e.error_type, e.error) for ledger in ledgers for e in ledger if e.error]


def check_one_body_each(journal: str) -> None:
    """No attempt was begun twice, and no two bodies of a task ran at the same time."""
    found = entries(journal)
    starts = [entry for entry in found if entry.what == "start"]
    assert len({(e.task, e.attempt, e.pid) for e in starts}) == len(starts)
    for ended in (entry for entry in found if entry.what == "end"):
        begun = max(e.at for e in starts if e.pid == ended.pid and e.task == ended.task)
        others = [e for e in starts if e.task == ended.task and e.pid != ended.pid]
        assert not [e for e in others if begun < e.at < ended.at], found


class Beside:
    """Runs a workflow in another thread."""

    def __init__(
        self, flow: Workflow, url: str, executor: Any, jobs: int | None = 4
    ) -> None:
        self._report: list[ptsflow.Report] = []
        self._arguments = (flow, url, executor, jobs)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        flow, url, executor, jobs = self._arguments
        self._report.append(
            ptsflow.run(flow, url, "tested", jobs=jobs, executor=executor)
        )

    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def report(self) -> ptsflow.Report:
        self._thread.join(60)
        return self._report[0]
