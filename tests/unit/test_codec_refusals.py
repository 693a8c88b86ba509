"""What would not come back the same is refused: where, why, and what to do."""

from __future__ import annotations

import email.message
import math
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ptsflow import codec
from ptsflow.errors import NotStorable, StoredValueError, TooLarge
from tests.support.wording import THEIRS, Message


class Text(str):
    __slots__ = ()


class Thing:
    pass


class Zone(tzinfo):
    key = "UTC"

    def utcoffset(self, moment: object) -> timedelta | None:
        return None if moment is None else timedelta(0)

    dst = utcoffset

    def tzname(self, _: object) -> str:
        return "here"

    def __repr__(self) -> str:
        return "Zone()"


Int64 = type("int64", (int,), {"__module__": "numpy"})


def _coroutine() -> Coroutine[Any, Any, None]:
    async def body() -> None:
        pass

    return body()


async def _generate() -> AsyncIterator[int]:
    yield 1


def _refusal(value: object) -> str:
    with pytest.raises(NotStorable) as caught:
        codec.encode(value, what="the result of step load")
    if isinstance(value, Coroutine):
        value.close()
    return str(caught.value).removeprefix("the result of step load: ")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(
            {"a": [1, math.nan]},
            "a[1]: nan is not a finite number; store None or a text instead",
            id="nan",
        ),
        pytest.param(
            (0, -math.inf),
            "[1]: -inf is not a finite number; store None or a text instead",
            id="minus infinity",
        ),
        pytest.param(
            {math.inf},
            "{…}: inf is not a finite number; store None or a text instead",
            id="infinity in a set",
        ),
        pytest.param(
            Decimal("sNaN"),
            "sNaN is not a finite number; store None or a text instead",
            id="decimal NaN",
        ),
        pytest.param(
            ["ab\udc80"],
            "[0]: a text with the lone surrogate '\\udc80' at index 2 cannot be stored; "
            "store bytes, e.g. os.fsencode(...) of it",
            id="lone surrogate",
        ),
        pytest.param(
            {"\ud800": 1},
            "['\\ud800']: a text with the lone surrogate '\\ud800' at index 0 cannot be "
            "stored; store bytes, e.g. os.fsencode(...) of it",
            id="lone surrogate in a key",
        ),
        pytest.param(
            Path("\udc80"),
            "a text with the lone surrogate '\\udc80' at index 0 cannot be stored; "
            "store bytes, e.g. os.fsencode(...) of it",
            id="lone surrogate in a path",
        ),
        pytest.param(
            datetime(2011, 9, 30, tzinfo=timezone(timedelta(0), "\ud800")),
            "a text with the lone surrogate '\\ud800' at index 0 cannot be stored; "
            "store bytes, e.g. os.fsencode(...) of it",
            id="lone surrogate in the name of a time zone",
        ),
        pytest.param(
            datetime(2011, 9, 30, tzinfo=Zone()),
            "the time zone Zone() cannot be stored; "
            "use datetime.timezone or zoneinfo.ZoneInfo with a key",
            id="a time zone of one's own",
        ),
        pytest.param(
            {"a": {1: 2}},
            "a: expected only str for keys, found an int, 1; "
            "store a list of pairs, e.g. list(d.items())",
            id="int key",
        ),
        pytest.param(
            {10**5000: 2},
            "expected only str for keys, found an int, <int>; "
            "store a list of pairs, e.g. list(d.items())",
            id="int key of too many digits to show",
        ),
        pytest.param(
            {Text("a"): 2},
            "expected only str for keys, found a Text, 'a'; "
            "store a list of pairs, e.g. list(d.items())",
            id="key of a subclass of str",
        ),
        pytest.param(
            1j, "a complex cannot be stored; store [z.real, z.imag]", id="complex"
        ),
        pytest.param(
            range(2), "a range cannot be stored; store list(...) of it", id="range"
        ),
        pytest.param(
            bytearray(b"a"),
            "a bytearray cannot be stored; store bytes(...) of it",
            id="bytearray",
        ),
        pytest.param(
            memoryview(b"a"),
            "a memoryview cannot be stored; store bytes(...) of it",
            id="memoryview",
        ),
        pytest.param(
            (i for i in "ab"),
            "a generator cannot be stored; store list(...) of it",
            id="generator",
        ),
        pytest.param(
            _coroutine(), "a coroutine cannot be stored; await it first", id="coroutine"
        ),
        pytest.param(
            _generate(),
            "an async generator cannot be stored; collect it into a list first",
            id="async generator",
        ),
        pytest.param(
            map(str, []), "a map cannot be stored; store list(...) of it", id="iterator"
        ),
        pytest.param(
            {}.keys(), "a dict_keys cannot be stored; store list(...) of it", id="keys"
        ),
        pytest.param(
            types.MappingProxyType({"a": 1}),
            "a mappingproxy cannot be stored; store dict(...) of it",
            id="mapping",
        ),
        pytest.param(
            email.message.Message(),
            "a Message cannot be stored; store dict(...) of it",
            id="what has keys",
        ),
        pytest.param(
            lambda: 1,
            "a function cannot be stored; call it and store what it returns",
            id="lambda",
        ),
        pytest.param(
            len,
            "a function cannot be stored; call it and store what it returns",
            id="built-in function",
        ),
        pytest.param(types, "a module cannot be stored; store its name", id="module"),
        pytest.param(Thing, "a class cannot be stored; store its name", id="class"),
        pytest.param(
            OSError("full"),
            "an OSError cannot be stored; raise it, or store str(...) of it",
            id="exception",
        ),
        pytest.param(
            PureWindowsPath("a"),
            "a PureWindowsPath cannot be stored; store a pathlib.Path of this machine",
            id="path of another kind of machine",
        ),
        pytest.param(
            Text("a"),
            "a Text is not exactly a str and would not come back as what it is; "
            "store it as a str",
            id="subclass of str",
        ),
        pytest.param(
            OrderedDict(a=1),
            "an OrderedDict is not exactly a dict and would not come back as what it is; "
            "store it as a dict",
            id="OrderedDict",
        ),
        pytest.param(
            defaultdict(list),
            "a defaultdict is not exactly a dict and would not come back as what it is; "
            "store it as a dict",
            id="defaultdict",
        ),
        pytest.param(
            Counter("a"),
            "a Counter is not exactly a dict and would not come back as what it is; "
            "store it as a dict",
            id="Counter",
        ),
        pytest.param(
            Int64(5),
            "an int64 of numpy cannot be stored; convert it with .item() or .tolist()",
            id="number of numpy",
        ),
        pytest.param(
            [Thing()],
            f"[0]: a Thing (class {__name__}.Thing) cannot be stored; "
            "store its data as a dict, or make it a dataclass",
            id="unknown class",
        ),
    ],
)
def test_a_refusal_says_where_what_and_what_to_do(value: object, message: str) -> None:
    assert _refusal(value) == message


