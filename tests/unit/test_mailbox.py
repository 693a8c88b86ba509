"""The mailbox of a run: what other threads hand in is neither lost nor waited for in vain."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from ptsflow.core.model import LogLine, Progress, Stop, TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.executors import capture
from ptsflow.runner.mailbox import CheckpointRequest, LeaseEnded, Mailbox
from tests.support.reports import Reports, handle_of


def test_a_checkpoint_that_a_turn_saves_is_saved_when_save_returns() -> None:
    mailbox = Mailbox("c")
    texts: list[str] = []

    def take_turns() -> None:
        request = mailbox.arrived.popleft()
        assert isinstance(request, CheckpointRequest)
        texts.append(request.text)
        request.is_saved = True
        request.is_settled.set()

    mailbox.open({}, take_turns)
    mailbox.save("load", "7")

    assert texts == ["7"]


def test_a_body_that_waits_for_a_run_that_ended_is_told_so() -> None:
    mailbox = Mailbox("c")
    errors: list[LeaseLost] = []
    is_in = threading.Event()
    mailbox.open({}, is_in.set)

    def save() -> None:
        try:
            mailbox.save("load", "7")
        except LeaseLost as error:
            errors.append(error)

    thread = threading.Thread(target=save, daemon=True)
    thread.start()
    assert is_in.wait(10)
    mailbox.abandon()
    thread.join(10)

    (error,) = errors
    assert str(error) == (
        "container 'c': the checkpoint of load was not saved, as the run or the attempt "
        "had ended; run again"
    )
    assert not mailbox.arrived


def test_only_the_first_progress_of_a_task_wakes_the_driver() -> None:
    mailbox = Mailbox("c")

    mailbox.progressed("load", 1.0, "")
    woken = [mailbox.has_news, mailbox.next_news(0.0), mailbox.has_news]
    mailbox.progressed("load", 2.0, "")

    assert woken == [True, None, False]
    assert not mailbox.has_news
    assert mailbox.take_progress() == [Progress("load", 2.0, "")]


class Reporting(dict[str, Progress]):
    """Progress of which more comes in whenever it has been looked at."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        super().__init__()

    def values(self) -> Any:
        """Return what there is; more of it comes in right after."""
        found = list(super().values())
        self.mailbox.progressed("load", 2.0, "")
        return found

    def popitem(self) -> tuple[str, Progress]:
        """Take one; more of it comes in right after."""
        found = super().popitem()
        self.mailbox.progressed("load", 2.0, "")
        return found


def test_progress_that_comes_in_while_it_is_taken_is_not_lost() -> None:
    mailbox = Mailbox("c")
    mailbox.progress = Reporting(mailbox)

    mailbox.progressed("load", 1.0, "")
    taken = mailbox.take_progress()

    assert taken == [Progress("load", 1.0, "")]
    assert list(mailbox.progress) == ["load"]


def test_lines_are_kept_with_the_number_of_the_attempt_that_runs() -> None:
    kept: list[tuple[str, int, Sequence[LogLine]]] = []
    mailbox = Mailbox("c", lambda *what: kept.append(what))
    mailbox.open({"load": TaskRecord(name="load", invoke_count=3)}, lambda: None)
    line = LogLine(at=0, level="", text="hello")

    mailbox.logged("load", [line])

    assert kept == [("load", 3, [line])]


@pytest.mark.parametrize("news", [Stop.GENTLY, Stop.NOW, LeaseEnded("it is gone")])
def test_the_driver_hears_what_somebody_asks_and_why_the_lease_is_lost(
    news: Stop | LeaseEnded,
) -> None:
    mailbox = Mailbox("c")

    if isinstance(news, LeaseEnded):
        mailbox.lose_lease(news.why)
    else:
        mailbox.ask_to_stop(news)
    mailbox.wake()

    assert mailbox.next_news(10) == news
    assert mailbox.next_news(10) is None


def test_what_the_runner_logs_while_it_saves_is_not_the_bodys() -> None:
    reports = Reports()
    mailbox = Mailbox("nightly")

    def turn() -> None:
        logging.getLogger("pymongo.command").warning("with the data")
        request = mailbox.arrived.popleft()
        assert isinstance(request, CheckpointRequest)
        request.is_saved = True
        request.is_settled.set()

    mailbox.open({}, turn)
    with capture.installed(), capture.Capture(handle_of(reports)):
        mailbox.save("task", "1")

    assert reports.lines == []
