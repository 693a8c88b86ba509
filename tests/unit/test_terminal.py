"""Screens fed with events: the board, the live frame, plain lines, the summary."""

from __future__ import annotations

import io
import os
import select
import threading
import time
from typing import TextIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow.core.insight import Outlook
from ptsflow.core.model import Progress, Status, StepSummary
from ptsflow.display import format as fmt
from ptsflow.display import streams, tables
from ptsflow.display.layout import frame
from ptsflow.display.plain import PlainLines, write
from ptsflow.display.run_state import Board, board_of
from ptsflow.display.streams import Direct, Outlet
from ptsflow.display.summary import summary
from ptsflow.events import (
    Notice,
    OutlookChanged,
    Progressed,
    RunEnded,
    RunEnding,
    Stopping,
    TaskChanged,
)
from tests.unit.screens import OWNER, Run, begun, container, started, task

ITEMS = [f"load[{i}]" for i in range(70)]


def shown(
    board: Board, now: int = 0, *, width: int = 100, height: int = 24
) -> list[str]:
    return [fmt.text_of(x) for x in frame(board, now, width=width, height=height)]


def busy_board() -> Board:
    """Return the board of a wide fan-out with items in every state."""
    board = Board()
    run = started(board, "fetch", "merge", *ITEMS)
    run.start("fetch", 0)
    run.succeed("fetch", 1_000)
    for name in ITEMS[:46]:
        run.start(name, 1_000)
    for name in ITEMS[:40]:
        run.succeed(name, 4_000)
    run.put_off(ITEMS[40], 4_000, 22_000, "ConnectionError: db3 [red]reset")
    run.fail(ITEMS[41], 4_000, "ValueError: bad date \x1b[31m")
    run.emit(Progressed(at=5_000, progress=[Progress(ITEMS[42], 34.0, "12 of 35")]))
    return board


def test_the_frame_shows_steps_active_items_and_failures() -> None:
    board = busy_board()
    outlook = Outlook(at=10_000, percentage=0.0, eta_at=19_000)
    board(OutlookChanged(at=10_000, outlook=outlook))
    lines = shown(board, 10_000)

    assert lines == [
        "▶ running   52%   orders   lease hostA:4711   Orders()",
        " ✔ fetch           1.0s",
        " ▶ load          ━━━━━━━━━━━━━╸──────────  57%  40✔ 4▶ 1↻ 1✘ 24·   9.0s",
        "   ├ ▶ load[42]  ━━━━━━━━────────────────  34%    9.0s  12 of 35",
        "   ├ ▶ load[43]  ────────────────────────   0%    9.0s",
        "   ├ ▶ load[44]  ────────────────────────   0%    9.0s",
        "   ├ ▶ load[45]  ────────────────────────   0%    9.0s",
        "   ├ ↻ load[40]  try 2/4 in 12 s  ConnectionError: db3 [red]reset",
        r"   ├ ✘ load[41]    3.0s  after 1 try  ValueError: bad date \x1b[31m",
        "   └ … 24 more",
        " · merge         waiting for load",
        f" total  {'━' * 21}{'─' * 19}  52%   elapsed 10s   ETA 9.0s   Ctrl-C stops gently",
    ]


@pytest.mark.parametrize("height", range(2, 14))
@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_frame_is_never_larger_than_the_terminal(height: int, width: int) -> None:
    lines = shown(busy_board(), 10_000, width=width, height=height)

    assert len(lines) <= height
    assert max(fmt.cells(line) for line in lines) <= width
    assert lines[-1].startswith(" total")


def test_of_many_steps_the_active_one_is_shown() -> None:
    plan = tuple(StepSummary(name=f"s{i}", above=i) for i in range(100))
    board = Board()
    run = Run(board)
    tasks = [task(step.name) for step in plan]
    run.tasks = {entry.name: entry for entry in tasks}
    run.emit(begun(tasks, plan=plan))
    for i in range(60):
        run.start(f"s{i}", i)
        run.succeed(f"s{i}", i + 1)
    run.start("s60", 60)

    lines = shown(board, 1_000, height=10)

    assert len(lines) == 10
    assert any(line.startswith(" ▶ s60") for line in lines)
    assert lines[1] == " ✔ 57 more complete"
    assert lines[-2] == " · 37 more to do"


def test_a_step_behind_a_failed_one_is_blocked() -> None:
    board = Board()
    run = started(board, "fetch", "merge")
    run.start("fetch", 0)
    run.fail("fetch", 10, "OSError: x")

    assert shown(board)[3].split() == ["·", "merge", "blocked", "by", "fetch"]


def test_what_was_done_earlier_is_said() -> None:
    board = Board()
    done = task("fetch", status=Status.DONE, percentage_complete=100.0)
    board(begun([done, task("merge")]))

    assert "   resumed: 1 of 3 done earlier   " in shown(board)[0]


