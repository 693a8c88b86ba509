"""What bodies in this process print and log is kept, and shown as if nobody looked."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import logging.config
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow.core.model import LogLine, TaskRecord
from ptsflow.executors import capture
from ptsflow.executors.processes.output import Output, frame
from tests.support.processes import python
from tests.support.reports import Reports, handle_of
from tests.support.wording import THEIRS, Message


@contextlib.contextmanager
def bare_logging() -> Iterator[logging.Logger]:
    """Yield the root logger as it is at the start of a program; no fixture is in time."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture
def kept() -> Reports:
    return Reports()


@contextlib.contextmanager
def body(kept: Reports, name: str = "task") -> Iterator[None]:
    """Be a body whose prints and records are kept."""
    with capture.installed(), capture.Capture(handle_of(kept, TaskRecord(name=name))):
        yield


def show(text: str, end: str = "\n", *, to_stderr: bool = False) -> None:
    print(text, end=end, file=sys.stderr if to_stderr else sys.stdout)


# -- prints --------------------------------------------------------------------------


def test_prints_are_shown_and_kept_as_lines(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    show("before")
    with body(kept):
        show("one\ntwo")
        show("par", end="")
        show("error", to_stderr=True)
        show("tial")
        sys.stdout.writelines(["a\n", "b\n"])
        show("10 %\r20 %\r100 %\r")
        show("10 %\r30 %\r")
        show("no end", end="")
    show("after")
    seen = capsys.readouterr()

    assert [text for _, text in kept.of()] == [
        *("one", "two", "error", "partial", "a", "b", "100 %", "no end")
    ]
    assert seen.out == (
        "before\none\ntwo\npartial\na\nb\n10 %\r20 %\r100 %\r\n10 %\r30 %\r\nno endafter\n"
    )
    assert seen.err == "error\n"


def test_a_line_without_end_does_not_pile_up(kept: Reports) -> None:
    with body(kept):
        for _ in range(300):
            sys.stdout.write("x" * 1_000)
        show("the end")
    ((_, line),) = kept.of()

    assert len(line) < 40_000
    assert line.startswith("xxx")
    assert line.endswith("xxxthe end")


def test_bodies_side_by_side_keep_their_own(kept: Reports) -> None:
    barrier = threading.Barrier(4)

    def act(name: str) -> None:
        with body(kept, name):
            for number in range(50):
                barrier.wait()
                show(f"{name} ", end="")
                barrier.wait()
                show(f"{number}")

    names = ["a", "b", "c", "d"]
    threads = [threading.Thread(target=act, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for name in names:
        assert [text for _, text in kept.of(name)] == [f"{name} {n}" for n in range(50)]


def test_a_body_within_a_body_keeps_its_own(kept: Reports) -> None:
    with body(kept, "outer"):
        show("outer begins")
        with body(kept, "inner"):
            show("inner")
        show("outer ends")

    assert [text for _, text in kept.of("outer")] == ["outer begins", "outer ends"]
    assert [text for _, text in kept.of("inner")] == ["inner"]


def test_what_a_body_redirects_is_not_kept(kept: Reports) -> None:
    with (
        body(kept),
        contextlib.redirect_stdout(io.StringIO()) as there,
    ):
        show("into a string")

    assert there.getvalue() == "into a string\n"
    assert kept.of() == []


def test_an_async_body_is_followed_into_its_tasks_and_threads(kept: Reports) -> None:
    async def act() -> None:
        await asyncio.gather(asyncio.to_thread(show, "thread"), part())
        show("body")

    async def part() -> None:
        show("task")

    with body(kept):
        asyncio.run(act())

    assert sorted(text for _, text in kept.of()) == ["body", "task", "thread"]


def test_what_outlives_a_body_is_not_kept(kept: Reports) -> None:
    is_over = threading.Event()

    def late() -> None:
        is_over.wait(10)
        show("late")
        logging.getLogger("feed").error("late")

    with capture.installed():
        with body(kept):
            thread = threading.Thread(target=copy_context().run, args=[late])
            thread.start()
        is_over.set()
        thread.join()

    assert kept.of() == []


def test_a_forked_process_prints_and_keeps_nothing(
    kept: Reports, tmp_path: Path
) -> None:
    with body(kept):
        pid = os.fork()
        if pid == 0:
            try:
                show("forked")
                logging.getLogger("any").warning("forked")
                (tmp_path / "kept").write_text(str(kept.lines))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    assert (tmp_path / "kept").read_text() == "[]"


# -- the streams are given back -----------------------------------------------------


def test_the_streams_are_those_before_when_the_last_run_ends() -> None:
    before = sys.stdout, sys.stderr, logging.Logger.callHandlers
    first, second = capture.installed(), capture.installed()
    first.__enter__()
    proxies = sys.stdout, sys.stderr
    second.__enter__()
    shared = sys.stdout, sys.stderr
    first.__exit__(None, None, None)
    still = sys.stdout, sys.stderr
    second.__exit__(None, None, None)

    assert proxies == shared == still
    assert proxies[0] is not before[0]
    assert (sys.stdout, sys.stderr, logging.Logger.callHandlers) == before


def test_a_stream_that_somebody_else_replaced_is_left_to_him(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there, kept = io.StringIO(), io.StringIO(), Reports()
    monkeypatch.setattr(sys, "stdout", here)
    with capture.installed():
        stale = sys.stdout
        sys.stdout = there
    found = sys.stdout
    sys.stdout = stale  # as who replaced it for a while may do
    with body(kept):
        show("once")

    assert found is there
    assert here.getvalue() == "once\n"
    assert kept.of() == [("", "once")]


def test_without_streams_what_is_printed_is_kept(
    monkeypatch: pytest.MonkeyPatch, kept: Reports
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with body(kept):
        show("nowhere else")

    assert sys.stdout is None
    assert kept.of() == [("", "nowhere else")]


@pytest.mark.parametrize("fault", ["full", "gone", "closed", "ascii"])
def test_a_stream_that_takes_nothing_is_no_failure_of_the_body(
    fault: str, kept: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    if fault != "ascii":
        os.close(reading)
    if fault == "full":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    stream = open(writing, "w", encoding="ascii", buffering=1)  # noqa: PTH123, SIM115
    if fault == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with body(kept):
        show("größer")
        sys.stdout.flush()
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        stream.close()

    assert kept.of() == [("", "größer")]


def test_a_wrong_argument_is_still_an_error(
    kept: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(io.StringIO):
        def write(self, text: str) -> int:
            raise ValueError(text)

    monkeypatch.setattr(sys, "stdout", Odd())
    with body(kept), pytest.raises(ValueError, match="no"):
        sys.stdout.write("no")


def test_what_the_reporter_shows_is_not_passed_on_as_well(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Reports()
    with capture.installed(kept):
        with capture.Capture(handle_of(kept)):
            show("by the reporter")
        with capture.Capture(handle_of(other)):
            show("by the stream")

    assert (kept.of(), other.of()) == (
        [("", "by the reporter")],
        [("", "by the stream")],
    )
    assert capsys.readouterr().out == "by the stream\n"


def test_all_but_writing_is_the_streams_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    with capture.installed():
        found = sys.stdout.encoding, sys.stdout.buffer, sys.stdout.isatty()
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type] # what is tested

    assert found == ("latin-1", stream.buffer, False)


# -- records --------------------------------------------------------------------------


def test_a_stream_may_be_used_as_if_a_body_had_opened_it(kept: Reports) -> None:
    with capture.installed(), capture.Capture(handle_of(kept)):
        with sys.stdout as stream:
            stream.write("within\n")
        sys.stdout.write("after\n")

    assert kept.of() == [("", "within"), ("", "after")]


def test_records_are_kept_with_level_and_traceback(kept: Reports) -> None:
    log = logging.getLogger("feed")
    with bare_logging() as root:
        root.setLevel(logging.DEBUG)
        with body(kept):
            log.debug("%d files", 7)
            log.info("two\nlines")
            try:
                _ = 1 / 0
            except ZeroDivisionError:
                log.exception("it failed")
        log.error("after")
    first, *_, last = kept.of()[4:]

    assert kept.of()[:4] == [
        ("DEBUG", "7 files"),
        ("INFO", "two"),
        ("INFO", "lines"),
        ("ERROR", "it failed"),
    ]
    assert first == ("ERROR", "Traceback (most recent call last):")
    assert last[0] == "ERROR"
    assert last[1] == Message(f"ZeroDivisionError: {THEIRS}")


def test_without_handlers_a_warning_is_still_printed_and_kept_once(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_logging() as root, body(kept):
        logging.getLogger("feed").warning("late")
        logging.getLogger("feed").info("kept alone")
        logging.getLogger("feed").debug("not kept")
        handlers = root.handlers[:]

    assert handlers == []
    assert capsys.readouterr().err == "late\n"
    assert kept.of() == [("WARNING", "late"), ("INFO", "kept alone")]


def test_what_handlers_print_is_shown_and_not_kept_again(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    own = logging.getLogger("feed.own")
    own.propagate = False
    with bare_logging(), body(kept):
        own.addHandler(logging.StreamHandler(sys.stdout))
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
        logging.getLogger("feed").info("two")
        own.warning("three")
        show("four")
    own.handlers.clear()
    own.propagate = True
    seen = capsys.readouterr()

    assert (seen.out, seen.err) == ("three\nfour\n", "INFO: two\n")
    assert kept.of() == [("INFO", "two"), ("WARNING", "three"), ("", "four")]


def test_a_message_that_does_not_fit_its_arguments_is_kept_as_it_is(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_logging(), body(kept):
        logging.getLogger("feed").warning("%d files", "seven")

    assert kept.of() == [("WARNING", "%d files (its arguments do not fit)")]
    assert "--- Logging error ---" in capsys.readouterr().err


def test_the_tasks_own_logger_keeps_info_and_prints_as_before(
    kept: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    log = handle_of(kept).log
    with bare_logging() as root:
        logging.basicConfig(format="%(message)s")
        with body(kept):
            log.debug("too small")
            log.info("only kept")
            log.warning("both")
            root.setLevel(logging.INFO)
            log.info("both from now on")
    levels = [level for level, _ in kept.of()]

    assert levels == ["INFO", "WARNING", "INFO"]
    assert capsys.readouterr().err == "both\nboth from now on\n"
    assert log.logger.level == logging.NOTSET


def test_a_level_that_a_user_gave_to_the_tasks_logger_is_left(kept: Reports) -> None:
    log = handle_of(kept).log
    log.logger.setLevel(logging.ERROR)
    with bare_logging(), body(kept):
        log.warning("not let through")
        log.error("kept")
    level = log.logger.level
    log.logger.setLevel(logging.NOTSET)

    assert kept.of() == [("ERROR", "kept")]
    assert level == logging.ERROR


@pytest.mark.parametrize("how", ["dictConfig", "fileConfig", "disable"])
def test_a_body_that_configures_logging_does_not_silence_its_task(
    how: str, kept: Reports, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = handle_of(kept).log
    loggers = [
        x
        for x in log.logger.manager.loggerDict.values()
        if isinstance(x, logging.Logger)
    ]
    (tmp_path / "log.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=ERROR\nhandlers=\n"
    )
    with bare_logging(), body(kept):
        log.info("before")
        if how == "dictConfig":
            logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}})
        elif how == "fileConfig":
            logging.config.fileConfig(tmp_path / "log.ini")
        else:
            logging.disable()
        log.info("after")
        log.error("error")
        log.debug("not kept")
    is_disabled = log.logger.disabled
    for logger in loggers:
        logger.disabled = False
    logging.disable(logging.NOTSET)

    assert is_disabled == (how != "disable")  # handlers find it as they would
    assert capsys.readouterr().err == ""
    assert kept.of() == [("INFO", "before"), ("INFO", "after"), ("ERROR", "error")]


def test_a_filter_of_a_quiet_logger_is_asked(kept: Reports) -> None:
    def hide(record: logging.LogRecord) -> bool:
        record.msg = record.msg.replace("hush", "***")
        return "drop" not in record.msg

    logger = logging.getLogger("feed.quiet")
    logger.addFilter(hide)
    with bare_logging(), body(kept):
        logger.info("password hush")
        logger.info("drop this")
    logger.removeFilter(hide)

    assert kept.of() == [("INFO", "password ***")]


def test_outside_of_bodies_loggers_are_as_quiet_as_ever(kept: Reports) -> None:
    with bare_logging(), capture.installed():
        outside = logging.getLogger("feed").isEnabledFor(logging.INFO)
        with capture.Capture(handle_of(kept)):
            inside = logging.getLogger("feed").isEnabledFor(logging.INFO)
            with capture.aside():
                aside = logging.getLogger("feed").isEnabledFor(logging.INFO)
                logging.getLogger("feed").warning("of the runner")

    assert (outside, inside, aside) == (False, True, False)
    assert kept.of() == []


def test_logging_that_is_loaded_by_a_body_is_seen(tmp_path: Path) -> None:
    code = """
import sys
from ptsflow import TaskHandle
from ptsflow.executors import capture
from ptsflow.core.model import TaskRecord

class Kept:
    lines = []
    def logged(self, name, lines):
        self.lines += [(line.level, line.text) for line in lines]

task = TaskHandle(
    "c", TaskRecord(name="t"), saved=None, reporter=Kept(), cancelled=lambda: False
)
path = list(sys.meta_path)
with capture.installed(), capture.Capture(task):
    assert "logging" not in sys.modules
    task.log.info("first")
    import logging
    logging.getLogger("feed").warning("second")
assert sys.meta_path == path
assert logging.Logger.callHandlers.__qualname__ == "Logger.callHandlers"
print(Kept.lines)
with capture.installed():
    pass
assert sys.meta_path == path
"""
    done = python("-c", code, cwd=tmp_path)

    assert done.stderr == "second\n"
    assert done.stdout == "[('INFO', 'first'), ('WARNING', 'second')]\n"


def test_who_hooks_himself_in_between_is_left_there(
    kept: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    with capture.installed():
        inner = logging.Logger.callHandlers

        def other(logger: logging.Logger, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            inner(logger, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", other)
    with body(kept):
        logging.getLogger("feed").warning("once")
    found = logging.Logger.callHandlers

    assert found is other
    assert seen == ["once"]
    assert kept.of() == [("WARNING", "once")]


# -- what a worker prints -----------------------------------------------------------

TEXT = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\x1e")
)
PIECES = st.lists(
    st.one_of(
        st.tuples(st.just(""), TEXT),
        st.tuples(st.sampled_from(["INFO", "ERROR"]), TEXT),
    ),
    max_size=20,
)


@given(PIECES, st.integers(1, 12))
def test_lines_of_a_worker_process_come_out_as_they_went_in(
    pieces: list[tuple[str, str]], size: int
) -> None:
    data = b"".join(
        frame(LogLine(1, level, text)) if level else f"{text}\n".encode()
        for level, text in pieces
    )
    output, found = Output(), list[LogLine]()
    for begin in range(0, len(data), size):
        found += output.feed(data[begin : begin + size], 2)
    found += output.end(2)

    assert [(line.level, line.text) for line in found] == pieces
    assert all(line.at == (1 if line.level else 2) for line in found)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_whatever_a_worker_process_prints_is_read(parts: list[bytes]) -> None:
    output = Output()
    for part in parts:
        for line in output.feed(part, 1):
            assert "\n" not in line.text or line.level
    list(output.end(1))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            [b"par", frame(LogLine(1, "INFO", "x")), b"tial\n"],
            ["par", "x", "tial"],
            id="a record within a line",
        ),
        pytest.param([b"\x1e[1,\n"], ["\x1e[1,"], id="what only looks like a record"),
        pytest.param([b"a\xff\n"], ["a\\xff"], id="bytes that are no text"),
        pytest.param(
            [b"a\n\n", frame(LogLine(1, "INFO", "x"))],
            ["a", "", "x"],
            id="an empty line before a record",
        ),
    ],
)
def test_odd_output_is_read(parts: list[bytes], expected: list[str]) -> None:
    outputs = [Output(), Output()]
    apart = [line.text for part in parts for line in outputs[0].feed(part, 1)]
    at_once = [line.text for line in outputs[1].feed(b"".join(parts), 1)]

    assert apart == at_once == expected


def test_the_last_text_is_told_of() -> None:
    output = Output()
    for number in range(1_000):
        output.feed(f"line {number}\n".encode(), 1)
    output.feed(frame(LogLine(1, "ERROR", "dying")) + b"no end", 1)
    output.end(1)

    assert output.last.endswith("line 998\nline 999\ndying\nno end")
    assert len(output.last) <= 500
