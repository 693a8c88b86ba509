"""Writing what bodies print: in a thread of its own, which the store may fail."""

from __future__ import annotations

import threading
import time

import pytest

from ptsflow.core.log_window import KEPT
from ptsflow.core.model import LogChunk
from ptsflow.runner import log_writer
from ptsflow.runner.log_writer import LogWriter
from tests.support.waiting import until
from tests.unit.kept_lines import SLACK, Kept, lines_of, texts_of, weight


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
    before = set(threading.enumerate())
    kept.writer.add("task", 1, [])
    kept.writer.stop()

    assert kept.opened == []
    assert set(threading.enumerate()) <= before


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
