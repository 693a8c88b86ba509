"""`resume TARGET.. [NAME | --all-failed]`: unfinished containers, one after the other."""

from __future__ import annotations

import json
import shlex
import signal
import time
from pathlib import Path

import pytest

import ptsflow
from ptsflow.cli.main import call
from ptsflow.cli.run import RunExit
from ptsflow.runner.planned_run import PlannedRun
from tests.cli.calling import Place, appears, flow

FEED = """
from pathlib import Path
from ptsflow import Secret, Workflow, step

HERE = Path(__file__).parent

class Feed(Workflow):
    container = "feed:{hour}"
    hour: int

    @step(retry=0)
    def load(self) -> None:
        with (HERE / "journal").open("a") as file:
            file.write(f"{self.hour} ")
        if not (HERE / f"ready{self.hour}").exists():
            raise OSError("not there yet")
"""


class Feeds:
    """A folder with a workflow whose containers fail until a file is there."""

    def __init__(self, place: Place, hours: range) -> None:
        self.place = place
        (place.folder / "feed.py").write_text(FEED)
        for hour in hours:
            assert self.run(hour) == 1
        (place.folder / "journal").unlink(missing_ok=True)

    def run(self, hour: int) -> int:
        return self.place.call("run", "feed.py", "-p", f"hour={hour}").returncode

    def mend(self, *hours: int) -> None:
        for hour in hours:
            (self.place.folder / f"ready{hour}").touch()

    @property
    def journal(self) -> list[int]:
        path = self.place.folder / "journal"
        return [*map(int, path.read_text().split())] if path.exists() else []


@pytest.fixture
def feeds(place: Place) -> Feeds:
    return Feeds(place, range(3))


def test_all_that_is_unfinished_runs_the_oldest_first_and_the_worst_is_told(
    feeds: Feeds,
) -> None:
    feeds.mend(0, 2)

    ended = feeds.place.call("resume", "feed.py")

    assert ended.returncode == 1
    assert feeds.journal == [0, 1, 2]
    lines = ended.stderr.splitlines()
    assert lines[0] == "feed:0: 1 of 3"
    assert lines[-1] == "of 3 containers: 2 complete, 1 not complete"
    (again,) = [x for x in lines if x.startswith("next: ")]
    target = f"{feeds.place.folder}/feed.py"
    words = ("run", target, "-c", "feed:1", "--stored")
    assert again == f"next: {feeds.place.typed(*words)}"


def test_what_was_killed_stopped_or_never_began_is_unfinished_what_is_done_is_not(
    feeds: Feeds,
) -> None:
    place = feeds.place
    feeds.mend(*range(3))
    mark = place.folder / "mark"
    place.call("run", flow("Suicide"), "-p", f"mark={mark}")
    assert feeds.run(0) == 0
    place.call("reset", "feed:1", "-y")
    place.call("retry", "feed:2")
    (place.folder / "journal").unlink()

    failed = place.call("resume", "feed.py", "--all-failed")
    ended = place.call("resume", "feed.py", flow("Suicide"))
    again = place.call("resume", "feed.py", flow("Suicide"))

    assert failed.stderr == "nothing to resume: no container of Feed has failed\n"
    assert failed.returncode == 0
    assert ended.returncode == 0, ended.stderr
    assert feeds.journal == [1, 2]
    assert place.json("status", "Suicide")["status"] == "done"
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == (
        "nothing to resume: no container of Feed, Suicide is unfinished\n"
    )


def test_all_failed_leaves_others(feeds: Feeds) -> None:
    feeds.mend(*range(3))
    feeds.place.call("retry", "feed:1")

    ended = feeds.place.call("resume", "feed.py", "--all-failed", "--json")

    assert ended.returncode == 0
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [x["container"] for x in found] == ["feed:0", "feed:2"]
    assert {x["status"] for x in found} == {"done"}
    assert feeds.journal == [0, 2]


