"""What a run leaves in the history, and what is learned of many runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow import Workflow, step
from ptsflow.core import history
from ptsflow.core.history import (
    Profile,
    begun,
    kept_weights,
    profile,
    record_of,
    weights,
)
from ptsflow.core.insight import FailedTask, RunRecord, RunStatus, StepStats
from ptsflow.core.model import (
    Attempt,
    ContainerRecord,
    Ending,
    Owner,
    Status,
    StepSummary,
    TaskRecord,
)
from ptsflow.core.step_stats import merged, shared_time
from ptsflow.workflow.compile import plan_of

DONE, FAILED = Status.DONE, Status.FAILED
NOW = 1_000_000

OWNER = Owner(id="o", host="vm", boot="b", pid=7, started=1, since=1_000)
PLAN = (StepSummary(name="a"), StepSummary(name="b", each="a"))
CONTAINER = ContainerRecord(
    uid="u",
    name="c",
    workflow="W",
    target="flow.py",
    fence=3,
    owner=OWNER,
    status=DONE,
    plan=PLAN,
)
BEGUN = begun(CONTAINER, now=1_000, jobs=4, tick=900)


def done(name: str, began: int, took: int, **fields: Any) -> TaskRecord:
    step_name, _, key = name.partition("[")
    return TaskRecord(
        name=name,
        step=step_name,
        key=key[:-1] or None,
        status=fields.pop("status", DONE),
        percentage_complete=100,
        invoke_count=fields.pop("invoke_count", 1),
        last_invoked_at=began,
        task_duration_ms=took,
        task_ended_at=began + took,
        **fields,
    )


def attempt(number: int, began: int, took: int, ending: Ending) -> Attempt:
    return Attempt(
        number=number,
        began_at=began,
        ended_at=began + took,
        ending=ending,
        error_type="OSError" if ending is Ending.FAILED else "",
    )


def ended(
    tasks: Sequence[TaskRecord],
    ledgers: Mapping[str, Sequence[Attempt]] | None = None,
    status: RunStatus = RunStatus.DONE,
    container: ContainerRecord = CONTAINER,
) -> RunRecord:
    return record_of(BEGUN, container, tasks, ledgers or {}, now=NOW, status=status)


# -- the record of one run ---------------------------------------------------------


def test_a_run_that_begins_is_known_by_its_container_fence_and_owner() -> None:
    expected = RunRecord(
        uid="u",
        fence=3,
        container="c",
        workflow="W",
        target="flow.py",
        tick=900,
        ran_by="vm:7",
        jobs=4,
        began_at=1_000,
    )

    assert expected == BEGUN


def test_a_run_that_ended_says_how_the_container_stands() -> None:
    failed = done(
        "b[x]",
        2_000,
        50,
        status=FAILED,
        invoke_count=2,
        error="no route to host\nsecond line",
    )
    ledger = [
        attempt(1, 500, 100, Ending.FAILED),
        attempt(2, 2_000, 50, Ending.FAILED),
    ]
    row = ended(
        [done("a", 1_500, 100), failed, TaskRecord(name="b[y]", step="b", key="y")],
        {"b[x]": ledger},
        RunStatus.FAILED,
        replace(CONTAINER, status=FAILED),
    )

    assert (row.status, row.ended_at) == (RunStatus.FAILED, NOW)
    assert row.counts == {"done": 1, "failed": 1, "pending": 1}
    assert row.percentage == 75
    assert row.retries == 1
    assert row.failed == (FailedTask("b[x]", "OSError", "no route to host"),)
    assert row.steps == ()


def test_attempts_of_earlier_runs_are_no_retries_of_this_one() -> None:
    ledger = [attempt(n, 10 * n, 5, Ending.FAILED) for n in (1, 2)]
    row = ended([done("a", 1_500, 100, invoke_count=3)], {"a": ledger})

    assert row.retries == 1


def test_the_first_attempt_of_a_task_is_no_retry() -> None:
    ledger = [attempt(n, 1_000 + n, 1, Ending.FAILED) for n in (1, 2)]
    row = ended([done("a", 1_500, 100, invoke_count=3)], {"a": ledger})

    assert row.retries == 2


@pytest.mark.parametrize(
    ("before", "retries"),
    [
        (Ending.FAILED, 1),
        (Ending.CRASHED, 1),
        (Ending.DONE, 0),
        (Ending.SKIPPED, 0),
        (Ending.POSTPONED, 0),
        (Ending.INTERRUPTED, 0),
    ],
)
def test_what_runs_again_as_a_person_or_the_body_asked_is_no_retry(
    before: Ending, retries: int
) -> None:
    ledger = [attempt(1, 1_100, 1, before)]
    row = ended([done("a", 1_500, 100, invoke_count=2)], {"a": ledger})

    assert row.retries == retries


def test_at_most_ten_failed_tasks_are_kept_and_their_errors_are_cut() -> None:
    tasks = [
        done(f"b[{n}]", 2_000, 1, status=FAILED, position=20 - n, error="é\x00" * 5_000)
        for n in range(20)
    ]
    row = ended(tasks, status=RunStatus.FAILED)

    assert 1 <= len(row.failed) <= 10
    assert [f.name for f in row.failed] == [
        f"b[{19 - n}]" for n in range(len(row.failed))
    ]
    assert all(len(f.error) <= 200 for f in row.failed)
    assert len(msgspec.json.encode(row)) <= 6_000


def test_the_run_that_completed_the_container_tells_of_all_its_steps() -> None:
    ledger = [
        attempt(1, 1_000, 40, Ending.FAILED),
        attempt(2, 1_100, 30, Ending.POSTPONED),
        attempt(3, 1_200, 9_999, Ending.CRASHED),
    ]
    tasks = [
        # By an earlier run.
        done("a", 100, 10),
        done("b[x]", 2_000, 300, invoke_count=4),
        done("b[y]", 2_100, 100),
    ]
    first, second = ended(tasks, {"b[x]": ledger}).steps

    assert first == StepStats(
        name="a", count=1, mean_ms=10, median_ms=10, p90_ms=10, max_ms=10, busy_ms=10,
        wall_ms=10,
    )  # fmt: skip
    assert second == StepStats(
        name="b",
        count=2,
        mean_ms=200,
        median_ms=300,
        p90_ms=300,
        max_ms=300,
        busy_ms=400,
        wall_ms=340,
        failed_attempts=2,
        lost_ms=40,
        keys={"x": 300, "y": 100},
    )


@pytest.mark.parametrize(
    ("status", "container"),
    [
        pytest.param(RunStatus.FAILED, FAILED, id="it failed"),
        pytest.param(RunStatus.DONE, Status.PENDING, id="only a part was asked for"),
    ],
)
def test_other_runs_tell_of_no_steps(status: RunStatus, container: Status) -> None:
    row = ended(
        [done("a", 2_000, 10)], {}, status, replace(CONTAINER, status=container)
    )

    assert row.steps == ()


def test_a_run_with_nothing_to_do_tells_of_no_steps() -> None:
    assert ended([done("a", 100, 10)]).steps == ()


def test_of_many_items_the_longest_are_kept_by_key_in_their_order() -> None:
    tasks = [done(f"b[{n}]", 2_000 + n, n % 100) for n in range(300)]
    (stats,) = ended(tasks).steps

    assert len(stats.keys) == 64
    assert list(stats.keys) == sorted(stats.keys, key=int)
    assert min(stats.keys.values()) == 78
    assert stats.p90_ms == 89


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=60), st.integers(0, 80)), max_size=9
    ),
    st.integers(0, 60),
)
def test_a_record_is_small_whatever_there_is_in_the_container(
    fans: list[tuple[str, int]], more: int
) -> None:
    tasks = [
        done(f"{number}{name}[{name}{item}]", 2_000 + item, item)
        for number, (name, count) in enumerate(fans)
        for item in range(count)
    ]
    tasks += [done(f"step_{n}", 3_000, n) for n in range(more)]
    row = ended(tasks)

    assert len(msgspec.json.encode(row)) <= 6_000


def test_the_steps_that_work_least_are_kept_as_one_where_there_are_many() -> None:
    row = ended([done(f"s{n}", n * 1_000, n) for n in range(1, 501)])
    usual = profile([row])

    assert row.steps[-1].name == ""
    assert {f"s{n}" for n in range(490, 501)} < {stats.name for stats in row.steps}
    last, first = usual.step("s500"), usual.step("s1")
    assert last is not None
    assert last.mean_ms == 500
    assert first is not None
    assert 200 < first.mean_ms < 250


def test_a_hundred_thousand_tasks_take_no_longer_than_a_commit() -> None:
    tasks = [done(f"b[{n}]", 1_000 + n * 7 % 991, n % 97) for n in range(100_000)]
    rounds = []
    for _ in range(3):
        began = time.process_time()
        ended(tasks)
        rounds.append(time.process_time() - began)

    # 0.15 s on a machine with nothing else to do.
    assert min(rounds) < 0.6


# -- shared time ---------------------------------------------------------------------

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda s: (s[0], sum(s))),
    max_size=12,
)


@given(st.dictionaries(st.sampled_from("abcd"), SPANS))
def test_each_instant_is_shared_by_the_steps_that_work(
    spans: dict[str, list[tuple[int, int]]],
) -> None:
    worked = {name: merged(sorted(found)) for name, found in spans.items()}
    expected = dict.fromkeys(spans, 0.0)
    for instant in range(80):
        working = [
            name
            for name, found in spans.items()
            if any(began <= instant < ended for began, ended in found)
        ]
        for name in working:
            expected[name] += 1 / len(working)

    found = shared_time(worked)

    assert found.keys() == expected.keys()
    assert all(abs(found[name] - expected[name]) <= 0.51 for name in found)


# -- what is learned -----------------------------------------------------------------


def run(number: int, *steps: StepStats, **fields: Any) -> RunRecord:
    return RunRecord(
        uid=f"u{number}",
        fence=1,
        container=f"c{number}",
        began_at=number * 10_000,
        ended_at=number * 10_000 + fields.pop("took", 1_000),
        status=RunStatus.DONE,
        steps=steps,
        **fields,
    )


def stats(name: str, *took: int, wall: int = 0, lost: int = 0) -> StepStats:
    return StepStats(
        name=name,
        count=len(took),
        mean_ms=round(sum(took) / len(took)),
        busy_ms=sum(took),
        wall_ms=wall,
        lost_ms=lost,
        keys={f"k{place}": ms for place, ms in enumerate(took)} if took[1:] else {},
    )


def test_without_runs_nothing_is_usual() -> None:
    assert profile([]) == Profile()
    assert profile([RunRecord(uid="u", fence=1, container="c", began_at=1)]).runs == 0


def test_what_is_usual_is_the_median_of_runs() -> None:
    learned = profile([run(n, stats("b", 10 * n, 2 * n)) for n in (1, 2, 9)])
    usual = learned.steps["b"]

    assert learned.runs == 3
    assert usual.count == 2
    assert usual.mean_ms == 12
    assert usual.keys == {"k0": 20, "k1": 4}


def test_the_newest_twenty_runs_are_learned_from() -> None:
    rows = [run(n, stats("a", 1_000 if n < 5 else 10)) for n in range(25)]

    assert profile(rows).runs == 20
    assert profile(rows[::-1]).steps["a"].mean_ms == 10


def test_items_without_a_key_take_what_the_others_leave() -> None:
    row = replace(stats("b", 100, 4, 2), keys={"k0": 100})

    assert profile([run(1, row)]).steps["b"].other_ms == 3


def test_lost_time_counts_by_the_time_of_good_attempts() -> None:
    rows = [run(1, stats("a", 100, lost=50)), run(2, stats("a", 100))]

    assert profile(rows).steps["a"].loss == 0.25


def test_how_long_a_container_takes() -> None:
    rows = [run(n, stats("a", 1), took=100 * n) for n in range(1, 21)]
    # It was nearly done when its last run began.
    rows.append(run(21, stats("a", 1, wall=5_000), took=3))
    learned = profile(rows)

    assert (learned.usual_ms, learned.low_ms, learned.high_ms) == (1_150, 400, 1_900)


def test_outlooks_are_judged_by_enough_runs_alone() -> None:
    rows = [
        run(n, stats("a", 1), outlook_errors=(0.01 * n, None, 0.5)) for n in range(1, 6)
    ]

    assert profile(rows).errors == pytest.approx((0.03, None, 0.5, None))
    assert profile(rows[:4]).errors == (None,) * 4


def test_no_task_is_expected_to_take_no_time_at_all() -> None:
    usual = profile([run(1, stats("a", 0, 0), stats("b", 0))]).steps

    assert usual["a"].mean_ms == usual["a"].other_ms == usual["a"].keys["k0"] > 0
    assert usual["b"].mean_ms > 0


def test_outlooks_are_judged_by_the_quarter_in_which_they_were_told() -> None:
    told = [
        (999, 1),  # Before the run began.
        (1_000, 1_900),  # 100 of 1,000 too early.
        (1_200, 2_400),  # 400 of 800 too late.
        (1_249, 2_000),
        (1_500, 1_750),  # Half of what was left.
        (1_750, 2_500),  # Twice what was left.
        (2_000, 1),  # When it was over.
    ]

    assert history.errors_of(told, 1_000, 2_000) == (0.1, None, 0.5, 2.0)
    assert history.errors_of([], 1_000, 1_000) == ()


# -- weights ---------------------------------------------------------------------------


class Declared(Workflow):
    @step
    def first(self) -> None: ...

    @step(weight=3)
    def second(self) -> None: ...


class Learned(Workflow):
    @step
    def first(self) -> None: ...

    @step
    def second(self) -> None: ...

    @step
    def third(self) -> None: ...


LEARNED = plan_of(Learned).steps


def test_declared_weights_are_never_mixed_with_learned_ones() -> None:
    learned = profile([run(1, stats("first", 5, wall=500), stats("second", 5, wall=5))])

    assert weights(plan_of(Declared).steps, learned) == {"first": 1, "second": 3}


def test_without_history_all_steps_weigh_the_same() -> None:
    assert weights(LEARNED, Profile()) == dict.fromkeys(["first", "second", "third"], 1)


def test_weights_are_shares_of_the_time_and_a_new_step_gets_the_mean() -> None:
    learned = profile([run(1, stats("first", 5, wall=900), stats("second", 5, wall=0))])
    found = weights(LEARNED, learned)

    assert found == pytest.approx({"first": 900, "second": 1.8, "third": 450.9})


def kept(**weights: float) -> list[StepSummary]:
    return [StepSummary(name=name, weight=weight) for name, weight in weights.items()]


def test_a_container_keeps_its_weights_and_a_new_step_gets_their_mean() -> None:
    learned = profile([run(1, stats("first", 5, wall=900), stats("second", 5, wall=9))])
    stored = kept(first=4, second=2, gone=100)

    assert kept_weights(LEARNED, stored, learned) == {
        "first": 4,
        "second": 2,
        "third": 3,
    }
    assert kept_weights(LEARNED, [], learned) == weights(LEARNED, learned)
    assert kept_weights(LEARNED, kept(gone=1), learned) == weights(LEARNED, learned)


def test_what_a_step_declares_holds_against_what_its_container_kept() -> None:
    declared = plan_of(Declared).steps

    assert kept_weights(declared, kept(first=9, second=9), Profile()) == {
        "first": 1,
        "second": 3,
    }


def test_the_type_of_a_failure_is_that_of_the_last_failed_attempt() -> None:
    ledger = [attempt(1, 1, 1, Ending.FAILED), attempt(2, 5, 1, Ending.INTERRUPTED)]

    assert history.failure_type(ledger) == "OSError"
    assert history.failure_type([]) == ""
