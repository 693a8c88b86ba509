"""The plan of a workflow: what waits for what, what is downstream, how items are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

import pytest

from ptsflow import Retry, Workflow, step
from ptsflow.core.model import StepSummary, item_name
from ptsflow.core.plan import PlanStep, downstream, item_keys
from ptsflow.errors import InvalidName, InvalidValue
from ptsflow.workflow.code_hash import fingerprint
from ptsflow.workflow.compile import plan_of
from tests.support.cost import IN_PROPORTION, growth


class Everything(Workflow):
    """Every way to wait, in the order of its steps' indexes."""

    limits: ClassVar[Mapping[str, int]] = {"db": 2, "net": 9}

    @step
    def first(self) -> list[str]:
        """List them.

        With more to say.
        """
        return ["a"]

    @step(parallel=True)
    def left(self) -> None: ...

    @step(parallel=True)
    def right(self, left: None) -> None: ...

    @step(after=())
    def at_once(self) -> None: ...

    @step(parallel=True)
    def alone(self) -> None: ...

    @step(each=first, key="name", limit=3, tolerate="2%", weight=5)
    def items(self, item: str) -> list[str]:
        return [item]

    @step(each=items, after=left)
    def chained(self, text: str, first: list[str]) -> None: ...

    @step(
        after=(first, left, first),
        optional=True,
        retry=1,
        version="2",
        uses={"db": 2},
        priority=7,
        keep_workdir=True,
    )
    def some(self) -> None: ...

    @step
    def joined(self, chained: list[None]) -> None: ...

    @step(always=True)
    def report(self, joined: None) -> None: ...

    @step(always=True, parallel=True)
    def mail(self) -> None: ...

    @step(always=True, parallel=True)
    def page(self) -> None: ...

    @step(always=True)
    def clean_up(self) -> None: ...


PLAN = plan_of(Everything)


@pytest.mark.parametrize(
    ("name", "above", "needs", "each"),
    [
        pytest.param("first", 0, (), None, id="the first waits for nothing"),
        pytest.param("left", 1, (), None, id="parallel: what is above its group"),
        pytest.param(
            "right", 1, ("left",), None, id="parallel: and a result of its group"
        ),
        pytest.param("at_once", None, (), None, id="after=(): nothing"),
        pytest.param("alone", 4, (), None, id="parallel, but not adjacent"),
        pytest.param("items", None, ("first",), "first", id="each: its source alone"),
        pytest.param(
            "chained", None, ("left", "first"), "items", id="chained: no whole"
        ),
        pytest.param("some", None, ("first", "left"), None, id="after: each once"),
        pytest.param("joined", 8, ("chained",), None, id="plain: all above"),
        pytest.param("report", 9, ("joined",), None, id="always: all the usual"),
        pytest.param("mail", 10, (), None, id="always, parallel: begins a group"),
        pytest.param("page", 10, (), None, id="always, parallel: joins it"),
        pytest.param("clean_up", 12, (), None, id="always: the always above"),
    ],
)
def test_what_a_step_waits_for(
    name: str, above: int | None, needs: tuple[str, ...], each: str | None
) -> None:
    planned = PLAN.by_name[name]

    assert (planned.above, planned.needs, planned.each) == (above, needs, each)


def test_the_plan_is_in_order_with_its_usual_steps_counted() -> None:
    assert (PLAN.workflow, PLAN.usual) == ("Everything", 9)
    assert [planned.index for planned in PLAN.steps] == list(range(13))
    assert list(PLAN.by_name.values()) == list(PLAN.steps)


def test_options_are_in_the_plan() -> None:
    items, some = PLAN.by_name["items"], PLAN.by_name["some"]

    assert (items.key, items.limit, items.tolerate, items.weight) == (
        "name",
        3,
        "2%",
        5,
    )
    assert (some.optional, some.version, some.retry.max_retries) == (True, "2", 1)
    assert (some.uses, some.priority, some.keep_workdir) == ({"db": 2}, 7, True)
    assert (items.uses, items.priority, items.keep_workdir) == ({}, 0, False)
    assert PLAN.by_name["first"].returns == list[str]