def test_a_zone_without_a_key_is_refused() -> None:
    source = Path("/usr/share/zoneinfo/Europe/Berlin")
    if not source.exists():
        pytest.skip("this machine has no time zone files")
    with source.open("rb") as file:
        zone = ZoneInfo.from_file(file)

    assert _refusal(datetime(2011, 9, 30, tzinfo=zone)).endswith(
        "cannot be stored; use datetime.timezone or zoneinfo.ZoneInfo with a key"
    )


def test_a_value_that_contains_itself_is_refused_where_it_closes() -> None:
    value: Any = {"first": [1], "all": []}
    value["all"].append((0, value))
    loop: list[object] = []
    loop.append(loop)

    assert _refusal(value) == "all[0][1]: it contains itself; store a value that ends"
    assert _refusal(loop) == "[0]: it contains itself; store a value that ends"


def test_the_same_list_twice_is_no_cycle() -> None:
    shared = [1]

    assert codec.decode(codec.encode([shared, shared])) == [[1], [1]]


def _nested(levels: int, core: object = None) -> object:
    for _ in range(levels):
        core = [core]
    return core


@pytest.mark.parametrize("levels", [201, 5000])
def test_too_many_levels_are_refused_both_ways(levels: int) -> None:
    problem = "it is more than 200 levels deep; store a flatter value, or a file's path"

    assert _refusal(_nested(levels)) == f"{'[0]' * 40}…: {problem}"
    with pytest.raises(StoredValueError, match="more than 200 levels deep") as caught:
        codec.decode("[" * levels + "]" * levels)
    assert len(str(caught.value)) < 300


def test_too_little_stack_is_a_refusal_and_no_crash() -> None:
    value, text = _nested(150), "[" * 150 + "]" * 150

    def deeper(levels: int, body: Callable[[], object]) -> object:
        return body() if levels == 0 else deeper(levels - 1, body)

    with pytest.raises(NotStorable) as written:
        deeper(700, lambda: codec.encode(value))
    tree = codec.parse(text)
    with pytest.raises(StoredValueError) as read:
        deeper(700, lambda: codec.from_tree(tree))

    problem = "it is too deep for what is left of the stack; store a flatter value"
    assert str(written.value) == f"value: {problem}"
    assert str(read.value) == f"stored value: {problem}"