@pytest.mark.parametrize("name", ["feed:1", ":1", "1"])
def test_one_container_runs_as_by_run(feeds: Feeds, name: str) -> None:
    ended = feeds.place.call("resume", "feed.py:Feed", name)

    assert ended.returncode == 1
    assert feeds.journal == [1]
    assert "of 1" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["feed.py", "feed"], 2, "'feed' is part of 3 names in "),
        (
            ["feed.py", "feed:7"],
            4,
            "'feed:7' is part of no container's name, and no TARG",
        ),
        (
            ["feed.py", "--all-failed", "feed:1"],
            2,
            "resume: expected 'feed:1' or --all",
        ),
        (
            ["other.py", "feed:1"],
            4,
            "container 'feed:1' belongs to the workflow Feed, no",
        ),
        (
            ["feed.py", "theirs"],
            4,
            "container 'theirs' belongs to no workflow, not to Fe",
        ),
        (
            ["feed.py", "twin.py"],
            2,
            "resume: feed.py and twin.py are both called Feed; g",
        ),
        (
            ["feed.py", "-p", "huor=1"],
            2,
            "resume: there is no parameter 'huor' in Feed (",
        ),
        (
            ["feed.py", "-p", "hour=9", "feed:1"],
            4,
            "container 'feed:1' was made with oth",
        ),
        (["absent.py"], 4, "absent.py: no such file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    feeds: Feeds, words: list[str], code: int, said: str
) -> None:
    folder = feeds.place.folder
    (folder / "twin.py").write_text(FEED)
    (folder / "other.py").write_text(FEED.replace("Feed", "Other"))
    with ptsflow.connect(feeds.place.store) as client:
        client.get_or_create_task_container("theirs")

    ended = feeds.place.call("resume", *words)

    assert (ended.returncode, feeds.journal) == (code, [])
    assert ended.stderr.startswith(f"ptsflow: {said}"[:50])


def test_one_that_does_not_fit_keeps_no_other_from_running(feeds: Feeds) -> None:
    place = feeds.place
    feeds.mend(*range(3))
    (place.folder / "feed.py").write_text(
        FEED.replace("    hour: int\n", "    hour: int\n    size: int = 1\n")
    )
    place.call("run", "feed.py", "-p", "hour=7", "-p", "size=5")
    text = FEED.replace("    hour: int\n", "    hour: int\n    size: str = ''\n")
    (place.folder / "feed.py").write_text(text)

    ended = place.call("resume", "feed.py")

    assert ended.returncode == 4
    assert feeds.journal[1:] == [0, 1, 2]
    assert "the parameter size: what container 'feed:7' keeps of it does not" in (
        ended.stderr
    )
    assert ended.stderr.splitlines()[-1] == (
        "of 4 containers: 3 complete, 1 not complete"
    )


def test_containers_of_another_class_of_the_same_name_are_left(feeds: Feeds) -> None:
    place = feeds.place
    feeds.mend(*range(3))
    (place.folder / "two.py").write_text(FEED.replace("def load", "def scan"))
    place.call("run", "two.py", "-p", "hour=2", "-c", "theirs")

    ended = place.call("resume", "two.py")

    assert (ended.returncode, feeds.journal) == (0, [2])
    assert ended.stderr.splitlines()[0] == (
        f"feed:0: skipped, as it was made by the class Feed of {place.folder}/feed.py, "
        "which has other steps"
    )


def test_a_container_that_a_runner_has_is_left_unless_it_is_named(
    feeds: Feeds,
) -> None:
    place, pid = feeds.place, feeds.place.folder / "pid"
    feeds.mend(*range(3))
    running = place.start("run", flow("Slow"), "-p", f"pid={pid}", "-c", "held")
    appears(pid)

    ended = place.call("resume", "feed.py", flow("Slow"))
    named = place.call("resume", flow("Slow"), "held")
    waiting = place.start("resume", flow("Slow"), "--wait", "60")
    pid.with_suffix(".done").touch()
    running.communicate(timeout=60)
    waiting.communicate(timeout=60)

    assert (ended.returncode, feeds.journal) == (0, [0, 1, 2])
    assert f"held: skipped, as it is run by pid {running.pid} on" in ended.stderr
    assert named.returncode == 5
    assert waiting.returncode == 0


