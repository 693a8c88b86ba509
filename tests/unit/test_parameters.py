"""Parameters of every kind, from Python and from text, and how wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Literal, NewType, Optional
from uuid import UUID

import pytest

from ptsflow import Workflow
from ptsflow.errors import ParameterError
from ptsflow.workflow.parameters import convert, parse
from tests.support.wording import THEIRS, Message


class Kind(Enum):
    SONGS = "songs"
    ARTISTS = "artists"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Server:
    host: str
    port: int = 80


class Stamp(datetime):
    """Some library's own kind of datetime."""


Name = NewType("Name", str)
Mode = Literal["full", "delta"]
Maybe = Optional[int]  # noqa: UP045 - the other spelling of a union
HOUR = datetime(2011, 9, 30, 13)  # noqa: DTZ001 - without a zone, as people write it
AWARE = datetime(2011, 9, 30, 13, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")
LOCAL = Server("localhost", 8800)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        pytest.param(5, int, 5, id="int"),
        pytest.param("5", str, "5", id="str"),
        pytest.param(True, bool, True, id="bool"),
        pytest.param(1.5, float, 1.5, id="float"),
        pytest.param(5, float, 5.0, id="an int for a float"),
        pytest.param(HOUR, datetime, HOUR, id="datetime"),
        pytest.param(AWARE, datetime, AWARE, id="aware datetime"),
        pytest.param(date(2011, 9, 30), date, date(2011, 9, 30), id="date"),
        pytest.param(Path("a"), Path, Path("a"), id="Path"),
        pytest.param("a/b", Path, Path("a/b"), id="a str for a Path"),
        pytest.param(["a"], list[str], ["a"], id="list"),
        pytest.param(["a"], list[Path], [Path("a")], id="list of Path"),
        pytest.param((1, "a"), tuple[int, str], (1, "a"), id="tuple"),
        pytest.param({"a": 1}, dict[str, int], {"a": 1}, id="dict"),
        pytest.param("delta", Mode, "delta", id="Literal"),
        pytest.param(None, Maybe, None, id="Optional: None"),
        pytest.param(5, Maybe, 5, id="Optional: a value"),
        pytest.param(Path("a"), Path | None, Path("a"), id="Path or None"),
        pytest.param("a", str | Path, "a", id="str or Path: a str"),
        pytest.param(Path("a"), str | Path, Path("a"), id="str or Path: a Path"),
        pytest.param(5, float | int, 5, id="float or int: an int stays one"),
        pytest.param(
            date(2011, 9, 30), datetime | date, date(2011, 9, 30), id="two dates"
        ),
        pytest.param(["a"], list[str] | None, ["a"], id="list or None"),
        pytest.param(Kind.SONGS, Kind, Kind.SONGS, id="Enum"),
        pytest.param("songs", Kind, Kind.SONGS, id="an Enum's value"),
        pytest.param(LOCAL, Server, LOCAL, id="dataclass"),
        pytest.param(
            {"host": "localhost", "port": 8800}, Server, LOCAL, id="its fields"
        ),
        pytest.param(timedelta(1), timedelta, timedelta(1), id="timedelta"),
        pytest.param(Decimal("1.5"), Decimal, Decimal("1.5"), id="Decimal"),
        pytest.param(ID, UUID, ID, id="UUID"),
        pytest.param("x", Name, "x", id="NewType"),
        pytest.param("anything", Any, "anything", id="Any"),
        pytest.param("anything", object, "anything", id="object"),
    ],
)
def test_a_value_from_python_is_taken_as_it_is_meant(
    value: object, hint: Any, expected: object
) -> None:
    found = convert(value, hint, "W: n")

    assert (found, type(found)) == (expected, type(expected))


def test_an_instance_of_a_subclass_is_taken() -> None:
    stamp = Stamp(2011, 9, 30)

    assert convert(stamp, datetime, "W: n") is stamp