def test_what_holds_for_all_steps_is_in_the_plan() -> None:
    class Far(Everything):
        executor = "dask://host:8786"

    assert (PLAN.limits, PLAN.executor) == ({"db": 2, "net": 9}, "thread")
    assert plan_of(Far).executor == "dask://host:8786"
    assert plan_of(Far).limits == PLAN.limits


def test_a_step_knows_the_fingerprint_of_its_body() -> None:
    first, some = PLAN.by_name["first"], PLAN.by_name["some"]

    assert first.code_hash == fingerprint(first.function) != some.code_hash
    assert first.code_hash is first.code_hash
    assert [summary.code_hash for summary in PLAN.summary()] == [
        planned.code_hash for planned in PLAN.steps
    ]


def test_a_summary_needs_no_user_code() -> None:
    summaries = {summary.name: summary for summary in PLAN.summary()}

    assert summaries["first"] == StepSummary(
        name="first", above=0, text="List them.", code_hash=code_hash("first")
    )
    assert summaries["items"] == StepSummary(
        name="items",
        needs=("first",),
        each="first",
        tolerate="2%",
        weight=5,
        code_hash=code_hash("items"),
        takes=("first",),
        takes_item=True,
    )
    assert summaries["page"] == StepSummary(
        name="page",
        above=10,
        parallel=True,
        always=True,
        code_hash=code_hash("page"),
    )


def code_hash(name: str) -> str:
    return fingerprint(PLAN.by_name[name].function)


def test_parallel_steps_are_adjacent_across_classes() -> None:
    class Base(Workflow):
        @step
        def first(self) -> None: ...

        @step(parallel=True)
        def left(self) -> None: ...

        @step(always=True)
        def last(self) -> None: ...

    class Wider(Base):
        @step(parallel=True)
        def right(self) -> None: ...

        @step
        def after(self) -> None: ...

    planned = plan_of(Wider).by_name

    assert (planned["left"].above, planned["right"].above) == (1, 1)
    assert planned["after"].above == 3


def test_parallel_steps_that_always_run_make_no_group_with_those_before_them() -> None:
    class Mixed(Workflow):
        @step(parallel=True)
        def usual(self) -> None: ...

        @step(parallel=True, always=True)
        def last(self) -> None: ...

    planned = plan_of(Mixed).by_name

    assert (planned["usual"].above, planned["last"].above) == (0, 1)


def test_what_always_runs_stands_behind_the_step_whose_result_it_receives() -> None:
    class Always(Workflow):
        @step(parallel=True, always=True)
        def count(self) -> int:
            return 1

        @step(parallel=True, always=True)
        def mail(self, count: int) -> None: ...

        @step(parallel=True, always=True)
        def page(self) -> None: ...

    assert [planned.above for planned in plan_of(Always).steps] == [0, 1, 1]


# -- downstream --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param(
            ["first"],
            "first left right alone items chained some joined report mail page clean_up",
            id="the first: all but what starts at once",
        ),
        pytest.param(
            ["at_once"],
            "at_once alone joined report mail page clean_up",
            id="what starts at once: the barriers behind it",
        ),
        pytest.param(
            ["right"],
            "right alone joined report mail page clean_up",
            id="a parallel step: not its group",
        ),
        pytest.param(
            ["items"],
            "items chained joined report mail page clean_up",
            id="a fan-out: its chain",
        ),
        pytest.param(["some"], "some joined report mail page clean_up", id="after="),
        pytest.param(["joined"], "joined report mail page clean_up", id="the last"),
        pytest.param(["report"], "report", id="always: itself alone"),
        pytest.param(["absent"], "absent", id="what is not there"),
    ],
)
def test_downstream_is_all_that_waits_however_indirectly(
    names: list[str], expected: str
) -> None:
    assert downstream(PLAN.summary(), names) == set(expected.split())


