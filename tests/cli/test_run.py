"""`ptsflow run`: what it prints, what it exits with, and that it continues."""

from __future__ import annotations

import json
import re
import signal
import time

import click
import pytest

from ptsflow.cli.main import commands
from tests.cli.calling import Place, appears, flow
from tests.cli.pasted import BEGINS
from tests.support.wording import THEIRS, Message


def last(text: str) -> str:
    return text.rstrip("\n").rpartition("\n")[2]


def test_a_complete_run_exits_with_0_and_says_how_to_look_at_it(place: Place) -> None:
    ended = place.call("run", flow("Steady"))

    assert (ended.returncode, ended.stdout) == (0, "")
    assert "✔ Steady:count=3  done in" in ended.stderr
    assert "   5 done\n" in ended.stderr
    assert last(ended.stderr) == f"next: {place.typed('show', 'Steady:count=3')}"


def test_plain_output_has_a_line_for_each_change_of_state(place: Place) -> None:
    ended = place.call("run", flow("Steady"), "-p", "count=1", "-j", "1")

    lines = [re.sub(r"[\d.]+m?s", "N", line) for line in ended.stderr.splitlines()]
    assert [line.partition("  ")[2] for line in lines[:-3]] == [
        "Steady:count=1  started",
        "numbers  started",
        "numbers  done in N",
        "square[0]  started",
        "square[0]  done in N",
        "total  started",
        "total  done in N",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines[:-3])


def test_running_again_finds_nothing_left_to_do(place: Place) -> None:
    place.call("run", flow("Steady"))

    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 0
    assert "done already, nothing was left to do, in" in ended.stderr
    assert place.json("status")["tasks"][0]["invoke_count"] == 1


def test_a_failure_exits_with_1_and_the_command_to_type_next_continues(
    place: Place,
) -> None:
    words = ["run", flow("Broken"), "-p", "flag=a flag", "-p", "tags=x"]

    failed = place.call(*words, "--fresh")
    (place.folder / "a flag").touch()
    continued = place.call(*words)

    assert failed.returncode == 1
    name = place.json("status")["container"]
    rerun = place.typed("run", flow("Broken"), "-c", name, "--stored")
    assert last(failed.stderr) == f"next: {rerun}"
    assert continued.returncode == 0
    tasks = {task["name"]: task for task in place.json("status")["tasks"]}
    assert [task["invoke_count"] for task in tasks.values()] == [1, 2, 1]


def test_errors_are_shown_with_their_controls_escaped(place: Place) -> None:
    ended = place.call("run", flow("Broken"), "-p", "flag=no")

    assert "\x1b" not in ended.stderr
    assert r"OSError: the disk \x1b[31mis\x1b[0m [red]away[/red] (flows.py:" in (
        ended.stderr
    )


def test_quiet_says_failures_and_the_summary_alone(place: Place) -> None:
    ended = place.call("run", flow("Broken"), "-p", "flag=no", "-q")

    lines = ended.stderr.splitlines()
    assert "fragile  failed after 1 try  OSError" in lines[0]
    assert lines[1].startswith("✘ Broken:")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        pytest.param(["--every", "0.2s"], True, id="plain"),
        pytest.param(["--every", "0.2s", "-q"], True, id="quiet"),
        pytest.param(["-q"], False, id="quiet by default"),
        pytest.param(["--every", "0"], False, id="never"),
    ],
)
def test_a_long_step_has_a_line_every_so_often(
    place: Place, options: list[str], *, is_told: bool
) -> None:
    pid = place.folder / "pid"
    process = place.start("run", flow("Slow"), "-p", f"pid={pid}", *options)
    assert process.stderr is not None
    told = r"work  running for [\d.]+m?s  10%  at it"
    appears(pid)
    if is_told:
        assert any(re.search(told, line) for line in process.stderr)
    else:
        time.sleep(1.0)
    pid.with_suffix(".done").touch()
    _, rest = process.communicate(timeout=60)

    assert is_told or not re.search(told, rest)


def test_json_is_what_status_prints(place: Place) -> None:
    ended = place.call("run", flow("Various"), "--json")

    assert ended.returncode == 0
    assert json.loads(ended.stdout) == place.json("status", "Various")


