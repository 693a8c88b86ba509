"""What a message tells a person to type is pasted in another folder, and helps."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ptsflow.display.next_command import command
from tests.cli.calling import Place, flow
from tests.cli.pasted import kept

HEAD = (
    "import os, signal\nfrom pathlib import Path\nfrom ptsflow import Workflow, step\n"
)


class Person:
    """Types in one folder, and pastes what the messages say in another one."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.elsewhere = place.folder / "else where"
        self.elsewhere.mkdir()
        self.said = ""

    def types(self, *words: str) -> int:
        ended = self.place.call(*words)
        self.said = ended.stderr
        return ended.returncode

    def line(self, label: str) -> str:
        """Return the only command of a label that was printed last."""
        (line,) = [x.strip() for x in self.said.splitlines() if f"{label}: " in x]
        return line.removeprefix(f"{label}: ")

    def pastes(self, label: str) -> subprocess.CompletedProcess[str]:
        ended = self.place.paste(self.line(label), self.elsewhere)
        self.said = ended.stderr
        assert not any(self.elsewhere.iterdir())
        return ended


@pytest.fixture
def person(place: Place) -> Person:
    """Return who types, with the store that is the default in the folder."""
    del place.env["PTSFLOW_STORE"]
    return Person(place)


@pytest.mark.parametrize("name", ["my box", "-my box", "help"])
def test_after_a_failure_one_line_shows_where_and_one_goes_on(
    person: Person, name: str
) -> None:
    flag = person.place.folder / "a flag"
    assert person.types("run", flow("Broken"), "-p", f"flag={flag}", "-c", name) == 1

    again = person.line("next")
    shown = person.pastes("why").stdout
    flag.touch()
    person.said = f"next: {again}"

    assert "Traceback (most recent call last):" in shown
    assert person.pastes("next").returncode == 0
    assert "3 done" in person.said
    assert person.pastes("next").stdout.startswith("status     ✔ done")


def test_a_step_that_may_run_once_is_marked_and_then_the_run_goes_on(
    person: Person,
) -> None:
    pay = "    @step(at_most_once=True)\n    def pay(self):\n        "
    text = f"class Pay(Workflow):\n{pay}os.kill(os.getpid(), signal.SIGKILL)\n"
    (person.place.folder / "pay.py").write_text(HEAD + text)
    person.types("run", "pay.py")
    assert person.types("run", "pay.py") == 1

    assert person.line("next").split()[3:7] == ["mark", "Pay", "pay", "done"]
    assert person.pastes("next").returncode == 0
    assert person.pastes("next").returncode == 0
    assert "done already" in person.said or "1 done" in person.said


def test_a_result_that_is_no_list_is_made_again_from_its_source(person: Person) -> None:
    code = (
        "class Load(Workflow):\n"
        "    @step\n    def tables(self):\n        {}\n"
        "    @step(each=tables)\n    def load(self, table):\n        return table\n"
    )
    file = person.place.folder / "load.py"
    file.write_text(HEAD + code.format("['a']"))
    assert person.types("run", "load.py") == 1
    assert "needs a list from tables, found None; the stored result of tables" in (
        person.said
    )

    file.write_text(HEAD + code.format("return ['a', 'b']"))
    assert person.line("next").split()[3:7] == ["reset", "Load", "--step", "tables"]
    assert person.pastes("next").returncode == 0
    assert person.pastes("next").returncode == 0
    assert "3 done" in person.said


@pytest.mark.parametrize("item", [False, True], ids=["a step", "an item"])
def test_a_stored_value_that_does_not_fit_is_made_again(
    person: Person, *, item: bool
) -> None:
    each, name = ("each=first", ", name") if item else ("", "")
    code = (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Size:\n    {field}: int\n"
        "class Load(Workflow):\n"
        "    @step\n    def first(self) -> list[str]:\n        return ['x y']\n"
        f"    @step({each})\n    def size(self{name}) -> Size:\n        return Size(1)\n"
        f"    @step({'each=size' if item else ''})\n"
        "    def tell(self, size: Size) -> int:\n        return 1\n"
    )
    file = person.place.folder / "load.py"
    file.write_text(HEAD + code.format(field="rows"))
    person.types("run", "load.py", "--only", "first", "--only", "size")
    file.write_text(HEAD + code.format(field="lines"))

    assert person.types("run", "load.py") == 1
    source = "size[x y]" if item else "size"
    assert f"the stored result of {source} does not fit" in person.said
    assert shlex.split(person.line("next"))[3:7] == ["reset", "Load", "--step", source]
    assert person.pastes("next").returncode == 0
    assert person.pastes("next").returncode == 0


def test_steps_that_only_lacks_are_added(person: Person) -> None:
    assert person.types("run", flow("Steady"), "--only", "total") == 1

    line = person.line("next")
    assert "--only numbers --only square --only total" in line
    assert person.pastes("next").returncode == 0


