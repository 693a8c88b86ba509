"""What the storm of callers checks of hooks: each kind of fault is seen."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from tests.crash.tellings import Hearing, Telling

FAILED, DONE = RunStatus.FAILED, RunStatus.DONE
MINUTE = 60_000


def run(
    number: int, name: str, status: RunStatus, ordinal: int | None, *, told: bool
) -> RunRecord:
    """Return a run that ends so many minutes after others began."""
    at = number * MINUTE
    return RunRecord(
        uid=name,
        fence=number,
        container=name,
        ran_by=f"vm:{number}",
        began_at=at - 1000,
        ended_at=at,
        status=status,
        ordinal=ordinal,
        told_at=at + 10 if told else None,
    )


#: Of each run an hour, how it ended, its ordinal and whether somebody was told.
RUNS = [
    run(1, "a", DONE, None, told=False),
    run(2, "b", FAILED, 1, told=True),
    run(3, "c", FAILED, 2, told=False),
    run(4, "b", DONE, None, told=False),
    run(5, "c", DONE, 3, told=True),
    run(6, "d", DONE, None, told=False),
]
TELLINGS = [
    Telling("on_failure", "b", 2 * MINUTE),
    Telling("on_recovery", "c", 5 * MINUTE),
]
HEARING = Hearing(
    runs=RUNS,
    tellings=TELLINGS,
    done_at={(run.uid, run.fence): (run.ended_at or 0) + 20 for run in RUNS},
    killed=[],
)


def changed(number: int, **fields: object) -> Hearing:
    runs = [replace(r, **fields) if r.fence == number else r for r in RUNS]
    return replace(HEARING, runs=runs)


def test_one_trouble_that_was_told_as_it_should_be_is_none_of_them() -> None:
    assert HEARING.check().startswith("1 troubles, 1 of them over, 0 runs")


def test_a_runner_that_was_killed_may_have_told_nothing() -> None:
    done = {key: at for key, at in HEARING.done_at.items() if key != ("c", 5)}
    killed = replace(HEARING, done_at=done, tellings=TELLINGS[:1], killed=["5"])

    assert killed.check().endswith("1 tellings lost by that")
    with pytest.raises(AssertionError, match="no hooks of"):
        replace(killed, killed=["4"]).check()


@pytest.mark.parametrize(
    ("hearing", "why"),
    [
        (replace(HEARING, tellings=TELLINGS * 2), "told twice"),
        (replace(HEARING, tellings=TELLINGS[:1]), "untold: Telling"),
        (
            replace(changed(5, told_at=None, ordinal=None), tellings=TELLINGS[:1]),
            "c under fence 5 .* untold",
        ),
        (changed(3, told_at=3 * MINUTE), "c under fence 3 .* in a trouble"),
        (changed(2, told_at=None), "b under fence 2 .* in a trouble"),
        (changed(3, ordinal=None), "1, 3"),
        (changed(3, ordinal=1), "1, 1, 3"),
        (changed(5, ordinal=None), "c under fence 5 .* untold"),
        (changed(6, ordinal=4, told_at=6 * MINUTE + 1), "d under fence 6"),
        (changed(4, status=FAILED, ordinal=4), "b under fence 4 .* in a trouble"),
    ],
)
def test_what_was_told_otherwise_is_seen(hearing: Hearing, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        hearing.check()


def test_a_recovery_before_all_is_repaired_is_seen() -> None:
    early = replace(
        HEARING,
        runs=[
            *RUNS[:3],
            run(4, "b", DONE, 3, told=True),
            run(5, "c", DONE, None, told=False),
        ],
        tellings=[TELLINGS[0], Telling("on_recovery", "b", 4 * MINUTE)],
    )

    with pytest.raises(AssertionError, match=r"b under fence 4 .* ends it before c"):
        early.check()
