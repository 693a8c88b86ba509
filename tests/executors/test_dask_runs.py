"""Runs on a real Dask cluster: stopped, killed, refused, and for longer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import ptsflow
from ptsflow import Status, step
from ptsflow.client import connect
from ptsflow.errors import ExtraMissing, UsageError
from ptsflow.executors.cluster.dask import host_for
from ptsflow.host import container_lock
from tests.executors.beside import (
    Beside,
    check_one_body_each,
    errors_of,
)
from tests.executors.cluster_flows import (
    Gated,
    Short,
    Trivial,
    entries,
    open_gate,
    until,
)
from tests.executors.dask_cluster import (
    DaskCluster,
)
from tests.support.containers import tasks_of
from tests.support.processes import PTSFLOW, environment, free_port, is_alive, left_of
from tests.support.waiting import until as eventually
from tests.support.wording import THEIRS, Message

pytest.importorskip("distributed")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


# -- how many at a time ------------------------------------------------------------


class Mixed(Gated):
    """The same, and a step beside the runner."""

    @step(executor="thread")
    def tell(self, total: int) -> int:
        return total


@pytest.mark.parametrize(
    "case",
    [
        pytest.param((Gated, None, 8), id="all on the cluster"),
        pytest.param((Gated, 3, 3), id="it is said"),
        pytest.param((Mixed, None, 2), id="some beside the runner"),
    ],
)
def test_as_many_are_handed_out_as_the_cluster_has_threads_and_four_more(
    case: tuple[type[Gated], int | None, int],
    url: str,
    journal: str,
    cluster: DaskCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workflow, jobs, expected = case
    monkeypatch.setattr("ptsflow.executors.placement.default_jobs", lambda: 2)
    run = Beside(workflow(journal=journal, items=12), url, cluster.address, jobs)
    until(journal, "start", min(4, expected))

    def running() -> int:
        tasks = tasks_of(url, "tested").values()
        return sum(task.status is Status.RUNNING for task in tasks)

    eventually(lambda: running() >= expected)
    time.sleep(0.5)
    handed_out = running()
    open_gate(journal)

    assert run.report().ok
    assert handed_out == expected


# -- stopping -----------------------------------------------------------------------


def start_runner(
    folder: Path, cluster: DaskCluster, *words: str, journal: str
) -> subprocess.Popen[bytes]:
    command = [*PTSFLOW, "run", *words]
    command += ["-p", f"journal={journal}", "-c", "tested", "-q", "-j", "6"]
    url = f"sqlite:///{folder}/pts.db"
    env = environment(TMPDIR=cluster.folder, PTSFLOW_STORE=url)
    command += ["--executor", cluster.address]
    with (folder / "stderr").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, env=env, stderr=output)


def presence_of(url: str, folder: Path) -> Path:
    """Return the file that bodies hold on the cluster's host."""
    with connect(url) as client:
        record = client.store.container("tested")
        assert record is not None
        name = container_lock.file_of(client.store.key_of(record)).name
    return folder / f"ptsflow-{os.getuid()}" / name


GATED = "tests.executors.cluster_flows:Gated"


def test_a_stopped_run_starts_nothing_that_waits_for_a_worker(
    url: str, journal: str, tmp_path: Path, cluster: DaskCluster
) -> None:
    words = [GATED, "-p", "items=6", "-p", "heeds=true"]
    runner = start_runner(tmp_path, cluster, *words, journal=journal)
    until(journal, "start", 4)
    runner.send_signal(signal.SIGINT)
    code = runner.wait(timeout=100)
    tasks = [t for t in tasks_of(url, "tested").values() if t.name.startswith("work[")]
    open_gate(journal)
    again = start_runner(tmp_path, cluster, *words, journal=journal).wait(timeout=100)

    assert code == 130
    assert (
        sorted(task.status for task in tasks)
        == [Status.DONE] * 4 + [Status.PENDING] * 2
    )
    assert again == 0
    assert len([e for e in entries(journal) if e.what == "start"]) == 6


def test_a_second_signal_ends_bodies_at_once(
    url: str, journal: str, tmp_path: Path, cluster: DaskCluster
) -> None:
    runner = start_runner(tmp_path, cluster, GATED, journal=journal)
    pids = [entry.pid for entry in until(journal, "start", 2)]
    runner.send_signal(signal.SIGINT)
    time.sleep(0.5)
    runner.send_signal(signal.SIGINT)
    code = runner.wait(timeout=100)
    living = [pid for pid in pids if is_alive(pid)]

    assert code == 130
    assert living == []
    assert Status.RUNNING not in {
        task.status for task in tasks_of(url, "tested").values()
    }


