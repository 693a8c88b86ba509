"""What it costs to look at a large container."""

from __future__ import annotations

from tests.bench.scale_cases import Case, Command, Place
from tests.bench.scale_cases.workflow import chain


def _show_chain(place: Place) -> float:
    source = chain(20_000).replace("        return 0\n", "        raise TypeError\n")
    (place.folder / "chain.py").write_text(source, encoding="utf-8")
    store = ("--store", place.sqlite())
    # Each of the others waits for the first one, so that nothing else runs.
    place.ptsflow("run", "chain.py", "-q", *store, expect=(1,))
    shown: Command = place.ptsflow("show", "Chain", *store)
    assert "step_19999" in shown.stdout
    return shown.seconds


_JOIN = """
from ptsflow import Workflow, step


class Join(Workflow):
    @step
    def parts(self) -> list[int]:
        return list(range(100))

    @step(each=parts)
    def part(self, number: int) -> str:
        return chr(97 + number % 26) * (7 * 2**20)

    @step
    def whole(self, part: list[str]) -> int:
        return sum(map(len, part))
"""


def _joined(place: Place) -> tuple[Command, str]:
    (place.folder / "join.py").write_text(_JOIN, encoding="utf-8")
    store = place.sqlite()
    return place.ptsflow("run", "join.py", "-q", "--store", store), store


def _run_joined(place: Place) -> float:
    return _joined(place)[0].memory


def _status_joined(place: Place) -> float:
    _, store = _joined(place)
    return place.ptsflow("status", "Join", "--json", "--store", store).memory


CASES = [
    Case(
        *("join-run", "a joined list of 100 x 7 MiB, the peak of its run", "MB", 1_000),
        _run_joined,
        rounds=1,
    ),
    Case(
        *("join-status", "status --json of 100 x 7 MiB, its peak", "MB", 1_000),
        _status_joined,
        rounds=1,
    ),
    Case(
        *("show-chain", "ptsflow show of a chain of 20,000, from cold", "s", 1),
        _show_chain,
    ),
]
