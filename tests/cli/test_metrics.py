"""`metrics`: figures of workflows, as Prometheus itself reads them."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from ptsflow.client.workflow_figures import workflow_figures
from ptsflow.core.history import begun
from ptsflow.core.insight import RunStatus
from ptsflow.core.model import Status
from ptsflow.display.exposition import exposition
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.cli.calling import Place, appears, flow
from tests.stores.making import Ticker, held, schedule

Figures = dict[tuple[str, ...], float]


def read(text: str) -> Figures:
    """Return each value by the metric's name and its labels."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_store(stored: Place) -> None:
    assert stored.call("metrics").returncode == 0, "there is no store yet"
    flag, pid = stored.folder / "flag", stored.folder / "pid"
    assert stored.call("run", flow("Steady")).returncode == 0
    assert stored.call("run", flow("Steady"), "-p", "count=4").returncode == 0
    assert stored.call("run", flow("Broken"), "-p", f"flag={flag}").returncode == 1
    runner = stored.start("run", flow("Slow"), "-p", f"pid={pid}")
    appears(pid)
    ended = stored.call("metrics")
    runner.kill()
    runner.communicate(timeout=60)

    found = read(ended.stdout)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert found["ptsflow_containers", "done", "Steady"] == 2
    assert found["ptsflow_containers", "failed", "Steady"] == 0
    assert found["ptsflow_containers", "failed", "Broken"] == 1
    assert found["ptsflow_containers", "running", "Slow"] == 1
    assert found["ptsflow_failed_tasks", "Broken"] == 1
    assert found["ptsflow_last_run_retries", "Broken"] == 0
    assert found["ptsflow_progress_ratio", "Slow"] == pytest.approx(0.55)
    last = found["ptsflow_last_success_timestamp_seconds", "Steady"]
    assert time.time() - 100 < last <= time.time()
    assert 0 < found["ptsflow_last_duration_seconds", "Steady"] < 60
    assert ("ptsflow_last_success_timestamp_seconds", "Broken") not in found
    assert ("ptsflow_progress_ratio", "Steady") not in found

    after = read(stored.call("metrics").stdout)
    assert after["ptsflow_containers", "killed", "Slow"] == 1
    assert after["ptsflow_containers", "running", "Slow"] == 0


def test_a_file_is_written_whole_or_not_at_all(place: Place) -> None:
    file = place.folder / "ptsflow.prom"
    assert place.call("run", flow("Steady")).returncode == 0
    assert place.call("metrics", "-o", str(file)).returncode == 0
    assert read(file.read_text())["ptsflow_containers", "done", "Steady"] == 1
    assert [path.name for path in place.folder.glob("*prom*")] == ["ptsflow.prom"]

    refused = place.call("metrics", "-o", str(file / "below"))
    assert refused.returncode == 2
    assert refused.stderr.endswith("; name another file with -o\n")


def test_names_of_workflows_are_escaped(tmp_path: Path) -> None:
    name = 'x"} 1\n\\y'
    with closing(open_store(f"sqlite:///{tmp_path}/pts.db")) as store:
        record = held(store, store.create("one")[0].uid)
        assert store.release(replace(record, workflow=name, status=Status.FAILED))
        text = exposition(workflow_figures(store, store.now()), store.now())

    assert read(text)["ptsflow_containers", "failed", name] == 1


def test_what_is_late_by_its_schedule_is_counted(tmp_path: Path) -> None:
    clock = Ticker()
    hourly = schedule("Feed")
    first_tick = clock.now + 3_100_000
    counted = []
    with closing(open_store(f"sqlite:///{tmp_path}/pts.db", clock=clock)) as store:
        store.swap_schedule(None, hourly)
        clock.now += 4 * 3_600_000
        counted.append(_overdue(store))
        record = replace(held(store, store.create("one")[0].uid), workflow="Feed")
        failed = replace(begun(record, now=first_tick, tick=first_tick), ended_at=1)
        store.release(record, replace(failed, status=RunStatus.FAILED))
        counted.append(_overdue(store))
        done = replace(held(store, record.uid), workflow="Feed", status=Status.DONE)
        store.release(done)
        counted.append(_overdue(store))
        store.swap_schedule(hourly, replace(hourly, paused_at=clock.now))
        counted.append(_overdue(store))

    assert counted == [3, 3, 2, 0]


def _overdue(store: Store) -> float:
    text = exposition(workflow_figures(store, store.now()), store.now())
    return read(text)["ptsflow_overdue", "Feed"]


def test_without_its_library_the_command_says_what_to_install(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys  # noqa: PLC0415

    from ptsflow.cli.main import call  # noqa: PLC0415

    monkeypatch.setitem(sys.modules, "ptsflow.display.exposition", None)
    assert call(["metrics", "--store", place.store]) == 4
    assert capsys.readouterr().err.endswith(
        "which is not installed; pip install 'ptsflow[metrics]'\n"
    )
