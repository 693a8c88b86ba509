"""How a store is asked again and again, and what of the answers is shown."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from ptsflow.cli import watch_views
from ptsflow.cli.looking import Poller
from ptsflow.cli.watch_views import JsonLines
from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import Status, Tally
from ptsflow.display.live import LiveScreen
from ptsflow.display.look import Look
from ptsflow.display.run_state import Board
from ptsflow.display.streams import Direct, Outlet
from ptsflow.errors import ContainerNotFound, StoreDamaged, StoreError, StoreUnavailable
from ptsflow.stores import open_store
from ptsflow.stores.base import Store
from tests.unit.screens import container

AWAY = StoreUnavailable("the store is away")


def answering(_store: Store) -> str:
    return "here"


def failing(error: StoreError) -> Any:
    def ask(_store: Store) -> str:
        raise error

    return ask


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/pts.db"
    open_store(url).close()
    return url


@pytest.fixture
def poller(url: str) -> Iterator[Poller]:
    poller = Poller(url, 0.1)
    yield poller
    poller.close()


# -- a store that goes away ---------------------------------------------------


def test_a_store_that_answered_once_is_waited_for(poller: Poller) -> None:
    assert poller.ask(answering) == "here"
    assert poller.ask(failing(AWAY)) is None
    assert poller.problem is AWAY
    assert poller.ask(answering) == "here"
    assert poller.problem is None


def test_a_store_that_never_answered_is_not_waited_for(poller: Poller) -> None:
    with pytest.raises(StoreUnavailable):
        poller.ask(failing(AWAY))


def test_a_store_is_waited_for_no_longer_than_said(url: str) -> None:
    poller = Poller(url, 0.01, longest_away=0.3)
    poller.ask(answering)
    poller.ask(failing(AWAY))
    time.sleep(0.3)
    with pytest.raises(StoreUnavailable):
        poller.ask(failing(AWAY))


def test_each_absence_of_a_store_has_its_own_time(url: str) -> None:
    poller = Poller(url, 0.01, longest_away=0.3)
    for _ in range(4):
        poller.ask(answering)
        assert poller.ask(failing(AWAY)) is None
        time.sleep(0.1)
    poller.close()


def test_what_a_person_must_mend_is_not_waited_for(poller: Poller) -> None:
    poller.ask(answering)
    with pytest.raises(StoreDamaged):
        poller.ask(failing(StoreDamaged("cut")))


def test_a_store_whose_file_is_gone_when_it_is_opened_again_is_away(
    poller: Poller, url: str
) -> None:
    poller.ask(answering)
    poller.ask(failing(AWAY))
    Path(url.removeprefix("sqlite:///")).unlink()

    assert poller.ask(answering) is None
    assert "not there any more" in str(poller.problem)


def test_a_store_that_is_not_there_yet_has_no_containers(tmp_path: Path) -> None:
    with pytest.raises(ContainerNotFound):
        Poller(f"sqlite:///{tmp_path}/none.db", 0.1).ask(answering)


def test_looks_take_a_twentieth_of_the_time(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    # Another thread of this process may sleep as well.
    monkeypatch.setattr(
        "ptsflow.cli.looking.time", SimpleNamespace(sleep=paused.append)
    )
    began = time.monotonic()
    poller.ask(lambda _: threading.Event().wait(0.05))
    took = time.monotonic() - began
    poller.pause()
    poller.ask(answering)
    poller.pause()

    assert 20 * 0.05 <= paused[0] <= 20 * took
    assert 0.1 <= paused[1] < 20 * 0.05


# -- what is news -------------------------------------------------------------


def look(at: int = 0, outlook: Outlook | None = None, **fields: Any) -> Look:
    tallies = [Tally("fetch", Status.RUNNING, 1, 50.0)]
    return Look(
        at=at,
        record=container(**fields),
        status=Status.RUNNING,
        glance=Glance(tallies=tallies, plain=[], active=[], failed=[]),
        outlook=outlook,
    )


def test_a_lease_that_is_renewed_and_time_that_passes_are_no_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(watch_views, "show_json", shown.append)
    told = Outlook(at=0, percentage=10.0, eta_at=90_000, low_at=80_000, high_at=99_000)
    view = JsonLines[Look]()
    view.show(look(outlook=told))
    view.show(look(5_000, outlook=told, leased_till=65_000))
    view.show(look(6_000, outlook=replace(told, eta_at=95_000)))
    view.show(look(7_000, outlook=replace(told, eta_at=95_000), owner=None))

    assert [each["eta_seconds"] for each in shown] == [90.0, 89.0, 88.0]
    assert json.dumps(shown)


def test_a_container_is_blank_until_it_is_known_what_it_is() -> None:
    empty = Glance(tallies=[], plain=[], active=[], failed=[])
    made = replace(look(workflow=None), glance=empty)

    assert made.is_blank
    assert not look(workflow=None).is_blank
    assert not replace(look(), glance=empty).is_blank


# -- the terminal -------------------------------------------------------------


def test_ctrl_c_while_a_screen_begins_leaves_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "ptsflow-screen":
            raise KeyboardInterrupt
        start(thread)

    controlling, terminal = pty.openpty()
    outlet = Outlet(cast("Any", Direct(terminal, "utf-8")))
    before = signal.getsignal(signal.SIGTSTP)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            LiveScreen(Board(), outlet)
    outlet.finish()
    os.close(terminal)
    written = b""
    with contextlib.suppress(OSError):  # Linux tells the end of a terminal as an error
        while data := os.read(controlling, 65_536):
            written += data
    os.close(controlling)

    assert written.rfind(b"\x1b[?25h") > written.rfind(b"\x1b[?25l") >= 0
    assert signal.getsignal(signal.SIGTSTP) == before
