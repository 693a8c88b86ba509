"""Each mechanism is taken out in turn, and a test notices.

| taken out                                    | what goes wrong, and is noticed          |
|----------------------------------------------|------------------------------------------|
| the fence in the filter                      | a frozen runner writes when it wakes     |
| the journal's `j=True`                       | mongod loses what it acknowledged        |
| the server's clock for leases                | a wrong clock takes a live lease         |
| crashes counted as attempts                  | a step that kills its process runs on    |
| commit before launch                         | what ended is run again after a kill     |
| the deadline of a lease that is not renewed  | a runner outlives its lease              |
| the look at dead processes                   | a takeover waits for the lease           |
| the look at live runners without a lease     | a body is begun beside itself            |
| the look at what is done                     | what is done is run again                |

The comparison of versions and the one transaction of a batch are tested where stores
are: `tests/stores/test_contract_tasks.py` fails without either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash import test_owners, test_store_away
from tests.crash.nest import Nest
from tests.crash.server import Server
from tests.support import waiting

Check = Callable[[str, Nest, Path], None]


def _overtaken(url: str, nest: Nest, journal: Path) -> None:
    test_owners.test_a_frozen_runner_that_was_overtaken_is_refused_when_it_wakes(
        4, "before", url, nest, journal
    )


CHECKS = [
    pytest.param("no_fence", "sqlite", _overtaken, id="fence-sqlite"),
    pytest.param(
        "no_fence", "mongod", _overtaken, id="fence-mongod", marks=pytest.mark.mongod
    ),
    pytest.param(
        "own_clock",
        "mongod",
        test_owners.test_a_clock_that_is_wrong_gives_no_lease_away,
        id="clock",
        marks=pytest.mark.mongod,
    ),
    pytest.param(
        "no_crash_count",
        "sqlite",
        test_owners.test_a_step_that_kills_its_process_fails_when_its_budget_is_used_up,
        id="crashes",
    ),
    pytest.param(
        "launch_first",
        "sqlite",
        test_owners.test_a_killed_runner_is_taken_over_at_once_on_the_same_host,
        id="commit-before-launch",
    ),
    pytest.param(
        "no_dead",
        "sqlite",
        test_owners.test_a_killed_runner_is_taken_over_at_once_on_the_same_host,
        id="dead",
    ),
    pytest.param(
        "no_mark",
        "sqlite",
        test_owners.test_a_body_that_holds_the_interpreter_beyond_the_lease_is_not_begun_beside_itself,
        id="mark",
    ),
    pytest.param(
        "no_resume",
        "sqlite",
        test_owners.test_a_killed_runner_is_taken_over_at_once_on_the_same_host,
        id="resume",
    ),
]


@pytest.fixture
def mutated(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nest]:
    """Return the nest; what a mutant never does is not waited for long."""
    monkeypatch.setattr(waiting, "PATIENCE", 10)
    yield nest
    nest.mutant = ""


@pytest.mark.parametrize(("mutant", "kind", "check"), CHECKS)
def test_a_test_fails_without_it(
    mutant: str, check: Check, url: str, mutated: Nest, journal: Path
) -> None:
    mutated.mutant = mutant
    with pytest.raises(AssertionError):
        check(url, mutated, journal)


@pytest.mark.mongod
@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        pytest.param(
            "no_deadline",
            test_store_away.test_a_silent_server_does_not_keep_a_runner_beyond_its_lease,
            id="deadline",
        ),
        pytest.param(
            "no_journal",
            test_store_away.test_nothing_that_mongod_acknowledged_is_lost_when_both_are_killed,
            id="journal",
        ),
    ],
)
def test_a_test_with_a_server_of_its_own_fails_without_it(
    mutant: str,
    check: Callable[[Server, Nest, Path], None],
    server: Server,
    mutated: Nest,
    journal: Path,
) -> None:
    mutated.mutant = mutant
    with pytest.raises(AssertionError):
        check(server, mutated, journal)
