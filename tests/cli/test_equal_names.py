"""Two classes of one name in two files do not share a container without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import Place

FLOW = """
from ptsflow import Workflow, step

class Import(Workflow):
    @step
    def {first}(self) -> int:
        return 1

    @step
    def load(self) -> int:
        return {value}
"""


def write(path: Path, first: str, value: int = 2) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(FLOW.format(first=first, value=value))


def test_another_file_and_other_steps_are_refused_unless_the_container_is_named(
    stored: Place,
) -> None:
    one, two = stored.folder / "one/flow.py", stored.folder / "two/flow.py"
    write(one, "fetch")
    write(two, "scan")
    first = stored.call("run", str(one))
    refused = [
        stored.call("run", str(two), *more) for more in ([], ["-n"], ["--fresh"])
    ]
    accepted = stored.call("run", str(two), "-c", "Import")
    back = stored.call("run", str(one))

    assert first.returncode == 0
    assert {ended.returncode for ended in refused} == {4}
    (told,) = {ended.stderr for ended in refused}
    assert told == (
        f"ptsflow: container 'Import' was made by the class Import of {one}, which has "
        f"other steps than that of {two}; choose another container with -c NAME, or go on "
        "in this one with -c Import\n"
    )
    assert accepted.returncode == 0, accepted.stderr
    tasks = stored.json("status", "Import")["tasks"]
    assert {task["name"] for task in tasks} == {"fetch", "load", "scan"}
    assert back.returncode == 4


@pytest.mark.parametrize(
    ("path", "first", "value"),
    [
        pytest.param("two.py", "fetch", 3, id="moved"),
        pytest.param("one.py", "scan", 2, id="changed"),
    ],
)
def test_a_class_that_was_moved_or_changed_goes_on(
    place: Place, path: str, first: str, value: int
) -> None:
    write(place.folder / "one.py", "fetch")
    place.call("run", "one.py")
    (place.folder / "one.py").rename(place.folder / path)
    write(place.folder / path, first, value)

    assert place.call("run", path).returncode == 0


def test_a_module_of_a_package_may_be_moved_and_changed(
    place: Place, tmp_path: Path
) -> None:
    for number, first in enumerate(("fetch", "scan")):
        write(tmp_path / f"release{number}" / "flow.py", first)
        package = tmp_path / f"release{number}" / "feed"
        package.mkdir()
        (package / "__init__.py").touch()
        (package.parent / "flow.py").rename(package / "flow.py")
        place.env["PYTHONPATH"] = str(package.parent)

        assert place.call("run", "feed.flow").returncode == 0