LONG = """
import time
from pathlib import Path
from ptsflow import TaskHandle, Workflow, step

class Long(Workflow):
    place: Path

    @step(retry=0)
    def work(self, task: TaskHandle) -> None:
        self.place.touch()
        while not self.place.with_suffix(".done").exists():
            if task.cancelled:
                raise InterruptedError
            time.sleep(0.02)
"""


@pytest.fixture
def long(place: Place) -> tuple[Path, Path]:
    """Return the places of two containers that were stopped, and wait again when run."""
    (place.folder / "long.py").write_text(LONG)
    found = place.folder / "one", place.folder / "two"
    for path in found:
        words = ("run", "long.py", "-p", f"place={path}", "-c", path.name)
        assert place.call(*words, "--timeout", "0.5s").returncode == 124
        path.unlink()
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (15, 143)])
def test_a_signal_ends_all(
    place: Place, long: tuple[Path, Path], number: int, code: int
) -> None:
    series = place.start("resume", "long.py")
    appears(long[0])

    series.send_signal(number)
    _, said = series.communicate(timeout=60)

    assert series.returncode == code
    assert not long[1].exists()
    assert said.splitlines()[-1] == "of 2 containers: 1 not complete, 1 not begun"


def test_cancel_ends_one_and_the_next_one_runs(
    place: Place, long: tuple[Path, Path]
) -> None:
    series = place.start("resume", "long.py")
    appears(long[0])

    place.call("cancel", "one")
    appears(long[1])
    long[1].with_suffix(".done").touch()
    series.communicate(timeout=60)

    assert series.returncode == 143
    assert place.json("status", "two")["status"] == "done"


def test_a_timeout_is_for_all_together(place: Place, long: tuple[Path, Path]) -> None:
    ended = place.call("resume", "long.py", "--timeout", "1s")

    assert ended.returncode == 124
    assert [path.exists() for path in long] == [True, False]
    assert f"--timeout 1s --store {place.store}" in ended.stderr


