"""`run --due` runs what a schedule says is due; `schedule` shows and pauses it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ptsflow.cli.main import call
from ptsflow.cli.run import RunExit, run_request
from ptsflow.errors import ContainerBusy
from tests.cli.calling import Place, appears
from tests.support.mongod import shifted

FLOWS = Path(__file__).with_name("due_flows.py")
YEAR = datetime.now(UTC).year


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUE_FOLDER", str(tmp_path))


def flow(name: str) -> str:
    return f"{FLOWS}:{name}"


def due(
    place: Place, *words: str, name: str = "Yearly"
) -> subprocess.CompletedProcess[str]:
    return place.call("run", flow(name), "--due", *words)


def since(years: int) -> tuple[str, str]:
    """Return the option for so many ticks, with this year's."""
    return "--since", f"{YEAR + 1 - years}-01-01"


def loaded(place: Place) -> list[int]:
    """Return the years whose step ran, in order."""
    file = place.folder / "loaded"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_a_schedule_that_is_seen_first_begins_with_its_newest_tick(
    stored: Place,
) -> None:
    first = due(stored)
    again = due(stored)

    assert first.returncode == 0
    assert first.stderr.startswith(f"due: year:{YEAR} (new)\n")
    assert again.returncode == 0
    assert again.stderr == f"nothing is due before {YEAR + 1}-01-01 00:00:00\n"
    assert loaded(stored) == [YEAR]


def test_older_ticks_are_done_on_purpose_oldest_first(stored: Place) -> None:
    ended = due(stored, *since(3), "-q")

    assert ended.returncode == 0
    assert loaded(stored) == [YEAR - 2, YEAR - 1, YEAR]
    assert due(stored, "-q", *since(3)).stderr == ""


def test_a_year_that_fails_lets_the_next_begin_and_is_tried_again(
    stored: Place,
) -> None:
    stored.env["BAD"] = str(YEAR - 1)
    failed = due(stored, *since(3))
    assert failed.returncode == 1
    assert loaded(stored) == [YEAR - 2, YEAR]
    del stored.env["BAD"]

    ended = due(stored, *since(3))

    assert ended.returncode == 0
    assert ended.stderr.startswith(f"due: year:{YEAR - 1} (failed ")
    assert ended.stderr.partition("\n")[0].endswith(", load)")
    assert loaded(stored) == [YEAR - 2, YEAR, YEAR - 1]


def test_a_failed_one_waits_for_its_time(place: Place) -> None:
    place.env["BAD"] = str(YEAR)
    assert due(place, "-q", name="Rarely").returncode == 1
    del place.env["BAD"]

    ended = due(place, name="Rarely")

    assert ended.returncode == 0
    assert ended.stderr.startswith("nothing is due before ")
    assert str(YEAR + 1) not in ended.stderr
    assert place.call("retry", f"rare:{YEAR}").returncode == 0
    assert due(place, "-q", name="Rarely").returncode == 0
    assert loaded(place) == [YEAR]


def test_what_was_killed_goes_on_first(stored: Place) -> None:
    stored.env["SLOW"] = str(YEAR - 1)
    process = stored.start("run", flow("Yearly"), "--due", *since(2))
    appears(stored.folder / "go.begun")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (stored.folder / "go").touch()

    ended = due(stored, *since(2))

    assert ended.returncode == 0
    line = f"due: year:{YEAR - 1} (unfinished), year:{YEAR} (new)"
    assert ended.stderr.startswith(line)
    assert loaded(stored) == [YEAR - 1, YEAR]


def test_what_another_runner_has_is_left_to_it(stored: Place) -> None:
    stored.env["SLOW"] = str(YEAR - 1)
    process = stored.start("run", flow("Yearly"), "--due", "-q", *since(2))
    appears(stored.folder / "go.begun")

    ended = due(stored, *since(2))
    (stored.folder / "go").touch()
    process.communicate(timeout=60)

    assert ended.returncode == 0
    assert ended.stderr.startswith(f"year:{YEAR - 1} is run by ")
    assert ended.stderr.endswith("; what is due is left to that runner\n")
    assert process.returncode == 0
    assert loaded(stored) == [YEAR - 1, YEAR]


def test_callers_at_the_same_time_do_each_tick_once(stored: Place) -> None:
    callers = [
        stored.start("run", flow("Yearly"), "--due", "-q", *since(5)) for _ in range(4)
    ]
    for caller in callers:
        caller.communicate(timeout=60)

    assert [caller.returncode for caller in callers] == [0, 0, 0, 0]
    assert due(stored, "-q", *since(5)).returncode == 0
    assert loaded(stored) == list(range(YEAR - 4, YEAR + 1))