def test_what_failed_or_was_skipped_earlier_is_not_among_what_was_done() -> None:
    tasks = [
        task("fetch", status=Status.DONE, percentage_complete=100.0),
        task("load[0]", status=Status.FAILED),
        task("merge", status=Status.SKIPPED),
    ]
    board, stream = Board(), io.StringIO()
    board(begun(tasks))
    PlainLines(stream)(begun(tasks))

    assert "resumed: 1 of 3 done earlier" in shown(board, width=200)[0]
    assert "started, 1 task done earlier" in stream.getvalue()


@pytest.mark.parametrize("width", [80, 90, 100, 200])
def test_the_footer_says_what_ctrl_c_does_whatever_the_width(width: int) -> None:
    board = busy_board()
    before = shown(board, 10_000, width=width)[-1]
    board(Stopping(at=10_000, text="stopping: waiting for 4 running"))
    after = shown(board, 10_000, width=width)[-1]

    assert before.endswith("   Ctrl-C stops gently")
    assert after.endswith("   stopping; Ctrl-C stops at once")
    assert max(map(len, (before, after))) <= width
    assert "━" in before
    assert "━" in after


def test_where_no_runner_lives_no_clock_runs() -> None:
    fields = {"status": Status.DONE, "last_invoked_at": 1_000, "task_ended_at": 4_000}
    tasks = [task("load[0]", **fields), task("load[1]", last_invoked_at=2_000)]
    boards = {}
    for owner in (None, replace(OWNER, since=90_000)):
        board = board_of(container(owner=owner), tasks, 0)
        boards[owner] = [shown(board, now)[2].split()[-1] for now in (100_000, 300_000)]

    assert list(boards.values()) == [["3.0s", "3.0s"], ["10s", "3m30s"]]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", ["orders", "o" * 200])
def test_status_and_percent_are_never_cut(width: int, name: str) -> None:
    head = shown(board_of(container(name=name), [], 0), width=width)[0]
    listed = tables.containers([container(name=name)], {}, 0, {})[1]
    fields = tables.details(container(name=name), [], 0, None)

    assert head.startswith("▶ running   0%   o")
    assert fmt.text_of(listed).startswith("▶ running  0%    0/0 ")
    assert [line[-1].text for line in fields[:2]] == ["▶ running", "0%"]


def test_the_percentage_never_goes_down() -> None:
    board = Board()
    run = started(board, "fetch", "merge")
    run.start("fetch", 0)
    run.emit(Progressed(at=1, progress=[Progress("fetch", 90.0, "")]))
    high = board.percentage
    run.emit(Progressed(at=2, progress=[Progress("fetch", 10.0, "")]))

    assert board.percentage == high == 30.0


def test_a_task_that_failed_at_100_percent_is_not_shown_as_complete() -> None:
    board = Board()
    run = started(board, "fetch")
    run.start("fetch", 0)
    run.emit(Progressed(at=1, progress=[Progress("fetch", 100.0, "")]))
    run.emit(begun([run.tasks["fetch"]], plan=(StepSummary(name="fetch"),)))
    run.emit(Progressed(at=1, progress=[Progress("fetch", 100.0, "")]))

    assert "  99%   elapsed" in shown(board)[-1]


def test_events_that_repeat_what_a_start_said_count_once() -> None:
    # A run announces its tasks as resumed, and then commits how they came to be so.
    board = Board()
    failed = task("fetch", status=Status.FAILED, percentage_complete=40.0)
    reopened = replace(failed, status=Status.PENDING)
    board(begun([reopened, task("merge")]))
    board(TaskChanged(at=0, before=failed, after=reopened))
    board(TaskChanged(at=0, before=None, after=task("merge")))

    assert board.counts[Status.PENDING] == 2
    assert board.steps["fetch"].sum == 40.0


def test_a_deleted_task_is_not_counted() -> None:
    board = Board()
    run = started(board, "fetch", "merge")
    run.emit(TaskChanged(at=0, before=run.tasks["merge"], after=None))

    assert sum(board.counts.values()) == 1


def test_of_lines_without_a_task_the_one_that_ran_alone_is_told() -> None:
    board = Board()
    run = started(board, "fetch", "merge", "load[0]")
    told = [board.ran_alone()]
    run.start("fetch", 1)
    told += [board.ran_alone(), board.ran_alone()]
    run.succeed("fetch", 2)
    run.start("merge", 3)
    told += [board.ran_alone(), board.ran_alone()]
    run.start("load[0]", 4)
    run.succeed("load[0]", 5)
    told += [board.ran_alone(), board.ran_alone()]

    assert told == ["", "fetch", "fetch", "", "merge", "", "merge"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60))
