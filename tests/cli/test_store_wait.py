"""A store that is away before a run begins is waited for; after its end it is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ptsflow.cli import request
from ptsflow.cli.main import call
from ptsflow.stores.store_wait import StoreWait
from tests.cli.calling import Place, flow
from tests.support.mongod import running

_AWAY = "mongodb://127.0.0.1:1/x?timeoutMS=200"


@pytest.mark.parametrize(
    "words",
    [
        ["--store-wait", "1.2"],
        ["--store-wait", "1200ms"],
        ["--store-wait", "0", "--wait", "1.2"],
        ["--timeout", "1.2"],
    ],
    ids=["seconds", "a time", "wait covers it", "not beyond the timeout"],
)
def test_a_run_says_that_it_waits_for_the_store_and_then_gives_up(
    place: Place, words: list[str]
) -> None:
    began = time.monotonic()
    ended = place.call("run", flow("Steady"), "--store", _AWAY, *words)
    told = ended.stderr.splitlines()

    assert ended.returncode == 6
    assert 1.2 < time.monotonic() - began < 15
    assert told[0].startswith("waiting for the store: MongoDB at 127.0.0.1:1 cannot")
    assert told[1].startswith("ptsflow: MongoDB at 127.0.0.1:1 cannot be reached")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ([], 30),
        (["--wait", "60"], 60),
        (["--wait", "3"], 30),
        (["--store-wait", "2m", "--wait", "60"], 120),
        (["--store-wait", "0"], 0),
        (["--timeout", "4"], 4),
    ],
)
def test_a_run_waits_for_its_store_for_half_a_minute_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, words: list[str], seconds: float
) -> None:
    waits: list[float] = []

    def wait(given: float, notice: Callable[[str], None]) -> StoreWait:
        waits.append(given)
        return StoreWait(given, notice)

    monkeypatch.setattr(request, "StoreWait", wait)
    monkeypatch.setenv("PTSFLOW_STORE", "memory:")

    assert call(["run", flow("Steady"), *words]) == 0
    assert waits == [seconds]


def test_without_a_wait_a_run_gives_up_at_once(place: Place) -> None:
    ended = place.call("run", flow("Steady"), "--store", _AWAY, "--store-wait", "0")

    assert ended.returncode == 6
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("time_", ["soon", "-1", ""])
def test_a_wait_that_is_no_time_is_refused(place: Place, time_: str) -> None:
    ended = place.call("run", flow("Steady"), f"--store-wait={time_}")

    assert ended.returncode == 2
    assert ended.stderr == (
        "ptsflow: --store-wait: expected a time such as 90, 30m or 2h, found "
        f"{time_!r}\n"
    )


def test_commands_that_only_look_do_not_wait(place: Place) -> None:
    ended = place.call("status", "--store", _AWAY)

    assert ended.returncode == 6
    assert "waiting" not in ended.stderr


@pytest.mark.mongod
@pytest.mark.parametrize(("words", "code"), [([], 0), (["--json"], 6)])
def test_a_store_that_goes_away_when_the_run_is_over_does_not_change_its_outcome(
    place: Place, words: list[str], code: int
) -> None:
    (place.folder / "killing.py").write_text(_KILLING)
    place.env |= {"PTSFLOW_LISTENERS": "killing:make", "PYTHONPATH": str(place.folder)}
    with running() as server:
        place.env["SERVER"] = str(server.process.pid)
        url = f"{server.url}/x?timeoutMS=500"
        ended = place.call("run", flow("Steady"), "--store", url, *words)

    assert ended.returncode == code, ended.stderr
    assert "done in" in ended.stderr


_KILLING = """
import os
import signal

def make():
    def listen(event):
        if type(event).__name__ == "RunEnded":
            os.kill(int(os.environ["SERVER"]), signal.SIGKILL)
    return listen
"""