def test_each_run_has_what_is_left_of_the_timeout(
    place: Place, long: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []

    def run(_common: object, _request: object, planned: PlannedRun) -> RunExit:
        left.append(planned.options.timeout or 0)
        time.sleep(0.05)
        return RunExit(0)

    monkeypatch.setattr("ptsflow.cli.resume.run_request", run)
    target = f"{place.folder}/long.py"
    code = call(["resume", target, "--timeout", "60", "--store", place.store])

    assert (code, len(left)) == (0, len(long))
    assert left[1] <= left[0] - 0.05 < 60


SECRETIVE = """
from pathlib import Path
from ptsflow import Secret, Workflow, step

class Secretive(Workflow):
    hour: int
    token: Secret[str]

    @step(retry=0)
    def load(self) -> int:
        assert Path("flag").exists()
        return len(self.token.get_secret_value())
"""


def test_secrets_are_given_to_those_that_have_them(feeds: Feeds) -> None:
    place = feeds.place
    feeds.mend(*range(3))
    place.env |= {"TOKEN": "s3cr3t"}
    (place.folder / "secretive.py").write_text(SECRETIVE)
    for hour in "12":
        given = ("-p", f"hour={hour}", "-p", "token=env:TOKEN")
        assert place.call("run", "secretive.py", *given).returncode == 1
    (place.folder / "flag").touch()

    without = place.call("resume", "secretive.py")
    listed = place.call("resume").stdout.splitlines()
    ended = place.call("resume", "secretive.py", "feed.py", "-p", "token=env:TOKEN")

    assert without.returncode == 4
    assert without.stderr.count("token has to be given again") == 2
    assert "resume" in listed[1]
    assert f"secretive.py -p token=env:TOKEN --store {place.store}" in listed[1]
    assert ended.returncode == 0
    assert feeds.journal == [0, 1, 2]


EVIL = """
from pathlib import Path
from ptsflow import Workflow, step

Path(__file__).with_name("loaded").touch()

class Evil(Workflow):
    @step(retry=0)
    def load(self): raise OSError
"""


def test_no_code_is_loaded_because_a_store_names_it(feeds: Feeds) -> None:
    place = feeds.place
    (place.folder / "evil.py").write_text(EVIL)
    place.call("run", "evil.py")
    (place.folder / "loaded").unlink()

    named = place.call("resume", "feed:1")
    found = [place.call("resume", *w) for w in ([], ["--all-failed"])]
    as_json = place.paste(place.typed("resume", "--json"), place.folder)
    place.call("resume", "feed.py")

    assert not (place.folder / "loaded").exists()
    feed = f"{place.folder}/feed.py"
    one = place.typed("run", feed, "-c", "feed:1", "--stored")
    assert named.stdout == f"Feed  1 unfinished  {one}\n"
    for ended in (named, *found):
        assert ended.returncode == 2
        assert ended.stderr == (
            "ptsflow: resume: expected a TARGET, as no code is loaded because a store "
            "names it; type one of these\n"
        )
    evil = place.typed("run", f"{place.folder}/evil.py", "-c", "Evil", "--stored")
    lines = found[0].stdout.splitlines()
    assert lines == [
        f"Feed  3 unfinished  {place.typed('resume', feed)}",
        f"Evil  1 unfinished  {evil}",
    ]
    commands = [json.loads(line)["command"] for line in as_json.stdout.splitlines()]
    assert commands == [line.split("  ")[-1] for line in lines]


def test_without_a_target_where_all_is_complete_that_is_said(feeds: Feeds) -> None:
    feeds.mend(1)
    assert feeds.run(1) == 0

    ended = feeds.place.call("resume", "feed:1")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing that was asked for is unfinished in sqlite:" in ended.stderr


@pytest.mark.parametrize(
    "words", [["status", "feed:1"], ["show", "feed:1"], ["list"], ["resume", "feed:1"]]
)
def test_what_looks_at_an_unfinished_container_prints_how_to_continue(
    place: Place, words: list[str]
) -> None:
    feeds = Feeds(place, range(1, 2))
    feeds.mend(1)
    ended = place.call(*words)
    text = ended.stdout if words[0] == "resume" else ended.stderr
    (line,) = [x for x in text.splitlines() if " run " in x]
    elsewhere = place.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ready1").touch()

    pasted = place.paste(line[line.index("/") :], elsewhere)

    assert pasted.returncode == 0, pasted.stderr
    assert place.json("status", "feed:1")["status"] == "done"
    assert "next: " not in place.call("list").stderr


def test_a_list_names_a_command_for_each_of_some_workflows(feeds: Feeds) -> None:
    place = feeds.place
    for name in "ABC":
        text = FEED.replace("Feed", name).replace("feed:", name)
        (place.folder / f"{name}.py").write_text(text)
        place.call("run", f"{name}.py", "-p", "hour=1")

    lines = place.call("list").stderr.splitlines()

    assert [shlex.split(line)[4] for line in lines[:3]] == ["resume", "run", "run"]
    assert lines[3] == f"1 more workflow: {place.typed('resume')}"


def test_a_container_that_a_client_opened_again_is_unfinished(feeds: Feeds) -> None:
    feeds.mend(1)
    feeds.run(1)
    (feeds.place.folder / "journal").unlink()
    with ptsflow.connect(feeds.place.store) as client:
        container, _ = client.get_or_create_task_container("feed:1")
        container.update_task("load", is_complete=False)

    shown = feeds.place.call("status", "feed:1")
    feeds.place.call("resume", "feed.py")

    assert "-c feed:1 --stored" in shown.stderr
    assert feeds.journal == [0, 1, 2]


def test_a_store_that_goes_away_ends_all(feeds: Feeds) -> None:
    text = FEED.replace(
        "        if not", "        Path('pts.db').write_text('')\n        if not"
    )
    (feeds.place.folder / "feed.py").write_text(text)

    ended = feeds.place.call("resume", "feed.py")

    assert ended.returncode == 6
    assert feeds.journal == [0]