# -- items -------------------------------------------------------------------------


@dataclass
class File:
    name: str
    size: int = 0


def fan_out(key: Any = None, names: tuple[str, ...] = ("download",)) -> PlanStep:
    """Return the first of a chain of fan-out steps over `check`."""

    def body(self: object, item: object) -> object:
        return self, item

    def check(self: object) -> list[object]:
        return [self]

    members: dict[str, Any] = {"check": step(check)}
    source = members["check"]
    for place, name in enumerate(names):
        method = FunctionType(body.__code__, {}, name)
        options = {"key": key} if place == 0 else {}
        source = members[name] = step(each=source, **options)(method)
    return plan_of(type("W", (Workflow,), members)).by_name[names[0]]


@pytest.mark.parametrize(
    ("key", "items", "expected"),
    [
        pytest.param(None, [], [], id="nothing"),
        pytest.param(None, ["a", "b.tbz"], ["a", "b.tbz"], id="short strings"),
        pytest.param(None, [3, -1, 0], ["3", "-1", "0"], id="ints"),
        pytest.param(None, [True, False], ["0", "1"], id="bools: the index"),
        pytest.param(None, ["x" * 60, "x" * 61], ["x" * 60, "1"], id="long strings"),
        pytest.param(None, ["", None, 1.5], ["0", "1", "2"], id="others: the index"),
        pytest.param(None, ["  ", "\t", "a b"], ["0", "1", "a b"], id="blank strings"),
        pytest.param(None, ["ä" * 30, "ä" * 31], ["ä" * 30, "1"], id="long in bytes"),
        pytest.param(None, [2**63 - 1, 2**63], [str(2**63 - 1), "1"], id="huge ints"),
        pytest.param(None, [{"a": 1}, [1]], ["0", "1"], id="dicts and lists"),
        pytest.param("name", [File("a"), File("b")], ["a", "b"], id="an attribute"),
        pytest.param("size", [File("a", 1), File("a", 2)], ["1", "2"], id="an int"),
        pytest.param("name", [{"name": "a"}], ["a"], id="a key of a dict"),
        pytest.param(lambda n: n * 2, [1, 2], ["2", "4"], id="a function"),
        pytest.param(str.upper, ["a[b]", "c d"], ["A[B]", "C D"], id="any text"),
    ],
)
def test_items_are_named_by_their_keys(
    key: Any, items: list[Any], expected: list[str]
) -> None:
    assert item_keys(fan_out(key), items) == expected


def test_a_blank_key_under_which_an_item_was_recorded_stays() -> None:
    assert item_keys(fan_out(None), ["  ", " "], " ".__eq__) == ["0", " "]
    assert item_keys(fan_out("name"), [File(" ")], " ".__eq__) == [" "]


def test_an_item_s_name_is_its_step_s_with_the_key() -> None:
    assert item_name("download", "songs.tbz") == "download[songs.tbz]"


WANTED = "of check must be a str that is not blank, or an int, found"
LONG = "bytes; expected up to 200 of valid text without NUL, found"