def test_a_password_in_the_store_is_not_repeated(place: Place) -> None:
    url = "mongodb://me:hush@127.0.0.1:1/pts?serverSelectionTimeoutMS=200"

    ended = place.call("run", flow("Steady"), "--store", url, "--store-wait", "0")

    assert ended.returncode == 6
    assert "hush" not in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_store_given_by_option_is_part_of_the_command_to_type_next(
    place: Place,
) -> None:
    ended = place.call("run", flow("Steady"), "--store", "sqlite:///other.db")

    assert last(ended.stderr) == (
        f"next: {BEGINS}show Steady:count=3 --store sqlite:///{place.folder}/other.db"
    )
    assert (place.folder / "other.db").exists()


# -- refusals ---------------------------------------------------------------

_REFUSED = [
    pytest.param(
        ["run", "no.py"],
        4,
        "ptsflow: no.py: no such file; TARGET is path/file.py:Class",
        id="no such file",
    ),
    pytest.param(
        ["run", "STEADY", "-p", "cuont=1"],
        4,
        "ptsflow: Steady: there is no parameter 'cuont' (did you mean 'count'?); "
        "it takes count",
        id="unknown parameter",
    ),
    pytest.param(
        ["run", "STEADY", "-p", "count=x"],
        4,
        f"ptsflow: Steady: the parameter count: expected int, found 'x' ({THEIRS})",
        id="parameter of another type",
    ),
    pytest.param(
        ["run", "STEADY", "-p", "count=1", "-p", "count=2"],
        4,
        "ptsflow: Steady: the parameter count: expected one -p count=..., found 2",
        id="parameter twice",
    ),
    pytest.param(
        ["run", "STEADY", "-p", "count"],
        2,
        "ptsflow: -p: expected name=value, found 'count'",
        id="no value",
    ),
    pytest.param(
        ["run", "STEADY", "--from", "totl"],
        2,
        "ptsflow: Steady has no step 'totl' (did you mean 'total'?); "
        "it has numbers, square, total",
        id="unknown step",
    ),
    pytest.param(
        ["run", "STEADY", "--lease", "1"],
        2,
        "ptsflow: lease: expected 5 to 86400 seconds, found 1",
        id="short lease",
    ),
    pytest.param(
        ["run", "STEADY", "--store", "ftp://x"],
        2,
        "ptsflow: store URL 'ftp://x': expected sqlite:///FILE, "
        "mongodb://HOST/DATABASE, mongodb+srv://HOST/DATABASE or memory:, found 'ftp'; "
        "use one of these",
        id="bad URL",
    ),
    pytest.param(
        ["run", "STEADY", "--jbos", "1"],
        2,
        "ptsflow run: there is no option --jbos (did you mean '--jobs'?); "
        f"see {BEGINS}run --help",
        id="unknown option",
    ),
    pytest.param(
        ["mark", "box", "load", "finished"],
        2,
        f"ptsflow mark: {THEIRS}; see {BEGINS}mark --help",
        id="unknown choice",
    ),
    pytest.param(
        ["mark", "box", "load"],
        2,
        f"ptsflow mark: {THEIRS}; see {BEGINS}mark --help",
        id="no choice",
    ),
    pytest.param(
        ["rnu"],
        2,
        "ptsflow: there is no command 'rnu' (did you mean 'run'?); there are "
        f"{', '.join(commands.list_commands(click.Context(commands)))}; "
        f"see {BEGINS}--help",
        id="unknown command",
    ),
]


@pytest.mark.parametrize(("words", "code", "line"), _REFUSED)
def test_a_refusal_is_one_line_and_touches_nothing(
    place: Place, words: list[str], code: int, line: str
) -> None:
    ended = place.call(*[flow("Steady") if w == "STEADY" else w for w in words])

    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr == Message(f"{line}\n")
    assert list(place.folder.iterdir()) == []


def test_a_damaged_store_exits_with_6(place: Place) -> None:
    (place.folder / "pts.db").write_bytes(b"not a database" * 99)

    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 6
    assert ended.stderr.count("\n") == 1


def test_verbose_shows_where_a_refusal_comes_from(place: Place) -> None:
    ended = place.call("run", "no.py", "-v")

    assert ended.returncode == 4
    assert ended.stderr.startswith("Traceback (most recent call last):")
    assert last(ended.stderr).startswith("ptsflow: no.py: no such file")