def test_when_the_steps_of_only_are_done_the_rest_is_next(person: Person) -> None:
    assert person.types("run", flow("Steady"), "--only", "numbers") == 0

    assert "--only" not in person.line("next")
    assert person.pastes("next").returncode == 0
    assert "done in" in person.said


def test_status_of_what_was_killed_says_how_to_go_on(person: Person) -> None:
    mark = person.place.folder / "mark"
    person.types("run", flow("Suicide"), "-p", f"mark={mark}")
    person.types("status")

    assert person.pastes("next").returncode == 0


def test_status_of_what_failed_says_why_and_what_is_next(person: Person) -> None:
    person.types("run", flow("Broken"), "-p", "flag=no")
    person.types("status")

    again = person.line("next")
    assert "Traceback" in person.pastes("why").stdout
    person.said = f"next: {again}"
    assert person.pastes("next").returncode == 1


def test_a_module_of_a_package_is_run_in_its_folder_and_a_lone_one_by_its_file(
    person: Person,
) -> None:
    code = (
        HEAD + "class Load(Workflow):\n    @step(retry=0)\n    def load(self): 1 / 0\n"
    )
    package = person.place.folder / "pk"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").touch()
    (package / "flow.py").write_text("from . import helper\n" + code)
    (person.place.folder / "lone.py").write_text(code)

    for target, begins in (
        ("pk.flow:Load", f"cd {person.place.folder} && "),
        ("lone", sys.executable),
    ):
        person.types("run", target, "-c", target)
        assert person.line("next").startswith(begins)
        assert person.pastes("next").returncode == 1
        assert "ZeroDivisionError" in person.said


def test_a_command_begins_as_the_process_was_begun(person: Person) -> None:
    folder, store = person.place.folder, person.place.store
    (folder / ".venv").symlink_to(sys.prefix)
    found = Path(sys.executable).parent
    person.place.env["PATH"] = f"{found}:{person.place.env['PATH']}"
    show = f"show Steady:count=3 --store {store}"
    begun = {
        ".venv/bin/python -m ptsflow": f"{folder}/.venv/bin/python -m ptsflow",
        "python -X utf8 -m ptsflow": "python -X utf8 -m ptsflow",
        "ptsflow": "ptsflow",
        f"{found}/ptsflow": "ptsflow",
    }

    for words, begins in begun.items():
        line = f"{words} run {flow('Steady')} --store {store}"
        ended = subprocess.run(
            ["bash", "-c", line],
            cwd=folder,
            env=person.place.env,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert ended.stderr.splitlines()[-1] == f"next: {begins} {show}"
        person.place.printed += kept(ended.stderr, words, folder, person.place.env)


def test_verbose_prints_the_traceback_at_once(person: Person) -> None:
    assert person.types("run", flow("Broken"), "-p", "flag=no", "-v") == 1

    lines = person.said.splitlines()
    where = [place for place, line in enumerate(lines) if "fragile | Traceback" in line]
    failed = [place for place, line in enumerate(lines) if "fragile  failed" in line]
    assert where[0] < failed[0]
    assert "\x1b" not in person.said


def test_a_parameter_that_has_a_default_is_named_too(person: Person) -> None:
    code = (
        "from datetime import date\nfrom decimal import Decimal\n"
        "class Load(Workflow):\n"
        "    day: date = date(2011, 9, 30)\n    rate: Decimal = Decimal('1.10')\n"
        "    tags: tuple[str, ...] = ('a,b', 'c')\n    name: str | None = None\n"
        "    sizes: dict[str, list[int]] = {'a': [1]}\n    places: list[Path] = []\n"
        "    @step(retry=0)\n    def load(self): 1 / 0\n"
    )
    file = person.place.folder / "load.py"
    file.write_text(HEAD + code)
    person.types("run", "load.py")

    file.write_text(HEAD + code.replace("2011", "2012").replace("1.10", "1.20"))
    assert person.pastes("next").returncode == 1
    assert person.types("status") == 0
    assert person.pastes("next").returncode == 1
    assert "ZeroDivisionError" in person.said


@pytest.mark.parametrize(
    "words",
    [
        ("show", "-my box", "before"),
        ("mark", "-my box", "fragile", "done"),
        ("reset", "-my box", "--step", "before", "-y"),
        ("cancel", "-my box"),
    ],
)
def test_a_name_that_looks_like_an_option_is_taken_as_a_name(
    person: Person, words: tuple[str, ...]
) -> None:
    person.types("run", flow("Broken"), "-p", "flag=no", "-c", "-my box")
    store = f"sqlite:///{person.place.folder}/.ptsflow/ptsflow.db"
    line = command(store, words)
    begun = line.index(f" {words[0]} ")

    assert person.place.call(*shlex.split(line[begun:])).returncode == 0
