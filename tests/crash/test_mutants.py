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
| values made anew for each body               | a body sees what another did to a value  |
| values read back as they were written        | a first run sees more than a resumed one |
| classes found by annotations alone           | a stored name is imported                |

The comparison of versions and the one transaction of a batch are tested where stores
are: `tests/stores/test_contract_tasks.py` fails without either.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ptsflow import codec
from ptsflow.codec import reading
from ptsflow.executors import values
from tests.api.runs import test_run_values
from tests.crash import test_owners, test_store_away
from tests.crash.mutants import MUTANTS
from tests.crash.nest import Nest
from tests.crash.server import Server
from tests.support import waiting
from tests.support.processes import python
from tests.unit import test_codec

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


# -- what is taken out in this process, as no process has to die for it ------------


def _import(_tag: str, name: str, _place: object) -> object:
    module, _, attribute = name.rpartition(".")
    raise AssertionError(getattr(importlib.import_module(module), attribute))


#: By the name of a mutant: where it is put in, what is put there, and what notices.
IN_PROCESS: dict[str, tuple[object, str, object, Callable[[], None]]] = {
    "shared_values": (
        values.Value,
        "read",
        functools.cache(values.Value.read),
        lambda: test_run_values.test_what_one_body_does_to_a_value_no_other_body_sees(
            "memory:"
        ),
    ),
    "shared_copies": (
        codec,
        "copies_of",
        lambda value: lambda: value,
        lambda: test_run_values.test_what_an_item_does_to_a_value_no_other_item_sees(
            "memory:", "thread"
        ),
    ),
    "plain_values": (
        codec,
        "decode",
        lambda text, _hint=None: json.loads(text),
        lambda: test_run_values.test_a_step_sees_what_a_resumed_run_would_show_it(
            "memory:"
        ),
    ),
    "imported_classes": (
        reading,
        "_lead",
        _import,
        test_codec.test_a_class_that_a_stored_value_names_is_never_imported,
    ),
}


@pytest.mark.parametrize("mutant", IN_PROCESS)
def test_a_test_of_values_fails_without_it(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name, wrong, check = IN_PROCESS[mutant]
    check()
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_can_be_put_in(name: str) -> None:
    """A runner that its mutant ends at once would make every check fail."""
    words = f"from tests.crash.mutants import MUTANTS; MUTANTS[{name!r}]()"
    ended = python("-c", words)

    assert ended.returncode == 0, ended.stderr
