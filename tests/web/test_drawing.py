from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from ptsflow.core.insight import RunRecord, RunStatus, Spans
from ptsflow.core.model import Attempt, Ending, Status, StepSummary, TaskRecord
from ptsflow.display.step_board import StepBoard
from ptsflow.web.drawing import (
    GridColumn,
    StepTimes,
    TimelineView,
    bars,
    graph,
    grid,
    names_of,
    sparkline,
    strip,
    timeline,
)
from ptsflow.web.drawing.axis import merged
from ptsflow.web.drawing.density import union
from ptsflow.web.drawing.layers import layered
from ptsflow.web.drawing.straight import straightened
from tests.web.drawn import Drawn
from tests.web.hostile import PAYLOADS

LIMIT = 40_000
AT = 1_795_950_000_000
DAY = 86_400_000

statuses = st.sampled_from(list(Status))
names = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(st.characters(), min_size=1, max_size=300),
    st.from_regex(r"[a-z]{1,12}", fullmatch=True),
)
times = st.integers(AT - 40 * DAY, AT + 40 * DAY)

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def assert_sound(markup: Markup) -> Drawn:
    drawn = Drawn(markup)
    if drawn.root.tag == "table":
        return drawn
    assert drawn.size <= LIMIT
    assert drawn.outside() == []
    assert drawn.active() == []
    return drawn


def task(
    name: str = "load",
    began: int | None = 0,
    ended: int | None = None,
    status: Status = Status.DONE,
    **more: Any,
) -> TaskRecord:
    took = None if began is None or ended is None else ended - began
    return TaskRecord(
        name=name,
        status=status,
        invoke_count=more.pop("invoke_count", 1),
        last_invoked_at=None if began is None else AT + began,
        task_ended_at=None if ended is None else AT + ended,
        task_duration_ms=took,
        **more,
    )


def attempt(number: int, began: int, ended: int, **more: Any) -> Attempt:
    ending = more.pop("ending", Ending.FAILED)
    return Attempt(
        number=number, began_at=AT + began, ended_at=AT + ended, ending=ending, **more
    )


def spans_of(pairs: list[tuple[int, int]]) -> Spans:
    pairs = sorted(pairs)
    return Spans(
        began=[AT + began for began, _ in pairs],
        ended=[AT + ended if ended else 0 for _, ended in pairs],
        statuses=[Status.DONE if ended else Status.RUNNING for _, ended in pairs],
    )


# -- any records ------------------------------------------------------------

any_attempts = st.lists(
    st.builds(
        Attempt,
        number=st.integers(1, 99),
        began_at=times,
        ended_at=times,
        ending=st.sampled_from(list(Ending)),
        error=names,
        error_type=names,
    ),
    max_size=20,
)
any_tasks = st.builds(
    TaskRecord,
    name=names,
    status=statuses,
    invoke_count=st.integers(0, 99),
    last_invoked_at=st.none() | times,
    task_ended_at=st.none() | times,
    task_duration_ms=st.none() | st.integers(0, DAY),
    percentage_complete=st.floats(0, 100),
    due=st.none() | times,
)
any_spans = st.lists(
    st.tuples(st.integers(0, DAY), st.integers(0, 2 * DAY)), max_size=80
).map(spans_of)
any_steps = st.lists(
    st.builds(
        StepTimes,
        name=names,
        status=statuses,
        total=st.integers(0, 100_000),
        tasks=st.lists(any_tasks, max_size=6),
        spans=st.none() | any_spans,
    ),
    max_size=8,
)


@bounded
@given(any_steps, any_attempts, times, st.none() | times)
def test_any_records_make_a_sound_timeline(
    steps: list[StepTimes], ledger: list[Attempt], now: int, until: int | None
) -> None:
    ledgers = {task.name: ledger for step in steps for task in step.tasks}

    assert_sound(timeline(steps, ledgers, now=now, until=until))