def test_of_ticks_in_parallel_one_that_another_caller_takes_leaves_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [ContainerBusy("another caller was quicker")]

    def run(*given: Any) -> RunExit:
        if taken:
            raise taken.pop()
        return run_request(*given)

    monkeypatch.setattr("ptsflow.cli.due.run_request", run)
    words = ["run", flow("Parallel"), "--due", "-q", *since(3), "--store", place.store]

    assert call(words) == 0
    assert loaded(place) == [YEAR - 2, YEAR - 1, YEAR]


def test_the_latest_alone(place: Place) -> None:
    assert due(place, "-q", *since(3), name="Latest").returncode == 0
    assert loaded(place) == [YEAR]


def test_a_run_by_hand_does_the_work_of_the_tick(place: Place) -> None:
    hand = place.call("run", flow("Yearly"), "-q", "-p", f"day={YEAR}-01-01")
    assert hand.returncode == 0

    assert due(place).stderr.startswith("nothing is due before ")
    assert loaded(place) == [YEAR]
    told = place.call("history", "--json").stdout
    assert len(told.splitlines()) == 1
    assert place.call("overdue").returncode == 0


def test_a_done_container_that_is_gone_is_not_due(stored: Place) -> None:
    assert due(stored, "-q", *since(2)).returncode == 0
    assert stored.call("delete", f"year:{YEAR}", "-y").returncode == 0

    assert due(stored, *since(2)).stderr.startswith("nothing is due before ")
    assert loaded(stored) == [YEAR - 1, YEAR]


def test_what_is_due_can_be_asked_for(place: Place) -> None:
    asked = due(place, "-n", *since(2))
    as_json = due(place, "-n", "--json", *since(2))

    assert asked.stdout == f"year:{YEAR - 1} (new)\nyear:{YEAR} (new)\n"
    assert [json.loads(line) for line in as_json.stdout.splitlines()] == [
        {
            "schema": 1,
            "container": f"year:{year}",
            "tick": f"{year}-01-01T00:00:00.000Z",
            "reason": "new",
        }
        for year in (YEAR - 1, YEAR)
    ]
    assert loaded(place) == []


def test_json_is_an_object_a_container(place: Place) -> None:
    ended = due(place, "--json", "-q", *since(2))

    names = [json.loads(line)["container"] for line in ended.stdout.splitlines()]
    assert names == [f"year:{YEAR - 1}", f"year:{YEAR}"]


@pytest.mark.parametrize(
    ("seconds", "back", "forward"),
    [(3600, [], [2913]), (86_400, [2911], [*range(2913, 2924), *range(3000, 3013)])],
)
def test_a_clock_that_is_set_in_the_middle_repeats_no_tick_and_leaves_none_out(
    place: Place, seconds: int, back: list[int], forward: list[int]
) -> None:
    noon = datetime(2026, 11, 29, 12, 30, tzinfo=UTC).timestamp()
    shift = round(noon - time.time())
    words = ("-q", "--since", "2026-11-29T09:00")

    def call(**env: str) -> list[int]:
        place.env |= shifted(shift, place.folder) | env
        before = len(loaded(place))
        assert due(place, *words, name="SettingTheClock").returncode == 0
        return loaded(place)[before:]

    # Set back, what is not yet due again waits until the clock has caught up.
    first = [2909, 2910, 2911]
    sets = f"2910 {shift - seconds}"
    assert call(SETS=sets) == [hour for hour in first if hour not in back]
    assert call(SETS=f"2912 {shift + seconds}") == [*back, 2912, *forward]
    assert call(SETS="") == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["Unscheduled", "--due"], 4, "Unscheduled has no schedule; add for example"),
        (["Yearly", "--since", "2011-01-01"], 2, "--since goes with --due; add --due"),
        (["Yearly", "--due", "--since", "soon"], 2, "--since: expected a time such as"),
        (["Yearly", "--due", "-p", "day=2011-01-01"], 2, "leave -p out"),
        (["Yearly", "--due", "-c", "x"], 2, "leave -c out"),
        (["Yearly", "--due", "--fresh"], 2, "leave --fresh out"),
        (["Yearly", "--due", "--from", "load"], 2, "leave --from out"),
        (["Yearly", "--due", "--only", "load"], 2, "leave --only out"),
    ],
)
def test_what_does_not_go_together_is_refused(
    place: Place, words: list[str], code: int, expected: str
) -> None:
    ended = place.call("run", flow(words[0]), *words[1:])

    assert ended.returncode == code
    assert expected in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_another_container_in_the_place_of_a_tick_is_4(place: Place) -> None:
    assert (
        place.call(
            "run", flow("Rarely"), "-q", "-c", f"year:{YEAR}", "-p", "day=2011-01-01"
        ).returncode
        == 0
    )
    # It is done, so the tick is; begun anew it is not.
    assert place.call("reset", f"year:{YEAR}", "-y").returncode == 0

    ended = due(place, "-q")

    assert ended.returncode == 4
    assert f"container 'year:{YEAR}'" in ended.stderr


