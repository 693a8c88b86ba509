"""The frame: what of a run is shown where the terminal is small, and what of its end."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow.core import counts
from ptsflow.core.insight import Glance, Outlook
from ptsflow.core.model import Progress, Status, StepSummary, TaskRecord
from ptsflow.core.texts import LATE_ADVICE
from ptsflow.display import format as fmt
from ptsflow.display.layout import frame
from ptsflow.display.rows import cut_middle, shares
from ptsflow.display.run_state import Board, board_of_glance
from ptsflow.events import OutlookChanged, Progressed
from tests.unit.screens import Run, begun, container, started, task

ITEMS = [f"load[{i}]" for i in range(70)]


def shown(
    board: Board, now: int = 10_000, *, width: int = 100, height: int = 24
) -> list[str]:
    return [fmt.text_of(x) for x in frame(board, now, width=width, height=height)]


def with_items(running: int, failed: int = 0, waiting: int = 0) -> Board:
    """Return the board of a fan-out of 70 items."""
    board = Board()
    run = started(board, "fetch", "merge", *ITEMS)
    run.start("fetch", 0)
    run.succeed("fetch", 1_000)
    names = iter(ITEMS)
    for _ in range(running):
        run.start(next(names), 1_000)
    for _ in range(failed):
        name = next(names)
        run.start(name, 1_000)
        run.fail(name, 2_000, "E")
    for _ in range(waiting):
        name = next(names)
        run.start(name, 1_000)
        run.put_off(name, 2_000, 99_000, "E")
    return board


# -- rows -------------------------------------------------------------------


@pytest.mark.parametrize(("height", "items"), [(24, 18), (30, 24), (50, 44)])
def test_items_fill_the_height_of_the_terminal(height: int, items: int) -> None:
    lines = shown(with_items(60), height=height)

    assert len(lines) == height
    assert sum("▶ load[" in line for line in lines) == items
    assert f"   └ … {70 - items} more" in lines


def test_running_waiting_and_failed_items_share_the_rows() -> None:
    lines = shown(with_items(30, 20, 20), height=18)

    assert [sum(f"{s} load[" in line for line in lines) for s in "▶↻✘"] == [4, 4, 4]
    assert "   └ … 58 more" in lines


def test_the_last_row_of_items_ends_their_branch() -> None:
    board = Board()
    run = started(board, "fetch", "merge", "load[a]", "load[b]")
    for name in ("load[a]", "load[b]"):
        run.start(name, 0)
    lines = shown(board)

    assert lines[3].startswith("   ├ ▶ load[a]")
    assert lines[4].startswith("   └ ▶ load[b]")


def test_of_many_steps_some_give_way_to_items() -> None:
    plan = (*(StepSummary(name=f"s{i}", above=i) for i in range(40)),)
    plan += (StepSummary(name="load", each="s39", above=40),)
    board = Board()
    names = [step.name for step in plan[:-1]]
    run = Run(board)
    tasks = [task(name) for name in (*names, *ITEMS)]
    run.tasks = {entry.name: entry for entry in tasks}
    run.emit(begun(tasks, plan=plan))
    for name in names:
        run.start(name, 1)
        run.succeed(name, 2)
    for name in ITEMS:
        run.start(name, 3)
    lines = shown(board, height=24)

    assert sum("▶ load[" in line for line in lines) == 11
    assert any(re.match(r" ✔ \d+ more complete", line) for line in lines)
    assert len(lines) <= 24


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 60))
def test_shares_are_fair(wants: list[int], room: int) -> None:
    given_ = shares(wants, room)

    assert sum(given_) == min(sum(wants), room)
    assert all(got <= want for got, want in zip(given_, wants, strict=True))
    short = [got for got, want in zip(given_, wants, strict=True) if got < want]
    assert not short or max(given_) <= min(short) + 1


@given(st.text(max_size=30), st.integers(1, 30))
def test_a_name_cut_in_the_middle_fits_and_keeps_its_ends(
    text: str, width: int
) -> None:
    cut = cut_middle(text, width)

    assert fmt.cells(cut) <= width
    if fmt.cells(text) > width:
        head, _, tail = cut.partition("…") if "…" not in text else ("", "", "")
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_names_are_as_wide_as_there_is_room(width: int) -> None:
    board = Board()
    name = f"load[{'long' * 40}.tbz]"
    run = started(board, "fetch", "merge", name)
    run.start(name, 0)
    row = shown(board, width=width)[3]
    part = row.split("▶ ")[1].split(" ")[0]

    assert part.endswith(".tbz]")
    assert "━" in row or "─" in row
    assert len(part) > (width - 80) + 15


def test_a_body_over_its_limits_is_a_row_that_says_what_can_be_done() -> None:
    board = Board()
    run = started(board, "fetch", "load[a]", "load[b]")
    late = f"stalled for 14 s; {LATE_ADVICE}"
    for name in ("fetch", "load[a]", "load[b]"):
        run.start(name, 0)
        progress = [Progress(name, 7.0, f"block 7; {late}")]
        run.emit(Progressed(at=1, progress=progress))
    lines = shown(board, width=80)

    assert lines[1].endswith("block 7")
    assert lines[2] == f"   └ {late}"
    assert lines[5] == f"   │     {late}"
    assert lines[7] == f"         {late}"


def test_what_a_watcher_should_know_is_a_row_above_the_last() -> None:
    lines = [
        fmt.text_of(line)
        for line in frame(
            with_items(60),
            0,
            width=80,
            height=10,
            stands=fmt.Piece("! stalled"),
            remark="no sign of hostA:4711 for 2m",
            hint="Ctrl-C ends the watch alone",
        )
    ]

    assert lines[0].startswith("! stalled   3")
    assert lines[-2] == " no sign of hostA:4711 for 2m"
    assert lines[-1].endswith("Ctrl-C ends the watch alone")
    assert len(lines) == 10


# -- the end ----------------------------------------------------------------


def expecting(**fields: int | None) -> Board:
    board = with_items(2)
    given: dict[str, int | None] = {"at": 10_000, "eta_at": 350_000, "runs": 20}
    outlook = Outlook(percentage=0.0, **given | fields)  # type: ignore[arg-type]
    board(OutlookChanged(at=10_000, outlook=outlook))
    return board


@pytest.mark.parametrize(
    ("width", "said"),
    [(100, "ETA 5m40s ±12% (20 runs)"), (80, "ETA 5m40s ±12%"), (64, "ETA 5m40s")],
)
def test_the_eta_has_its_range_and_source_where_there_is_room(
    width: int, said: str
) -> None:
    board = expecting(low_at=309_200, high_at=390_800)
    last = shown(board, width=width)[-1]

    assert f"elapsed 10s   {said}   Ctrl-C stops gently" in last
    assert len(last) <= width


def test_before_a_task_has_ended_the_usual_time_is_said() -> None:
    board = Board()
    run = started(board, "fetch")
    outlook = Outlook(at=0, percentage=0.0, eta_at=902_000, runs=20)
    board(OutlookChanged(at=0, outlook=outlook))
    run.start("fetch", 0)
    before = shown(board)[-1]
    run.succeed("fetch", 1_000)

    assert "usually 15m02s (20 runs)" in before
    assert "ETA 14m52s (20 runs)" in shown(board)[-1]


def test_an_eta_that_has_passed_is_no_number() -> None:
    assert "ETA any moment" in shown(expecting(eta_at=9_000))[-1]


def test_an_outlook_from_the_runs_own_rate_names_no_runs() -> None:
    assert "ETA 5m40s   Ctrl-C" in shown(expecting(runs=0))[-1]


def test_the_percentage_is_never_less_than_was_told() -> None:
    board = with_items(2)
    board(OutlookChanged(at=0, outlook=Outlook(at=0, percentage=71.0)))

    assert shown(board)[0].startswith("▶ running   71%")


# -- from a glance ----------------------------------------------------------


def glance_of(tasks: list[TaskRecord], plan: tuple[StepSummary, ...]) -> Glance:
    """Return what a store shows of tasks."""
    fans_out = {step.name for step in plan if step.each is not None}
    items = [task for task in tasks if task.step in fans_out]

    def of(status: Status) -> list[TaskRecord]:
        found = [task for task in items if task.status is status]
        found.sort(
            key=lambda task: (
                (task.last_invoked_at or 0, task.position)
                if status is Status.RUNNING
                else (task.task_ended_at or 0, task.position)
            )
        )
        return found[:50]

    times = {}
    for step in {entry.step for entry in tasks}:
        own = [entry for entry in tasks if entry.step == step]
        begun_ = [t.last_invoked_at for t in own if t.last_invoked_at is not None]
        ended = [t.task_ended_at for t in own if t.task_ended_at is not None]
        times[step] = min(begun_, default=None), max(ended, default=None)
    return Glance(
        tallies=counts.tallies_of(tasks),
        plain=[task for task in tasks if task.step not in fans_out],
        active=[*of(Status.RUNNING), *of(Status.WAITING)],
        failed=of(Status.FAILED),
        times=times,
    )


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=80),
    st.sampled_from([(80, 24), (100, 30), (200, 50)]),
)
def test_a_glance_shows_the_frame_that_the_runner_shows(
    steps: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    board = Board()
    names = ["fetch", *(f"load[{i}]" for i in range(6)), "merge"]
    run = Run(board)
    tasks = [task(n, position=i) for i, n in enumerate(names)]
    run.tasks = {entry.name: entry for entry in tasks}
    run.emit(begun(tasks))
    outlook = Outlook(at=0, percentage=3.0, eta_at=99_000, runs=2)
    run.emit(OutlookChanged(at=0, outlook=outlook))
    for at, (what, index) in enumerate(steps, 1):
        current = run.tasks[names[index]]
        if what == 0 and current.status in (Status.PENDING, Status.WAITING):
            run.start(current.name, at)
        elif current.status is Status.RUNNING:
            if what == 1:
                run.succeed(current.name, at)
            elif what == 2:
                run.fail(current.name, at, "E")
            elif what == 3:
                run.put_off(current.name, at, at + 9_000, "E")
            elif what == 4:
                entry = Progress(current.name, 50.0, "half")
                run.emit(Progressed(at=at, progress=[entry]))
                run.tasks[current.name] = replace(
                    current, percentage_complete=50.0, status_text="half"
                )
    stored = container()
    glance = glance_of(list(run.tasks.values()), stored.plan)
    seen = board_of_glance(stored, glance, 5_000, outlook)
    width, height = size

    assert shown(seen, width=width, height=height) == shown(
        board, width=width, height=height
    )


def test_a_glance_tells_what_was_done_before_the_run() -> None:
    owner = container().owner
    assert owner is not None
    stored = container(owner=replace(owner, since=5_000))
    done = task(
        "fetch",
        status=Status.DONE,
        percentage_complete=100.0,
        last_invoked_at=10,
        task_ended_at=4_000,
    )
    glance = glance_of([done, task("merge")], stored.plan)

    assert (
        "resumed: 1 of 3 done earlier"
        in shown(board_of_glance(stored, glance, 9_000))[0]
    )


def test_a_glance_of_a_wide_fan_out_counts_what_it_does_not_name() -> None:
    items = [task(f"load[{i}]", position=i) for i in range(9_000)]
    items[:60] = [
        replace(t, status=Status.RUNNING, last_invoked_at=1_000) for t in items[:60]
    ]
    stored = container()
    glance = glance_of(items, stored.plan)
    lines = shown(board_of_glance(stored, glance, 9_000), height=30)

    assert "60▶ 8940·" in lines[2]
    assert "   └ … 8976 more" in lines


def test_the_tasks_of_clients_are_counted_once() -> None:
    own = [
        TaskRecord(name="a", status=Status.DONE, percentage_complete=100.0),
        TaskRecord(name="b"),
    ]
    stored = container(workflow=None, plan=())
    board = board_of_glance(stored, glance_of(own, ()), 0)

    assert board.percentage == 50.0
    assert list(board.steps) == ["a", "b"]