def test_a_default_list_is_not_shared_between_objects() -> None:
    class Tagged(Workflow):
        tags: list[str] = ["a"]  # noqa: RUF012 - what it is about

    first, second = Tagged(), Tagged()

    assert first.tags == second.tags
    assert first.tags is not second.tags


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        pytest.param("5", int, 5, id="int"),
        pytest.param("5", str, "5", id="str"),
        pytest.param("5", Any, "5", id="Any"),
        pytest.param("1.5", float, 1.5, id="float"),
        pytest.param("yes", bool, True, id="yes"),
        pytest.param("True", bool, True, id="True"),
        pytest.param("ON", bool, True, id="ON"),
        pytest.param("1", bool, True, id="1"),
        pytest.param("no", bool, False, id="no"),
        pytest.param("FALSE", bool, False, id="FALSE"),
        pytest.param("off", bool, False, id="off"),
        pytest.param("0", bool, False, id="0"),
        pytest.param("2011-09-30T13", datetime, HOUR, id="datetime to the hour"),
        pytest.param("2011-09-30 13:00", datetime, HOUR, id="datetime with a blank"),
        pytest.param("2011-09-30T13:00Z", datetime, AWARE, id="aware datetime"),
        pytest.param("2011-09-30", date, date(2011, 9, 30), id="date"),
        pytest.param("13:30", time, time(13, 30), id="time"),
        pytest.param("PT1H", timedelta, timedelta(hours=1), id="timedelta"),
        pytest.param("a/b", Path, Path("a/b"), id="Path"),
        pytest.param("a,b", list[str], ["a", "b"], id="list"),
        pytest.param("a,b", list, ["a", "b"], id="bare list"),
        pytest.param("", list[str], [], id="empty list"),
        pytest.param("1,2", list[int], [1, 2], id="list of int"),
        pytest.param("1,2", set[int], {1, 2}, id="set"),
        pytest.param("1,2", frozenset[int], frozenset({1, 2}), id="frozenset"),
        pytest.param("1,2", tuple[int, ...], (1, 2), id="tuple of any length"),
        pytest.param("1,a", tuple[int, str], (1, "a"), id="tuple of two"),
        pytest.param("a,b", tuple, ("a", "b"), id="bare tuple"),
        pytest.param("delta", Mode, "delta", id="Literal"),
        pytest.param("2", Literal[1, 2], 2, id="Literal of int"),
        pytest.param("songs", Kind, Kind.SONGS, id="Enum"),
        pytest.param("2", Level, Level.HIGH, id="IntEnum"),
        pytest.param("", Maybe, None, id="Optional: nothing"),
        pytest.param("None", Maybe, None, id="Optional: None"),
        pytest.param("5", Maybe, 5, id="Optional: a value"),
        pytest.param("5", int | str, 5, id="int or str: an int"),
        pytest.param("x", int | str, "x", id="int or str: a str"),
        pytest.param("2011-09-30T13", datetime | None, HOUR, id="datetime or None"),
        pytest.param("1.5", Decimal, Decimal("1.5"), id="Decimal"),
        pytest.param(str(ID), UUID, ID, id="UUID"),
        pytest.param('{"host":"localhost","port":8800}', Server, LOCAL, id="dataclass"),
        pytest.param('{"a":1}', dict[str, int], {"a": 1}, id="dict"),
        pytest.param('["a,b","c"]', list[str], ["a,b", "c"], id="list as JSON"),
        pytest.param('[{"host":"localhost","port":8800}]', list[Server], [LOCAL], id="list of dataclass"),
        pytest.param("[x", str, "[x", id="a str that looks like JSON"),
        pytest.param("x", Name, "x", id="NewType"),
    ],
)  # fmt: skip
def test_text_is_read_as_it_is_meant(text: str, hint: Any, expected: object) -> None:
    found = parse(text, hint, "W: n")

    assert (found, type(found)) == (expected, type(expected))
    assert convert(found, hint, "W: n") == expected


@pytest.mark.parametrize(
    ("read", "value", "hint", "message"),
    [
        (convert, "5", int, f"expected int, found '5' ({THEIRS})"),
        (convert, True, int, f"expected int, found True ({THEIRS})"),
        (convert, 1, bool, f"expected bool, found 1 ({THEIRS})"),
        (convert, None, int, f"expected int, found None ({THEIRS})"),
        (convert, HOUR, date, f"expected date, found {HOUR!r} ({THEIRS})"),
        (convert, 5, Path, "expected Path, found 5 (expected Path)"),
        (convert, "full", Kind, f"expected one of 'songs', 'artists', found 'full' ({THEIRS})"),
        (convert, "half", Mode, f"expected one of 'full', 'delta', found 'half' ({THEIRS})"),
        (convert, [1], list[str], f"expected list[str], found [1] ({THEIRS})"),
        (convert, {"port": 5}, Server, f"expected Server, found {{'port': 5}} ({THEIRS})"),
        (convert, "x", Maybe, f"expected int | None, found 'x' ({THEIRS})"),
        (convert, "x", int | float, f"expected int | float, found 'x' ({THEIRS})"),
        (parse, "5.5", int, f"expected int, found '5.5' ({THEIRS})"),
        (parse, "", int, f"expected int, found '' ({THEIRS})"),
        (parse, "maybe", bool, "expected bool, found 'maybe' (expected yes or no)"),
        (parse, "13", datetime, f"expected datetime, found '13' ({THEIRS})"),
        (parse, "2011-09-31", date, f"expected date, found '2011-09-31' ({THEIRS})"),
        (parse, "1,x", list[int], f"expected list[int], found '1,x' ({THEIRS})"),
        (parse, "1", tuple[int, str], "expected tuple[int, str], found '1' (expected 2 values with commas between them)"),
        (parse, "half", Mode, f"expected one of 'full', 'delta', found 'half' ({THEIRS})"),
        (parse, "3", Level, f"expected one of 1, 2, found '3' ({THEIRS})"),
        (parse, "x", Server, f"expected Server, found 'x' ({THEIRS})"),
        (parse, "{", Server, f"expected Server, found '{{' ({THEIRS})"),
        (parse, "x", Maybe, f"expected int | None, found 'x' ({THEIRS})"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    read: Callable[[Any, Any, str], Any], value: object, hint: Any, message: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        read(value, hint, "W: the parameter n")

    assert str(raised.value) == Message(f"W: the parameter n: {message}")


def test_a_refused_value_is_shown_in_one_short_line() -> None:
    class Long:
        def __repr__(self) -> str:
            return "line\n" * 1000

    with pytest.raises(ParameterError) as raised:
        convert(Long(), int, "W: n")

    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_parameter_s_text_goes_the_same_way_as_its_value() -> None:
    class Both(Workflow):
        hour: datetime
        kinds: list[str] = ["songs"]  # noqa: RUF012 - a parameter's default

    declared = Both.declared_parameters
    values = {"hour": "2011-09-30T13", "kinds": "songs,artists"}
    parsed = {
        name: parse(text, declared[name].hint, name) for name, text in values.items()
    }

    assert Both(**parsed).parameters == {"hour": HOUR, "kinds": ["songs", "artists"]}


def test_annotations_need_not_be_text() -> None:
    source = (
        "from ptsflow import Workflow, step\n"
        "class W(Workflow):\n"
        "    size: int = 5\n"
        "    name: 'str | None' = None\n"
        "    @step\n"
        "    def one(self) -> list[int]: return [self.size]\n"
    )
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(source, "elsewhere", "exec", dont_inherit=True), names)  # noqa: S102

    workflow = names["W"](size=7)

    assert workflow.parameters == {"size": 7, "name": None}
