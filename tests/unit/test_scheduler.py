"""What starts when: every rule of order, played on the schedule without a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

import pytest

from ptsflow import Workflow, step
from ptsflow.core.model import Status
from ptsflow.core.scheduler import Schedule
from ptsflow.workflow.compile import plan_of
from tests.support.cost import IN_PROPORTION, growth

DONE, FAILED, SKIPPED = Status.DONE, Status.FAILED, Status.SKIPPED
Keys = Mapping[str, Sequence[str] | None]


class Play:
    """A run without bodies: the test says how tasks end.

    Args:
        workflow: whose steps are played.
        keys: of each fan-out step's items; None where its list is refused.
        complete: what earlier runs completed.
        waiting: what waits until when.
        only: the steps to run alone.
    """

    def __init__(
        self,
        workflow: type[Workflow],
        keys: Keys | None = None,
        complete: Mapping[str, Status] | None = None,
        waiting: Mapping[str, int] | None = None,
        only: Iterable[str] | None = None,
    ) -> None:
        self.schedule = Schedule(plan_of(workflow), only)
        self.keys = keys or {}
        #: Items that were skipped as nothing came for them.
        self.skipped: list[str] = []
        self.schedule.load(dict(complete or {}), dict(waiting or {}))

    def take(self, free: int = 1_000, now: int = 0) -> str:
        """Return what starts now, with blanks between; expand and skip before."""
        schedule = self.schedule
        while schedule.to_expand or schedule.to_skip:
            while schedule.to_expand:
                name = schedule.to_expand.popleft()
                keys = self.keys[name]
                if keys is None:
                    schedule.refuse(name)
                else:
                    schedule.expand(name, keys)
            while schedule.to_skip:
                item = schedule.to_skip.popleft()
                assert item not in self.skipped
                self.skipped.append(item)
                schedule.settle(item, SKIPPED)
        return " ".join(schedule.take(free, now))

    def end(self, tasks: str, status: Status = DONE) -> None:
        """Let tasks end."""
        for task in tasks.split():
            self.schedule.settle(task, status)

    def waves(self, ends: Mapping[str, Status] | None = None) -> list[str]:
        """Play to the end, whatever runs ending at once; return what started together."""
        found: list[str] = []
        while True:
            started = self.take()
            if started:
                found.append(started)
            for task in started.split():
                self.schedule.settle(task, (ends or {}).get(task, DONE))
            if self.schedule.is_idle() and not self.schedule.start_always():
                return found


def made(**steps: Mapping[str, Any] | None) -> type[Workflow]:
    """Return a workflow of these steps with these options, steps named by their names.

    `takes` names earlier steps whose results the method receives.
    """
    members: dict[str, Any] = {}
    for name, given in steps.items():
        options = dict(given or {})
        takes = options.pop("takes", "").split()
        if "each" in options:
            options["each"] = members[options["each"]]
        if "after" in options:
            options["after"] = [members[other] for other in options["after"].split()]
        members[name] = step(**options)(_method(name, ["self", *takes]))
    return type("W", (Workflow,), members)


def _method(name: str, parameters: list[str]) -> Any:
    source = f"def {name}({', '.join(parameters)}): return None"
    return FunctionType(compile(source, "made", "exec").co_consts[0], {}, name)


PARALLEL = {"parallel": True}
ALWAYS = {"always": True}
OPTIONAL = {"optional": True}

SEQUENCE = made(a=None, b=None, c=None)
GROUP = made(a=None, b=PARALLEL, c=PARALLEL, d=None)
FAN = made(a=None, b={"each": "a"}, c=None)
CHAIN = made(
    a=None,
    b={"each": "a"},
    c={"each": "b"},
    d={"each": "c"},
    e=None,
)
TOLERANT = made(a=None, b={"each": "a", "tolerate": 1}, c={"each": "b"}, d=None)
SHARE = made(a=None, b={"each": "a", "tolerate": "40%"}, c=None)
OPTIONAL_FAN = made(a=None, b={"each": "a", "optional": True}, c={"each": "b"}, d=None)
CLEANING = made(a=None, b=None, x=ALWAYS, y=ALWAYS)
TWO = {"b": ["1", "2"]}
THREE = {"b": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("workflow", "keys", "ends", "waves"),
    [
        pytest.param(SEQUENCE, {}, {}, ["a", "b", "c"], id="one after the other"),
        pytest.param(SEQUENCE, {}, {"a": FAILED}, ["a"], id="a failed step blocks"),
        pytest.param(
            SEQUENCE, {}, {"a": SKIPPED}, ["a", "b", "c"], id="a skipped one not"
        ),
        pytest.param(
            GROUP, {}, {}, ["a", "b c", "d"], id="a parallel group, and a barrier"
        ),
        pytest.param(GROUP, {}, {"b": FAILED}, ["a", "b c"], id="one of a group fails"),
        pytest.param(
            made(a=PARALLEL, b=PARALLEL, c=None, d=PARALLEL, e=PARALLEL),
            {},
            {},
            ["a b", "c", "d e"],
            id="two groups",
        ),
        pytest.param(
            made(a=PARALLEL, b={"parallel": True, "takes": "a"}, c=PARALLEL, d=None),
            {},
            {},
            ["a c", "b", "d"],
            id="a result of the same group is waited for",
        ),
        pytest.param(
            made(a=None, b={"after": ""}, c=None),
            {},
            {},
            ["a b", "c"],
            id="after=() starts at once, and the next waits for it",
        ),
        pytest.param(
            made(a=None, b=None, c={"after": "a"}, d={"after": "a b"}),
            {},
            {},
            ["a", "b c", "d"],
            id="after one, after two",
        ),
        pytest.param(
            made(a=None, b={"after": ""}, c={"after": "b"}, d=None),
            {},
            {"a": FAILED},
            ["a b", "c"],
            id="everything else goes on",
        ),
        pytest.param(
            made(a=None, b={"after": ""}, c={"after": "b", "takes": "a"}),
            {},
            {},
            ["a b", "c"],
            id="after, and a result",
        ),
        pytest.param(FAN, THREE, {}, ["a", "b[1] b[2] b[3]", "c"], id="a fan-out"),
        pytest.param(FAN, {"b": []}, {}, ["a", "c"], id="an empty fan-out"),
        pytest.param(
            FAN, {"b": []}, {"a": SKIPPED}, ["a", "c"], id="of a skipped step"
        ),
        pytest.param(FAN, TWO, {"a": FAILED}, ["a"], id="of a failed step"),
        pytest.param(
            FAN, TWO, {"b[1]": FAILED}, ["a", "b[1] b[2]"], id="an item fails"
        ),
        pytest.param(
            FAN,
            TWO,
            {"b[1]": SKIPPED},
            ["a", "b[1] b[2]", "c"],
            id="an item is skipped",
        ),
        pytest.param(FAN, {"b": None}, {}, ["a"], id="a list that is refused"),
        pytest.param(
            CHAIN,
            TWO,
            {},
            ["a", "b[1] b[2]", "c[1] c[2]", "d[1] d[2]", "e"],
            id="a chain of three",
        ),
        pytest.param(CHAIN, {"b": []}, {}, ["a", "e"], id="an empty chain"),
        pytest.param(
            CHAIN,
            TWO,
            {"b[1]": FAILED},
            ["a", "b[1] b[2]", "c[2]", "d[2]"],
            id="a chain goes on beside a failed item",
        ),
        pytest.param(
            CHAIN,
            TWO,
            {"c[2]": SKIPPED},
            ["a", "b[1] b[2]", "c[1] c[2]", "d[1]", "e"],
            id="behind a skipped item all are skipped",
        ),
        pytest.param(
            TOLERANT,
            THREE,
            {"b[2]": FAILED},
            ["a", "b[1] b[2] b[3]", "c[1] c[3]", "d"],
            id="tolerate: as many as said",
        ),
        pytest.param(
            TOLERANT,
            THREE,
            {"b[2]": FAILED, "b[3]": FAILED},
            ["a", "b[1] b[2] b[3]", "c[1]"],
            id="tolerate: one too many",
        ),
        pytest.param(
            SHARE,
            THREE,
            {"b[2]": FAILED},
            ["a", "b[1] b[2] b[3]", "c"],
            id="tolerate: a share",
        ),
        pytest.param(
            SHARE,
            THREE,
            {"b[1]": FAILED, "b[2]": FAILED},
            ["a", "b[1] b[2] b[3]"],
            id="tolerate: over the share",
        ),
        pytest.param(
            SHARE, {"b": None}, {}, ["a"], id="tolerate: not of a list that is refused"
        ),
        pytest.param(
            OPTIONAL_FAN,
            TWO,
            {"b[1]": FAILED, "b[2]": FAILED},
            ["a", "b[1] b[2]", "d"],
            id="optional: all items may fail",
        ),
        pytest.param(
            OPTIONAL_FAN,
            {"b": None},
            {},
            ["a", "d"],
            id="optional: a list that is refused has nothing behind it",
        ),
        pytest.param(
            made(a=OPTIONAL, b={"takes": "a"}),
            {},
            {"a": FAILED},
            ["a", "b"],
            id="optional: the next goes on",
        ),
        pytest.param(
            made(
                a=None, b={"each": "a"}, c={"after": "b"}, d={"after": "", "takes": "b"}
            ),
            TWO,
            {},
            ["a", "b[1] b[2]", "c d"],
            id="a fan-out is joined by after= and by a parameter",
        ),
        pytest.param(
            made(a=None, b={"each": "a"}, c={"each": "b", "takes": "b"}),
            TWO,
            {},
            ["a", "b[1] b[2]", "c[1] c[2]"],
            id="a chain that takes the whole, too",
        ),
        pytest.param(
            made(
                z=None, a={"after": ""}, b={"each": "a"}, c={"each": "b", "after": "z"}
            ),
            TWO,
            {"b[1]": SKIPPED},
            ["z a", "b[1] b[2]", "c[2]"],
            id="a chain that is open before its items are known",
        ),
        pytest.param(
            made(a=None, b={"each": "a"}, c={"each": "a"}, d=None),
            {"b": ["1"], "c": ["1", "2"]},
            {},
            ["a", "b[1] c[1] c[2]", "d"],
            id="two fan-outs of one list",
        ),
        pytest.param(CLEANING, {}, {}, ["a", "b", "x", "y"], id="always: at the end"),
        pytest.param(
            CLEANING, {}, {"a": FAILED}, ["a", "x", "y"], id="always: after a failure"
        ),
        pytest.param(
            CLEANING,
            {},
            {"x": FAILED},
            ["a", "b", "x", "y"],
            id="always: after each other",
        ),
        pytest.param(
            made(x=ALWAYS, a=None), {}, {}, ["a", "x"], id="always: wherever declared"
        ),
        pytest.param(made(x=ALWAYS, y=ALWAYS), {}, {}, ["x", "y"], id="always: alone"),
        pytest.param(
            made(
                a=None,
                x={"always": True, "parallel": True},
                y={"always": True, "parallel": True},
                z=ALWAYS,
            ),
            {},
            {"x": FAILED},
            ["a", "x y", "z"],
            id="always: in parallel",
        ),
        pytest.param(
            made(
                a=None,
                x={"always": True, "parallel": True},
                y={"always": True, "parallel": True, "takes": "x"},
            ),
            {},
            {"x": FAILED},
            ["a", "x", "y"],
            id="always: behind the result it takes",
        ),
        pytest.param(
            made(a=None, x={"always": True, "takes": "a"}),
            {},
            {"a": FAILED},
            ["a", "x"],
            id="always: the result of a failed step is waited for by nobody",
        ),
    ],
)
def test_what_starts_together(
    workflow: type[Workflow], keys: Keys, ends: Mapping[str, Status], waves: list[str]
) -> None:
    assert Play(workflow, keys).waves(ends) == waves


@pytest.mark.parametrize(
    ("workflow", "keys", "ends", "succeeded", "failed"),
    [
        pytest.param(SEQUENCE, {}, {}, True, [], id="all done"),
        pytest.param(SEQUENCE, {}, {"b": SKIPPED}, True, [], id="one skipped"),
        pytest.param(SEQUENCE, {}, {"b": FAILED}, False, ["b"], id="one failed"),
        pytest.param(FAN, TWO, {"b[1]": FAILED}, False, ["b"], id="an item failed"),
        pytest.param(FAN, {"b": None}, {}, False, ["b"], id="a list was refused"),
        pytest.param(FAN, {"b": []}, {}, True, [], id="an empty fan-out"),
        pytest.param(TOLERANT, TWO, {"b[1]": FAILED}, True, [], id="tolerated"),
        pytest.param(
            TOLERANT, TWO, {"b[1]": FAILED, "b[2]": FAILED}, False, ["b"], id="too many"
        ),
        pytest.param(
            TOLERANT, TWO, {"c[1]": FAILED}, False, ["c"], id="not of this one"
        ),
        pytest.param(OPTIONAL_FAN, TWO, {"b[1]": FAILED}, True, [], id="optional"),
        pytest.param(
            OPTIONAL_FAN, {"b": None}, {}, True, [], id="optional and refused"
        ),
        pytest.param(CLEANING, {}, {"x": FAILED}, False, ["x"], id="always failed"),
        pytest.param(
            CLEANING, {}, {"a": FAILED, "y": FAILED}, False, ["a", "y"], id="two failed"
        ),
    ],
)
def test_how_it_ended(
    workflow: type[Workflow],
    keys: Keys,
    ends: Mapping[str, Status],
    *,
    succeeded: bool,
    failed: list[str],
) -> None:
    play = Play(workflow, keys)
    play.waves(ends)

    assert play.schedule.succeeded() is succeeded
    assert play.schedule.failed_steps() == failed


# -- item by item -------------------------------------------------------------------


def test_a_chain_has_no_barrier_between_its_items() -> None:
    play = Play(CHAIN, THREE)
    play.end(play.take())
    play.take(free=1)

    play.end("b[1]")

    assert play.take(free=2) == "c[1] b[2]"
    assert play.take() == "b[3]"


def test_items_behind_tolerated_failures_are_skipped_once_it_is_known() -> None:
    play = Play(TOLERANT, TWO)
    play.end(play.take())
    play.take()
    play.end("b[1]", FAILED)
    assert play.take() == ""
    assert play.skipped == []

    play.end("b[2]")

    assert play.take() == "c[2]"
    assert play.skipped == ["c[1]"]


def test_items_behind_an_optional_failure_are_skipped_at_once() -> None:
    play = Play(OPTIONAL_FAN, TWO)
    play.end(play.take())
    play.take()

    play.end("b[1]", FAILED)

    assert play.take() == ""
    assert play.skipped == ["c[1]"]


def test_a_chained_step_that_opens_late_takes_up_what_happened_before() -> None:
    late = made(
        z=None,
        a={"after": ""},
        b={"each": "a", "tolerate": 1},
        c={"each": "b", "after": "z"},
    )
    play = Play(late, THREE)
    assert play.take() == "z a"
    play.end("a")
    play.end(play.take()[:4])
    play.end("b[2]", FAILED)
    play.end("b[3]", SKIPPED)

    play.end("z")

    assert play.take() == "c[1]"
    assert play.skipped == ["c[2]", "c[3]"]


def test_a_chained_step_that_opens_late_leaves_its_done_items() -> None:
    late = made(z=None, a={"after": ""}, b={"each": "a"}, c={"each": "b", "after": "z"})
    done = dict.fromkeys(("a", "b[1]", "b[2]", "c[1]"), DONE)
    play = Play(late, TWO, done)
    assert play.take() == "z"

    play.end("z")

    assert play.take() == "c[2]"


def test_a_done_item_is_left_alone_when_the_one_before_it_was_reset() -> None:
    play = Play(CHAIN, TWO, {"a": DONE, "c[1]": DONE, "d[1]": DONE})
    assert play.take() == "b[1] b[2]"

    play.end("b[1] b[2]")

    assert play.take() == "c[2]"


def test_a_fan_out_waits_for_what_after_says_before_it_looks_at_its_list() -> None:
    play = Play(made(a=None, z={"after": ""}, b={"each": "a", "after": "z"}), TWO)
    play.take()
    play.end("a")
    assert not play.schedule.to_expand

    play.end("z")

    assert play.take() == "b[1] b[2]"


# -- limits and slots -----------------------------------------------------------------

LIMITED = made(a=None, b={"each": "a", "limit": 2}, c={"each": "a"})
FOUR = {"b": list("1234"), "c": list("1234")}


def test_no_more_start_than_there_are_slots_and_the_oldest_first() -> None:
    play = Play(FAN, THREE)
    play.end(play.take())

    assert play.take(free=2) == "b[1] b[2]"
    assert play.take(free=0) == ""
    assert play.take(free=2) == "b[3]"


def test_a_limit_leaves_the_slots_to_others() -> None:
    play = Play(LIMITED, FOUR)
    play.end(play.take())

    assert play.take(free=3) == "b[1] b[2] c[1]"
    assert play.take(free=1) == "c[2]"


def test_a_slot_of_a_limited_step_goes_to_its_own_next_item() -> None:
    play = Play(LIMITED, FOUR)
    play.end(play.take())
    play.take(free=3)

    play.end("b[2] b[1]")

    assert play.take(free=3) == "b[3] b[4] c[2]"


def test_a_limit_holds_while_all_end_in_any_order() -> None:
    play = Play(
        made(a=None, b={"each": "a", "limit": 3}), {"b": [str(n) for n in range(20)]}
    )
    play.end(play.take())
    running: list[str] = []
    seen: list[str] = []
    for turn in range(40):
        started = play.take(free=2).split()
        seen += started
        running += started
        assert len(running) <= 3
        if running:
            play.end(running.pop(turn % len(running)))

    assert seen == [f"b[{number}]" for number in range(20)]
    assert play.schedule.succeeded()


def test_a_retry_that_is_due_counts_towards_the_limit() -> None:
    play = Play(LIMITED, {"b": list("123"), "c": []})
    play.end(play.take())
    play.take()
    play.schedule.wait("b[1]", due=50)

    assert play.take(now=50) == "b[3]"
    play.end("b[2]")
    assert play.take(now=50) == "b[1]"


# -- waiting ---------------------------------------------------------------------------


def test_a_waiting_task_starts_when_it_is_due() -> None:
    play = Play(GROUP)
    play.end(play.take())
    play.take()
    play.schedule.wait("b", due=500)
    play.schedule.wait("c", due=300)

    assert play.schedule.next_due() == 300
    assert not play.schedule.is_idle()
    assert play.take(now=299) == ""
    assert play.take(now=300) == "c"
    assert play.take(now=500) == "b"
    assert play.schedule.next_due() is None


def test_what_waited_when_the_last_run_ended_waits_still() -> None:
    play = Play(GROUP, complete={"a": DONE}, waiting={"b": 500})

    assert play.take(now=499) == "c"
    assert play.schedule.next_due() == 500
    assert play.take(now=500) == "b"


def test_an_item_that_waited_waits_still_when_its_list_is_known() -> None:
    play = Play(FAN, TWO, complete={"a": DONE}, waiting={"b[2]": 500})

    assert play.take(now=0) == "b[1]"
    assert play.schedule.next_due() == 500


# -- what earlier runs left ----------------------------------------------------------


@pytest.mark.parametrize(
    ("workflow", "keys", "complete", "waves"),
    [
        pytest.param(SEQUENCE, {}, {"a": DONE}, ["b", "c"], id="the first is done"),
        pytest.param(SEQUENCE, {}, {"b": DONE}, ["a", "c"], id="a later one is done"),
        pytest.param(
            SEQUENCE, {}, {"a": SKIPPED, "b": DONE}, ["c"], id="one was skipped"
        ),
        pytest.param(SEQUENCE, {}, {"a": FAILED}, [], id="one has failed for good"),
        pytest.param(SEQUENCE, {}, dict.fromkeys("abc", DONE), [], id="all is done"),
        pytest.param(FAN, TWO, {"a": DONE}, ["b[1] b[2]", "c"], id="the list is known"),
        pytest.param(
            FAN, TWO, {"a": DONE, "b[1]": DONE}, ["b[2]", "c"], id="an item is done"
        ),
        pytest.param(
            CHAIN,
            TWO,
            {"a": DONE, "b[1]": DONE, "b[2]": DONE, "c[2]": DONE},
            ["c[1] d[2]", "d[1]", "e"],
            id="in the middle of a chain",
        ),
        pytest.param(
            CHAIN,
            TWO,
            {"a": DONE, "b[1]": SKIPPED, "b[2]": DONE, "c[1]": SKIPPED},
            ["c[2]", "d[2]", "e"],
            id="in a chain that lost an item",
        ),
        pytest.param(
            TOLERANT,
            TWO,
            {"a": DONE, "b[1]": FAILED, "b[2]": DONE},
            ["c[2]", "d"],
            id="a tolerated failure",
        ),
        pytest.param(
            CLEANING,
            {},
            {"a": DONE, "b": DONE},
            ["x", "y"],
            id="what always runs is left",
        ),
        pytest.param(
            CLEANING,
            {},
            {"a": DONE, "b": DONE, "x": DONE},
            ["y"],
            id="one of these is done",
        ),
        pytest.param(
            CLEANING, {}, dict.fromkeys("abxy", DONE), [], id="nothing is left"
        ),
    ],
)
def test_a_run_goes_on_where_the_last_one_ended(
    workflow: type[Workflow],
    keys: Keys,
    complete: Mapping[str, Status],
    waves: list[str],
) -> None:
    play = Play(workflow, keys, complete)

    assert play.waves() == waves


# -- finish, stop, only ---------------------------------------------------------------


def test_after_a_finish_only_what_runs_may_end_and_what_always_runs_runs() -> None:
    flow = made(a=None, b=PARALLEL, c=PARALLEL, d=None, x=ALWAYS)
    play = Play(flow)
    play.end(play.take())
    assert play.take() == "b c"
    play.end("b")

    play.schedule.finish()

    assert not play.schedule.is_idle()
    play.end("c")
    assert play.take() == ""
    assert play.schedule.is_idle()
    assert play.waves() == ["x"]
    assert play.schedule.succeeded()


def test_a_finish_succeeds_whatever_failed_before_but_for_what_always_runs() -> None:
    play = Play(made(a=PARALLEL, b=PARALLEL, x=ALWAYS))
    play.take()
    play.end("a", FAILED)
    play.end("b")
    play.schedule.finish()
    assert play.waves({"x": FAILED}) == ["x"]

    assert not play.schedule.succeeded()


def test_a_finish_forgets_what_is_ready_waiting_or_held() -> None:
    play = Play(LIMITED, FOUR)
    play.end(play.take())
    play.take(free=3)
    play.schedule.wait("c[1]", due=50)
    play.end("b[1]")

    play.schedule.finish()
    play.end("b[2]")

    assert play.take(now=99) == ""
    assert play.schedule.next_due() is None
    assert play.schedule.is_idle()


def test_a_list_that_comes_after_a_finish_makes_no_items() -> None:
    play = Play(made(z={"after": ""}, a={"after": ""}, b={"each": "a"}), TWO)
    play.take()
    play.end("z")
    play.schedule.finish()

    play.end("a")

    assert not play.schedule.to_expand


def test_an_item_behind_one_that_ends_after_a_finish_does_not_start() -> None:
    play = Play(CHAIN, TWO)
    play.end(play.take())
    play.take()
    play.schedule.finish()

    play.end("b[1]")

    assert play.take() == ""


def test_a_stopped_run_starts_nothing_more() -> None:
    play = Play(CLEANING)
    play.take()

    play.schedule.is_stopping = True

    assert not play.schedule.is_idle()
    play.end("a")
    assert play.take() == ""
    assert play.schedule.is_idle()
    assert not play.schedule.start_always()
    assert not play.schedule.succeeded()


def test_an_interrupted_task_is_left_for_the_next_run() -> None:
    play = Play(GROUP)
    play.end(play.take())
    play.take()
    play.schedule.wait("c", due=50)
    play.schedule.is_stopping = True

    play.schedule.interrupted("b")

    assert play.schedule.running == set()
    assert play.schedule.next_due() is None
    assert play.take(now=99) == ""


@pytest.mark.parametrize(
    ("complete", "only", "waves"),
    [
        pytest.param({"a": DONE}, ["b"], ["b[1] b[2]"], id="a fan-out"),
        pytest.param({}, ["a"], ["a"], id="the first"),
        pytest.param({}, ["c"], [], id="one that is blocked"),
        pytest.param({}, ["a", "b"], ["a", "b[1] b[2]"], id="two"),
        pytest.param({"a": DONE}, [], [], id="none"),
    ],
)
def test_only_the_steps_that_were_asked_for_start(
    complete: Mapping[str, Status], only: list[str], waves: list[str]
) -> None:
    play = Play(FAN, TWO, complete, only=only)

    assert play.waves() == waves


def test_only_leaves_out_what_always_runs() -> None:
    assert Play(CLEANING, only=["a"]).waves() == ["a"]


# -- what it knows ---------------------------------------------------------------------


def test_it_knows_its_tasks_their_steps_and_their_places() -> None:
    play = Play(CHAIN, TWO)
    assert play.schedule.knows("a")
    assert not play.schedule.knows("b[1]")
    assert play.schedule.items("b") == []
    play.end(play.take())
    play.take()
    play.end("b[2]")

    found, place = play.schedule.source_of("c[2]")

    assert (found.name, place) == ("c", 1)
    assert play.schedule.source_of("a")[1] == 0
    assert play.schedule.items("c") == ["c[1]", "c[2]"]
    assert play.schedule.done_items("b") == ["b[2]"]
    assert play.schedule.knows("d[1]")


def test_expanding_tells_every_item_of_the_chain() -> None:
    play = Play(CHAIN, TWO)
    play.end(play.take())
    play.schedule.to_expand.clear()

    play.schedule.expand("b", ["1", "2"])

    assert [play.schedule.items(name) for name in "bcd"] == [
        [f"{name}[1]", f"{name}[2]"] for name in "bcd"
    ]


# -- what it costs ---------------------------------------------------------------------


def test_steps_cost_in_proportion() -> None:
    def schedule(count: int) -> None:
        flow = made(**{f"s{number}": None for number in range(count)})
        waves = Play(flow).waves()
        complete = {f"s{number}": DONE for number in range(count - 1)}
        resumed = Play(flow, complete=complete).waves()
        assert (len(waves), resumed) == (count, [f"s{count - 1}"])

    assert growth(schedule, 200) < IN_PROPORTION


def test_items_cost_in_proportion() -> None:
    flow = made(a=None, b={"each": "a", "limit": 50}, c={"each": "b"}, d=None)

    def schedule(count: int) -> None:
        play = Play(flow, {"b": [str(number) for number in range(count)]})
        play.end(play.take())
        started = 0
        while taken := play.take(free=64).split():
            started += len(taken)
            for task in taken:
                play.schedule.settle(task, DONE)
        assert started == 2 * count + 1
        assert play.schedule.succeeded()

    assert growth(schedule, 2_000) < IN_PROPORTION
