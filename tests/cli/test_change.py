"""`reset` and `retry`: what they forget, and what they ask before."""

from __future__ import annotations

import json

import pytest

from tests.cli.calling import Place, flow


@pytest.fixture
def done(place: Place) -> Place:
    """Return a folder with a workflow that has run."""
    assert place.call("run", flow("Steady"), "-q").returncode == 0
    return place


def runs(place: Place) -> dict[str, int]:
    return {t["name"]: t["invoke_count"] for t in place.json("status")["tasks"]}


def test_reset_without_a_terminal_and_without_yes_forgets_nothing(done: Place) -> None:
    ended = done.call("reset", "Steady")

    assert ended.returncode == 2
    assert ended.stderr == (
        "Steady:count=3: forgets what 5 tasks did: numbers, square[0], square[1], "
        "square[2], total\n"
        "ptsflow: reset: there is no terminal to ask on; add -y to go ahead\n"
    )
    assert done.json("status")["status"] == "done"


def test_reset_of_all_runs_all_again(done: Place) -> None:
    ended = done.call("reset", "Steady", "-y")
    stands = done.json("status")["status"]
    done.call("run", flow("Steady"))

    assert ended.returncode == 0
    again = done.typed("run", flow("Steady"), "-c", "Steady:count=3", "--stored")
    assert ended.stderr.splitlines()[-1] == f"next: {again}"
    assert stands == "pending"
    assert set(runs(done).values()) == {2}


@pytest.mark.parametrize(
    ("words", "again"),
    [
        pytest.param(
            ["--step", "square"], {"square[0]", "square[1]", "square[2]"}, id="step"
        ),
        pytest.param(["--step", "square[1]"], {"square[1]"}, id="item"),
        pytest.param(
            ["--step", "square[1]", "--downstream"], {"square[1]", "total"}, id="down"
        ),
    ],
)
def test_reset_of_a_step_forgets_what_it_says(
    done: Place, words: list[str], again: set[str]
) -> None:
    found = done.json("reset", "Steady", *words, "-y")
    done.call("run", flow("Steady"))

    assert found["schema"] == 1
    assert set(found["reset"]) == again
    assert {name for name, count in runs(done).items() if count == 2} == again


def test_reset_of_an_unknown_step_names_the_steps(done: Place) -> None:
    ended = done.call("reset", "Steady", "--step", "sqare", "-y")

    assert ended.returncode == 2
    assert ended.stderr == (
        "ptsflow: container 'Steady:count=3': there is no step or task 'sqare' "
        "(did you mean 'square'?); it has numbers, square, total\n"
    )


def test_downstream_without_a_step_is_refused(done: Place) -> None:
    ended = done.call("reset", "Steady", "--downstream", "-y")

    assert (ended.returncode, ended.stderr) == (
        2,
        "ptsflow: reset: --downstream goes with --step STEP; give a step\n",
    )


def test_retry_opens_what_failed_and_says_what_to_type(place: Place) -> None:
    place.call("run", flow("Broken"), "-p", "flag=no", "-c", "one")

    ended = place.call("retry", "one")

    assert ended.returncode == 0
    assert ended.stderr == (
        "one: 1 task to try again: fragile\n"
        f"next: {place.typed('run', flow('Broken'), '-c', 'one', '--stored')}\n"
    )
    assert place.json("status")["counts"]["failed"] == 0


def test_retry_where_nothing_failed_changes_nothing_and_says_how_to_look(
    done: Place,
) -> None:
    ended = done.call("retry", "Steady", "--json")

    assert json.loads(ended.stdout) == {
        "schema": 1,
        "container": "Steady:count=3",
        "retry": [],
    }
    assert ended.stderr == (
        "Steady:count=3: nothing has failed\n"
        f"next: {done.typed('show', 'Steady:count=3')}\n"
    )