def test_no_body_outlives_a_killed_runner_and_none_overlaps_its_repetition(
    url: str, journal: str, tmp_path: Path, cluster: DaskCluster
) -> None:
    runner = start_runner(tmp_path, cluster, GATED, journal=journal)
    pids = [entry.pid for entry in until(journal, "start", 2)]
    os.kill(pids[0], signal.SIGSTOP)
    runner.kill()
    runner.wait()
    killed = time.monotonic()
    again = start_runner(tmp_path, cluster, GATED, journal=journal)
    left = left_of(pids)
    open_gate(journal)
    code = again.wait(timeout=100)

    assert left == []
    assert code == 0
    restarted = [e for e in entries(journal) if e.pid not in pids]
    assert min(entry.at for entry in restarted) >= killed
    assert len([e for e in restarted if e.what == "start"]) == 2
    assert not presence_of(url, cluster.folder).exists()


def test_nothing_of_dask_reaches_the_terminal(
    journal: str, tmp_path: Path, cluster: DaskCluster
) -> None:
    open_gate(journal)
    code = start_runner(tmp_path, cluster, GATED, journal=journal).wait(timeout=100)
    said = (tmp_path / "stderr").read_text()

    assert code == 0
    assert "distributed" not in said
    assert "Traceback" not in said


# -- which scheduler ----------------------------------------------------------------


def test_dask_alone_is_the_scheduler_of_the_environment(
    url: str, journal: str, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", f"127.0.0.1:{cluster.port}")
    open_gate(journal)
    report = ptsflow.run(Gated(journal=journal), url, "tested", executor="dask")

    assert report.ok


def test_dask_without_an_address_is_refused(
    url: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(UsageError) as refused:
        ptsflow.run(Gated(journal=journal), url, "tested", executor="dask")

    assert str(refused.value) == (
        "executor 'dask' names no Dask scheduler; give its host and port, as in "
        "--executor dask://HOST:8786, or set DASK_SCHEDULER_ADDRESS"
    )


def test_a_scheduler_that_is_not_there_is_refused(url: str, journal: str) -> None:
    port = free_port()
    with pytest.raises(UsageError) as refused:
        ptsflow.run(
            Gated(journal=journal), url, "tested", executor=f"dask://127.0.0.1:{port}"
        )

    assert str(refused.value) == Message(
        f"no Dask scheduler can be reached at tcp://127.0.0.1:{port}: {THEIRS}; start "
        "one there with `dask scheduler`, or correct the address"
    )


@pytest.mark.parametrize(
    ("workers", "scheduler", "local"),
    [
        pytest.param([], "tcp://127.0.0.1:8786", "127.0.0.1", id="no workers yet"),
        pytest.param(["tcp://127.0.0.2:4711"], "tcp://[::1]:8786", "::1", id="IPv6"),
        pytest.param(
            ["inproc://10.0.0.1/1/2"], "tls://127.0.0.1:1", "127.0.0.1", id="tls"
        ),
    ],
)
def test_the_runner_listens_where_the_workers_are(
    workers: list[str], scheduler: str, local: str
) -> None:
    client = SimpleNamespace(
        scheduler_info=lambda: {"workers": dict.fromkeys(workers)},
        scheduler=SimpleNamespace(address=scheduler),
    )

    assert host_for(SimpleNamespace(client=client)) == local


def test_without_the_extra_it_is_named(
    url: str, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ExtraMissing) as refused:
        ptsflow.run(Gated(journal=journal), url, "tested", executor="dask")

    assert str(refused.value) == (
        "executor \"dask\" needs the extra: pip install 'ptsflow[dask]'"
    )
    assert refused.value.exit_code == 2


# -- for longer ---------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_workers_that_die_at_random_moments_lose_nothing(
    journal: str, tmp_path: Path, cluster: DaskCluster
) -> None:
    for seed in range(12):
        rng = random.Random(seed)  # noqa: S311 - moments, no secrets
        cluster.mend()
        mine = f"{journal}-{seed}"
        flow = Short(journal=mine)
        store = f"sqlite:///{tmp_path}/{seed}.db"
        run = Beside(flow, store, cluster.address)
        for _ in range(3):
            time.sleep(rng.uniform(0.1, 0.7))
            cluster.kill(rng.choice(cluster.workers))
            cluster.mend()
        report = run.report()

        assert report.ok, (seed, errors_of(store))
        assert report.result("total") == sum(range(24))
        check_one_body_each(mine)
        done = [entry.task for entry in entries(mine) if entry.what == "end"]
        assert len(set(done)) == 24


@pytest.mark.soak
def test_it_costs_little_more_than_dask_alone(url: str, cluster: DaskCluster) -> None:
    from distributed import Client  # noqa: PLC0415 - an extra

    address = f"tcp://127.0.0.1:{cluster.port}"
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call] # it has no types
        executor = client.get_executor(pure=False)
        list(executor.map(abs, range(8)))
        begun = time.monotonic()
        for future in [executor.submit(abs, item) for item in range(200)]:
            future.result()
        bare = time.monotonic() - begun
    begun = time.monotonic()
    report = ptsflow.run(
        Trivial(items=200), url, "tested", jobs=16, executor=cluster.address
    )
    taken = time.monotonic() - begun

    assert report.ok
    # Beginning a run costs what a run costs: connecting, and importing on each worker.
    assert taken < 1.3 * bare + 0.5, (taken, bare)
