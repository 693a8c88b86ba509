"""The listeners that `ptsflow run` takes from the project or from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import Place, flow

LISTENING = """
from pathlib import Path

def make():
    return lambda event: Path("{heard}").open("a").write(type(event).__name__ + "\\n")

class Kept:
    make = staticmethod(make)

def broken():
    def listen(event):
        raise OSError("the collector is away")
    return listen

def nothing():
    pass
"""

SETTING = '[tool.ptsflow]\nlisteners = ["{names}"]\n'


@pytest.fixture
def heard(place: Place) -> Path:
    """Return the file that listeners write to; their module is in a project's folder."""
    heard = place.folder / "heard"
    project = place.folder / "project"
    (project / "deep" / "deeper").mkdir(parents=True)
    (project / "listening.py").write_text(LISTENING.replace("{heard}", str(heard)))
    return heard


def set_in_project(place: Place, text: str) -> None:
    """Write a project's settings, and go into a folder below it."""
    (place.folder / "project" / "pyproject.toml").write_text(text)
    place.folder = place.folder / "project" / "deep" / "deeper"


def test_the_nearest_project_above_names_listeners(place: Place, heard: Path) -> None:
    (place.folder / "pyproject.toml").write_text(SETTING.format(names="no.such:make"))
    set_in_project(place, SETTING.format(names='listening:make", "listening:Kept.make'))
    ended = place.call("run", flow("Steady"))
    told = heard.read_text().split()

    assert ended.returncode == 0, ended.stderr
    assert told.count("RunStarted") == told.count("RunEnded") == 2
    assert told.count("AttemptEnded") == 2 * 5


def test_the_environment_is_asked_instead_of_the_project(
    place: Place, heard: Path
) -> None:
    set_in_project(place, SETTING.format(names="no.such:make"))
    place.folder = heard.parent / "project"
    place.env["PTSFLOW_LISTENERS"] = "listening:make, listening:make,"
    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 0, ended.stderr
    assert heard.read_text().count("RunEnded") == 2


def test_an_empty_variable_means_no_listeners(place: Place, heard: Path) -> None:
    set_in_project(place, SETTING.format(names="listening:make"))
    place.env["PTSFLOW_LISTENERS"] = ""
    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 0, ended.stderr
    assert not heard.exists()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="an empty file"),
        pytest.param("neither TOML\nnor = = of any concern", id="what is no TOML"),
        pytest.param('[project]\nname = "ptsflow-user"', id="no table"),
        pytest.param("[tool.ptsflow]\nother = 1", id="no listeners"),
        pytest.param("[project\nname = 'ptsflow'", id="what is no TOML and names none"),
    ],
)
def test_a_project_without_listeners_has_none(
    place: Place, heard: Path, text: str
) -> None:
    set_in_project(place, text)
    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 0, ended.stderr
    assert not heard.exists()


ADVICE = "expected a function without arguments that returns a listener"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("listening", "expected package.module:make, found 'listening'"),
        ("no_such:make", ADVICE),
        ("listening:no_such", ADVICE),
        ("listening:Kept.make.x", ADVICE),
        ("builtins:len", ADVICE),
        ("sys:exit", "the listener sys:exit cannot be loaded: SystemExit; " + ADVICE),
        (
            "listening:nothing",
            "listening:nothing returned NoneType; expected a listener",
        ),
    ],
)
@pytest.mark.parametrize("by", ["project", "environment"])
def test_a_listener_that_cannot_be_loaded_is_refused_in_one_line(
    place: Place, heard: Path, names: str, told: str, by: str
) -> None:
    where = "$PTSFLOW_LISTENERS: "
    if by == "project":
        set_in_project(place, SETTING.format(names=names))
        where = f"{heard.parent}/project/pyproject.toml: [tool.ptsflow] listeners: "
    else:
        place.env["PTSFLOW_LISTENERS"] = names
        place.folder = heard.parent / "project"
    ended = place.call("run", flow("Steady"))

    assert ended.returncode == 4
    assert ended.stderr.startswith(f"ptsflow: {where}")
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (heard.parent / "pts.db").exists()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[tool.ptsflow]\nlisteners = "listening:make"', id="a text"),
        pytest.param("[tool.ptsflow]\nlisteners = [1]", id="a number"),
        pytest.param("[tool]\nptsflow = 3 # listeners", id="no table"),
        pytest.param("[tool.ptsflow\nlisteners = []", id="what is no TOML"),
    ],
)
def test_a_setting_that_is_no_list_of_names_is_refused(
    place: Place, heard: Path, text: str
) -> None:
    set_in_project(place, text)
    ended = place.call("run", flow("Steady"))
    where = f"{heard.parent}/project/pyproject.toml: [tool.ptsflow] listeners"

    assert ended.returncode == 4
    assert ended.stderr.startswith(f"ptsflow: {where}")
    assert ended.stderr.count("\n") == 1


def test_a_listener_that_raises_is_named_and_the_run_goes_on(
    place: Place, heard: Path
) -> None:
    set_in_project(place, SETTING.format(names="listening:broken"))
    ended = place.call("run", flow("Steady"))
    (told,) = [line for line in ended.stderr.splitlines() if "the listener" in line]

    assert ended.returncode == 0
    assert told.endswith(
        "the listener listening:broken.<locals>.listen raised "
        "OSError: the collector is away; the run goes on without it"
    )
    assert not heard.exists()


@pytest.mark.parametrize("words", [("run", "-n"), ("graph",)])
def test_what_runs_nothing_loads_no_listeners(
    place: Place, words: tuple[str, ...]
) -> None:
    place.env["PTSFLOW_LISTENERS"] = "no.such:make"
    command, *options = words
    ended = place.call(command, flow("Steady"), *options)

    assert ended.returncode == 0, ended.stderr
