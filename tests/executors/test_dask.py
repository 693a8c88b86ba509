"""Bodies on a real Dask cluster, whatever becomes of them, of workers and scheduler."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import ptsflow
from ptsflow import Status
from ptsflow.client import connect
from ptsflow.events import Event, Progressed, TaskChanged
from ptsflow.executors.cluster import queue
from tests.executors.beside import (
    LOST,
    Beside,
    check_one_body_each,
    errors_of,
)
from tests.executors.cluster_flows import (
    Fragile,
    Gated,
    Limited,
    Patient,
    Queued,
    Saving,
    entries,
    open_gate,
    until,
)
from tests.executors.dask_cluster import (
    DaskCluster,
    worker_of,
)
from tests.executors.flows import LimitedOne, One, StalledOne, TimedOne
from tests.executors.test_outcomes import (
    BOTH,
    DEATHS,
    HELD,
    LINE,
    LONG,
    MEMORY,
    ONCE,
    check_failed,
    outcome,
)
from tests.support import waiting
from tests.support.containers import tasks_of
from tests.support.processes import left_of

pytest.importorskip("distributed")


# -- how bodies end -----------------------------------------------------------------


@pytest.mark.parametrize(("act", "text"), [*BOTH, *DEATHS])
def test_what_becomes_of_a_body_is_the_same_as_beside_the_runner(
    act: str, text: str, url: str, cluster: DaskCluster
) -> None:
    tasks = outcome(One(act=act), url, cluster.address)

    check_failed(tasks["tested"], text, 1 if act in ONCE else 2)
    assert len(cluster.workers) == 2


@pytest.mark.parametrize("act", HELD)
@pytest.mark.parametrize(("kind", "text"), LONG)
def test_what_takes_too_long_is_killed_on_its_worker(
    kind: type[TimedOne | StalledOne],
    text: str,
    act: str,
    url: str,
    cluster: DaskCluster,
) -> None:
    tasks = outcome(kind(act=act), url, cluster.address)

    check_failed(tasks["tested"], text + MEMORY)


def test_the_time_until_a_worker_is_free_does_not_count(
    url: str, cluster: DaskCluster
) -> None:
    # Twelve at a time on four threads: the last ones begin after 1.2 s.
    report = ptsflow.run(Queued(), url, "tested", jobs=12, executor=cluster.address)

    assert report.ok, errors_of(url)


def test_a_memory_limit_holds_on_a_worker(url: str, cluster: DaskCluster) -> None:
    tasks = outcome(LimitedOne(act="asks_too_much"), url, cluster.address)

    check_failed(tasks["tested"], rf"MemoryError {LINE}")


def test_what_a_body_prints_without_end_is_not_all_sent(
    tmp_path: Path, cluster: DaskCluster
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    outcome(One(act="raises"), f"{url}1", cluster.address)  # imports what is needed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tasks = outcome(One(act="prints_100_mb"), f"{url}2", cluster.address)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert tasks["tested"].result == "printed"
    assert grown < 20_000, f"the runner grew by {grown} KB"


def test_progress_checkpoints_and_prints_come_back(
    url: str, cluster: DaskCluster
) -> None:
    seen: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progressed):
            seen.extend(entry.percentage for entry in event.progress)
        elif isinstance(event, TaskChanged) and event.after is not None:
            # The checkpoint's commit may take the progress along.
            seen.append(event.after.percentage_complete)

    report = ptsflow.run(
        Saving(), url, "tested", executor=cluster.address, listeners=[listen]
    )
    with connect(url) as client:
        record = client.store.container("tested")
        assert record is not None
        with contextlib.closing(client.store.logs()) as logs:
            chunks, _ = logs.read(record.uid)

    assert report.ok
    assert report.result("work") == "went on from {'done': 1}"
    assert 25.0 in seen
    assert "as far as this" in [line.text for c in chunks for line in c.lines]


def test_the_record_says_which_process_made_the_attempt(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    open_gate(journal)
    ptsflow.run(Gated(journal=journal), url, "tested", executor=cluster.address)
    with connect(url) as client:
        record = client.store.container("tested")
        assert record is not None
        tasks = {task.name: task for task in client.store.tasks(record.uid)}

    ran = {entry.task: entry.pid for entry in entries(journal)}
    assert tasks["work[0]"].ran_by == f"{os.uname().nodename}:{ran['work[0]']}"


# -- workers that die ---------------------------------------------------------------


def test_a_killed_worker_costs_its_attempts_alone(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    run = Beside(Gated(journal=journal, items=4), url, cluster.address)
    started = until(journal, "start", 4)
    struck = worker_of(started[0].pid)
    hit = [entry for entry in started if worker_of(entry.pid) == struck]
    cluster.kill(struck)
    cluster.mend()
    until(journal, "start", 4 + len(hit))
    open_gate(journal)
    report = run.report()

    assert len(hit) == 2
    assert report.ok
    assert report.result("total") == 6
    tasks = tasks_of(url, "tested")
    for entry in started:
        assert tasks[entry.task].invoke_count == (2 if entry in hit else 1)
    errors = errors_of(url)
    assert [kind for kind, _ in errors] == ["WorkerLost"] * len(hit)
    assert all(re.fullmatch(LOST, error) for _, error in errors)
    check_one_body_each(journal)


def test_what_dask_calls_again_by_itself_is_refused(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    # Dask calls again, at once, what ran on a worker that died; nothing is to be tried
    # again here, so whatever starts a second time was started by Dask.
    run = Beside(Fragile(journal=journal), url, cluster.address)
    started = until(journal, "start", 2)
    cluster.kill(worker_of(started[0].pid))
    time.sleep(1.5)
    open_gate(journal)
    report = run.report()

    assert not report.ok
    assert [e.task for e in entries(journal) if e.what == "start"] == [
        entry.task for entry in started
    ]


def test_bodies_go_with_their_worker(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    run = Beside(Fragile(journal=journal), url, cluster.address)
    pids = [entry.pid for entry in until(journal, "start", 2)]
    for worker in cluster.workers:
        cluster.kill(worker)
    left = left_of(pids)
    report = run.report()

    assert left == []
    assert not report.ok
    assert [re.sub(LOST, "lost", error) for _, error in errors_of(url)] == ["lost"] * 2


def test_a_worker_that_stands_still_is_not_waited_for(
    url: str,
    journal: str,
    cluster: DaskCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue, "_PATIENCE", 0.5)
    run = Beside(Limited(journal=journal), url, cluster.address)
    pid = until(journal, "start", 1)[0].pid
    worker = worker_of(pid)
    # Only now does the runner know, too, that the body has begun.
    waiting.until(lambda: tasks_of(url, "tested")["work"].status_text == "begun")
    os.kill(worker, signal.SIGSTOP)
    try:
        waiting.until(
            lambda: tasks_of(url, "tested")["work"].status is not Status.RUNNING
        )
    finally:
        os.kill(worker, signal.SIGCONT)
    left = left_of([pid])
    was_over = run.is_over()
    open_gate(journal)
    report = run.report()

    assert left == []
    assert not was_over
    assert not report.ok
    assert [re.sub(LOST, "lost", error) for _, error in errors_of(url)] == ["lost"]


def test_a_killed_scheduler_ends_the_run_and_a_new_one_continues_it(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    run = Beside(Fragile(journal=journal, items=6), url, cluster.address)
    until(journal, "start", 4)
    cluster.kill(cluster.scheduler)
    report = run.report()
    states = {
        task.status for task in tasks_of(url, "tested").values() if task.name != "total"
    }
    errors = errors_of(url)
    cluster.mend()
    open_gate(journal)
    again = ptsflow.run(
        Fragile(journal=journal, items=6), url, "tested", executor=cluster.address
    )

    assert not report.ok
    assert Status.RUNNING not in states
    lost = rf"the Dask scheduler at tcp://127.0.0.1:{cluster.port} was lost(: .+)?"
    assert len(errors) == 6
    assert [e for _, e in errors if not re.fullmatch(f"{LOST}|{lost}", e)] == []
    assert again.ok
    assert again.result("total") == 15


def test_a_scheduler_that_comes_back_is_used_again(
    url: str, journal: str, cluster: DaskCluster
) -> None:
    run = Beside(Patient(journal=journal), url, cluster.address)
    until(journal, "start", 2)
    cluster.kill(cluster.scheduler)
    open_gate(journal)
    cluster.mend()
    report = run.report()

    assert report.ok
    assert report.result("total") == 1


def test_what_is_missing_on_a_worker_is_named(
    url: str,
    tmp_path: Path,
    cluster: DaskCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "far_flow.py").write_text(
        "from __future__ import annotations\n"
        "import feedlib\n"
        "from ptsflow import Workflow, step\n"
        "class Far(Workflow):\n"
        "    @step(retry=0)\n"
        "    def work(self) -> str:\n"
        "        return 'done'\n"
    )
    monkeypatch.setitem(sys.modules, "feedlib", ModuleType("feedlib"))
    monkeypatch.syspath_prepend(f"{tmp_path}")
    monkeypatch.delitem(sys.modules, "far_flow", raising=False)
    import far_flow  # type: ignore[import-not-found] # noqa: PLC0415 - written above

    report = ptsflow.run(far_flow.Far(), url, "tested", executor=cluster.address)
    error = tasks_of(url, "tested")["work"].error

    assert not report.ok
    assert error is not None
    assert re.fullmatch(
        r"the Dask worker [\w.-]+:\d+ could not import far_flow: far_flow: importing it "
        "failed: ModuleNotFoundError: .*feedlib.*; install it there",
        error,
    ), error
