"""`submit` and `worker`: what is queued, and what dead runners left, is run."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from msgspec.structs import replace

from ptsflow.cli.main import call
from ptsflow.core.model import ContainerRecord, Status
from ptsflow.core.work_queue import QueueEntry
from ptsflow.errors import StoreUnavailable
from ptsflow.service.children import Children
from ptsflow.service.worker import Duty, QueueWorker
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.cli.calling import Place, appears, flow
from tests.stores.making import held
from tests.support.databases import listening
from tests.support.processes import PTSFLOW, left_of
from tests.support.waiting import until

FEED = """
import os, signal, sys, time
from pathlib import Path
from datetime import datetime
from ptsflow import Cron, Secret, TaskHandle, Workflow, step

HERE = Path(__file__).parent

class Feed(Workflow):
    container = "feed:{hour}"
    hour: int

    @step(retry=0)
    def load(self) -> None:
        with (HERE / "journal").open("a") as file:
            file.write(f"{self.hour} ")
        if (HERE / f"broken{self.hour}").exists():
            raise OSError("it is broken")

class Hourly(Workflow):
    container = "hourly:{hour:%Y%m%dT%H}"
    schedule = Cron("0 * * * *", params={"hour": "{tick:%Y-%m-%dT%H}"})
    hour: datetime

    @step(retry=0)
    def load(self) -> None:
        with (HERE / "journal").open("a") as file:
            file.write("h ")
        if (HERE / "broken").exists():
            raise OSError("it is broken")

class Deadly(Workflow):
    container = "deadly"

    @step
    def die(self) -> None:
        with (HERE / "journal").open("a") as file:
            file.write("d ")
        os.kill(os.getpid(), signal.SIGKILL)

class Long(Workflow):
    container = "long"
    gentle: bool

    @step
    def wait(self, task: TaskHandle) -> None:
        (HERE / "pid").write_text(str(os.getpid()))
        while not (task.cancelled and self.gentle):
            if task.cancelled:
                (HERE / "cancelled").touch()
            time.sleep(0.02)

    @step
    def rest(self) -> None:
        pass

class Mended(Workflow):
    container = "mended"
    on_failure = f"rm {HERE}/broken; {sys.executable} -m ptsflow submit {__file__}:Mended"

    @step(retry=0)
    def load(self) -> None:
        if (HERE / "broken").exists():
            raise OSError("it is broken")

class Private(Workflow):
    container = "private"
    token: Secret[str]

    @step
    def tell(self) -> int:
        return len(self.token.get_secret_value())
"""
IDLE = ("worker", "feed.py:Feed", "--until-idle")


@pytest.fixture
def feed(place: Place) -> Place:
    (place.folder / "feed.py").write_text(FEED)
    return place


def submitted(target: str, place: Place, *words: str) -> str:
    """Submit a container without a process for it; return what is printed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        words = (f"{place.folder}/{target}", *words, "--store", place.store)
        assert call(["submit", *words]) == 0
    return said.getvalue().strip()


def submit(place: Place, hour: int, *words: str) -> str:
    return submitted("feed.py:Feed", place, "-p", f"hour={hour}", *words)


def journal(place: Place) -> str:
    path = place.folder / "journal"
    return path.read_text() if path.exists() else ""


def queued(place: Place, *workflows: str) -> list[str]:
    with closing(open_store(place.store)) as store:
        return [e.container for e in store.queue.due(workflows or ["Feed"], 1 << 50)]


def stored_as(place: Place, name: str) -> ContainerRecord:
    with closing(open_store(place.store)) as store:
        record = store.container(name)
        assert record is not None
        return record


def test_what_is_submitted_is_run_by_priority_with_its_parameters(feed: Place) -> None:
    assert submit(feed, 1, "--priority", "-1") == "feed:1"
    assert submit(feed, 2) == "feed:2"
    assert submit(feed, 3, "--priority", "7") == "feed:3"
    later = feed.json("submit", "feed.py:Feed", "-p", "hour=4", "--at", "2h")
    assert (later["container"], later["queued"]) == ("feed:4", True)
    assert (stored_as(feed, "feed:1").status, journal(feed)) == (Status.PENDING, "")

    ended = feed.call(*IDLE)
    assert (ended.stdout, ended.returncode) == ("", 0)
    assert journal(feed) == "3 2 1 "
    assert [stored_as(feed, f"feed:{n}").status for n in (1, 2, 3)] == [Status.DONE] * 3
    assert queued(feed) == ["feed:4"]

    again = feed.call("submit", "feed.py:Feed", "-p", "hour=1")
    assert (again.stdout, again.returncode) == ("feed:1\n", 0)
    assert again.stderr == "feed:1: it is complete, there is nothing to do\n"
    assert queued(feed) == ["feed:4"]

    assert feed.json("cancel", "feed:4")["cancelled"]
    assert queued(feed) == []


