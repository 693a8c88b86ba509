"""What is kept of what bodies print: head and tail, whatever comes, and never too much."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsflow.core import log_window
from ptsflow.core.log_window import KEPT, LINE_LIMIT, Window, merged
from ptsflow.core.model import LogChunk, LogLine
from ptsflow.errors import StoreUnavailable
from ptsflow.runner import log_writer
from ptsflow.runner.log_writer import LogWriter
from tests.support.waiting import until

#: More than the lines of a body that may be kept: the rest of a chunk, and of a line.
SLACK = 16 * 1024 + 4 * LINE_LIMIT + 100


class Kept:
    """A `LogStore` in a list; refuses everything while it is away."""

    def __init__(self) -> None:
        self.chunks: list[LogChunk] = []
        self.puts = 0
        self.is_away = False
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def put(self, uid: str, chunks: Sequence[LogChunk]) -> None:
        assert uid == "uid"
        self.gate.wait(20)
        if self.is_away:
            raise StoreUnavailable("the store is away\nfor long")
        self.puts += 1
        self.chunks.extend(chunks)

    def trim(self, uid: str, task: str, attempt: int, first: int, last: int) -> None:
        assert uid == "uid"
        self.chunks = [
            chunk
            for chunk in self.chunks
            if (chunk.task, chunk.attempt) != (task, attempt)
            or not first <= chunk.number <= last
        ]

    def read(
        self,
        uid: str,  # noqa: ARG002 - a LogStore's
        *,
        task: str | None = None,
        attempt: int | None = None,
        after: str | None = None,
    ) -> tuple[list[LogChunk], str | None]:
        found = [
            chunk
            for chunk in self.chunks
            if task in (None, chunk.task) and attempt in (None, chunk.attempt)
        ]
        return found[int(after or 0) :], str(len(found))

    def forget(self, uid: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


def lines_of(*texts: str, at: int = 0, level: str = "") -> list[LogLine]:
    return [LogLine(at, level, text) for text in texts]


def texts_of(chunks: Sequence[LogChunk]) -> list[str]:
    return [line.text for _, _, line in merged(chunks)]


def weight(lines: Sequence[LogLine]) -> int:
    return sum(16 + len(line.text.encode()) for line in lines)


# -- the window ---------------------------------------------------------------------

LINES = st.lists(
    st.one_of(
        st.integers(0, 200).map(lambda size: "x" * size),
        st.integers(0, 9_000).map(lambda size: "é" * size),
    ),
    max_size=60,
)
STEPS = st.lists(
    st.tuples(LINES, st.integers(1, 40), st.booleans(), st.booleans()), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_head_and_tail_are_kept_whatever_comes(
    steps: list[tuple[list[str], int, bool, bool]],
) -> None:
    store, window, printed = Kept(), Window(1), list[LogLine]()
    for texts, times, is_written, is_heavy in steps:
        part = lines_of(*texts) * (times if is_heavy else 1)
        part = [LogLine(len(printed) + n, "", line.text) for n, line in enumerate(part)]
        printed += part
        window.add(part)
        assert window.waiting <= 2 * KEPT + SLACK
        if is_written:
            write(store, window)
    write(store, window)
    cut = [LogLine(p.at, "", log_window._fit(p).text) for p in printed]

    kept = sorted(store.chunks, key=lambda chunk: chunk.number)
    by_place = {
        chunk.number + n: line for chunk in kept for n, line in enumerate(chunk.lines)
    }
    assert all(cut[place] == line for place, line in by_place.items())
    assert weight(list(by_place.values())) <= 2 * KEPT + SLACK
    assert set(first_places(cut)) <= set(by_place)
    assert {len(cut) - 1 - place for place in first_places(cut[::-1])} <= set(by_place)
    assert window.count == len(printed)


def first_places(lines: list[LogLine]) -> Iterator[int]:
    """Yield the places of the lines that fit into what is kept of one end."""
    size = 0
    for place, line in enumerate(lines):
        size += weight([line])
        if size > KEPT:
            return
        yield place


def write(store: Kept, window: Window) -> None:
    writing = window.take("task")
    store.put("uid", writing.chunks)
    if writing.trim is not None:
        store.trim("uid", "task", window.attempt, *writing.trim)


class Counted(Sequence[LogLine]):
    """A million lines, and how many of them were looked at."""

    looked = 0

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int | slice) -> LogLine:  # type: ignore[override] # no slices
        assert isinstance(index, int)
        self.looked += 1
        return LogLine(index, "", f"{index:0100}")


def test_of_a_flood_only_the_ends_are_looked_at() -> None:
    store, window, flood = Kept(), Window(1), Counted()
    window.add(flood)
    write(store, window)
    lines = texts_of(store.chunks)

    assert flood.looked < 1_200
    assert lines[0] == "0" * 100
    assert lines[-1] == f"{999_999:0100}"
    (gap,) = (line for line in lines if line.startswith("["))
    assert gap == f"[{1_000_001 - len(lines):,} lines were left out here]"


def test_lines_after_a_gap_keep_their_places() -> None:
    store, window = Kept(), Window(1)
    window.add(lines_of("head"))
    window.skip(2)
    window.add(lines_of("four"))
    window.skip(1)
    window.add(lines_of("six"))
    write(store, window)

    assert texts_of(store.chunks) == ["head", "[4 lines were left out here]", "six"]


# -- the writer ------------------------------------------------------------------


class Notices:
    """Opens the store, and keeps what was said."""

    def __init__(self, store: Kept) -> None:
        self.store = store
        self.texts: list[str] = []
        self.opened: list[str] = []
        self.writer = LogWriter(self.open, "uid", self.texts.append)

    def open(self) -> Kept:
        self.opened.append(threading.current_thread().name)
        return self.store


@pytest.fixture
def kept() -> Notices:
    return Notices(Kept())


def test_without_lines_there_is_no_thread_and_no_connection(kept: Notices) -> None:
    before = threading.active_count()
    kept.writer.add("task", 1, [])
    kept.writer.stop()

    assert kept.opened == []
    assert threading.active_count() == before


def test_lines_are_written_while_the_body_runs(kept: Notices) -> None:
    kept.writer.add("task", 1, lines_of("one"))
    kept.writer.add("other", 2, lines_of("two", "three"))
    until(lambda: kept.store.chunks)
    kept.writer.add("task", 1, lines_of("four"))
    kept.writer.stop()

    assert kept.store.chunks == [
        LogChunk(task="task", attempt=1, number=0, lines=tuple(lines_of("one"))),
        LogChunk(
            task="other", attempt=2, number=0, lines=tuple(lines_of("two", "three"))
        ),
        LogChunk(task="task", attempt=1, number=1, lines=tuple(lines_of("four"))),
    ]
    assert kept.opened == ["ptsflow-logs"]
    assert kept.store.closed == 1
    assert "ptsflow-logs" not in {thread.name for thread in threading.enumerate()}


def test_lines_of_an_attempt_before_the_last_one_are_left_out(kept: Notices) -> None:
    kept.writer.add("task", 1, lines_of("first"))
    kept.writer.add("task", 2, lines_of("second"))
    kept.writer.add("task", 1, lines_of("too late"))
    kept.writer.stop()
    kept.writer.add("task", 2, lines_of("after the end"))

    assert texts_of(kept.store.chunks) == ["first", "second"]


def test_a_store_that_is_away_costs_lines_and_one_notice(
    kept: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_PAUSE_AFTER_REFUSAL", 0.02)
    kept.writer.add("task", 1, lines_of("kept"))
    until(lambda: kept.store.chunks)
    kept.store.is_away = True
    for text in ("lost", "lost as well"):
        closed = kept.store.closed
        kept.writer.add("task", 1, lines_of(text))
        until(lambda: kept.store.closed > closed)  # noqa: B023 - called at once
    kept.store.is_away = False
    kept.writer.add("task", 1, lines_of("kept again"))
    kept.writer.stop()

    assert texts_of(kept.store.chunks) == [
        "kept",
        "[2 lines were left out here]",
        "kept again",
    ]
    assert kept.texts == [
        "what bodies print cannot be kept just now: the store is away"
    ]


def test_a_store_that_does_not_answer_holds_the_end_up_for_seconds_alone(
    kept: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_LONGEST_END", 0.3)
    kept.store.gate.clear()
    kept.writer.add("task", 1, lines_of("one"))
    begun = time.monotonic()
    kept.writer.stop()
    took = time.monotonic() - begun
    kept.store.gate.set()

    assert 0.25 < took < 4  # by itself it would be five


def test_what_waits_for_a_store_is_bounded_over_all_attempts(kept: Notices) -> None:
    kept.store.gate.clear()
    kept.writer.add("first", 1, lines_of("head"))
    until(lambda: kept.opened)
    long = lines_of(*(["y" * 1_000] * 200))
    for number in range(200):
        kept.writer.add(f"task{number}", 1, long)
    pending = kept.writer._pending
    kept.store.gate.set()
    kept.writer.stop()
    stored = [line for chunk in kept.store.chunks for line in chunk.lines]

    assert log_writer._MAX_PENDING <= pending <= log_writer._MAX_PENDING + 2 * KEPT
    assert weight(stored) <= log_writer._MAX_PENDING + 2 * KEPT + SLACK


def test_what_is_in_the_store_of_a_body_that_goes_on_is_bounded(
    kept: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_WRITE_EVERY", 0.0)
    for number in range(20):
        puts = kept.store.puts
        kept.writer.add("task", 1, lines_of(*[f"{number} {'y' * 900}"] * 20))
        until(lambda: kept.store.puts > puts)  # noqa: B023 - called at once
    kept.writer.stop()
    stored = [line for chunk in kept.store.chunks for line in chunk.lines]

    assert 2 * KEPT <= weight(stored) <= 2 * KEPT + SLACK
    assert texts_of(kept.store.chunks)[-1].startswith("19 ")


def test_many_threads_may_add_at_once(kept: Notices) -> None:
    def print_much(name: str) -> None:
        for number in range(500):
            kept.writer.add(name, 1, lines_of(f"{name} {number}", at=number))

    names = ["a", "b", "c", "d"]
    threads = [threading.Thread(target=print_much, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.writer.stop()

    for name in names:
        own, _ = kept.store.read("uid", task=name)
        assert texts_of(own) == [f"{name} {number}" for number in range(500)]


# -- reading -----------------------------------------------------------------------


def chunk(task: str, number: int, *lines: tuple[int, str]) -> LogChunk:
    return LogChunk(
        task=task,
        attempt=1,
        number=number,
        lines=tuple(LogLine(at, "", text) for at, text in lines),
    )


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [chunk("a", 0, (1, "a1"), (5, "a5")), chunk("b", 0, (2, "b2"), (6, "b6"))],
            ["a1", "b2", "a5", "b6"],
            id="in the order of time",
        ),
        pytest.param(
            [chunk("a", 0, (5, "a5"), (3, "a3")), chunk("b", 0, (4, "b4"))],
            ["b4", "a5", "a3"],
            id="an attempt keeps its own order",
        ),
        pytest.param(
            [chunk("a", 0, (1, "head")), chunk("a", 2, (3, "tail"))],
            ["head", "[1 line was left out here]", "tail"],
            id="one line is missing",
        ),
        pytest.param(
            [chunk("a", 1234, (3, "tail"))],
            ["[1,234 lines were left out here]", "tail"],
            id="the head is missing",
        ),
        pytest.param(
            [chunk("a", 0, (1, "one"), (2, "two")), chunk("a", 0, (9, "anew"))],
            ["one", "two", "anew"],
            id="an item that went and came back",
        ),
    ],
)
def test_lines_are_merged(chunks: list[LogChunk], expected: list[str]) -> None:
    assert texts_of(chunks) == expected


def test_who_reads_on_is_told_of_gaps_once() -> None:
    seen: dict[tuple[str, int], int] = {}
    first = list(merged([chunk("a", 0, (1, "one"), (2, "two"))], seen))
    second = list(merged([chunk("a", 2, (3, "three"))], seen))
    third = list(merged([chunk("a", 5, (4, "six"))], seen))

    assert [line.text for _, _, line in first] == ["one", "two"]
    assert [line.text for _, _, line in second] == ["three"]
    assert [line.text for _, _, line in third] == [
        "[2 lines were left out here]",
        "six",
    ]


def test_a_hundred_thousand_tasks_that_print_a_line_take_little_memory() -> None:
    count = 1_000
    windows = [Window(1) for _ in range(count)]
    tracemalloc.start()
    try:
        for window in windows:
            window.add([LogLine(1, "", "hello")])
            window.take("load")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken / count < 300
