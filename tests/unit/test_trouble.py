"""One trouble is told once, and its end once."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.trouble import (
    FAILURES,
    HookName,
    hook_for,
    ordinal_after,
    trouble_of,
)
from ptsflow.stores.rules import back_to_good

MINUTE = 60_000


class World:
    """A workflow with containers, whose runs end one after the other."""

    def __init__(self, remind_ms: int | None = None) -> None:
        self.now = 1_000_000
        self.remind_ms = remind_ms
        self.rows: list[RunRecord] = []
        #: Containers that failed and are not repaired.
        self.broken = set[str]()
        self.told: list[HookName] = []

    def ends(
        self, container: str, status: RunStatus, *, has_hooks: bool = True
    ) -> HookName | None:
        """Have a run end; return what is told."""
        run = RunRecord(
            uid=container,
            fence=len(self.rows),
            container=container,
            workflow="Feed",
            began_at=self.now - 1,
            ended_at=self.now,
            status=status,
        )
        self.rows.append(run)
        if status is RunStatus.DONE:
            self.broken.discard(container)
        elif status in FAILURES:
            self.broken.add(container)
        hook = self._hook(run) if has_hooks else None
        if hook is not None:
            self.told.append(hook)
        return hook

    def _hook(self, run: RunRecord) -> HookName | None:
        failures = [row for row in self.rows if row.status in FAILURES]
        numbered = back_to_good(row for row in self.rows if row.ordinal is not None)
        trouble = trouble_of(numbered, failures)
        hook = hook_for(
            run,
            trouble,
            lambda row: row.uid in self.broken,
            now=self.now,
            remind_ms=self.remind_ms,
        )
        if hook is not None or run.status in FAILURES:
            at = None if hook is None else self.now
            ordinal = ordinal_after(numbered)
            self.rows[-1] = replace(run, ordinal=ordinal, told_at=at)
        return hook


def test_an_hour_that_fails_again_and_again_is_told_once() -> None:
    world = World()
    for _ in range(3):
        world.ends("13:00", RunStatus.FAILED)
        world.now += 10 * MINUTE
    assert world.ends("13:00", RunStatus.DONE) is HookName.RECOVERY
    assert world.ends("14:00", RunStatus.DONE) is None
    assert world.told == [HookName.FAILURE, HookName.RECOVERY]


def test_an_hour_that_fails_while_others_succeed_is_one_trouble() -> None:
    world = World()
    assert world.ends("13:00", RunStatus.FAILED) is HookName.FAILURE
    for hour in range(14, 20):
        assert world.ends(f"{hour}:00", RunStatus.DONE) is None
        assert world.ends("13:00", RunStatus.TIMEOUT) is None
    assert world.ends("20:00", RunStatus.FAILED) is None
    assert world.ends("13:00", RunStatus.DONE) is None, "20:00 is broken still"
    assert world.ends("20:00", RunStatus.DONE) is HookName.RECOVERY
    assert world.ends("21:00", RunStatus.FAILED) is HookName.FAILURE


def test_what_was_deleted_or_given_up_holds_up_no_recovery() -> None:
    world = World()
    world.ends("13:00", RunStatus.FAILED)
    world.broken.clear()
    assert world.ends("14:00", RunStatus.DONE) is HookName.RECOVERY


def test_what_failed_before_the_trouble_holds_up_no_recovery() -> None:
    world = World()
    world.ends("old", RunStatus.FAILED, has_hooks=False)
    world.now += MINUTE
    assert world.ends("13:00", RunStatus.FAILED) is HookName.FAILURE
    assert world.ends("13:00", RunStatus.DONE) is HookName.RECOVERY


def test_a_trouble_that_goes_on_is_told_again_after_a_while() -> None:
    world = World(remind_ms=60 * MINUTE)
    told = []
    for _ in range(20):
        told.append(world.ends("13:00", RunStatus.FAILED))
        world.now += 10 * MINUTE
    assert [place for place, hook in enumerate(told) if hook] == [0, 6, 12, 18]
    world.ends("13:00", RunStatus.DONE)
    assert world.told[-1] is HookName.RECOVERY


def test_a_run_that_was_stopped_or_died_tells_nothing() -> None:
    world = World()
    for status in (RunStatus.STOPPED, RunStatus.LOST, RunStatus.RUNNING):
        assert world.ends("13:00", status) is None
    world.ends("13:00", RunStatus.FAILED)
    for status in (RunStatus.STOPPED, RunStatus.LOST, RunStatus.RUNNING):
        assert world.ends("13:00", status) is None


ENDS = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from([*FAILURES, *[RunStatus.DONE] * 3, RunStatus.STOPPED]),
    st.sampled_from([True, True, True, False]),
    st.integers(-5, 20),
)


@given(st.lists(ENDS, max_size=40))
def test_each_trouble_is_told_once_and_so_is_its_end(
    ends: list[tuple[str, RunStatus, bool, int]],
) -> None:
    world = World()
    since: set[str] | None = None
    began = 0
    for container, status, has_hooks, later in ends:
        world.now += later  # Clocks of hosts differ, and are set back.
        hook = world.ends(container, status, has_hooks=has_hooks)
        # What failed before the trouble began, by the clock, is no part of it.
        if since is not None and status in FAILURES and world.now >= began:
            since.add(container)
        if not has_hooks:
            continue
        if status in FAILURES:
            assert hook is (HookName.FAILURE if since is None else None)
            if since is None:
                since, began = {container}, world.now
        elif status is RunStatus.DONE and since is not None:
            is_over = later < 0 or not since & world.broken
            if hook is not None:
                assert hook is HookName.RECOVERY
                assert is_over
                since = None
        else:
            assert hook is None
    told = world.told
    assert all(a is not b for a, b in pairwise(told)), "in turn"


@given(st.lists(ENDS, max_size=40))
def test_a_trouble_ends_when_all_is_repaired(
    ends: list[tuple[str, RunStatus, bool, int]],
) -> None:
    world = World()
    for container, status, has_hooks, _ in ends:
        world.ends(container, status, has_hooks=has_hooks)
        world.now += 1
    was_in_trouble = world.told[-1:] == [HookName.FAILURE]
    for container in sorted(world.broken) or ["e"]:
        world.ends(container, RunStatus.DONE)
        world.now += 1

    assert (world.told[-1:] == [HookName.RECOVERY]) or not (
        world.told or was_in_trouble
    )