@st.composite
def plans(draw: st.DrawFn, most: int = 40) -> list[StepSummary]:
    own = draw(st.lists(names, max_size=most, unique=True))
    plan: list[StepSummary] = []
    for place, name in enumerate(own):
        above = own[:place]
        needs = draw(st.lists(st.sampled_from(above), max_size=4)) if above else []
        plan.append(
            StepSummary(
                name=name,
                needs=tuple(dict.fromkeys(needs)),
                above=draw(st.none() | st.integers(0, place)),
                each=draw(st.none() | st.sampled_from(above)) if above else None,
                text=draw(names),
            )
        )
    return plan


@bounded
@given(plans(), st.lists(statuses, min_size=40, max_size=40))
def test_any_plan_makes_a_sound_graph(
    plan: list[StepSummary], found: list[Status]
) -> None:
    boards = {step.name: StepBoard(step) for step in plan}
    for step, status in zip(plan, found, strict=False):
        boards[step.name].counts[status] = 3

    assert_sound(graph(plan, boards))


any_columns = st.lists(
    st.builds(
        GridColumn,
        name=names,
        stands=names,
        status=statuses,
        steps=st.dictionaries(st.sampled_from("abcdefgh"), statuses),
    ),
    max_size=60,
)


@bounded
@given(names, any_columns)
def test_any_containers_make_a_sound_grid(
    workflow: str, columns: list[GridColumn]
) -> None:
    assert_sound(grid(workflow, list("abcdefgh"), columns))


@bounded
@given(st.lists(statuses, max_size=900), st.integers(0, 2_000))
def test_any_items_make_a_sound_strip(found: list[Status], total: int) -> None:
    assert_sound(strip(found, total))


any_runs = st.lists(
    st.builds(
        RunRecord,
        uid=names,
        fence=st.integers(0, 9),
        container=names,
        began_at=times,
        ended_at=st.none() | times,
        status=st.sampled_from(list(RunStatus)),
    ),
    max_size=120,
)


@bounded
@given(any_runs, times, st.none() | st.floats(0, 1e9))
def test_any_runs_make_sound_bars(
    runs: list[RunRecord], now: int, usual: float | None
) -> None:
    assert_sound(bars(runs, now=now, usual_ms=usual))


@bounded
@given(st.lists(st.none() | st.floats(0, 1e12), max_size=150), names)
def test_any_durations_make_a_sound_line(
    durations: list[float | None], name: str
) -> None:
    assert_sound(sparkline(durations, name))


# -- at their largest -------------------------------------------------------

LONGEST = "\U0001f469" * 300
AMPERSANDS = "&" * 300
COMBINING = "e" + "\u0301" * 2_000


def largest_timeline(name: str) -> Markup:
    ledger = [
        attempt(n, n * 1_000, n * 1_000 + 500, error=name, error_type=name)
        for n in range(20)
    ]
    steps = [
        StepTimes(
            name=f"{place}{name}",
            status=Status.FAILED,
            total=100_000,
            tasks=[
                task(f"{place}-{item}{name}", 0, 9_000, Status.FAILED)
                for item in range(50)
            ],
            spans=spans_of([(n * 40, n * 90 + 7) for n in range(2_000)]),
        )
        for place in range(60)
    ]
    ledgers = {task.name: ledger for step in steps for task in step.tasks}
    return timeline(steps, ledgers, now=AT + 50_000)


def largest_graph(name: str) -> Markup:
    plan = [
        StepSummary(
            name=f"{place}{name}",
            needs=tuple(f"{n}{name}" for n in range(place % 7, place, 7)),
        )
        for place in range(200)
    ]
    return graph(plan, {})


def largest_grid(name: str) -> Markup:
    steps = [f"{place}{name}" for place in range(300)]
    mixed = [Status.FAILED, Status.DONE, Status.RUNNING]
    columns = [
        GridColumn(
            name=name,
            stands=name,
            status=Status.FAILED,
            steps={s: mixed[(i + c) % 3] for i, s in enumerate(steps)},
        )
        for c in range(60)
    ]
    return grid(name, steps, columns)


