"""A run is planned and its parameters are encoded once, whoever begins it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

import ptsflow
from ptsflow import Workflow, step
from ptsflow.cli.main import call
from ptsflow.testing import run_inline
from ptsflow.workflow.compile import plan_of
from tests.cli.calling import flow


class Listed(Workflow):
    """A list among the parameters: each attempt gets a copy of it."""

    numbers: list[int]

    @step
    def total(self) -> int:
        return sum(self.numbers)

    @step(executor="process")
    def beside(self) -> int:
        return len(self.numbers)


CODES = {
    plan_of.__code__: "planned",
    Workflow.encoded_parameters.__code__: "encoded",
}


@pytest.fixture
def calls() -> Counter[str]:
    """Return how often things were done, in whichever thread of this process."""
    return Counter()


def counted(calls: Counter[str], act: Callable[[], object]) -> object:
    """Return what `act` returns, and count what it does."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in CODES:
            calls[CODES[frame.f_code]] += 1

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        return act()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_by_run(url: str, calls: Counter[str]) -> None:
    report = counted(calls, lambda: ptsflow.run(Listed(numbers=[1, 2]), url))

    assert isinstance(report, ptsflow.Report)
    assert report.result("total") == 3
    assert report.result("beside") == 2
    assert calls == {"planned": 1, "encoded": 1}


def test_by_run_inline(calls: Counter[str]) -> None:
    counted(calls, lambda: run_inline(Listed(numbers=[1, 2])))

    assert calls == {"planned": 1, "encoded": 1}


@pytest.mark.parametrize("options", [[], ["-n"]])
def test_by_the_command_line(
    url: str, calls: Counter[str], options: list[str], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    given = ["-p", f"flag={flag}", "-p", "tags=a", "--store", url]
    code = counted(calls, lambda: call(["run", flow("Broken"), *given, *options]))

    assert code == 0
    assert calls == {"planned": 1, "encoded": 1}
