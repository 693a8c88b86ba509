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
| the look at the file after a commit          | a task is leased in a file that is gone  |
| the check value of a payload                 | a result is another one, or none         |
| the clock that counts since boot             | a wait ends as the time of day is set    |
| the limit of what waits for a reader         | what nobody reads piles up in memory     |

The comparison of versions and the one transaction of a batch are tested where stores
are: `tests/stores/test_contract_tasks.py` fails without either.
"""

from __future__ import annotations

import functools
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from ptsflow import codec
from ptsflow.codec import reading
from ptsflow.display.streams import Outlet
from ptsflow.executors import values
from ptsflow.host.opened_files import OpenedFiles
from ptsflow.stores.sqlite import rows
from ptsflow.stores.sqlite.store import SqliteStore
from tests.api.runs import test_run_clock, test_run_values
from tests.crash import test_owners, test_store_away
from tests.crash.mutants import MUTANTS
from tests.crash.nest import Nest
from tests.crash.server import Server
from tests.stores import test_sqlite_damage, test_sqlite_taken_away
from tests.support import waiting
from tests.support.processes import python
from tests.unit import test_codec, test_terminal

Check = Callable[[str, Nest, Path], None]
#: What a check raises that notices a mutant; `pytest.raises` fails by the second.
NOTICED = (AssertionError, pytest.fail.Exception)


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


#: Checks with a server of their own.
SERVER_CHECKS = [
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
]


@pytest.mark.mongod
@pytest.mark.parametrize(("mutant", "check"), SERVER_CHECKS)
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


#: Checks in this process, in an empty folder.
CheckHere = Callable[[Path, pytest.MonkeyPatch], object]


def _import(_tag: str, name: str, _place: object) -> object:
    module, _, attribute = name.rpartition(".")
    raise AssertionError(getattr(importlib.import_module(module), attribute))


def _unchecked(cells: rows.Row) -> rows.Row:
    return tuple(data if data is None else data.decode() for data in cells[1::2])


def _unlimited(outlet: Outlet, text: str) -> int:
    with outlet._changed:
        outlet._limit = outlet._size + len(text)
    return _WRITE(outlet, text)


_WRITE = Outlet.write


def _a_file_that_is_gone(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    path = folder / "pts.db"
    with closing(SqliteStore(f"sqlite:///{path}")) as store:
        test_sqlite_taken_away.test_a_file_taken_away_within_a_commit_is_noticed_at_its_end(
            store, path
        )


def _a_result_of_another_task(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    path = folder / "pts.db"
    with (
        closing(SqliteStore(f"sqlite:///{path}")) as store,
        closing(apsw.Connection(str(path))) as raw,
    ):
        test_sqlite_damage.test_a_flipped_byte_is_found_when_it_is_read(
            store,
            raw,
            path,
            "UPDATE payloads SET id = id % 4 + 4",
            "a payload of task 'one' of container 'feed'",
        )


def _a_clock_that_is_set(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_run_clock.test_a_clock_that_is_set_moves_no_wait_and_no_duration(
        "memory:", "box", test_run_clock.time_of_day_by(patch), 24
    )


def _nobody_reads(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    test_terminal.test_a_writer_never_waits_for_a_reader_and_hears_what_was_dropped(
        patch
    )


#: By the name of a mutant: where it is put in, what is put there, and what notices.
IN_PROCESS: dict[str, tuple[object, str, object, CheckHere]] = {
    "shared_values": (
        values.Value,
        "read",
        functools.cache(values.Value.read),
        lambda *_: (
            test_run_values.test_what_one_body_does_to_a_value_no_other_body_sees(
                "memory:"
            )
        ),
    ),
    "shared_copies": (
        codec,
        "copies_of",
        lambda value: lambda: value,
        lambda *_: test_run_values.test_what_an_item_does_to_a_value_no_other_item_sees(
            "memory:", "thread"
        ),
    ),
    "plain_values": (
        codec,
        "decode",
        lambda text, _hint=None: json.loads(text),
        lambda *_: test_run_values.test_a_step_sees_what_a_resumed_run_would_show_it(
            "memory:"
        ),
    ),
    "imported_classes": (
        reading,
        "_lead",
        _import,
        lambda *_: (
            test_codec.test_a_class_that_a_stored_value_names_is_never_imported()
        ),
    ),
    "no_look": (
        OpenedFiles,
        "are_in_place_after_a_write",
        lambda _: True,
        _a_file_that_is_gone,
    ),
    "no_check_value": (rows, "payloads_of", _unchecked, _a_result_of_another_task),
    "wall_clock": (
        time,
        "clock_gettime_ns",
        lambda _: time.time_ns(),
        _a_clock_that_is_set,
    ),
    "no_limit": (Outlet, "write", _unlimited, _nobody_reads),
}


@pytest.mark.parametrize("mutant", IN_PROCESS)
def test_a_test_in_this_process_fails_without_it(
    mutant: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place, name, wrong, check = IN_PROCESS[mutant]
    with pytest.MonkeyPatch.context() as patch:
        check(tmp_path_factory.mktemp("whole"), patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, wrong)
        with pytest.raises(NOTICED):
            check(tmp_path_factory.mktemp("mutated"), patch)


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_can_be_put_in(name: str) -> None:
    """A runner that its mutant ends at once would make every check fail."""
    words = f"from tests.crash.mutants import MUTANTS; MUTANTS[{name!r}]()"
    ended = python("-c", words)

    assert ended.returncode == 0, ended.stderr