def largest_strip(_: str) -> Markup:
    mixed = [Status.FAILED, Status.DONE, Status.RUNNING, Status.SKIPPED]
    return strip([mixed[n * n % 4] for n in range(100_000)], 100_000)


def largest_bars(name: str) -> Markup:
    runs = [
        RunRecord(uid="u", fence=n, container=name, began_at=AT, ended_at=AT + n)
        for n in range(500)
    ]
    return bars(runs, now=AT, usual_ms=20)


@pytest.mark.parametrize(
    "draw",
    [largest_timeline, largest_graph, largest_grid, largest_strip, largest_bars],
)
@pytest.mark.parametrize("name", ["step", LONGEST, AMPERSANDS, COMBINING])
def test_the_largest_drawings_are_small_enough(
    draw: Callable[[str], Markup], name: str
) -> None:
    assert_sound(draw(name))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_texts_are_shown_and_never_obeyed(payload: str) -> None:
    steps = [StepTimes(name=payload, status=Status.FAILED, tasks=[task(payload, 0, 9)])]
    plan = [StepSummary(name=payload)]
    column = GridColumn(
        name=payload, stands=payload, status=Status.DONE, steps={payload: Status.DONE}
    )
    run = RunRecord(uid="u", fence=1, container=payload, began_at=AT)

    assert_sound(timeline(steps, {}, now=AT + 99))
    assert_sound(graph(plan, {}))
    assert_sound(grid(payload, [payload], [column]))
    assert_sound(bars([run], now=AT + 99))
    assert_sound(sparkline([1.0, 2.0], payload))


def test_an_address_cannot_end_its_attribute() -> None:
    step = StepTimes(name="load", status=Status.DONE, tasks=[task("load", 0, 9)])

    drawn = Drawn(
        timeline(
            [step], {}, now=AT + 99, view=TimelineView(link=lambda _: '/c/"><b>&x=1')
        )
    )

    links = [e.get("href") for e in drawn.root.iter("a")]
    assert links
    assert set(links) == {'/c/"><b>&x=1'}


# -- timeline ---------------------------------------------------------------


def times_of(name: str, *tasks: TaskRecord, **more: Any) -> StepTimes:
    return StepTimes(
        name=name, status=more.pop("status", Status.DONE), tasks=tasks, **more
    )


def test_an_attempt_of_no_time_can_be_seen() -> None:
    steps = [times_of("a", task("a", 0, 0)), times_of("b", task("b", 0, 3_600_000))]

    short, long = Drawn(timeline(steps, {}, now=AT)).boxes("is-done")

    assert short[2] - short[0] >= 4
    assert long[2] - long[0] > 500


def test_an_attempt_of_no_time_at_the_end_ends_where_the_longest_does() -> None:
    steps = [times_of("a", task("a", 0, 9_000)), times_of("b", task("b", 9_000, 9_000))]

    long, short = Drawn(timeline(steps, {}, now=AT)).boxes("is-done")

    assert short[2] == long[2]


def test_a_segment_an_attempt_and_waits_between() -> None:
    ledger = [
        attempt(1, 0, 10_000, error="reset"),
        attempt(2, 40_000, 50_000, ending=Ending.CRASHED),
    ]
    step = times_of("load", task("load", 80_000, 90_000, invoke_count=3))

    drawn = Drawn(timeline([step], {"load": ledger}, now=AT + 99_000))

    assert len(drawn.boxes("wait")) == 2
    assert [title for title in drawn.titles("is-failed") if "reset" in title]
    (killed,) = drawn.titles("is-killed")
    assert "attempt 2 killed within 10s" in killed
    assert any("attempt 3 done" in title for title in drawn.titles("is-done"))