def test_other_parameters_for_the_same_container_are_refused(place: Place) -> None:
    place.call("run", flow("Steady"), "-c", "one")

    ended = place.call("run", flow("Steady"), "-p", "count=4", "-c", "one")

    assert ended.returncode == 4
    assert "container 'one' was made with other parameters" in ended.stderr


# -- dry run ----------------------------------------------------------------


def test_a_dry_run_writes_nothing_and_makes_no_store(place: Place) -> None:
    ended = place.call("run", flow("Steady"), "-n")

    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [
        "run  numbers  not run yet",
        "run  square   for each item of numbers",
        "run  total    not run yet",
    ]
    assert list(place.folder.iterdir()) == []


def test_a_dry_run_says_what_is_left_and_why(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=no")
    before = place.json("status")

    ended = place.call("run", flow("Broken"), "-p", "flag=no", "-n")

    lines = ended.stdout.splitlines()
    assert lines[0] == "skip   before   done: its result is kept"
    assert lines[1].startswith("retry  fragile  failed before: OSError: the disk")
    assert lines[2] == "run    after    not run yet"
    assert place.json("status") == before


def test_a_dry_run_of_some_steps_says_what_stands_in_their_way(place: Place) -> None:
    ended = place.call("run", flow("Steady"), "-n", "--only", "total")

    assert ended.stdout.splitlines() == [
        "leave    numbers  not among --only",
        "leave    square   not among --only",
        "blocked  total    waits for numbers, which is not done and not among --only",
    ]


@pytest.mark.parametrize("more", [[], ["-n"]])
def test_only_an_item_of_a_complete_container_that_it_has_not_is_refused(
    place: Place, more: list[str]
) -> None:
    run = ["run", flow("Steady")]
    assert place.call(*run).returncode == 0
    ended = place.call(*run, "--only", "square[99]", *more)

    assert ended.returncode == 2
    assert "has no item 'square[99]'" in ended.stderr


def test_a_dry_run_says_once_what_is_the_same_of_many_items(place: Place) -> None:
    (place.folder / "wide.py").write_text(
        "from ptsflow import Workflow, step\n"
        "class Wide(Workflow):\n"
        "    @step\n"
        "    def numbers(self) -> list[int]: return list(range(100))\n"
        "    @step(each=numbers, retry=0)\n"
        "    def each(self, number: int) -> None:\n"
        "        if number % 40 == 7: raise OSError(f'row {number} is bad')\n"
        "        if number == 50: raise KeyError('other')\n"
    )
    place.call("run", "wide.py", "-q")

    lines = place.call("run", "wide.py", "-n").stdout.splitlines()

    assert [re.split("  +", line)[:2] for line in lines] == [
        ["skip", "numbers"],
        ["skip", "each[0], each[1], each[2] and 93 more"],
        ["retry", "each[7], each[47], each[87]"],
        ["retry", "each[50]"],
    ]
    assert "OSError: row # is bad" in lines[2]
    assert "KeyError: 'other'" in lines[3]


def test_a_dry_run_says_what_it_usually_takes(place: Place) -> None:
    for name in "abc":
        place.call("run", flow("Steady"), "-c", name)
    text = place.call("run", flow("Steady"), "-c", "new", "-n").stdout
    usual = place.json("run", flow("Steady"), "-c", "new", "-n")["usual"]

    last = text.splitlines()[-1]
    assert re.fullmatch(r"usually takes \S+ \(3 runs, \S+ to \S+\)", last), text
    assert usual["runs"] == 3
    assert 0 < usual["low_seconds"] <= usual["seconds"] <= usual["high_seconds"]


def test_a_dry_run_as_json(place: Place) -> None:
    found = place.json("run", flow("Steady"), "-n")

    assert found == {
        "schema": 1,
        "container": "Steady:count=3",
        "workflow": "Steady",
        "exists": False,
        "tasks": [
            {"name": "numbers", "action": "run", "reason": "not run yet"},
            {"name": "square", "action": "run", "reason": "for each item of numbers"},
            {"name": "total", "action": "run", "reason": "not run yet"},
        ],
        "usual": None,
    }


# -- signals, crashes, other runners ----------------------------------------


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
    ],
)
def test_the_second_signal_stops_at_once_and_nothing_is_left_running(
    place: Place, number: int, code: int
) -> None:
    pid = place.folder / "pid"
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-p", "gentle=no"]
    process = place.start(*words)
    appears(pid)

    process.send_signal(number)
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if "once more stops at once" in line:
            break
    process.send_signal(number)
    _, rest = process.communicate(timeout=100)

    assert process.returncode == code
    name = place.json("status")["container"]
    rerun = place.typed("run", flow("Slow"), "-c", name, "--stored")
    assert last(rest) == f"next: {rerun}"
    found = place.json("status")
    assert (found["status"], found["owner"]) == ("pending", None)
    assert found["counts"] == {
        "pending": 1,
        "running": 0,
        "waiting": 0,
        "done": 1,
        "failed": 0,
        "skipped": 0,
    }


