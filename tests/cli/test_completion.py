"""What the shell asks when somebody presses Tab."""

from __future__ import annotations

import pytest

from tests.cli.calling import Place


@pytest.mark.parametrize(
    ("line", "answer"),
    [("ptsflow stat", "status"), ("ptsflow run flow.py --fr", "--fresh\n--from")],
)
def test_completion_answers_the_shell_and_says_nothing_to_the_person(
    place: Place, line: str, answer: str
) -> None:
    place.env |= {
        "_PTSFLOW_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }

    ended = place.call()

    completed = [entry.rpartition(",")[2] for entry in ended.stdout.split()]
    assert completed == answer.split()
    assert ended.stderr == ""
    assert ended.returncode == 0
