"""What is kept of what bodies print: head and tail, whatever comes, and never too much."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptsflow.core import log_window
from ptsflow.core.log_window import KEPT, Window, merged
from ptsflow.core.model import LogChunk, LogLine
from tests.unit.kept_lines import SLACK, Kept, lines_of, texts_of, weight

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
