"""`@step` by itself: what it records, what it refuses, and that a step stays a method."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import math
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from ptsflow import Retry, Workflow, step
from ptsflow.core.plan import StepOptions
from ptsflow.errors import DeclarationError
from ptsflow.workflow.step import Step
from ptsflow.workflow.step_options import EXECUTORS, GivenOptions, check_executor


def check(self: object) -> list[str]:  # noqa: ARG001 - a method
    """Look at the feed.

    More of it.
    """
    return ["songs", "artists"]


CHECK = step(check)


def test_a_bare_decorator_takes_every_default() -> None:
    options = CHECK.options

    assert CHECK.after is None
    assert (options.each, options.key, options.limit) == (None,) * 3
    assert (options.parallel, options.always, options.optional) == (False,) * 3
    assert (options.tolerate, options.weight, options.version) == (0, None, "")
    assert (options.retry.max_retries, options.retry.delay) == (3, 30.0)
    assert (options.uses, options.priority, options.keep_workdir) == ({}, 0, False)
    assert options.executor is None


def test_options_are_recorded() -> None:
    def key(item: str) -> str:
        return item

    policy = Retry(1)
    made = step(
        after=(CHECK,),
        each=CHECK,
        optional=True,
        retry=policy,
        key=key,
        limit=4,
        tolerate="2%",
        weight=3,
        version=7,
        uses={"db": 2, "net": 1},
        priority=-10,
        keep_workdir=True,
        executor="dask",
    )(check)
    options = made.options

    assert (made.after, options.each) == (("check",), "check")
    assert (options.retry, options.key, options.limit) == (policy, key, 4)
    assert (options.tolerate, options.weight, options.version) == ("2%", 3.0, "7")
    assert options.optional is True
    assert (options.uses, options.priority) == ({"db": 2, "net": 1}, -10)
    assert (options.keep_workdir, options.executor) == (True, "dask")


def test_every_option_that_is_checked_is_kept_and_no_other() -> None:
    kept = set(StepOptions.__struct_fields__) - {"each"}

    assert set(get_type_hints(GivenOptions)) == kept


def test_a_resource_by_its_name_is_one_of_it() -> None:
    assert step(uses="db")(check).options.uses == {"db": 1}


@pytest.mark.parametrize("name", ["thread", "process", "dask"])
def test_a_step_names_where_its_bodies_run(name: str) -> None:
    assert step(executor=name)(check).options.executor == name


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(CHECK, ("check",), id="one"),
        pytest.param((), (), id="nothing, so it starts at once"),
        pytest.param([CHECK, CHECK], ("check", "check"), id="a list"),
        pytest.param(None, None, id="none: what stands above"),
    ],
)
def test_after_takes_a_step_or_several(
    after: Any, expected: tuple[str, ...] | None
) -> None:
    assert step(after=after)(check).after == expected


def test_a_number_of_retries_is_a_policy() -> None:
    assert step(retry=0)(check).options.retry.max_retries == 0


def test_parallel_steps_may_always_run() -> None:
    options = step(parallel=True, always=True)(check).options

    assert (options.parallel, options.always) == (True, True)


LATER = "say different things of when it runs; keep one of them"
FANS_OUT = "is for steps that fan out; add each=, or leave"
NUMBERS = "a whole number of 1 or more"
SHARES = 'a number of items, 0 or more, or a share such as "2%"'
KEYS = "the name of a field or a function of the item"
USES = "a resource's name, or a mapping of such to whole numbers of 1 or more"
PLACES = "'thread', 'process' or 'dask'"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"after": "check"}, "after= expects a step declared above, found 'check'; write check without quotes"),
        ({"after": (CHECK, 3)}, "after= expects a step declared above, found 3"),
        ({"each": "check"}, "each= expects a step declared above, found 'check'; write check without quotes"),
        ({"each": ["a", "b"]}, "each= expects a step declared above, found ['a', 'b']"),
        ({"each": (CHECK,)}, "each= expects a step declared above, found (<step check>,)"),
        ({"parallel": 1}, "parallel= expects True or False, found 1"),
        ({"always": "yes"}, "always= expects True or False, found 'yes'"),
        ({"optional": None}, "optional= expects True or False, found None"),
        ({"retry": -1}, "retry= expects a Retry or a number of retries, found -1"),
        ({"retry": True}, "retry= expects a Retry or a number of retries, found True"),
        ({"retry": 1.5}, "retry= expects a Retry or a number of retries, found 1.5"),
        ({"retry": Retry}, "retry= expects a Retry or a number of retries, found <class 'ptsflow.core.retry.Retry'>"),
        ({"key": ""}, f"key= expects {KEYS}, found ''"),
        ({"key": 5}, f"key= expects {KEYS}, found 5"),
        ({"limit": 0}, f"limit= expects {NUMBERS}, found 0"),
        ({"limit": True}, f"limit= expects {NUMBERS}, found True"),
        ({"limit": 2.0}, f"limit= expects {NUMBERS}, found 2.0"),
        ({"tolerate": -1}, f"tolerate= expects {SHARES}, found -1"),
        ({"tolerate": True}, f"tolerate= expects {SHARES}, found True"),
        ({"tolerate": 0.5}, f"tolerate= expects {SHARES}, found 0.5"),
        ({"tolerate": "2"}, f"tolerate= expects {SHARES}, found '2'"),
        ({"tolerate": "x%"}, f"tolerate= expects {SHARES}, found 'x%'"),
        ({"tolerate": "%"}, f"tolerate= expects {SHARES}, found '%'"),
        ({"tolerate": "101%"}, f"tolerate= expects {SHARES}, found '101%'"),
        ({"tolerate": "-1%"}, f"tolerate= expects {SHARES}, found '-1%'"),
        ({"tolerate": "nan%"}, f"tolerate= expects {SHARES}, found 'nan%'"),
        ({"tolerate": None}, f"tolerate= expects {SHARES}, found None"),
        ({"weight": 0}, "weight= expects a number above 0, found 0"),
        ({"weight": -1}, "weight= expects a number above 0, found -1"),
        ({"weight": math.inf}, "weight= expects a number above 0, found inf"),
        ({"weight": math.nan}, "weight= expects a number above 0, found nan"),
        ({"weight": "1"}, "weight= expects a number above 0, found '1'"),
        ({"weight": True}, "weight= expects a number above 0, found True"),
        ({"version": 1.5}, "version= expects a str or an int, found 1.5"),
        ({"version": None}, "version= expects a str or an int, found None"),
        ({"version": True}, "version= expects a str or an int, found True"),
        ({"uses": 2}, f"uses= expects {USES}, found 2"),
        ({"uses": ""}, f"uses= expects {USES}, found ''"),
        ({"uses": ["db"]}, f"uses= expects {USES}, found ['db']"),
        ({"uses": {"db": 0}}, f"uses= expects {USES}, found {{'db': 0}}"),
        ({"uses": {"db": True}}, f"uses= expects {USES}, found {{'db': True}}"),
        ({"uses": {"db": 1.0}}, f"uses= expects {USES}, found {{'db': 1.0}}"),
        ({"uses": {"": 1}}, f"uses= expects {USES}, found {{'': 1}}"),
        ({"uses": {1: 1}}, f"uses= expects {USES}, found {{1: 1}}"),
        ({"priority": "high"}, "priority= expects a whole number, found 'high'"),
        ({"priority": 1.5}, "priority= expects a whole number, found 1.5"),
        ({"priority": True}, "priority= expects a whole number, found True"),
        ({"priority": None}, "priority= expects a whole number, found None"),
        ({"keep_workdir": 1}, "keep_workdir= expects True or False, found 1"),
        ({"executor": "moon"}, f"executor= expects {PLACES}, found 'moon'"),
        ({"executor": 1}, f"executor= expects {PLACES}, found 1"),
        ({"executor": Retry}, f"executor= expects {PLACES}, found <class 'ptsflow.core.retry.Retry'>"),
        ({"executor": "dask://h:1"}, f"executor= expects {PLACES}, found 'dask://h:1'"),
        ({"key": "name"}, f"key= {FANS_OUT} key= out"),
        ({"limit": 2}, f"limit= {FANS_OUT} limit= out"),
        ({"tolerate": 2}, f"tolerate= {FANS_OUT} tolerate= out"),
        ({"tolerate": "0%"}, f"tolerate= {FANS_OUT} tolerate= out"),
        ({"after": CHECK, "parallel": True}, f"after= and parallel=True {LATER}"),
        ({"after": (), "parallel": True}, f"after= and parallel=True {LATER}"),
        ({"each": CHECK, "parallel": True}, f"each= and parallel=True {LATER}"),
        ({"after": CHECK, "always": True}, f"after= and always=True {LATER}"),
        ({"each": CHECK, "always": True}, f"each= and always=True {LATER}"),
        (
            {"after": CHECK, "each": CHECK, "parallel": True},
            f"after= and each= and parallel=True {LATER}",
        ),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_in_one_line(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError) as raised:
        step(**given)(check)

    assert str(raised.value) == f"check: {message}"


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeclarationError) as raised:
        step(retries=3)  # type: ignore[call-overload] # what it is about

    assert str(raised.value) == (
        "@step: unknown option 'retries' (did you mean 'retry'?); there are after, "
        "always, at_most_once, each, executor, keep_workdir, key, limit, memory, "
        "optional, parallel, priority, retry, stall, timeout, tolerate, uses, version, "
        "weight"
    )


# -- where bodies run -------------------------------------------------------------


def make_pool(size: int = 2) -> concurrent.futures.Executor:
    return concurrent.futures.ThreadPoolExecutor(size)


class Made:
    """Makes pools, and is called in several ways."""

    def __call__(self) -> concurrent.futures.Executor:
        return make_pool()

    def sized(self, size: int) -> concurrent.futures.Executor:
        return make_pool(size)


@pytest.mark.parametrize(
    "value",
    [
        *("thread", "process", "dask", "dask://host:8786", "dask://10.0.0.1:1"),
        pytest.param("dask://[::1]:65535", id="an IPv6 address"),
        pytest.param(make_pool, id="a function whose parameters have defaults"),
        pytest.param(concurrent.futures.ProcessPoolExecutor, id="a class of pools"),
        pytest.param(functools.partial(Made().sized, 5), id="a partial"),
        pytest.param(Made(), id="an object that is called"),
        pytest.param(dict, id="what is made in C, of which nothing is known"),
    ],
)
def test_bodies_run_at_a_name_an_address_or_in_a_pool_that_is_made(value: Any) -> None:
    assert check_executor(value) is None


@pytest.mark.parametrize(
    "value",
    [
        *("", "moon", "Thread", "dask:", "dask://", "dask://host", "dask://:8786"),
        *("dask://host:", "dask://host:0", "dask://host:65536", "dask://host:port"),
        *("tcp://host:8786", "host:8786", None, 5, ["thread"], b"thread"),
        pytest.param(Made().sized, id="a callable that wants an argument"),
        pytest.param(Made.sized, id="a method without its object"),
    ],
)
def test_any_other_place_is_refused_in_words(value: Any) -> None:
    assert check_executor(value) == (
        "expected 'thread', 'process', 'dask', 'dask://HOST:PORT' or a callable without "
        f"parameters that returns a concurrent.futures.Executor, found {value!r}"
    )


def test_the_names_of_places_are_public() -> None:
    assert EXECUTORS == ("thread", "process", "dask")


# -- steps that are none -----------------------------------------------------------


def yields(self: object) -> Any:
    yield self


async def yields_later(self: object) -> Any:
    yield self


@pytest.mark.parametrize("function", [yields, yields_later])
def test_a_step_cannot_yield(function: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError) as raised:
        step(function)

    assert str(raised.value) == (
        f"{function.__name__}: a step returns its result, it cannot yield; "
        "return a list, and report on the way with task.progress"
    )


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(staticmethod(check), id="a staticmethod"),
        pytest.param(classmethod(check), id="a classmethod"),
        pytest.param(functools.partial(check), id="a partial"),
        pytest.param(Retry, id="a class"),
        pytest.param(CHECK, id="a step"),
        pytest.param(5, id="a number"),
    ],
)
def test_only_a_method_can_be_a_step(thing: Any) -> None:
    with pytest.raises(DeclarationError) as raised:
        step(thing)

    assert str(raised.value) == (
        f"@step: expected a method, found {thing!r}; "
        "put @step above a def in a Workflow class"
    )


class Feed(Workflow):
    size: int = 2

    @step
    def listed(self) -> list[int]:
        """Look at the feed."""
        return list(range(self.size))

    @step(optional=True)
    async def count(self, listed: list[int]) -> int:
        await asyncio.sleep(0)
        return len(listed)


def test_on_an_object_a_step_is_the_plain_method() -> None:
    assert Feed(size=3).listed() == [0, 1, 2]


def test_an_async_step_is_a_plain_coroutine_function() -> None:
    assert asyncio.run(Feed().count([1, 2])) == 2


def test_an_overridden_step_calls_the_one_it_overrides() -> None:
    class Longer(Feed):
        @step
        def listed(self) -> list[int]:
            return [*super().listed(), 99]

    assert Longer().listed() == [0, 1, 99]


def test_on_the_class_a_step_stands_for_itself() -> None:
    assert isinstance(Feed.listed, Step)
    assert repr(Feed.listed) == "<step Feed.listed>"
    assert Feed.listed.__doc__ == "Look at the feed."