def test_counts_are_those_of_the_tasks(steps: list[tuple[int, int]]) -> None:
    board = Board()
    names = [f"load[{i}]" for i in range(6)]
    run = started(board, *names)
    for index, what in steps:
        current = run.tasks[names[index]]
        if what == 4 and current.status is Status.RUNNING:
            entry = Progress(current.name, 50.0, "")
            run.emit(Progressed(at=1, progress=[entry]))
            run.tasks[current.name] = replace(current, percentage_complete=50.0)
        elif what == 0 and current.status in (Status.PENDING, Status.WAITING):
            run.start(current.name, 1)
        elif what == 1 and current.status is Status.RUNNING:
            run.succeed(current.name, 2)
        elif what == 2 and current.status is Status.RUNNING:
            run.fail(current.name, 2, "E")
        elif what == 3 and current.status is Status.RUNNING:
            run.put_off(current.name, 2, 9, "E")

    tasks = list(run.tasks.values())
    for status in Status:
        assert board.counts[status] == sum(t.status is status for t in tasks)
    load = board.steps["load"]
    assert load.sum == pytest.approx(sum(t.percentage_complete for t in tasks))
    active = {t.name for t in tasks if t.status in (Status.RUNNING, Status.WAITING)}
    assert {*load.running, *load.waiting} == active


def test_an_event_and_a_frame_cost_the_same_however_many_items_there_are() -> None:
    costs = {}
    for count in (1_000, 100_000):
        board = Board()
        board(begun([task(f"load[{i}]") for i in range(count)]))
        run = Run(board)
        run.tasks = {f"load[{i}]": task(f"load[{i}]") for i in range(500)}
        before = time.process_time()
        for i in range(500):
            run.start(f"load[{i}]", 1)
            run.succeed(f"load[{i}]", 2)
        for _ in range(100):
            frame(board, 5_000, width=100, height=24)
        costs[count] = time.process_time() - before

    assert costs[100_000] < 5 * costs[1_000] + 0.05


# -- plain lines ------------------------------------------------------------


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def plain_run(*, quiet: bool = False) -> str:
    stream = io.StringIO()
    run = Run(PlainLines(stream, quiet=quiet))
    run.emit(Notice(at=0, text="waiting: \x1bfor it"))
    run.emit(begun([], at=1_000))
    run.add("fetch", at=1_000)
    run.start("fetch", 2_000)
    for second in (3, 31, 32, 40, 62, 63):
        progress = [Progress("fetch", second, f"{second} rows\n")]
        run.emit(Progressed(at=second * 1000, progress=progress))
    run.put_off("fetch", 64_000, 76_000, "OSError: away")
    run.start("fetch", 76_000)
    run.fail("fetch", 76_500, "OSError: [red]away")
    run.emit(
        RunEnded(
            how=RunEnding.DONE, at=80_000, container=container(status=Status.FAILED)
        )
    )
    return stream.getvalue()


@pytest.mark.usefixtures("utc")
def test_plain_lines_say_changes_and_progress_each_half_minute() -> None:
    assert plain_run().splitlines() == [
        r"00:00:00  ptsflow  waiting: \x1bfor it",
        "00:00:01  orders  started",
        "00:00:02  fetch  started",
        r"00:00:32  fetch  32%  32 rows\n",
        r"00:01:02  fetch  62%  62 rows\n",
        "00:01:04  fetch  waiting: try 2/4 in 12 s  OSError: away",
        "00:01:16  fetch  started, try 2/4",
        "00:01:16  fetch  failed after 2 tries  OSError: [red]away",
    ]


@pytest.mark.usefixtures("utc")
def test_quiet_lines_say_failures_alone() -> None:
    assert plain_run(quiet=True).splitlines() == [
        "00:01:16  fetch  failed after 2 tries  OSError: [red]away",
    ]


@pytest.mark.usefixtures("utc")
def test_a_task_that_runs_for_long_has_a_line_every_so_often() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream, quiet=True, every_ms=300_000)
    run = Run(lines)
    names = ["fetch", *(f"load[{i}]" for i in range(9))]
    run.add(*names)
    run.start("fetch", 0)

    assert lines.tell_running(100_000) == 200_000
    for name in names[1:]:
        run.start(name, 200_000)
    run.emit(Progressed(at=250_000, progress=[Progress("fetch", 12.0, "3 of 25")]))
    assert lines.tell_running(300_000) == 200_000
    assert lines.tell_running(500_000) == 100_000
    for name in names:
        run.succeed(name, 550_000)
    lines.tell_running(900_000)

    assert stream.getvalue().splitlines() == [
        "00:05:00  fetch  running for 5m00s  12%  3 of 25",
        *(f"00:08:20  load[{i}]  running for 5m00s" for i in range(8)),
        "00:08:20  ptsflow  1 more running",
    ]