def test_the_first_signal_lets_what_runs_end(place: Place) -> None:
    pid = place.folder / "pid"
    process = place.start("run", flow("Slow"), "-p", f"pid={pid}")
    appears(pid)

    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=100)

    assert "stopping: waiting for 1 running; once more stops at once" in text
    # It was the last step: the container is complete.
    assert process.returncode == 0
    assert place.json("status")["status"] == "done"


def test_killed_and_run_again_only_what_is_left_runs(place: Place) -> None:
    words = ["run", flow("Suicide"), "-p", f"mark={place.folder / 'mark'}"]

    killed = place.call(*words)
    looked_at = place.call("status")
    again = place.call(*words)

    assert killed.returncode == -signal.SIGKILL
    assert "· killed   50%" in looked_at.stdout
    assert "last   was running when the runner was killed" in looked_at.stdout
    assert again.returncode == 0
    counts = {t["name"]: t["invoke_count"] for t in place.json("status")["tasks"]}
    assert counts == {"quick": 1, "last": 2}


def test_a_held_container_exits_with_5_and_says_who_holds_it(place: Place) -> None:
    pid = place.folder / "pid"
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    process = place.start(*words)
    appears(pid)

    refused = place.call(*words)
    found = place.json("status")
    pid.with_suffix(".done").touch()
    process.communicate(timeout=100)

    assert refused.returncode == 5
    assert re.fullmatch(
        rf"ptsflow: container 'one' is run by pid {process.pid} on \S+ since \d\d:\d\d:\d\d, its "
        r"lease lasts until \d\d:\d\d:\d\d; wait until it has ended, or stop it with "
        rf"{re.escape(place.typed('cancel', 'one'))}\n",
        refused.stderr,
    )
    assert found["status"] == "running"
    assert found["owner"]["pid"] == process.pid
    assert process.returncode == 0


def test_waiting_for_another_runner_ends_when_it_ends(place: Place) -> None:
    pid = place.folder / "pid"
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    first = place.start(*words)
    appears(pid)

    second = place.start(*words, "--wait", "30")
    assert second.stderr is not None
    assert "waiting: container 'one' is run by pid" in second.stderr.readline()
    pid.with_suffix(".done").touch()
    first.communicate(timeout=100)
    second.communicate(timeout=100)

    assert (first.returncode, second.returncode) == (0, 0)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
    ],
)
def test_a_signal_while_waiting_for_another_runner_ends_the_wait(
    place: Place, number: int, code: int
) -> None:
    pid = place.folder / "pid"
    words = ["run", flow("Slow"), "-p", f"pid={pid}", "-c", "one"]
    first = place.start(*words)
    appears(pid)
    second = place.start(*words, "--wait", "30")
    assert second.stderr is not None
    second.stderr.readline()

    second.send_signal(number)
    _, text = second.communicate(timeout=100)
    owner = place.json("status")["owner"]
    pid.with_suffix(".done").touch()
    first.communicate(timeout=100)

    assert (second.returncode, text.strip()) == (code, "ptsflow: stopped")
    assert owner["pid"] == first.pid
    assert first.returncode == 0


def test_a_reader_that_left_is_no_error(place: Place) -> None:
    place.call("run", flow("Wide"), "-q")
    process = place.start("show", "Wide")

    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, text = process.communicate(timeout=100)

    assert (process.returncode, text) == (0, "")