def test_a_run_that_fails_is_done_with_until_it_is_submitted_again(
    feed: Place,
) -> None:
    (feed.folder / "broken1").touch()
    submit(feed, 1)
    submit(feed, 2)
    failed = feed.call(*IDLE)
    assert failed.returncode == 1
    assert "OSError: it is broken" in failed.stderr
    assert sorted(journal(feed).split()) == ["1", "2"]
    assert (queued(feed), stored_as(feed, "feed:1").status) == ([], Status.FAILED)
    assert feed.call(*IDLE).returncode == 0

    (feed.folder / "broken1").unlink()
    submit(feed, 1)
    assert (queued(feed), stored_as(feed, "feed:1").status) == (
        ["feed:1"],
        Status.PENDING,
    )
    assert feed.call(*IDLE).returncode == 0
    assert stored_as(feed, "feed:1").status is Status.DONE


def test_what_is_submitted_again_before_its_runner_ended_is_run_again(
    feed: Place,
) -> None:
    (feed.folder / "broken").touch()
    submitted("feed.py:Mended", feed)

    ended = subprocess.run(
        [*PTSFLOW, "worker", "feed.py:Mended", "--until-idle"],
        cwd=feed.folder,
        env=feed.env,
        stderr=subprocess.DEVNULL,  # It names commands that are outdated when it ends.
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert stored_as(feed, "mended").status is Status.DONE
    assert queued(feed, "Mended") == []


def test_what_does_not_fit_or_is_run_by_somebody_is_not_submitted(feed: Place) -> None:
    submit(feed, 1)
    other = feed.call("submit", "feed.py:Feed", "-p", "hour=2", "-c", "feed:1")
    assert other.returncode == 4
    assert "made with other parameters: hour was 1, is 2" in other.stderr

    assert feed.call("submit", "feed.py:Feed", "-p", "hour=2", "--at", "x").stderr == (
        "ptsflow: --at: expected a time such as 2011-09-30T13:00 or 2h, found 'x'\n"
    )

    pid = feed.folder / "pid"
    runner = feed.start("run", flow("Slow"), "-p", f"pid={pid}")
    appears(pid)
    busy = feed.call("submit", flow("Slow"), "-p", f"pid={pid}")
    pid.with_suffix(".done").touch()
    runner.communicate(timeout=60)
    assert busy.returncode == 5


def test_no_code_is_loaded_because_a_store_names_it(feed: Place) -> None:
    submit(feed, 1)
    with closing(open_store(feed.store)) as store:
        ours = replace(held(store, store.create("feed:1")[0].uid), target="os:system")
        assert store.release(ours)
        theirs, _ = store.create("theirs")
        theirs = replace(held(store, theirs.uid), workflow="system", target="os:system")
        assert store.release(replace(theirs, params="{}"))
        for workflow in ("os:system", "system"):
            store.queue.put(
                QueueEntry(uid=theirs.uid, container="theirs", workflow=workflow, at=0)
            )

    assert feed.call(*IDLE).returncode == 0
    assert journal(feed) == "1 "
    assert queued(feed, "system") == ["theirs"]
    assert stored_as(feed, "theirs").fence == 1


def test_a_class_of_the_same_name_but_another_file_is_left_alone(feed: Place) -> None:
    submit(feed, 1)
    twin = FEED.replace("def load", "def other").replace("{hour}", "x{hour}")
    (feed.folder / "twin.py").write_text(twin)

    ended = feed.call("worker", "twin.py:Feed", "--until-idle")
    assert ended.returncode == 0
    assert ended.stderr.count("skipped, as it was made by the class Feed of") == 1
    assert (queued(feed), journal(feed)) == (["feed:1"], "")


def test_a_secret_is_given_to_the_worker(
    feed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.env["TOKEN"] = "hidden"  # noqa: S105 - of a test
    monkeypatch.setenv("TOKEN", feed.env["TOKEN"])
    words = ("feed.py:Private", "-p", "token=env:TOKEN")
    submitted(words[0], feed, *words[1:])
    without = feed.call("worker", "feed.py:Private", "--until-idle")
    assert without.returncode == 1
    assert "has to be given again" in without.stderr

    submitted(words[0], feed, *words[1:])
    assert feed.call("worker", *words, "--until-idle").returncode == 0
    assert stored_as(feed, "private").status is Status.DONE


def test_what_is_due_is_run_once_unless_it_is_left_to_cron(feed: Place) -> None:
    words = ("worker", "feed.py:Hourly", "feed.py:Feed", "--until-idle")
    assert feed.call(*words, "--no-due").returncode == 0
    assert journal(feed) == ""
    (feed.folder / "broken").touch()
    failed = feed.call(*words)
    assert failed.returncode == 1
    assert "OSError: it is broken" in failed.stderr
    assert feed.call(*words).returncode == 0
    assert journal(feed) == "h ", "a failed hour is due again in an hour"
    with closing(open_store(feed.store)) as store:
        assert [run.tick is not None for run in store.runs("Hourly")] == [True]


def test_a_container_whose_runner_dies_three_times_running_is_left_alone(
    feed: Place,
) -> None:
    submitted("feed.py:Deadly", feed)
    ended = feed.call("worker", "feed.py:Deadly", "--until-idle")

    assert ended.returncode == 1
    assert ended.stderr.count("deadly: its runner was killed by SIGKILL") == 3
    assert "3 times in a row; it is left alone for 10 minutes\n" in ended.stderr
    assert journal(feed) == "d d d "


def test_what_a_dead_runner_left_is_taken_over(place: Place) -> None:
    pid = place.folder / "pid"
    runner = place.start("run", flow("Slow"), "-p", f"pid={pid}")
    appears(pid)
    runner.kill()
    runner.communicate(timeout=60)
    pid.with_suffix(".done").touch()

    assert place.call("worker", flow("Slow"), "--until-idle").returncode == 0
    with closing(open_store(place.store)) as store:
        assert [r.status for r in store.recent()] == [Status.DONE]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_while_it_loads_its_targets_ends_well(
    place: Place, number: signal.Signals
) -> None:
    (place.folder / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(60)\n"
    )
    worker = place.start("worker", "slow.py")
    appears(place.folder / "loading")
    worker.send_signal(number)
    _, said = worker.communicate(timeout=60)

    assert (worker.returncode, said) == (0, "")


@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_is_stopped_stops_what_it_runs(feed: Place, times: int) -> None:
    for name in ("first", "next"):
        words = ("-c", name, "-p", f"gentle={'yes' if times == 1 else 'no'}")
        assert submitted("feed.py:Long", feed, *words) == name
    worker = feed.start("worker", "feed.py:Long")
    appears(feed.folder / "pid")
    until((feed.folder / "pid").read_text)
    ran = int((feed.folder / "pid").read_text())
    for number in range(times):
        until(lambda: number == 0 or (feed.folder / "cancelled").exists())  # noqa: B023
        worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=60)

    assert (worker.returncode, left_of([ran])) == (0, [])
    assert "stopping: waiting for 1 that run; once more: at once\n" in said
    records = [stored_as(feed, name) for name in ("first", "next")]
    assert {(r.status, r.owner) for r in records} == {(Status.PENDING, None)}
    assert sorted(queued(feed, "Long")) == ["first", "next"]
    assert sorted(r.fence for r in records) == [1, 2], "one of them was run"


def test_an_idle_look_asks_the_store_three_times_however_many_workflows(
    stored: Place,
) -> None:
    duty = Duty(
        workflows=["A", "B", "C"],
        command=lambda _: ["false"],
        is_foreign=lambda _: False,
        until_idle=True,
    )
    with (
        mock.patch("ptsflow.service.worker.wait", return_value=False) as waited,
        listening() as ear,
        closing(open_store(stored.store)) as store,
    ):
        ear.commands.clear()
        worker = QueueWorker(store, duty, Children({}), print)
        worker.run()
        assert worker.is_ok
        assert not waited.called
        reads = len(ear.commands) if "mongodb" in stored.store else reads_of(store)
    assert reads <= 3


def reads_of(store: Store) -> int:
    """Return how often the worker asked SQLite: once for each of two tables."""
    return len([store.queue.due([], 0), store.recent(1)])


def test_a_store_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    duty = Duty(
        workflows=["A"], command=lambda _: ["false"], is_foreign=lambda _: False
    )
    with closing(open_store(f"sqlite:///{tmp_path}/pts.db")) as store:
        away = mock.Mock(wraps=store)
        away.recent.side_effect = [StoreUnavailable("gone"), StoreUnavailable(), [], []]
        away.queue.due.return_value = []
        worker = QueueWorker(away, duty, Children({}), said.append)
        worker._duty = replace(duty, until_idle=True)
        with mock.patch("ptsflow.service.worker.wait", return_value=False) as waited:
            waited.side_effect = lambda _: setattr(worker, "_look_at", 0.0)
            worker.run()

    assert said == ["the store is away, looking again: gone", "the store is back"]