def test_a_result_that_was_forgotten_did_not_wait_for_the_next_attempt() -> None:
    ledger = [attempt(1, 0, 10_000, ending=Ending.DONE)]
    step = times_of("load", task("load", 80_000, 90_000, invoke_count=2))

    drawn = Drawn(timeline([step], {"load": ledger}, now=AT + 99_000))

    assert drawn.boxes("wait") == []
    assert len(drawn.boxes("fold")) == 1


def test_an_attempt_that_was_killed_is_seen_and_goes_on_no_more() -> None:
    killed = task("load", 5_000, None, Status.PENDING)
    steps = [times_of("a", task("a", 0, 10_000)), times_of("load", killed)]

    drawn = Drawn(timeline(steps, {}, now=AT + 99_000))

    (title,) = drawn.titles("is-killed")
    ((left, _, right, _),) = drawn.boxes("is-killed")
    assert drawn.boxes("is-failed") == []
    assert "attempt 1 killed" in title
    assert right - left == 4


def test_the_time_until_a_run_found_what_was_killed_is_folded() -> None:
    hour = 3_600_000
    ledger = [attempt(1, 0, hour, ending=Ending.CRASHED)]
    killed = task("load", hour, hour + 60_000, invoke_count=2)
    steps = [times_of("first", task("first", 0, 20_000)), times_of("load", killed)]

    drawn = Drawn(timeline(steps, {"load": ledger}, now=AT + 2 * hour))

    assert drawn.titles("fold") == ["nothing is known for 58m00s"]
    ((left, _, right, _),) = drawn.boxes("is-killed")
    ((fold, _, unfold, _),) = drawn.boxes("fold")
    assert left < fold < unfold <= right + 0.2


def test_what_runs_grows() -> None:
    step = times_of("load", task("load", 0, None, Status.RUNNING))
    until = AT + 100_000

    ends = [
        Drawn(timeline([step], {}, now=AT + now, until=until)).boxes("is-running")[0][2]
        for now in (10_000, 20_000, 40_000)
    ]

    assert ends == sorted(set(ends))


@pytest.mark.parametrize(("gap", "folds"), [(15_000, 0), (40_000, 1)])
def test_long_stretches_in_which_nothing_ran_are_folded(gap: int, folds: int) -> None:
    later = 50_000 + gap
    steps = [
        times_of("a", task("a", 0, 50_000)),
        times_of("b", task("b", later, later + 50_000)),
    ]

    drawn = Drawn(timeline(steps, {}, now=AT + 200_000))

    assert len(drawn.boxes("fold")) == folds
    if folds:
        assert drawn.titles("fold") == ["nothing ran for 40s"]


def test_the_waits_of_a_short_run_are_not_folded() -> None:
    ledger = [attempt(1, 0, 1_000)]
    step = times_of("load", task("load", 6_000, 7_000, invoke_count=2))

    drawn = Drawn(timeline([step], {"load": ledger}, now=AT + 99_000))

    assert drawn.boxes("fold") == []
    assert len(drawn.boxes("wait")) == 1


def test_a_large_step_is_a_strip_with_its_longest_and_its_failed_items() -> None:
    every = [(n * 10, n * 10 + 2_000) for n in range(5_000)]
    longest = [task(f"load[l{n}]", n * 10, n * 10 + 9_000 + n) for n in range(10)]
    failed = [task(f"load[f{n}]", n, n + 100, Status.FAILED) for n in range(3)]
    ledgers = {t.name: [attempt(1, 0, 100, error="bad date")] for t in failed}
    step = times_of("load", *longest, *failed, total=5_000, spans=spans_of(every))

    drawn = Drawn(timeline([step], ledgers, now=AT + 99_999))

    assert any(drawn.boxes(f"shade-{shade}") for shade in range(1, 6))
    assert sum("load[l" in title for title in drawn.titles("is-done")) == 10
    assert sum("bad date" in title for title in drawn.titles("is-failed")) == 3


