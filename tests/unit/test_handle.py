"""What a body may ask and tell while it runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow import TaskHandle
from ptsflow.core.model import TaskRecord
from ptsflow.errors import LeaseLost, NotStorable
from tests.support.reports import Reports, handle_of

TASK = TaskRecord(name="download[songs]", key="songs", attempt=2, fence=7)


def handle(reports: Reports, saved: str | None = None) -> TaskHandle:
    """Return the handle of the second attempt."""
    return handle_of(reports, TASK, saved=saved, cancelled=lambda: reports.is_lost)


def test_a_body_knows_which_task_it_is() -> None:
    task = handle(Reports())

    assert (task.name, task.key, task.attempt, task.fence) == (
        "download[songs]",
        "songs",
        2,
        7,
    )
    assert task.idempotency_key == "nightly/download[songs]"


def test_a_body_sees_that_the_run_is_being_stopped() -> None:
    reports = Reports()
    task = handle(reports)
    assert not task.cancelled

    reports.is_lost = True

    assert task.cancelled


@pytest.mark.parametrize(
    ("done", "total", "percentage"),
    [
        (0, 100, 0.0),
        (7, 100, 7.0),
        (1, 3, 33.333333),
        (3, 3, 100.0),
        (4, 3, 100.0),
        (0, 0, 100.0),
        (1.5, 3, 50.0),
        (True, 2, 50.0),
    ],
)
def test_progress_is_told_as_a_percentage(
    done: float, total: float, percentage: float
) -> None:
    reports = Reports()

    handle(reports).progress(done, total, "songs")

    assert reports.progress == [("download[songs]", percentage, "songs")]


@given(
    done=st.floats(0, allow_infinity=False) | st.integers(0, 10**300),
    total=st.floats(0, allow_infinity=False) | st.integers(0, 10**300),
)
def test_progress_is_never_more_than_all_of_it(done: float, total: float) -> None:
    reports = Reports()

    handle(reports).progress(done, total)

    assert 0 <= reports.progress[0][1] <= 100


def test_progress_may_be_counted_in_any_kind_of_number() -> None:
    reports = Reports()

    handle(reports).progress(Decimal(1), Decimal(4))  # type: ignore[arg-type] # what it is about

    assert reports.progress[0][1] == 25.0


@pytest.mark.parametrize(
    ("done", "total"),
    [
        *((-1, 100), (1, -1), (math.nan, 1), (1, math.inf), (math.inf, 1)),
        *((3, "3 of 10 MB"), (None, 100), ("3", 100)),
    ],
)
def test_progress_that_makes_no_sense_is_refused(done: float, total: float) -> None:
    with pytest.raises(ValueError, match="progress of") as raised:
        handle(Reports()).progress(done, total)

    assert str(raised.value) == (
        "progress of download[songs]: expected 0 <= done <= total, "
        f"found done={done!r}, total={total!r}; a text is given as text=..."
    )


def letters() -> Iterator[str]:
    yield from "abcd"


@pytest.mark.parametrize(
    ("items", "total", "told"),
    [
        pytest.param(
            "abcd", None, [(25, "1 of 4"), (50, "2 of 4")], id="with a length"
        ),
        pytest.param(letters(), 8, [(12.5, "1 of 8"), (25, "2 of 8")], id="a total"),
        pytest.param(letters(), None, [(0, "1"), (0, "2")], id="neither"),
        pytest.param(
            "abcd", 1, [(100, "1 of 1"), (100, "2 of 1")], id="too small a total"
        ),
        pytest.param("", None, [], id="nothing"),
    ],
)
def test_tracking_reports_after_each_item(
    items: Iterable[str], total: int | None, told: list[tuple[float, str]]
) -> None:
    reports = Reports()

    tracked = handle(reports).track(items, total)
    seen = [item for item, _ in zip(tracked, range(3), strict=False)]

    assert seen == ["a", "b", "c"][: len(seen)]
    assert [(percent, text) for _, percent, text in reports.progress][:2] == told


def test_a_checkpoint_is_saved_and_seen() -> None:
    reports = Reports()
    task = handle(reports)
    assert task.processing_data is None

    task.checkpoint({"offset": 123})

    assert reports.saved == [("download[songs]", '{"offset":123}')]
    assert task.processing_data == {"offset": 123}


def test_what_an_earlier_attempt_saved_is_there_and_made_anew() -> None:
    task = handle(Reports(), saved='{"seen":[1]}')

    first = task.processing_data
    assert isinstance(first, dict)
    first["seen"].append(2)

    assert task.processing_data == {"seen": [1]}


def test_a_checkpoint_that_was_not_kept_is_not_seen() -> None:
    reports = Reports()
    task = handle(reports, saved="1")
    reports.is_lost = True

    with pytest.raises(LeaseLost):
        task.checkpoint(2)

    assert task.processing_data == 1


def test_a_checkpoint_that_cannot_be_stored_is_refused() -> None:
    reports = Reports()

    with pytest.raises(NotStorable, match=r"^the checkpoint of download\[songs\]"):
        handle(reports).checkpoint(object())

    assert reports.saved == []


def test_log_lines_carry_the_task(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ptsflow.task"):
        handle(Reports()).log.info("%s rows", 5)

    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("ptsflow.task", "5 rows")
    assert vars(record)["task"] == "nightly/download[songs]"


@pytest.mark.parametrize("place", ["pts.db.work", "pts.db.work/box/load-1"])
def test_a_file_where_a_folder_is_to_be_is_named_with_its_cure(
    tmp_path: Path, place: str
) -> None:
    wanted = tmp_path / "pts.db.work" / "box" / "load-1"
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a person's")
    task = TaskHandle(
        "box",
        TASK,
        saved=None,
        reporter=Reports(),
        cancelled=bool,
        folder=lambda: str(wanted),
    )

    with pytest.raises(NotADirectoryError) as caught:
        _ = task.workdir
    assert caught.value.filename == str(file)
    assert caught.value.strerror == "expected a folder, found a file; move it away"
