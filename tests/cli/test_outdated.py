"""What was made from other results than its sources have now is named by each command."""

from __future__ import annotations

import ptsflow
from tests.cli.calling import FLOWS, Place
from tests.support.containers import container_of

TARGET = f"{FLOWS}:Steady"
NAME = "Steady:count=3"
TOLD = "made from other results than its sources have now"


def test_what_is_outdated_is_named_until_it_was_reset(stored: Place) -> None:
    stored.call("run", TARGET)
    assert stored.json("show", NAME)["outdated"] == []
    with ptsflow.connect(stored.store) as client:
        container_of(client, NAME).update_task("square[1]", result=100)

    shown = stored.json("show", NAME)
    status = stored.call("status", NAME)
    foreseen = stored.call("run", TARGET, "-n")
    ended = stored.call("run", TARGET)

    assert shown["outdated"] == ["total"]
    assert f"{TOLD}: total; reset it to run it again" in status.stdout
    reset = stored.typed("reset", NAME, "--step", "total", "-y")
    assert status.stderr == f"next: {reset}\n"
    assert [
        line.split(maxsplit=2)[::2]
        for line in foreseen.stdout.splitlines()
        if "total" in line
    ] == [["skip", f"{TOLD}; reset it to run it again"]]
    assert f"{TOLD}: total; reset it to run it again" in ended.stderr
    assert ended.returncode == 0

    stored.call("reset", NAME, "--step", "total", "-y")
    again = stored.call("run", TARGET)

    assert TOLD not in again.stderr
    assert stored.json("show", NAME)["outdated"] == []
    tasks = {task["name"]: task for task in stored.json("status", NAME)["tasks"]}
    assert tasks["total"]["result"] == 104


def test_a_dry_run_tells_what_is_in_doubt(place: Place) -> None:
    place.call("run", TARGET)
    reset = place.call("reset", NAME, "--step", "numbers", "-y")

    found = place.json("run", TARGET, "-n")["tasks"]

    forgets, makes, *_ = reset.stderr.splitlines()
    assert forgets == f"{NAME}: forgets what 1 task did: numbers"
    assert makes == (
        f"{NAME}: makes 4 tasks again if other results come of it: square[0], square[1], "
        "square[2], total"
    )
    assert {entry["name"]: entry["action"] for entry in found} == {
        "numbers": "run",
        **{f"square[{key}]": "check" for key in range(3)},
        "total": "check",
    }