def test_a_container_that_has_not_begun_says_so() -> None:
    step = times_of("load", task("load", None, None, Status.PENDING))

    drawn = Drawn(timeline([step], {}, now=AT))

    assert "Nothing has run yet." in drawn.texts
    assert_sound(timeline([], {}, now=AT, until=AT + 9_000))


def test_of_many_steps_those_that_failed_are_shown() -> None:
    steps = [times_of(f"s{n}", task(f"s{n}", n, n + 1)) for n in range(400)]
    steps[390] = times_of("bad", task("bad", 0, 1), status=Status.FAILED)

    drawn = Drawn(timeline(steps, {}, now=AT + 999))

    assert any("bad" in text for text in drawn.texts)
    assert any(text.endswith("steps more") for text in drawn.texts)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), min_size=1, max_size=20)
)
def test_the_times_in_which_any_item_ran(pairs: list[tuple[int, int]]) -> None:
    now = 35
    spans = Spans(
        began=[began for began, _ in pairs],
        ended=[ended for _, ended in pairs],
        statuses=[Status.DONE] * len(pairs),
    )
    ran = sorted((began, max(began, ended or now)) for began, ended in pairs)

    assert list(union(spans, now)) == list(merged(ran))


def test_a_part_of_the_time_shows_what_ran_then_and_leads_further() -> None:
    steps = [
        times_of("early", task("early", 0, 10_000)),
        times_of("late", task("late", 60_000, 90_000)),
    ]
    asked: list[tuple[int, int]] = []

    def zoom(since: int, till: int) -> str:
        asked.append((since, till))
        return f"/c/1?since={since}&till={till}"

    window = (AT + 50_000, AT + 90_000)
    view = TimelineView(window=window, zoom=zoom)
    drawn = Drawn(timeline(steps, {}, now=AT + 99_000, view=view))

    ((left, _, right, _),) = drawn.boxes("is-done")
    parts = drawn.boxes("part-of-time")
    assert (right - left) / (parts[-1][2] - parts[0][0]) == pytest.approx(
        0.75, abs=0.01
    )
    assert [since for since, _ in asked] == [
        AT + 50_000 + 5_000 * part for part in range(8)
    ]
    links = [link for link in drawn.root.iter("a") if link.get("tabindex") is None]
    assert len(links) == 8


def test_what_failed_is_told_by_more_than_its_colour() -> None:
    ledger = [attempt(1, 0, 10_000)]
    step = times_of("load", task("load", 10_000, 30_000, invoke_count=2))

    drawn = Drawn(timeline([step], {"load": ledger}, now=AT + 99_000))

    (failed,) = drawn.boxes("is-failed")
    (struck,) = drawn.boxes("struck")
    assert (struck[0], struck[2]) == (failed[0], failed[2])


def test_names_have_the_places_of_their_rows() -> None:
    steps = [times_of(name, task(name, 0, 9)) for name in "abc"]

    drawn = timeline(steps, {}, now=AT)
    names = Drawn(names_of(drawn))

    assert names.boxes("name") == Drawn(drawn).boxes("name")
    assert names.height == Drawn(drawn).height


# -- the others -------------------------------------------------------------


def test_each_step_is_below_what_it_waits_for() -> None:
    edges = [("a", "b"), ("b", "d"), ("a", "d"), ("c", "d")]

    found = layered(["a", "b", "c", "d"], edges)

    level = {node: place for place, nodes in enumerate(found.layers) for node in nodes}
    assert all(level[before] < level[after] for before, after in edges)
    # The line from c bends once; that from a to d is left out, as others imply it.
    assert len(found.lines) == 4


def test_the_sweeps_leave_no_lines_crossed_that_need_not_cross() -> None:
    edges = [("a", "z"), ("b", "y"), ("c", "x")]

    found = layered(["a", "b", "c", "x", "y", "z"], edges)

    above, below = found.layers
    assert [edges[above.index(n)][1] for n in "abc"] == list("zyx")
    assert [below.index(dict(edges)[str(n)]) for n in above] == [0, 1, 2]


