"""Hooks: who is told of a run's end, and that a hook never changes it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import ptsflow
from ptsflow import Fail, RunEnd, TaskHandle, Workflow, step
from ptsflow.client import Client
from ptsflow.events import Event, Notice, RunEnded
from tests.support.processes import free_port, left_of

NAMES = ("ON_FAILURE", "ON_RECOVERY", "ON_DONE")
#: How long hooks may take in these tests, in seconds.
SHORT = 1.5


class Feed(Workflow):
    """Fails as long as a file is there."""

    container = "feed:{hour}"
    hour: int = 13
    broken: Path

    @step
    def check(self) -> int:
        return 1

    @step(retry=0)
    def load(self) -> int:
        if self.broken.exists():
            raise Fail(self.broken.read_text())
        return 2


class Place:
    """A store, and a file that says how runs go."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.broken = folder / "broken"
        self.log = folder / "log"
        self.events: list[Event] = []

    def run(
        self,
        kind: Callable[..., Feed] = Feed,
        *,
        hour: int = 13,
        fails: str = "",
        hooks: bool = True,
    ) -> bool:
        self.broken.unlink(missing_ok=True)
        if fails:
            self.broken.write_text(fails)
        self.events.clear()
        report = ptsflow.run(
            kind(hour=hour, broken=self.broken),
            self.client,
            listeners=[self.events.append],
            hooks=hooks,
        )
        return report.ok

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in NAMES:
        monkeypatch.delenv(f"PTSFLOW_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    with ptsflow.connect(f"sqlite:///{tmp_path}/pts.db") as client:
        yield Place(client, tmp_path)


def site(monkeypatch: pytest.MonkeyPatch, command: str, *names: str) -> None:
    for name in names or NAMES:
        monkeypatch.setenv(f"PTSFLOW_{name}", command.replace("NAME", name))


def test_failed_failed_good_is_one_failure_and_one_recovery(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(monkeypatch, f"echo NAME >> {place.log}")
    assert not place.run(fails="no")
    assert not place.run(fails="no")
    assert not place.run(hour=14, fails="no")
    assert place.run(hour=15)
    assert place.run()
    assert place.logged() == ["ON_FAILURE", "ON_DONE", "ON_DONE"]
    assert place.run(hour=14)
    assert place.logged()[3:] == ["ON_RECOVERY", "ON_DONE"]
    assert place.run(hour=14), "nothing was left to do"
    assert not place.run(hour=16, fails="no")
    assert place.logged()[5:] == ["ON_FAILURE"]
    assert place.notices == []


def test_a_container_that_is_deleted_is_repaired(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(monkeypatch, f"echo NAME >> {place.log}", "ON_FAILURE", "ON_RECOVERY")
    place.run(fails="no")
    place.run(hour=14)
    assert place.client.delete_task_container("feed:13")
    place.run(hour=15)
    assert place.logged() == ["ON_FAILURE", "ON_RECOVERY"]


def test_a_trouble_that_goes_on_is_told_again(place: Place) -> None:
    class Reminding(Feed):
        remind = "1h"
        on_failure = f"echo $PTSFLOW_FAILURES >> {place.log}"

    for _ in range(2):
        place.run(Reminding, fails="no")
    store = place.client.store
    (told,) = (run for run in store.runs() if run.told_at is not None)
    assert told.ordinal is not None
    long_ago = store.now() - 3_600_000
    assert store.number_run(told.uid, told.fence, told.ordinal, told_at=long_ago)
    place.run(Reminding, fails="no")
    assert place.logged() == ["1", "3"]


def test_no_hooks_calls_none_and_tells_of_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(monkeypatch, f"echo NAME >> {place.log}")
    place.run(fails="no", hooks=False)
    assert place.logged() == []
    place.run(fails="no")
    assert place.logged() == ["ON_FAILURE"]
    place.run(hooks=False)
    place.run(hour=14)
    assert place.logged() == ["ON_FAILURE", "ON_RECOVERY", "ON_DONE"]


def test_a_method_is_given_how_the_run_ended(place: Place) -> None:
    class Told(Feed):
        ends: ClassVar[list[RunEnd]] = []

        def on_failure(self, end: RunEnd) -> None:
            assert self.hour == 13
            self.ends.append(end)

        def on_recovery(self, end: RunEnd) -> None:
            self.ends.append(end)
            raise ValueError("no mail today")

    place.run(Told, fails="no room")
    place.run(Told)

    failure, recovery = Told.ends
    assert (failure.hook, failure.container, failure.workflow, failure.status) == (
        *("on_failure", "feed:13", "Told", "failed"),
    )
    assert failure.summary == "feed:13 failed: load: no room"
    assert [(task.name, task.error_type) for task in failure.failed] == [
        ("load", "Fail")
    ]
    assert (failure.percentage, failure.failures) == (50.0, 1)
    assert recovery.summary.startswith("Told works again: feed:13 done in ")
    assert place.notices == ["on_recovery failed: ValueError: no mail today"]
    assert isinstance(place.events[-1], RunEnded), "the last event"


def test_a_command_reads_the_status_and_its_texts_run_nothing(place: Place) -> None:
    class Reading(Feed):
        on_failure = f'cat > {place.log}; echo "$PTSFLOW_SUMMARY" > summary; env > env'

    bad = f"$(touch {place.folder}/ran) `touch {place.folder}/ran`; touch ran\n\x1b[31m"
    place.run(Reading, fails=bad)

    status = json.loads(place.log.read_text())
    assert (status["container"], status["status"]) == ("feed:13", "failed")
    assert [task["name"] for task in status["tasks"]] == ["check", "load"]
    assert status["hook"] == "on_failure"
    summary = (place.folder / "summary").read_text()
    assert summary == f"{status['summary']}\n"
    assert "$(touch" in summary
    assert not (place.folder / "ran").exists()
    env = dict(
        line.split("=", 1)
        for line in (place.folder / "env").read_text().splitlines()
        if line.startswith("PTSFLOW_")
    )
    assert env["PTSFLOW_CONTAINER"] == "feed:13"
    assert env["PTSFLOW_FAILED"] == "load"
    assert (env["PTSFLOW_STATUS"], env["PTSFLOW_WORKFLOW"]) == ("failed", "Reading")
    assert (env["PTSFLOW_TICK"], env["PTSFLOW_STORE"]) == (
        "",
        f"sqlite:///{place.folder}/pts.db",
    )


class _Ear(BaseHTTPRequestHandler):
    heard: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.heard.append(json.loads(self.rfile.read(length)))
        self.send_response(500 if self.path == "/bad" else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    _Ear.heard.clear()
    with HTTPServer(("127.0.0.1", 0), _Ear) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_is_sent_the_status(place: Place, address: str) -> None:
    class Posting(Feed):
        on_failure = f"{address}/bad"
        on_done = f"{address}/done"

    place.run(Posting, fails="no")
    assert len(place.notices) == 1
    assert place.notices[0].startswith("on_failure failed: HTTPError: ")
    place.run(Posting)
    assert place.notices == []
    assert [(told["hook"], told["status"]) for told in _Ear.heard] == [
        ("on_failure", "failed"),
        ("on_done", "done"),
    ]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 9", "exit code 9"),
        ("echo one; echo two >&2; exit 9", "exit code 9: two"),
        ("kill -9 $$", "SIGKILL"),
        ("no-such-command-at-all", "exit code 127"),
        ("sleep 600", "it took longer than 1.5 s"),
        ("trap '' TERM INT HUP; sleep 600", "it took longer than 1.5 s"),
        ("yes", "it took longer than 1.5 s"),
        ("exec >&- 2>&-; sleep 600", "it took longer than 1.5 s"),
        ("head -c 50000000 /dev/zero; exit 7", "exit code 7"),
        pytest.param(
            "head -c 1000000000 /dev/zero; exit 7",
            "exit code 7",
            marks=pytest.mark.soak,
        ),
        ("http://127.0.0.1:PORT/", "URLError"),
        ("sleep 600 & echo $! > pid", ""),
        ("setsid sleep 2 & exit 0", ""),
    ],
)
def test_a_hook_never_changes_the_run_and_ends_in_time(
    place: Place, monkeypatch: pytest.MonkeyPatch, command: str, why: str
) -> None:
    is_large = "/dev/zero" in command
    monkeypatch.setattr("ptsflow.runner.hooks._SECONDS", 50 if is_large else SHORT)
    site(monkeypatch, command.replace("PORT", f"{free_port()}"), "ON_FAILURE")
    began = time.monotonic()
    assert not place.run(fails="no")

    assert time.monotonic() - began < (50 if is_large else SHORT + 4)
    assert len(place.notices) == bool(why)
    assert all(text.startswith(f"on_failure failed: {why}") for text in place.notices)
    pid = place.folder / "pid"
    if pid.exists():
        assert left_of([int(pid.read_text())]) == [], "its process group is killed"


def test_a_method_that_hangs_is_left_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Hanging(Feed):
        def on_failure(self, _end: RunEnd) -> None:
            over.wait(60)

    monkeypatch.setattr("ptsflow.runner.hooks._SECONDS", 0.2)
    assert not place.run(Hanging, fails="no")
    over.set()
    assert place.notices == ["on_failure failed: it took longer than 0.2 s"]


def test_the_container_is_free_while_a_hook_is_called(place: Place) -> None:
    class Looking(Feed):
        seen: ClassVar[list[object]] = []

        def on_failure(self, _end: RunEnd) -> None:
            with ptsflow.connect(f"sqlite:///{self.broken.parent}/pts.db") as client:
                record = client.store.container("feed:13")
                assert record is not None
                self.seen.append(record.owner)

    place.run(Looking, fails="no")
    assert Looking.seen == [None]
    assert place.notices == []


def test_a_run_that_a_person_stops_tells_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(Workflow):
        @step
        def stop(self, task: TaskHandle) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            while not task.cancelled:
                time.sleep(0.01)
            raise Fail("half way")

        @step
        def rest(self) -> None:
            pass

    site(monkeypatch, f"echo NAME >> {place.log}")
    with pytest.raises(KeyboardInterrupt):
        ptsflow.run(Stopping(), place.client)
    assert place.logged() == []


def test_a_store_that_fails_while_hooks_are_chosen_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(monkeypatch, f"echo NAME >> {place.log}", "ON_FAILURE")
    monkeypatch.setattr(
        type(place.client.store), "number_run", lambda *_, **__: int("x")
    )
    assert not place.run(fails="no")
    assert place.logged() == []
    (notice,) = place.notices
    assert notice.startswith("hooks: nobody could be told of the run's end: ")
