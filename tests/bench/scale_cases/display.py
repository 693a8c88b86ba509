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


CASES = [
    Case(
        *("show-chain", "ptsflow show of a chain of 20,000, from cold", "s", 1),
        _show_chain,
    ),
]