def test_lines_of_a_barrier_meet_in_one_point() -> None:
    before, after = [f"a{n}" for n in range(20)], [f"b{n}" for n in range(20)]

    found = layered(before + after, [(a, b) for b in after for a in before])

    assert len(found.lines) == 40


def test_a_line_that_passes_layers_goes_straight() -> None:
    names = ["a", "b", "c", "d", "e"]
    found = layered(
        names, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "e"), ("d", "e"), ("b", "e")]
    )

    def room(node: str | int) -> float:
        return 100.0 if isinstance(node, str) else 10.0

    middles = straightened(found, room, 20)

    for layer in found.layers:
        for one, other in pairwise(layer):
            apart = middles[other] - middles[one]
            assert apart >= (room(one) + room(other)) / 2 + 20 - 1e-6
    swings = [
        abs(middles[a] - middles[b])
        for a, b in found.lines
        if not (isinstance(a, str) or isinstance(b, str))
    ]
    assert all(swing < 1e-6 for swing in swings)


def test_more_than_200_steps_are_a_table() -> None:
    plan = [StepSummary(name=f"s{n}", above=n or None) for n in range(201)]

    assert graph(plan, {}).startswith("<table")
    assert graph(plan[:200], {}).startswith("<svg")


def test_a_failed_item_among_many_is_seen() -> None:
    found = [Status.DONE] * 100_000
    found[50_000] = Status.FAILED

    drawn = Drawn(strip(found, 100_000))

    assert drawn.boxes("is-failed")
    assert any("249 done · 1 failed" in title for title in drawn.titles("is-failed"))


def test_the_grid_says_which_step_failed_in_which_container() -> None:
    columns = [
        GridColumn(
            name=f"epf:{n}",
            stands="failed",
            status=Status.FAILED,
            steps={"download": Status.DONE, "load": Status.FAILED},
            href=f"/c/{n}",
        )
        for n in range(60)
    ]

    drawn = Drawn(grid("Epf", ["download", "load"], columns))

    assert len(list(drawn.root.iter("a"))) == 48
    assert "load: failed in epf:59" in drawn.titles("is-failed")
    assert not any("epf:0 " in title for title in drawn.titles("is-failed"))


def test_the_grid_says_what_ran_when_a_container_was_killed() -> None:
    column = GridColumn(
        name="epf:1",
        stands="killed",
        status=Status.RUNNING,
        steps={"download": Status.DONE, "load": Status.PENDING},
        is_killed=True,
        killed={"load"},
    )

    drawn = Drawn(grid("Epf", ["download", "load"], [column]))

    assert "load: killed in epf:1" in drawn.titles("is-killed")
    assert len(drawn.boxes("is-killed")) == 2
    assert drawn.boxes("is-running") == []


def test_the_grid_says_when_its_columns_began() -> None:
    hour = 3_600_000
    columns = [
        GridColumn(
            name=f"epf:{n}",
            stands="done",
            status=Status.DONE,
            steps={},
            at=AT + n * hour,
        )
        for n in range(48)
    ]

    drawn = Drawn(grid("Epf", [], columns))

    texts = [e.text or e[0].tail or "" for e in drawn.root.iter("text")]
    assert sum(":" in text for text in texts) > 8
    assert sum("-" in text for text in texts) in (1, 2)
    assert drawn.outside() == []


def test_the_newest_run_is_the_last_bar() -> None:
    runs = [
        RunRecord(
            uid="u",
            fence=n,
            container=f"epf:{n}",
            began_at=AT - n * DAY,
            ended_at=AT - n * DAY + 60_000,
            status=RunStatus.DONE,
        )
        for n in range(3)
    ]

    drawn = Drawn(bars(runs, now=AT))

    assert [title.rpartition(":")[2] for title in drawn.titles("is-done")] == [
        "2",
        "1",
        "0",
    ]