@pytest.mark.parametrize(
    ("key", "items", "message"),
    [
        (
            None,
            ["a", "b", "a"],
            ("items 0 and 2 of check have the same key 'a'; "
            "give @step a key= that tells them apart"),
        ),
        (
            None,
            [1, "1"],
            ("items 0 and 1 of check have the same key '1'; "
            "give @step a key= that tells them apart"),
        ),
        ("name", [File("a"), File("")], f"the key of item 1 {WANTED} ''"),
        ("name", [File("  ")], f"the key of item 0 {WANTED} '  '"),
        (lambda _: None, [1], f"the key of item 0 {WANTED} None"),
        (lambda _: True, [1], f"the key of item 0 {WANTED} True"),
        (lambda _: 1.5, [1], f"the key of item 0 {WANTED} 1.5"),
        (
            "nam",
            [File("a")],
            "item 0 of check has no 'nam' to be its key; found File(name='a', size=0)",
        ),
        ("name", [{"nam": 1}], "item 0 of check has no 'name' to be its key; found {'nam': 1}"),
        ("name", [5], "item 0 of check has no 'name' to be its key; found 5"),
    ],
)  # fmt: skip
def test_items_that_cannot_be_told_apart_are_refused(
    key: Any, items: list[Any], message: str
) -> None:
    with pytest.raises(InvalidValue) as raised:
        item_keys(fan_out(key), items)

    assert str(raised.value) == f"download: {message}"


@pytest.mark.parametrize(
    ("key", "names", "size"),
    [
        pytest.param("x" * 190, ("download",), None, id="200 bytes"),
        pytest.param("x" * 191, ("download",), 201, id="201 bytes"),
        pytest.param("ä" * 96, ("download",), 202, id="bytes, not characters"),
        pytest.param("a\0b", ("download",), 13, id="NUL"),
        pytest.param("a\udc80", ("download",), 14, id="no valid text"),
        pytest.param("x" * 190, ("download", "ab"), None, id="a shorter one behind it"),
        pytest.param(
            "x" * 190, ("download", "unpack_it"), 201, id="a longer one behind"
        ),
        pytest.param("x" * 188, ("a", "b", "download_it"), 201, id="one far behind"),
    ],
)
def test_a_key_has_to_make_a_usable_name_all_along_its_chain(
    key: str, names: tuple[str, ...], size: int | None
) -> None:
    first = fan_out(lambda _: key, names)
    if size is None:
        assert item_keys(first, [1]) == [key]
        return

    with pytest.raises(InvalidName) as raised:
        item_keys(first, [1])

    assert str(raised.value) == (
        f"{first.name}: the key of item 0 of check makes a name of {size} "
        f"{LONG} {key!r:.80}"
    )


def test_a_plan_of_2000_steps_is_small() -> None:
    members: dict[str, Any] = {}
    for number in range(2_000):
        members[f"s{number}"] = step(_method(f"s{number}"))
    plan = plan_of(type("Long", (Workflow,), members))

    assert sum(len(planned.needs) for planned in plan.steps) == 0
    assert len(downstream(plan.summary(), ["s5"])) == 1_995


def _method(name: str) -> Callable[..., Any]:
    def body(self: object) -> object:
        return self

    body.__name__ = body.__qualname__ = name
    return body


def test_a_retry_is_the_step_s_own() -> None:
    class Own(Workflow):
        policy: ClassVar[Retry] = Retry(9)

        @step(retry=policy)
        def one(self) -> None: ...

    assert plan_of(Own).by_name["one"].retry is Own.policy


def _planned(size: int) -> None:
    """Make and plan a class of so many steps."""
    body = Everything.at_once.function.__code__
    names = [f"step_{number}" for number in range(size)]
    steps = {name: step(FunctionType(body, globals(), name)) for name in names}
    plan_of(type("Large", (Workflow,), dict(steps)))


def test_a_class_costs_as_much_as_its_steps_are_many() -> None:
    assert growth(_planned, 1_000) < IN_PROPORTION


def test_a_plan_is_made_without_its_source_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unasked(_: object) -> str:
        raise AssertionError

    class Pair(Workflow):
        @step
        def first(self) -> None: ...

        @step
        def second(self) -> None: ...

    with monkeypatch.context() as patched:
        patched.setattr(plan_of.__module__ + ".fingerprint", unasked)
        plan = plan_of(Pair)

    assert [it.code_hash for it in plan.steps] == [
        fingerprint(Pair.first.function),
        fingerprint(Pair.second.function),
    ]