@pytest.mark.usefixtures("utc")
def test_from_midnight_on_the_date_stands_beside_the_time() -> None:
    stream = io.StringIO()
    run = Run(PlainLines(stream))
    run.add("fetch", "merge")
    day = 86_400_000
    run.start("fetch", day - 2_000)
    run.succeed("fetch", day - 1_000)
    run.start("merge", day)
    run.succeed("merge", day + 60_000)

    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == [
        "23:59:58",
        "23:59:59",
        "1970-01-02 00:00:00",
        "1970-01-02 00:01:00",
    ]


def test_a_stream_of_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")

    write(stream, "✔ done 日\n")

    assert raw.getvalue() == b"+ done \\u65e5\n"


@pytest.mark.parametrize("encoding", ["iso8859-15", "koi8-r", "latin-1", "cp1252"])
def test_every_encoding_that_python_knows_can_be_written(encoding: str) -> None:
    raw = io.BytesIO()

    stream = io.TextIOWrapper(raw, encoding=encoding)
    write(stream, "✔ done 日\n")

    assert raw.getvalue() == b"+ done \\u65e5\n"


def test_a_reader_that_is_gone_is_written_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = Direct(writing, "utf-8")
    for text in ("once\n", "again\n"):
        stream.write(text)
    os.close(writing)

    assert stream.is_gone


def test_a_full_disk_drops_text_and_is_remembered() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stream = Direct(full, "utf-8")
    stream.write("lost\n")
    os.close(full)

    assert stream.problem is not None
    assert not stream.is_gone


def test_a_pipe_that_does_not_block_gets_all() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = "x" * 1_000_000
    with open(reading, "rb") as file:  # noqa: PTH123 - a descriptor
        reader = threading.Thread(target=lambda: read.append(file.read()))
        read: list[bytes] = []
        reader.start()
        Direct(writing, "utf-8").write(text)
        os.close(writing)
        reader.join()

    assert read == [text.encode()]


# -- a reader that does not read ----------------------------------------------


def test_a_writer_never_waits_for_a_reader_and_hears_what_was_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "_LONGEST_WAIT", 0.1)
    reading, writing = os.pipe()
    outlet = Outlet(cast("TextIO", Direct(writing, "utf-8")))
    line = "y" * 999 + "\n"
    count = streams.LIMIT // 1000 + 200
    for _ in range(count):
        outlet.write(line)
    outlet.finish()
    outlet.make_room()
    outlet.write("the end\n")
    data = b""
    while select.select([reading], [], [], 1.0)[0]:
        data += os.read(reading, 65_536)
    os.close(reading)
    os.close(writing)
    lines = data.decode().splitlines(keepends=True)

    assert "the end\n" in lines
    assert any("not shown" in text for text in lines)
    assert streams.LIMIT // 1000 <= lines.count(line) < count


def test_a_reader_that_is_slow_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LONGEST_WAIT", 5.0)
    reading, writing = os.pipe()
    outlet = Outlet(cast("TextIO", Direct(writing, "utf-8")))
    text = "".join(f"{i}\n" for i in range(50_000))
    outlet.write(text)

    def read_slowly() -> None:
        while len(read) < len(text):
            time.sleep(0.01)
            read.extend(os.read(reading, 16_384))

    read = bytearray()
    reader = threading.Thread(target=read_slowly)
    reader.start()
    outlet.finish()
    reader.join()
    os.close(reading)
    os.close(writing)

    assert read.decode() == text


# -- the summary ------------------------------------------------------------


def test_the_summary_names_ten_failures_and_the_slowest() -> None:
    board = Board()
    run = started(board, *ITEMS)
    for index, name in enumerate(ITEMS[:30]):
        run.start(name, 0)
        if index < 12:
            run.fail(name, 1_000, f"E{index}")
        else:
            run.succeed(name, 1_000 * index)
    run.emit(
        RunEnded(
            how=RunEnding.DONE,
            at=30_000,
            container=container(status=Status.FAILED, owner=None),
        )
    )

    lines = [fmt.text_of(line) for line in summary(board, 31_000)]

    assert lines[0] == "✘ orders  failed in 30s   18 done · 12 failed · 40 not run"
    assert lines[1] == "  ✘ load[0]  after 1 try  E0"
    assert lines[10] == "  ✘ load[9]  after 1 try  E9"
    assert lines[11] == "  … and 2 more failed"
    assert lines[12] == "  slowest: load[29] 29s · load[28] 28s · load[27] 27s"


def test_rich_shows_markup_as_the_text_it_is() -> None:
    from ptsflow.display import live  # noqa: PLC0415 - rich is loaded here alone

    stream = io.StringIO()
    live.write_lines(stream, [[fmt.Piece("[red]x[/red] :smile:", "done")]])

    assert stream.getvalue() == "[red]x[/red] :smile:\n"
