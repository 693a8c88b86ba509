"""`ptsflow cancel` from another terminal."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.cli.calling import Place, appears, flow

#: Seconds within which a runner has heard of it, by the promise of the command.
HEARD = 2.0
#: Seconds in which a busy machine, too, ends the process then: far below the lease.
SOON = 20.0


def begun(place: Place, *options: str, gentle: bool = True) -> tuple[str, ...]:
    return (
        *("run", flow("Slow"), "-c", "slow", *options),
        *("-p", f"pid={place.folder / 'pid'}", "-p", f"gentle={gentle}"),
    )


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_runner_that_is_asked_to_stop_lets_its_bodies_end(
    stored: Place, executor: str
) -> None:
    runner = stored.start(*begun(stored, "--executor", executor))
    appears(stored.folder / "pid")
    pid = stored.json("status")["owner"]["pid"]
    ended = stored.call("cancel", "slow")
    asked = time.monotonic()
    runner.communicate(timeout=60)
    took = time.monotonic() - asked
    status = stored.json("status")

    assert ended.returncode == 0
    assert ended.stderr.startswith(f"slow: asked pid {pid} on ")
    assert ended.stderr.endswith(" to stop; --now does not wait for what runs\n")
    assert took < SOON
    assert runner.returncode == 0  # it was the last one
    assert (status["status"], status["owner"]) == ("done", None)


def test_a_runner_that_is_asked_to_stop_now_does_not_wait(stored: Place) -> None:
    runner = stored.start(*begun(stored, gentle=False))
    appears(stored.folder / "pid")
    stored.call("cancel", "slow")
    page, listed = (stored.call(look).stdout for look in ("status", "list"))
    time.sleep(HEARD)
    waits_still = runner.poll() is None
    ended = stored.call("cancel", "slow", "--now")
    asked = time.monotonic()
    _, said = runner.communicate(timeout=60)
    took = time.monotonic() - asked
    tasks = {task["name"]: task for task in stored.json("status")["tasks"]}
    stands = stored.call("status").stdout
    (stored.folder / "pid").with_suffix(".done").touch()
    again = stored.call(*begun(stored, gentle=False))

    assert re.search(r"run by pid \d+ on \S+, asked to stop$", page, re.MULTILINE)
    assert re.search(
        r"run by pid \d+ on \S+, asked to stop  Slow$", listed, re.MULTILINE
    )
    assert waits_still
    assert ended.stderr.endswith(" to stop at once\n")
    assert took < SOON
    assert runner.returncode == 143
    assert "stopping: waiting for 1 running; once more stops at once" in said
    assert "· slow  stopped by cancel in" in said
    assert stands.startswith("· stopped   55%   slow   Slow(")
    assert (tasks["work"]["status"], tasks["quick"]["status"]) == ("pending", "done")
    assert again.returncode == 0


def test_where_nobody_runs_there_is_nothing_to_cancel(place: Place) -> None:
    place.call("run", flow("Steady"), "-c", "one")
    ended = place.call("cancel", "one")

    assert (ended.returncode, ended.stderr) == (
        0,
        "one: nobody runs it, there is nothing to cancel\n",
    )
    assert place.json("cancel", "one") == {
        "schema": 1,
        "container": "one",
        "cancelled": False,
    }


def test_a_word_left_for_one_runner_does_not_reach_the_next(place: Place) -> None:
    runner = place.start(*begun(place, gentle=False))
    appears(place.folder / "pid")
    place.call("cancel", "slow")
    runner.kill()
    runner.communicate()
    Path(place.folder / "pid").unlink()
    other = place.start(*begun(place, gentle=False))
    appears(place.folder / "pid")
    time.sleep(HEARD)
    (place.folder / "pid").with_suffix(".done").touch()
    other.communicate(timeout=60)

    assert other.returncode == 0
