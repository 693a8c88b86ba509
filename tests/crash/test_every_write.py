"""The process dies around each of its writes in turn, and is run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from ptsflow.core.model import Status
from tests.crash import journal as journals
from tests.crash.checks import check_fences, look, run_again, undisturbed
from tests.crash.faulty import DIED, Fault
from tests.crash.nest import Nest, Spec

#: What became of a process that died, by how.
_ENDS = {"exit": DIED, "kill": -9}

_DEATHS = [
    ("before", "exit"),
    ("after", "kill"),
    ("first", "exit"),
    ("last", "kill"),
]
SQLITE = [
    pytest.param(when, how, "sqlite", id=f"{when}-{how}-sqlite")
    for when, how in _DEATHS
]
MONGOD = [
    pytest.param(
        when, how, "mongod", id=f"{when}-{how}-mongod", marks=pytest.mark.mongod
    )
    for when, how in _DEATHS
]


def _deaths(
    nest: Nest,
    tmp_path: Path,
    run: Spec,
    fault: tuple[str, str],
    numbers: Iterator[int],
) -> Iterator[Spec]:
    """Yield each run that died at the writes of some numbers, till one ends.

    Args:
        nest: runs them.
        tmp_path: where their journals are.
        run: what runs; each run gets a container and a journal of its own.
        fault: when it dies, and how.
        numbers: the numbers of the writes.
    """
    when, how = fault
    for number in numbers:
        spec = replace(
            run,
            journal=str(tmp_path / f"{number}.journal"),
            container=f"crash{number}",
            fault=Fault(number, when, how),
        )
        code = nest.run(spec)
        if code == 0:
            return
        assert code == _ENDS[how]
        yield spec


@pytest.mark.parametrize(("when", "how", "kind"), [*SQLITE, *MONGOD])
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_a_run_that_died_around_any_write_ends_as_if_it_had_not(
    when: str, how: str, step: int, url: str, nest: Nest, tmp_path: Path
) -> None:
    expected = undisturbed(nest, "Everything", tmp_path / "calm")
    # Each write is one at which some of the eight die.
    first = 1 + (_DEATHS.index((when, how)) + url.startswith("mongodb")) % step
    run = Spec(workflow="Everything", url=url, journal="", container="")
    deaths = 0
    for spec in _deaths(nest, tmp_path, run, (when, how), count(first, step)):
        deaths += 1
        after = run_again(nest, spec)
        lines = journals.read(Path(spec.journal))
        check_fences(lines)
        assert after.outcome() == expected.stored.outcome()
        assert not journals.starts(lines) - _once_more(expected.starts)

    assert deaths >= 15 // step


@pytest.mark.parametrize(("when", "how", "kind"), [SQLITE[0], SQLITE[1], MONGOD[3]])
def test_a_run_that_died_between_two_bites_of_items_makes_each_item_once(
    when: str, how: str, url: str, nest: Nest, tmp_path: Path
) -> None:
    expected = undisturbed(nest, "Wide", tmp_path / "calm")
    run = Spec(workflow="Wide", url=url, journal="", container="", bite=3)
    partial = set[int]()
    for spec in _deaths(nest, tmp_path, run, (when, how), count(1)):
        stored = look(url, spec.container).tasks
        is_begun = any(t.invoke_count for t in stored.values() if t.key is not None)
        items = sum(task.key is not None for task in stored.values())
        assert items == 14 or not is_begun
        partial.add(items)
        after = run_again(nest, spec)
        lines = journals.read(Path(spec.journal))
        assert after.outcome() == expected.stored.outcome()
        assert not journals.starts(lines) - _once_more(expected.starts)

    assert len(partial) >= 6


def _once_more(starts: Counter[str]) -> Counter[str]:
    """Return how often each body may start where there was one crash."""
    return Counter({name: number + 1 for name, number in starts.items()})


@pytest.mark.parametrize(("when", "how", "kind"), [*SQLITE[1:3], MONGOD[3]])
def test_a_workflow_that_ended_early_stays_ended_whenever_it_died(
    when: str, how: str, url: str, nest: Nest, tmp_path: Path
) -> None:
    for number in count(1):
        spec = Spec(
            workflow="Ends",
            url=url,
            journal=str(tmp_path / f"{number}.journal"),
            container=f"crash{number}",
            fault=Fault(number, when, how),
        )
        code = nest.run(spec)
        after = look(url, spec.container) if code == 0 else run_again(nest, spec)

        statuses = {name: task.status for name, task in after.tasks.items()}
        removed = [t.name for t in after.tasks.values() if t.cause == "removed"]
        assert statuses["look"] is Status.DONE
        assert statuses["verify"] is Status.SKIPPED
        assert statuses["clean_up"] is Status.DONE
        assert after.names(Status.PENDING, Status.RUNNING, Status.WAITING) == set()
        assert after.container is not None
        assert after.container.finish_reason == "nothing new"
        assert removed == []
        if code == 0:
            break

    assert number > 5


def _pairs(
    nest: Nest, tmp_path: Path, when: tuple[str, str], step: int, offset: int
) -> int:
    """Crash twice at each pair of writes; return how many pairs there were."""
    expected = undisturbed(nest, "Small", tmp_path / "calm").stored.outcome()
    pairs = 0
    for first in count(1):
        for second in count(1 + (first + offset) % step, step):
            spec = Spec(
                workflow="Small",
                url=f"sqlite:///{tmp_path}/pts.db",
                journal=str(tmp_path / f"{first}-{second}.journal"),
                container=f"crash{first}-{second}",
                fault=Fault(first, when[0]),
            )
            if nest.run(spec) == 0:
                return pairs
            if nest.run(replace(spec, fault=Fault(second, when[1], "kill"))) == 0:
                break
            after = run_again(nest, spec)
            pairs += 1

            check_fences(journals.read(Path(spec.journal)))
            assert after.outcome() == expected, (first, second)
    raise AssertionError


def test_a_run_that_died_twice_ends_as_if_it_had_not(
    nest: Nest, tmp_path: Path
) -> None:
    assert _pairs(nest, tmp_path, ("after", "before"), 3, 0) > 20


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", ["before", "after", "first", "last"])
@pytest.mark.parametrize("second", ["before", "after", "first", "last"])
def test_a_run_that_died_twice_anywhere_ends_as_if_it_had_not(
    first: str, second: str, nest: Nest, tmp_path: Path
) -> None:
    assert _pairs(nest, tmp_path, (first, second), 1, 0) > 60