# -- hooks ------------------------------------------------------------------------


def told(place: Place) -> list[str]:
    """Return the lines that hooks wrote since this was last called."""
    file = place.folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def at(year: int) -> str:
    return f"{year}-01-01T00:00:00.000Z"


def test_hooks_of_the_class_are_told_the_tick_once_a_trouble(stored: Place) -> None:
    stored.env["BAD"] = f"{YEAR - 2} {YEAR}"
    words = ("-q", *since(3))
    assert due(stored, *words, name="Telling").returncode == 1
    assert told(stored) == [
        f"failure telling:{YEAR - 2} {at(YEAR - 2)}",
        f"done telling:{YEAR - 1} {at(YEAR - 1)}",
    ]
    stored.env["BAD"] = f"{YEAR - 2}"
    assert due(stored, *words, name="Telling").returncode == 1
    assert told(stored) == [f"done telling:{YEAR} {at(YEAR)}"]
    del stored.env["BAD"]

    assert due(stored, *words, name="Telling").returncode == 0
    millis = round(datetime(YEAR - 2, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert told(stored) == [
        f"recovery telling:{YEAR - 2} {millis} {YEAR - 2}-01-01",
        f"done telling:{YEAR - 2} {at(YEAR - 2)}",
    ]


def test_hooks_of_the_site_are_told_unless_there_are_to_be_none(place: Place) -> None:
    for name in ("FAILURE", "RECOVERY", "DONE"):
        line = f'{name} $PTSFLOW_CONTAINER $PTSFLOW_TICK >> "$DUE_FOLDER/told"'
        place.env[f"PTSFLOW_ON_{name}"] = f"echo {line}"
    place.env["BAD"] = f"{YEAR}"
    assert due(place, "-q", "--no-hooks").returncode == 1
    assert told(place) == []
    assert due(place, "-q").returncode == 1
    assert told(place) == [f"FAILURE year:{YEAR} {at(YEAR)}"]
    del place.env["BAD"]

    # What a person runs by hand does the work of the tick.
    hand = place.call("run", flow("Yearly"), "-q", "-p", f"day={YEAR}-01-01")
    assert hand.returncode == 0
    tick = f"year:{YEAR} {at(YEAR)}"
    assert told(place) == [f"RECOVERY {tick}", f"DONE {tick}"]


def test_a_worker_goes_on_with_the_tick_of_a_dead_runner(place: Place) -> None:
    place.env["SLOW"] = str(YEAR - 1)
    process = place.start("run", flow("Brief"), "--due", "-q", *since(2))
    appears(place.folder / "go.begun")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (place.folder / "go").touch()
    line = '$PTSFLOW_CONTAINER $PTSFLOW_TICK >> "$DUE_FOLDER/told"'
    place.env["PTSFLOW_ON_DONE"] = f"echo {line}"

    assert place.call("worker", flow("Brief"), "--until-idle").returncode == 0
    assert told(place) == [f"brief:{YEAR - 1} {at(YEAR - 1)}"]


# -- schedule ----------------------------------------------------------------------


def test_a_schedule_is_shown_with_its_next_ticks(place: Place) -> None:
    shown = place.call("schedule", flow("Yearly"), "--next", "2")
    told = place.json("schedule", flow("Yearly"), "--next", "1")

    assert shown.returncode == 0
    first, *rows = shown.stdout.splitlines()
    assert first.startswith(
        "Yearly: 0 0 1 1 * (UTC); resume: what is unfinished goes on"
    )
    assert rows == [
        f"{year}-01-01 00:00+00:00  year:{year}" for year in (YEAR + 1, YEAR + 2)
    ]
    assert told["next"] == [
        {"tick": f"{YEAR + 1}-01-01T00:00:00.000Z", "container": f"year:{YEAR + 1}"}
    ]


def test_while_a_schedule_is_paused_nothing_is_due(stored: Place) -> None:
    paused = stored.call("schedule", "--pause", flow("Yearly"), "--why", "it moves")
    left = due(stored)
    shown = stored.json("schedule", flow("Yearly"))
    resumed = stored.call("schedule", "--resume", "Yearly")

    assert paused.returncode == left.returncode == resumed.returncode == 0
    assert left.stderr.startswith("Yearly is paused since ")
    assert left.stderr.endswith(": it moves\n")
    assert (shown["why"], loaded(stored)) == ("it moves", [])
    assert resumed.stderr == "Yearly is not paused\n"
    assert due(stored, "-q").returncode == 0
    assert loaded(stored) == [YEAR]


def test_a_schedule_that_is_paused_while_a_tick_runs_begins_no_other(
    stored: Place,
) -> None:
    stored.env["SLOW"] = str(YEAR - 1)
    process = stored.start("run", flow("Yearly"), "--due", *since(2))
    appears(stored.folder / "go.begun")
    stored.call("schedule", "--pause", "Yearly")
    (stored.folder / "go").touch()
    _, said = process.communicate(timeout=60)

    assert (process.returncode, loaded(stored)) == (0, [YEAR - 1])
    assert said.splitlines()[-1].startswith("Yearly is paused since ")


def test_ticks_since_the_first_day_that_there_is_are_no_bug(place: Place) -> None:
    ended = due(place, "--since", "0001-01-01", "-n")

    assert ended.returncode == 0
    assert ended.stdout.startswith("year:2 (new)\n")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--pause", "--resume", "X"], 2, "expected --pause or --resume, found both"),
        (["--why", "x", "X"], 2, "--why goes with --pause"),
        (["--pause", "Yearli"], 4, "no schedule of a workflow 'Yearli' is kept"),
        ([flow("Unscheduled")], 4, "Unscheduled has no schedule"),
    ],
)
def test_a_schedule_is_refused(
    place: Place, words: list[str], code: int, expected: str
) -> None:
    ended = place.call("schedule", *words)

    assert ended.returncode == code
    assert expected in ended.stderr


