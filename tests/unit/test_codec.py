"""What the codec writes comes back the same, all the way down."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptsflow import codec
from ptsflow.errors import NotStorable, StoredValueError

_OFFSETS = st.timedeltas(
    timedelta(days=-1, microseconds=1), timedelta(days=1, microseconds=-1)
)
_ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.builds(timezone, _OFFSETS),
    st.builds(timezone, _OFFSETS, st.text(max_size=5)),
    st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "UTC"]).map(ZoneInfo),
)
_FOLDS = st.sampled_from([0, 1])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-9, 9).map(lambda digit: digit * 10**4400 + 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
    st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        *(st.datetimes(), _ZONES, _FOLDS),
    ),
    st.builds(
        lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
        *(st.times(), _ZONES, _FOLDS),
    ),
    st.dates(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.text().map(Path),
)
_HASHABLE = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)
    ),
    max_leaves=8,
)
_KEYS = st.text(max_size=5) | st.sampled_from(["$", "v", "n", "a"])
_VALUES = st.recursive(
    _SCALARS | _HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.sets(_HASHABLE, max_size=4),
    ),
    max_leaves=20,
)
_TAGS = (
    *("tuple", "set", "frozenset", "dict", "int", "bytes", "datetime", "date", "time"),
    *("timedelta", "decimal", "uuid", "path", "dataclass", "struct", "enum", "x"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.fixed_dictionaries(
            {
                "$": st.sampled_from(_TAGS) | inner,
                "v": inner | st.lists(st.integers(0, 9), min_size=3, max_size=3),
            },
            optional={"n": inner, "fold": inner, "zone": inner, "offset": inner},
        ),
    ),
    max_leaves=20,
)


def _form(value: object) -> tuple[type, object]:
    """Return what tells a value from all that are only equal to it."""
    form: object = value
    if isinstance(value, list | tuple):
        form = [_form(element) for element in value]
    elif isinstance(value, set | frozenset):
        form = {codec.encode(element): _form(element) for element in value}
    elif isinstance(value, dict):
        form = [(key, _form(item)) for key, item in value.items()]
    elif isinstance(value, datetime | time):
        zone = value.tzinfo
        form = value.replace(tzinfo=None), value.fold, type(zone), repr(zone)
    elif isinstance(value, float):
        form = value.hex()
    elif isinstance(value, Decimal):
        form = value.as_tuple()
    return type(value), form


@given(_VALUES)
def test_a_value_comes_back_the_same_with_the_same_types_all_the_way_down(
    value: object,
) -> None:
    text = codec.encode(value)
    back = codec.decode(text)

    assert _form(back) == _form(value)
    assert codec.encode(back) == text


@given(_VALUES)
def test_the_text_is_json_that_any_reader_understands(value: object) -> None:
    text = codec.encode(value)

    assert json.loads(text) == codec.to_tree(value)
    assert codec.from_tree(codec.parse(text)) == value


def _is_refused_or_fixed(text: str) -> bool:
    """Whether `text` is refused in one line, or means a value that has one text."""
    try:
        value = codec.decode(text)
    except StoredValueError as error:
        return "\n" not in str(error)
    written = codec.encode(value)
    return codec.encode(codec.decode(written)) == written


@given(_JSON)
def test_any_json_gives_a_value_that_can_be_stored_or_a_stored_value_error(
    tree: object,
) -> None:
    assert _is_refused_or_fixed(json.dumps(tree))


@given(st.text() | st.text('[]{}",:$v0123456789eE+-.\\u aN'))
def test_any_text_gives_a_value_or_a_stored_value_error(text: str) -> None:
    assert _is_refused_or_fixed(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "null", id="None"),
        pytest.param([True, 1, 1.0, -0.0, "1"], '[true,1,1.0,-0.0,"1"]', id="native"),
        pytest.param("\0é\x7f\u2028😀", '"\\u0000é\x7f\u2028😀"', id="any character"),
        pytest.param(2**63 - 1, "9223372036854775807", id="largest small int"),
        pytest.param(-(2**63), "-9223372036854775808", id="smallest small int"),
        pytest.param(2**63, '{"$":"int","v":"0x8000000000000000"}', id="big int"),
        pytest.param(
            -(2**63) - 1, '{"$":"int","v":"-0x8000000000000001"}', id="big negative int"
        ),
        pytest.param((1, ()), '{"$":"tuple","v":[1,{"$":"tuple","v":[]}]}', id="tuple"),
        pytest.param({10, 9, 1}, '{"$":"set","v":[1,10,9]}', id="set in order of text"),
        pytest.param(
            frozenset("ba"), '{"$":"frozenset","v":["a","b"]}', id="frozenset"
        ),
        pytest.param(
            {"$": 1}, '{"$":"dict","v":{"$":1}}', id="dict with the tag's key"
        ),
        pytest.param({"v": 1, "": 2}, '{"v":1,"":2}', id="dict in its own order"),
        pytest.param(b"\xff\xfe\xfd", '{"$":"bytes","v":"//79"}', id="bytes"),
        pytest.param(
            datetime(2011, 9, 30, 13, tzinfo=UTC),
            '{"$":"datetime","v":"2011-09-30T13:00:00+00:00"}',
            id="datetime in UTC",
        ),
        pytest.param(
            datetime(2011, 9, 30, 13, 0, 0, 1),  # noqa: DTZ001 - naive ones are kept too
            '{"$":"datetime","v":"2011-09-30T13:00:00.000001"}',
            id="naive datetime",
        ),
        pytest.param(
            datetime(2011, 10, 30, 2, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            '{"$":"datetime","v":"2011-10-30T02:00:00","zone":"Europe/Berlin","fold":1}',
            id="datetime in a zone, folded",
        ),
        pytest.param(
            datetime(2011, 9, 30, tzinfo=timezone(timedelta(hours=2), "CEST")),
            '{"$":"datetime","v":"2011-09-30T00:00:00","offset":[0,7200,0],"name":"CEST"}',
            id="datetime with a named offset",
        ),
        pytest.param(date(2011, 9, 30), '{"$":"date","v":"2011-09-30"}', id="date"),
        pytest.param(time(1, 2), '{"$":"time","v":"01:02:00"}', id="time"),
        pytest.param(
            timedelta(-1, 2, 3), '{"$":"timedelta","v":[-1,2,3]}', id="timedelta"
        ),
        pytest.param(Decimal("-0E+3"), '{"$":"decimal","v":"-0E+3"}', id="Decimal"),
        pytest.param(
            UUID(int=5),
            '{"$":"uuid","v":"00000000-0000-0000-0000-000000000005"}',
            id="UUID",
        ),
        pytest.param(Path("a/b"), '{"$":"path","v":"a/b"}', id="Path"),
    ],
)
def test_each_kind_of_value_has_one_text(value: object, text: str) -> None:
    assert codec.encode(value) == text
    assert _form(codec.decode(text)) == _form(value)


def _nested(levels: int, wrap: Callable[[object], object]) -> object:
    value: object = "core"
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda inner: [inner], id="lists"),
        pytest.param(lambda inner: (inner,), id="tuples"),
        pytest.param(lambda inner: {"$": inner}, id="escaped dicts"),
        pytest.param(lambda inner: frozenset([inner]), id="frozensets"),
    ],
)
def test_two_hundred_levels_come_back(wrap: Callable[[object], object]) -> None:
    value = _nested(200, wrap)
    found = []
    # In a thread of its own, as a body has: the whole stack is there.
    thread = threading.Thread(
        target=lambda: found.append(codec.decode(codec.encode(value)))
    )
    thread.start()
    thread.join()

    # Not ==, which has no stack for it where pytest has used half.
    assert codec.encode(found[0]) == codec.encode(value)


def test_a_tree_shares_nothing_with_the_values_made_of_it() -> None:
    tree = codec.parse('{"a":[1,{"b":[]}],"t":{"$":"tuple","v":[[]]}}')
    first, second = codec.from_tree(tree), codec.from_tree(tree)
    first["a"][1]["b"].append("changed")
    first["t"][0].append("changed")
    first["a"].append("changed")

    assert second == {"a": [1, {"b": []}], "t": ([],)}
    assert codec.from_tree(tree) == second


def _changeable(value: Any) -> Iterator[Any]:
    """Yield every list, dict and set in a value."""
    if isinstance(value, (list, dict, set)):
        yield value
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _changeable(part)


@given(_VALUES)
def test_a_copy_is_equal_and_shares_nothing_that_can_be_changed(value: Any) -> None:
    text = codec.encode(value)
    kept = codec.decode(text)
    make = codec.copies_of(kept)
    assert make is not None
    first, second = make(), make()

    assert codec.encode(first) == codec.encode(second) == text
    found = [id(each) for made in (kept, first, second) for each in _changeable(made)]
    assert len(found) == len(set(found))


def test_of_an_instance_of_a_class_there_is_no_copy() -> None:
    @dataclass(frozen=True)
    class Row:
        size: int

    assert codec.copies_of([{"rows": (Row(1),)}]) is None


def test_a_tree_shares_nothing_with_the_value_it_was_made_of() -> None:
    value: Any = {"a": [1, {"b": []}]}
    tree = codec.to_tree(value)
    value["a"][1]["b"].append("changed")

    assert tree == {"a": [1, {"b": []}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param([1, (2,)], [1, (2,)], id="list"),
        pytest.param((1, 2), [1, 2], id="tuple"),
        pytest.param({3, 1}, [1, 3], id="set"),
        pytest.param(frozenset([1]), [1], id="frozenset"),
        pytest.param({"a": 1}, None, id="dict"),
        pytest.param({"$": [1]}, None, id="escaped dict"),
        pytest.param("abc", None, id="str"),
        pytest.param(None, None, id="None"),
    ],
)
def test_elements_can_be_read_one_by_one(
    value: object, expected: list[object] | None
) -> None:
    found = codec.elements(codec.to_tree(value))
    read = None if found is None else [codec.from_tree(t, found[1]) for t in found[0]]

    assert read == expected


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"$": "tuple"}, id="no elements"),
        pytest.param({"$": []}, id="tag that cannot be hashed"),
    ],
)
def test_a_damaged_tree_has_no_elements(tree: object) -> None:
    assert codec.elements(tree) is None


def test_none_is_written_and_read_without_a_walk() -> None:
    assert codec.encode(None, int, what="nothing") == "null"
    assert codec.decode("null", int) is None
    assert codec.decode(" null ") is None


def test_every_float_keeps_its_last_bit() -> None:
    values = [5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e22, 1e-7, math.pi, -0.0]

    assert [v.hex() for v in codec.decode(codec.encode(values))] == [
        v.hex() for v in values
    ]


class Offset(tzinfo):
    """A zone of a library, such as bson's or pydantic's: one offset for all dates."""

    def __init__(self, minutes: int) -> None:
        self._offset = timedelta(minutes=minutes)

    def utcoffset(self, _: object) -> timedelta:
        return self._offset

    def dst(self, _: object) -> timedelta:
        return timedelta(0)

    def tzname(self, _: object) -> str:
        return "theirs"


@pytest.mark.parametrize("minutes", [0, 120, -330])
def test_a_librarys_zone_of_one_offset_comes_back_as_a_timezone(minutes: int) -> None:
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=Offset(minutes))
    back = codec.decode(codec.encode(moment), Any)

    assert back == moment
    assert back.tzinfo == timezone(timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("library", "name", "advice"),
    [
        ("pandas.core.frame", "DataFrame", "write it to a file with task.output"),
        ("polars.dataframe.frame", "DataFrame", "write it to a file with task.output"),
        ("pandas._libs.tslibs.nattype", "NaTType", "store None"),
    ],
)
def test_the_advice_for_a_table_loses_nothing(
    library: str, name: str, advice: str
) -> None:
    kind = type(name, (dict,), {"__module__": library})
    of_another_library = type(name, (kind,), {"__module__": "geopandas"})

    for table in kind({"a": [1, 2]}), of_another_library({"a": [1, 2]}):
        with pytest.raises(NotStorable) as caught:
            codec.encode(table)
        assert f"a {name} cannot be stored; {advice}" in str(caught.value)


def test_a_class_that_a_stored_value_names_is_never_imported() -> None:
    """Whoever can write to the store cannot choose what code runs."""
    tree = {"$": "dataclass", "n": "fractions.Fraction", "v": {}}

    with pytest.raises(StoredValueError):
        codec.from_tree([tree])