def test_the_limit_is_eight_mebibytes_of_utf8() -> None:
    assert len(codec.encode("é" * (codec.LIMIT // 2 - 1)).encode()) == codec.LIMIT
    with pytest.raises(TooLarge) as caught:
        codec.encode("é" * (codec.LIMIT // 2), what="the result of step load")

    assert str(caught.value) == (
        "the result of step load: 8.1 MiB of JSON text is over the limit of 8 MiB; "
        "write it to a file and return the file's path"
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a" * (11 << 20), id="text"),
        pytest.param(b"a" * (8 << 20), id="bytes"),
        pytest.param([["a" * 4096] * 4096] * 2, id="the same text often"),
        pytest.param([{"k" * 4096: 1}] * 4097, id="the same key often"),
        pytest.param([0] * (6 << 20), id="many elements"),
        pytest.param([[1 << 32768] * 2048], id="big integers"),
    ],
)
def test_a_walk_ends_once_the_text_is_sure_to_be_far_too_large(value: object) -> None:
    with pytest.raises(TooLarge) as caught:
        codec.to_tree(value, Any, "the data")

    assert str(caught.value) == (
        "the data: more than 10 MiB of JSON text is over the limit of 8 MiB; "
        "write it to a file and return the file's path"
    )


def test_a_small_value_that_unfolds_to_a_huge_one_is_refused_in_time() -> None:
    value: list[object] = [0] * 1000
    for _ in range(100):
        value = [value] * 1000

    with pytest.raises(TooLarge):
        codec.encode(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "",
            f"expected the JSON text of a value, found '' ({THEIRS}); reset the step",
            id="empty",
        ),
        *(
            pytest.param(
                text,
                f"expected the JSON text of a value, found {text!r} ({THEIRS}); "
                "reset the step",
                id=name,
            )
            for name, text in {
                "a string that does not end": '"a',
                "more than a string": '"a" "b"',
                "a string with a raw tab": '"a\tb"',
                "half of a pair": '"\\ud800"',
            }.items()
        ),
        pytest.param(
            "[NaN]",
            "expected the JSON text of a value, found '[NaN]' "
            "(NaN is no number of JSON); reset the step",
            id="NaN",
        ),
        pytest.param(
            '{"a":1,"a":2}',
            "expected the JSON text of a value, found "
            '\'{"a":1,"a":2}\' (a key stands twice in one object); reset the step',
            id="the same key twice",
        ),
        pytest.param(
            '{"$":"set","$":"tuple","v":[]}',
            "expected the JSON text of a value, found "
            '\'{"$":"set","$":"tuple","v":[]}\' (a key stands twice in one object); '
            "reset the step",
            id="two tags",
        ),
        pytest.param(
            "[1e999]", "[0]: inf is not what ptsflow stores; reset the step", id="1e999"
        ),
        pytest.param(
            f"[{2**63}]",
            "[0]: 9223372036854775808 is not what ptsflow stores; reset the step",
            id="big integer as a number",
        ),
        pytest.param(
            '{"a":"\\ud800"}',
            "a: '\\ud800' is not what ptsflow stores; reset the step",
            id="lone surrogate",
        ),
        pytest.param(
            '{"\\ud800":1}',
            "'\\ud800' is not what ptsflow stores; reset the step",
            id="lone surrogate in a key",
        ),
        pytest.param(
            '[{"$":"pickle","v":""}]',
            "[0]: {'$': 'pickle', 'v': ''} is not what ptsflow stores; reset the step",
            id="unknown tag",
        ),
        pytest.param(
            '{"$":1}',
            "{'$': 1} is not what ptsflow stores; reset the step",
            id="tag that is no text",
        ),
        pytest.param(
            '{"$":"tuple","v":[],"x":1}',
            "{'$': 'tuple', 'v': [], 'x': 1} is not what "
            "ptsflow stores; reset the step",
            id="tag with something more",
        ),
        pytest.param(
            '{"$":"tuple","v":5}',
            "{'$': 'tuple', 'v': 5} is not what ptsflow stores; reset the step",
            id="tuple of no list",
        ),
        pytest.param(
            '{"$":"dict","v":{"a":1}}',
            "{'$': 'dict', 'v': {'a': 1}} is not what ptsflow stores; reset the step",
            id="escaped dict without need",
        ),
        pytest.param(
            '{"$":"set","v":[[1]]}',
            "[[1]] is not what ptsflow stores; reset the step",
            id="element of a set without a hash",
        ),
        pytest.param(
            '{"$":"set","v":[1,1]}',
            "[1, 1] is not what ptsflow stores; reset the step",
            id="element of a set twice",
        ),
        pytest.param(
            '{"$":"set","v":[{"$":"tuple","v":[Infinity]}]}'.replace(
                "Infinity", "1e999"
            ),
            "{…}[0]: inf is not what ptsflow stores; reset the step",
            id="place in a set",
        ),
        pytest.param(
            '{"$":"dataclass","n":5,"v":{}}',
            "{'$': 'dataclass', 'n': 5, 'v': {}} is not "
            "what ptsflow stores; reset the step",
            id="class name that is no text",
        ),
    ],
)
def test_what_was_not_written_is_not_read(text: str, message: str) -> None:
    with pytest.raises(StoredValueError) as caught:
        codec.decode(text)

    assert str(caught.value) == Message(f"stored value: {message}")


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"$": "int", "v": "0x5"}, id="int that needs no tag"),
        pytest.param({"$": "int", "v": "0X" + "f" * 20}, id="int in another form"),
        pytest.param({"$": "int"}, id="no value"),
        pytest.param({"$": "bytes", "v": "/ /79"}, id="bytes with a space"),
        pytest.param({"$": "bytes", "v": "é"}, id="bytes that are not ASCII"),
        pytest.param({"$": "date", "v": "20110930"}, id="date in another form"),
        pytest.param({"$": "datetime", "v": 5}, id="datetime that is no text"),
        pytest.param({"$": "datetime", "v": "2011-09-30T13:00:00+02:00"}, id="offset"),
        pytest.param(
            {"$": "datetime", "v": "2011-09-30T13:00:00", "fold": 2}, id="fold of 2"
        ),
        pytest.param(
            {"$": "datetime", "v": "2011-09-30T13:00:00", "zone": "../UTC"},
            id="zone outside its folder",
        ),
        pytest.param(
            {"$": "datetime", "v": "2011-09-30T13:00:00", "zone": "os;x"},
            id="zone with other characters",
        ),
        pytest.param(
            {"$": "datetime", "v": "2011-09-30T13:00:00", "zone": "Europe"},
            id="zone that is a folder",
        ),
        pytest.param(
            {"$": "time", "v": "13:00:00", "offset": [9, 0, 0]}, id="offset of 9 days"
        ),
        pytest.param({"$": "timedelta", "v": [0, 99999999, 0]}, id="too many seconds"),
        pytest.param({"$": "timedelta", "v": [10**18, 0, 0]}, id="too many days"),
        pytest.param({"$": "decimal", "v": "1_0"}, id="decimal with underscores"),
        pytest.param({"$": "decimal", "v": "x"}, id="no decimal"),
        pytest.param({"$": "decimal", "v": "NaN"}, id="NaN"),
        pytest.param({"$": "uuid", "v": "{" + "0" * 32 + "}"}, id="uuid with braces"),
        pytest.param({"$": "uuid", "v": 5}, id="uuid that is no text"),
        pytest.param({"$": "path", "v": "a//b"}, id="path in another form"),
        pytest.param({"$": "path", "v": "a", "n": "x"}, id="something more"),
    ],
)
def test_a_scalar_is_read_only_in_the_form_it_was_written(tree: dict[str, Any]) -> None:
    with pytest.raises(StoredValueError):
        codec.from_tree(tree)


def test_a_damaged_scalar_is_named() -> None:
    with pytest.raises(StoredValueError) as caught:
        codec.from_tree({"at": {"$": "uuid", "v": "x"}})

    assert str(caught.value) == (
        "stored value: at: the uuid cannot be read from 'x'; reset the step"
    )


def test_a_tree_of_something_else_than_json_is_refused() -> None:
    with pytest.raises(StoredValueError) as caught:
        codec.from_tree([datetime(2011, 9, 30, tzinfo=UTC)])

    assert str(caught.value) == (
        "stored value: [0]: datetime.datetime(2011, 9, 30, 0, 0, tzi… is not what ptsflow "
        "stores; reset the step"
    )


def test_a_long_path_and_a_long_value_are_cut() -> None:
    value = {"k" * 100: {"n" * 30: {"m" * 39: {"p" * 39: math.nan}}}}
    message = _refusal(value)

    assert message == (
        f"['{'k' * 39}…].{'n' * 30}.{'m' * 39}.ppppp…: "
        "nan is not a finite number; store None or a text instead"
    )