# -- overdue -----------------------------------------------------------------------


def test_what_failed_is_overdue_until_it_is_done(stored: Place) -> None:
    stored.env["BAD"] = str(YEAR)
    assert due(stored, "-q").returncode == 1

    late = stored.call("overdue")
    told = stored.call("overdue", "Yearly", "--json")
    in_time = stored.call("overdue", "--grace", "400d")
    del stored.env["BAD"]
    assert due(stored, "-q").returncode == 0

    assert late.returncode == told.returncode == 1
    assert late.stdout.startswith(
        f"Yearly {YEAR}-01-01 00:00:00 is late: due {YEAR}-01-01"
    )
    assert late.stdout.endswith("; failed: load\n")
    found = json.loads(told.stdout)
    assert (found["lateness"], found["container"]) == ("late", f"year:{YEAR}")
    assert (in_time.returncode, in_time.stderr) == (0, "nothing is overdue\n")
    assert stored.call("overdue").returncode == 0


def test_what_was_killed_or_never_began_is_overdue(place: Place) -> None:
    place.env["SLOW"] = str(YEAR)
    process = place.start("run", flow("Yearly"), "--due")
    appears(place.folder / "go.begun")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert place.call("overdue").stdout.endswith("; interrupted\n")
    assert place.call("delete", f"year:{YEAR}", "-y").returncode == 0
    never = place.call("overdue")
    assert (never.returncode, never.stdout[-14:]) == (1, "; never begun\n")
    assert place.call("schedule", "--pause", "Yearly").returncode == 0
    assert place.call("overdue").returncode == 0


def test_a_workflow_without_a_schedule_is_silent_for_too_long(place: Place) -> None:
    assert place.call("run", flow("Unscheduled"), "-q").returncode == 0

    lacking = place.call("overdue", "Unscheduled")
    recent = place.call("overdue", "Unscheduled", "--within", "1h")
    silent = place.call("overdue", "Unscheduled", "--within", "1ms")
    unknown = place.call("overdue", "Unscheduledd")
    nothing = place.call("overdue")

    assert (lacking.returncode, recent.returncode, silent.returncode) == (2, 0, 1)
    assert "give --within TIME" in lacking.stderr
    assert silent.stdout.startswith("Unscheduled is silent: last done ")
    assert (unknown.returncode, nothing.returncode) == (4, 4)
    assert "no workflow has a schedule" in nothing.stderr
