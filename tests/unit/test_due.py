"""Which ticks of a schedule are due: tables, and callers on virtual clocks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow.core.due import Due, DueReason, Tick, due, due_at, first_in
from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.model import ContainerRecord, Owner, Status

HOUR = 3_600_000
DAY = 24 * HOUR
#: A full hour, from which these tests count.
NOON = 1_767_268_800_000
OWNER = Owner(id="a", host="box", boot="b", pid=1, started=1, since=NOON)


def hourly(**fields: object) -> ScheduleRecord:
    """Return an hourly schedule that begins at noon."""
    made = ScheduleRecord(
        workflow="Feed", cron="0 * * * *", catch_up_ms=DAY, again_ms=HOUR, since=NOON
    )
    return replace(made, **fields)


def tick(number: int) -> Tick:
    """Return the tick so many hours after noon."""
    return Tick(NOON + number * HOUR, f"t{number}")


def window(schedule: ScheduleRecord, now: int, since: int | None = None) -> list[Tick]:
    """Return the hourly ticks of the window that ends now."""
    first = first_in(schedule, now, since)
    numbers = range(-100, 300)
    return [tick(n) for n in numbers if first <= tick(n).at <= now]


def container(
    number: int,
    status: Status = Status.DONE,
    *,
    ended: int | None = None,
    held: int = 0,
) -> ContainerRecord:
    """Return the container of a tick; `held` is when its lease ends."""
    return ContainerRecord(
        uid=str(number),
        name=f"t{number}",
        status=status,
        started_at=tick(number).at,
        ended_at=ended,
        owner=OWNER if held else None,
        leased_till=held or None,
    )


def found(
    schedule: ScheduleRecord, now: int, *containers: ContainerRecord, **more: object
) -> str:
    """Return what is due: the numbers of hours with a letter of why; `!` before a held one."""
    by_name = {each.name: each for each in containers}
    since = more.pop("since", None)
    look = due(
        schedule,
        window(schedule, now, since),  # type: ignore[arg-type] # as the tests give it
        now=now,
        containers=by_name,
        held={each.name for each in containers if each.is_leased(now)},
        **more,  # type: ignore[arg-type]
    )
    if look.held is not None:
        assert not look.due
        return f"!{look.held.name[1:]}"
    return " ".join(f"{each.name[1:]}{each.reason.value[0]}" for each in look.due)


AT_3 = NOON + 3 * HOUR + 60_000


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([], "0n 1n 2n 3n"),
        ([container(0), container(1)], "2n 3n"),
        ([container(n) for n in range(4)], ""),
        # A failed one is due again after an hour; until then the next ones begin.
        ([container(0, Status.FAILED, ended=AT_3 - HOUR)], "0f 1n 2n 3n"),
        ([container(0, Status.FAILED, ended=AT_3 - HOUR + 1)], "1n 2n 3n"),
        # One whose runner was stopped, or died, goes on at once.
        ([container(0), container(1, Status.PENDING, ended=AT_3)], "1u 2n 3n"),
        ([container(0), container(1, Status.RUNNING)], "1u 2n 3n"),
        ([container(0), container(1, Status.RUNNING, held=AT_3)], "1u 2n 3n"),
        # One at a time.
        ([container(0), container(1, Status.RUNNING, held=AT_3 + 1)], "!1"),
        ([container(2, Status.RUNNING, held=AT_3 + 1)], "!2"),
        # A done one that somebody holds is no hindrance.
        ([container(0, held=AT_3 + 1)], "1n 2n 3n"),
    ],
)
def test_resume(containers: Sequence[ContainerRecord], expected: str) -> None:
    assert found(hourly(), AT_3, *containers) == expected


@pytest.mark.parametrize(
    ("overlap", "containers", "expected"),
    [
        ("latest", [], "3n"),
        ("latest", [container(3)], ""),
        ("latest", [container(1, Status.RUNNING, held=AT_3 + 1)], "3n"),
        ("latest", [container(3, Status.RUNNING, held=AT_3 + 1)], "!3"),
        ("latest", [container(3, Status.FAILED, ended=AT_3)], ""),
        ("skip", [], "3n"),
        ("skip", [container(1, Status.RUNNING)], "3n"),
        ("skip", [container(1, Status.RUNNING, held=AT_3 + 1)], "!1"),
        ("parallel", [container(1, Status.RUNNING, held=AT_3 + 1)], "0n 2n 3n"),
        (
            "parallel",
            [container(n, Status.RUNNING, held=AT_3 + 1) for n in range(4)],
            "",
        ),
    ],
)
def test_other_overlaps(
    overlap: str, containers: Sequence[ContainerRecord], expected: str
) -> None:
    assert found(hourly(overlap=overlap), AT_3, *containers) == expected


def test_ticks_before_the_first_and_those_that_are_too_old_are_not_due() -> None:
    schedule = hourly(catch_up_ms=2 * HOUR)

    assert found(hourly(), NOON - 1) == ""
    assert found(hourly(), NOON) == "0n"
    assert found(schedule, NOON + 3 * HOUR - 1) == "1n 2n"
    assert found(schedule, NOON + 3 * HOUR) == "2n 3n"


def test_older_ones_are_due_on_purpose() -> None:
    assert found(hourly(), NOON, since=NOON - 2 * HOUR) == "-2n -1n 0n"


def test_what_is_gone_and_was_done_is_not_due() -> None:
    assert found(hourly(), AT_3, done={"t0", "t2"}) == "1n 3n"


def test_a_call_runs_nothing_twice() -> None:
    failed = container(0, Status.FAILED, ended=NOON)

    assert found(hourly(), AT_3, failed, tried={"t0", "t1"}) == "2n 3n"


def test_a_failed_one_tells_when_it_is_due_again() -> None:
    schedule = hourly(again_ms=7 * HOUR)
    failed = {n: container(n, Status.FAILED, ended=AT_3 - n) for n in range(4)}
    look = due(
        schedule,
        window(schedule, AT_3),
        now=AT_3,
        containers={each.name: each for each in failed.values()},
    )

    assert look.next_at == AT_3 - 3 + 7 * HOUR


def test_jitter_delays_each_tick_by_its_name() -> None:
    schedule = hourly(jitter_ms=600_000)
    delays = {due_at(schedule, tick(n)) - tick(n).at for n in range(200)}

    assert len(delays) > 150
    assert min(delays) >= 0
    assert max(delays) <= 600_000
    at = due_at(schedule, tick(0))
    assert found(schedule, at) == "0n"
    assert found(schedule, at - 1) == ""
    assert due_at(schedule, tick(3)) == due_at(hourly(jitter_ms=600_000), tick(3))


# -- several callers on virtual clocks ---------------------------------------------


class World:
    """Containers, and callers that run what is due, each step of it at another time."""

    def __init__(self, schedule: ScheduleRecord, callers: int) -> None:
        self.schedule = schedule
        self.now = NOON
        self.containers: dict[str, ContainerRecord] = {}
        self.holding: list[str | None] = [None] * callers
        self.tried: list[set[str]] = [set() for _ in range(callers)]
        self.latest = NOON
        self.completed: list[str] = []
        self.windows: set[str] = set()

    def ask(self, caller: int) -> Due | None:
        """A caller asks what is due; claims the first of it, as the runner does."""
        ticks = window(self.schedule, self.now)
        self.windows |= {each.name for each in ticks}
        look = due(
            self.schedule,
            ticks,
            now=self.now,
            containers=self.containers,
            held=set(filter(None, self.holding)),
            elsewhere=[
                tick(int(name[1:]))
                for name in filter(None, self.holding)
                if name not in {each.name for each in ticks}
            ],
            tried=self.tried[caller],
        )
        if not look.due:
            self.tried[caller] = set()  # The call ends, and the next one begins.
            return None
        return look.due[0]

    def wait(self, millis: int) -> None:
        self.now += millis
        self.latest = max(self.latest, self.now)

    def begin(self, caller: int) -> bool:
        """Run the first of what is due; say whether anything is."""
        if self.holding[caller] is not None:
            return False
        one = self.ask(caller)
        if one is None:
            return False
        number = int(one.name[1:])
        earlier = [t for t in window(self.schedule, self.now) if t.at < one.tick.at]
        assert {t.name for t in earlier} <= set(self.containers), "in order"
        assert self.holding == [None] * len(self.holding), "one at a time"
        self.holding[caller] = one.name
        self.containers[one.name] = replace(
            container(number, Status.RUNNING, held=1 << 60),
            started_at=self.now,
        )
        return True

    def end(self, caller: int, how: str) -> None:
        name = self.holding[caller]
        if name is None:
            return
        self.holding[caller] = None
        self.tried[caller].add(name)
        status = {"done": Status.DONE, "failed": Status.FAILED}.get(how, Status.RUNNING)
        if how == "killed":
            self.tried[caller] = set()
        if how == "done":
            self.completed.append(name)
        self.containers[name] = replace(
            self.containers[name],
            status=status,
            ended_at=self.now,
            owner=None,
            leased_till=None,
        )


_MOVES = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["done", "failed", "killed"]), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, 10, 60, 90, 240])),
    st.tuples(st.just("set the clock"), st.sampled_from([-60, 60, -1440, 1440])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_MOVES, max_size=60))
def test_each_tick_of_the_window_is_done_once_in_order_one_at_a_time(
    moves: list[tuple[str, int]],
) -> None:
    world = World(hourly(again_ms=HOUR // 2), callers=3)
    for move, number in moves:
        if move == "begin":
            world.begin(number)
        elif move in ("wait", "set the clock"):
            world.wait(number * 60_000)
            event(f"{move} {number}")
        else:
            world.end(number, move)
    given_up = _finished(world)

    assert len(world.completed) == len(set(world.completed))
    last = window(world.schedule, world.now)
    assert {each.name for each in last} <= set(world.completed)
    assert world.windows - set(world.completed) == given_up


def _finished(world: World) -> set[str]:
    """Let one caller do all that is left; return what is given up."""
    for caller in range(3):
        world.end(caller, "killed")
    world.wait(max(0, world.latest - world.now))
    for pause in (HOUR // 2, HOUR // 2, 0):
        while world.begin(0):
            world.end(0, "done")
        world.tried[0].clear()
        world.wait(pause)
    oldest = first_in(world.schedule, world.now)
    return {
        name
        for name in world.windows - set(world.completed)
        if tick(int(name[1:])).at < oldest
    }


def test_reasons() -> None:
    assert [reason.value for reason in DueReason] == ["new", "failed", "unfinished"]
