"""`run TARGET -c NAME --stored`: the parameters are those that the container keeps."""

from __future__ import annotations

import os

import pytest

import ptsflow
from tests.cli.calling import Place

FLOW = """
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ptsflow import Secret, Workflow, step

@dataclass
class Size:
    rows: int
    sides: tuple[float, ...]

class Load(Workflow):
    day: datetime
    sizes: dict[str, Size]
    source: str = "ftp://a:b@host/"
    name: str | None = "x"
    tags: tuple[str, ...] = ()
    token: Secret[str] | None = None

    @step(retry=0)
    def load(self) -> str:
        assert Path("flag").exists()
        token = self.token and self.token.get_secret_value()
        return repr((self.day, self.sizes, self.source, self.name, self.tags, token))

class Other(Workflow):
    @step
    def wait(self): pass
"""
GIVEN = (
    *("-p", "day=2011-09-30T13:00:00.000001+02:00", "-p", "name=none"),
    *("-p", 'sizes={"a":{"rows":1,"sides":[0.1]}}', "-p", 'tags=["a,b","","{"]'),
)
SECRET = ("-p", "token=env:TOKEN")
AGAIN = ("run", "flow.py:Load", "-c", "one", "--stored")


@pytest.fixture
def begun(place: Place) -> Place:
    """Return a folder with a container whose only step has failed once."""
    (place.folder / "flow.py").write_text(FLOW)
    place.env |= {"TOKEN": "s3cr3t"}
    words = ("run", "flow.py:Load", *GIVEN, "-c", "one", *SECRET)
    assert place.call(*words).returncode == 1
    (place.folder / "flag").touch()
    return place


def refused(place: Place, *words: str) -> str:
    ended = place.call(*words)
    assert ended.returncode in (2, 4), ended.stderr
    (line,) = ended.stderr.splitlines()
    assert place.json("status", "one")["tasks"][0]["invoke_count"] == 1
    return line.removeprefix("ptsflow: ")


def changed(place: Place, before: str, after: str) -> None:
    assert before in FLOW
    file = place.folder / "flow.py"
    later = file.stat().st_mtime + 10
    file.write_text(FLOW.replace(before, after))
    # Python would take the compiled file of code of the same size and second.
    os.utime(file, (0, later))


def test_values_that_nobody_can_type_are_the_same_again(begun: Place) -> None:
    ended = begun.call(*AGAIN, *SECRET)

    assert ended.returncode == 0, ended.stderr
    (task,) = begun.json("status", "one")["tasks"]
    assert task["result"] == (
        "(datetime.datetime(2011, 9, 30, 13, 0, 0, 1, tzinfo=datetime.timezone("
        "datetime.timedelta(seconds=7200))), {'a': Size(rows=1, sides=(0.1,))}, "
        "'ftp://a:b@host/', None, ('a,b', '', '{'), 's3cr3t')"
    )


def test_a_part_of_the_name_is_enough_and_a_dry_run_writes_nothing(
    begun: Place,
) -> None:
    ended = begun.call("run", "flow.py:Load", "-c", "on", "--stored", "-n", *SECRET)

    assert ended.returncode == 0
    assert ended.stderr.startswith("one: as it is stored;")


def test_a_secret_is_given_again(begun: Place) -> None:
    assert refused(begun, *AGAIN) == (
        "Load: the parameter token has to be given again, as it is secret and its value "
        "is not kept: -p token=env:TOKEN, as before"
    )
    changed(begun, "token: Secret[str] | None", "token: str | None")
    assert "as it was secret and its value is not kept: -p token=..." in (
        refused(begun, *AGAIN)
    )
    changed(begun, "name: str | None", "name: Secret[str] | None")
    assert begun.call(*AGAIN, *SECRET).returncode == 0, "name was none"


def test_what_became_secret_is_given_again(begun: Place) -> None:
    changed(
        begun, 'source: str = "ftp://a:b@host/"', 'source: Secret[str] = Secret("x")'
    )
    assert "the parameter source has to be given again, as it is secret now" in (
        refused(begun, *AGAIN, *SECRET)
    )


def test_a_secret_of_the_class_itself_need_not_be_given(begun: Place) -> None:
    changed(begun, "Secret[str] | None = None", 'Secret[str] = Secret("own")')
    begun.call("run", "flow.py:Load", *GIVEN, "-c", "two", "-n")
    (begun.folder / "flag").unlink()
    begun.call("run", "flow.py:Load", *GIVEN, "-c", "two")
    (begun.folder / "flag").touch()

    ended = begun.call("run", "flow.py:Load", "-c", "two", "--stored")

    assert ended.returncode == 0, ended.stderr
    assert begun.json("status", "two")["tasks"][0]["result"].endswith("'own')")


def test_a_value_that_does_not_fit_any_more_is_refused(begun: Place) -> None:
    for before, after, found in (
        ("tags: tuple[str, ...]", "tags: tuple[int, ...]", "the parameter tags"),
        ("rows: int", "lines: int", "the parameter sizes"),
        ("day: datetime", "day: int", "the parameter day"),
    ):
        changed(begun, before, after)
        line = refused(begun, *AGAIN, *SECRET)
        assert found in line
        assert "container 'one' keeps" in line
        assert line.endswith(f"with --fresh and -p {found.split()[-1]}=...")


def test_parameters_that_were_added_or_removed_since(begun: Place) -> None:
    changed(begun, "    day: datetime\n", "    day: datetime\n    more: int\n")
    assert "the parameter more is missing" in refused(begun, *AGAIN, *SECRET)

    changed(begun, "    tags: tuple[str, ...] = ()\n", "")
    ended = begun.call(*AGAIN, *SECRET, "-n")
    assert ended.stderr.splitlines()[0] == (
        "not in the workflow any more, and ignored: the parameters tags"
    )


def test_other_values_are_refused_unless_the_container_is_begun_anew(
    begun: Place,
) -> None:
    other = ("-p", "source=here")
    assert "was made with other parameters: source was ftp://a:***@host/, is here" in (
        refused(begun, *AGAIN, *SECRET, *other)
    )
    assert begun.call(*AGAIN, *SECRET, *other, "--fresh").returncode == 0
    assert begun.json("status", "one")["params"]["source"] == "here"


def test_containers_of_others_are_refused(begun: Place) -> None:
    with ptsflow.connect(begun.store) as client:
        client.get_or_create_task_container("theirs")
    for words, said in (
        (
            ("flow.py:Other", "-c", "one"),
            "container 'one' belongs to the workflow Load, not Other; choose another",
        ),
        (
            ("flow.py:Other", "-c", "theirs"),
            "container 'theirs' keeps no parameters, as no run has begun in it; run it",
        ),
        (("flow.py:Other", "-c", "absent"), "no container 'absent' in "),
        (("flow.py:Other",), "run: --stored goes with -c NAME; give a container"),
    ):
        assert refused(begun, "run", *words, "--stored").startswith(said)


def test_no_store_is_made_where_there_is_none(place: Place) -> None:
    (place.folder / "flow.py").write_text(FLOW)

    ended = place.call(*AGAIN)

    assert (ended.returncode, "there is no store at" in ended.stderr) == (2, True)
    assert not (place.folder / "pts.db").exists()
