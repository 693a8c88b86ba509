"""Instances of classes are kept where, and only where, an annotation leads to the class."""

from __future__ import annotations

import enum
import ipaddress
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from types import GenericAlias
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    ForwardRef,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import msgspec
import pydantic
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st

from ptsflow import codec
from ptsflow.errors import NotStorable, StoredValueError
from tests.support.wording import THEIRS, Message

T = TypeVar("T")
U = TypeVar("U")


class Color(Enum):
    RED = 1
    GREEN = "g"
    CRIMSON = 1  # noqa: PIE796 - another name for it


class Level(IntEnum):
    LOW = 1


class Mode(StrEnum):
    FAST = enum.auto()


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass
class FeedFile:
    name: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = field(default=0, compare=False)


@dataclass
class Base:
    kind: ClassVar[str] = "feed"
    seed: InitVar[int]
    made: list[int] = field(init=False)
    _calls: int = field(default=0, repr=False)

    def __post_init__(self, seed: int) -> None:
        self.made = [seed]
        self._calls += 1


@dataclass
class Feed(Base):
    files: list[FeedFile] = field(default_factory=list)
    best: FeedFile | None = None
    colors: Mapping[str, Color] = field(default_factory=dict)

    @cached_property
    def total(self) -> int:
        return sum(file.size for file in self.files)


@dataclass
class Node:
    name: str
    below: list[Node] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]
    first: T | None = None
    other: dict[str, Page[T]] = field(default_factory=dict)


@dataclass
class FilePage(Page[FeedFile]):
    number: int = 0


@dataclass
class Pair(Page[U], Generic[T, U]):
    left: T | None = None


class Artist(msgspec.Struct, frozen=True):
    name: str
    file: FeedFile | None = None
    tags: list[str] = []
    level: Level = Level.LOW


class Counted(msgspec.Struct):
    names: list[str]
    count: int = 0

    def __post_init__(self) -> None:
        if len(self.names) > 3:
            raise ValueError("too\nmany")
        self.names.append("more")
        self.count += 1


class Span(NamedTuple):
    start: datetime
    file: FeedFile | None = None


Plain = namedtuple("Plain", ["a", "b"])  # noqa: PYI024 - without annotations


class Row(TypedDict):
    file: FeedFile
    color: NotRequired[Color]


class Song(pydantic.BaseModel):
    name: str
    color: Color
    file: FeedFile | None = None
    inner: Song | None = None


class Aliased(pydantic.BaseModel):
    color: Color = pydantic.Field(alias="Color")
    name: str = "a"


class OneWay(pydantic.BaseModel):
    name: str = pydantic.Field(validation_alias="Name")


class Strict(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def _check(cls, name: str) -> str:
        if name == "bad":
            raise RuntimeError("a bad\nname")
        return name


FileId = NewType("FileId", FeedFile)
Files = list[FeedFile]
Lazy = typing_extensions.TypeAliasType("Lazy", "list[FeedFile]")
Named = typing_extensions.TypeAliasType("Named", list[FeedFile])
Bound = TypeVar("Bound", bound=FeedFile)
Either = TypeVar("Either", FeedFile, Point)
SONG = FeedFile("songs.tbz", 5)


def _feed() -> Feed:
    feed = Feed(7, files=[SONG], best=SONG, colors={"a": Color.GREEN})
    feed.made.append(8)
    return feed


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        pytest.param(SONG, FeedFile, id="dataclass"),
        pytest.param(Point(1, 2), Point, id="frozen dataclass with slots"),
        pytest.param(_feed(), Feed, id="inherited, private and derived fields"),
        pytest.param(
            Node("a", [Node("b"), Node("c", [Node("d")])]), Node, id="recursive"
        ),
        pytest.param([SONG], list[FeedFile], id="list"),
        pytest.param([SONG], Files, id="alias"),
        pytest.param([SONG], Named, id="alias of Python 3.12"),
        pytest.param([SONG], Sequence[FeedFile], id="Sequence"),
        pytest.param((SONG,), Iterable[FeedFile], id="Iterable"),
        pytest.param({Point(1)}, set[Point], id="set"),
        pytest.param(frozenset([Point(1)]), frozenset[Point], id="frozenset"),
        pytest.param({"a": SONG}, dict[str, FeedFile], id="dict"),
        pytest.param({"$": SONG}, Mapping[str, FeedFile], id="Mapping"),
        pytest.param((SONG, Point(1)), tuple[FeedFile, Point], id="tuple"),
        pytest.param((SONG, SONG), tuple[FeedFile, ...], id="tuple of any length"),
        pytest.param(None, FeedFile | None, id="None"),
        pytest.param(SONG, FeedFile | None, id="or None"),
        pytest.param(SONG, Optional[FeedFile], id="Optional"),  # noqa: UP045 - users write it
        pytest.param(Point(1), Union[FeedFile, Point], id="Union"),  # noqa: UP007 - see above
        pytest.param([Point(1), SONG], list[FeedFile | Point], id="one of two"),
        pytest.param(
            {"a": [SONG]}, list[Point] | dict[str, list[FeedFile]], id="depths"
        ),
        pytest.param(SONG, Annotated[FeedFile, "a file"], id="Annotated"),
        pytest.param([SONG], Annotated[list[FeedFile], []], id="hint without a hash"),
        pytest.param(SONG, Final[FeedFile], id="Final"),
        pytest.param(SONG, FileId, id="NewType"),
        pytest.param(SONG, Bound, id="bound type variable"),
        pytest.param(Point(1), Either, id="constrained type variable"),
        pytest.param(Color.RED, Color, id="Enum"),
        pytest.param([Level.LOW], list[Level], id="IntEnum"),
        pytest.param({"a": Mode.FAST}, dict[str, Mode], id="StrEnum"),
        pytest.param(Right.READ, Right, id="Flag"),
        pytest.param(Color.RED, Literal[Color.RED, Color.GREEN, "x"], id="Literal"),
        pytest.param(Artist("a", SONG, ["x"]), Artist, id="Struct"),
        pytest.param(
            Span(datetime(2011, 9, 30, tzinfo=UTC), SONG), Span, id="NamedTuple"
        ),
        pytest.param(Plain(1, [2]), Plain, id="namedtuple"),
        pytest.param({"file": SONG, "color": Color.RED}, Row, id="TypedDict"),
        pytest.param([{"file": SONG}], list[Row | None], id="list of TypedDict"),
        pytest.param({"file": SONG}, Row | dict[str, Point], id="TypedDict or dict"),
        pytest.param({"x": Point(1)}, Row | dict[str, Point], id="dict or TypedDict"),
        pytest.param({"file": Point(1)}, Row | dict[str, Point], id="key of both"),
        pytest.param(Aliased(Color=Color.RED), Aliased, id="model with an alias"),
        pytest.param(
            Song(name="a", color=Color.RED, inner=Song(name="b", color=Color.GREEN)),
            Song,
            id="pydantic model",
        ),
        pytest.param(
            [Page([SONG], SONG)], list[Page[FeedFile]], id="generic dataclass"
        ),
        pytest.param(
            Page([1], other={"a": Page([2])}), Page, id="generic without args"
        ),
        pytest.param(Page([], other={"a": Page([SONG])}), Page[FeedFile], id="nested"),
        pytest.param(
            FilePage([SONG], SONG, number=2), FilePage, id="of a bound generic"
        ),
        pytest.param(Pair([SONG], left=Point(1)), Pair[Point, FeedFile], id="of two"),
        pytest.param(
            [Page([SONG]), Page([Point(1)])],
            list[Page[FeedFile] | Page[Point]],
            id="one generic twice",
        ),
        pytest.param("text", list[FeedFile], id="value that needs no class"),
        pytest.param([1], type[FeedFile], id="annotation that leads nowhere"),
    ],
)
def test_an_annotation_leads_to_the_class(value: object, hint: object) -> None:
    text = codec.encode(value, hint)
    back = codec.decode(text, hint)

    assert back == value
    assert repr(back) == repr(value)
    assert type(back) is type(value)
    assert codec.encode(back, hint) == text


_FILES = st.builds(FeedFile, st.text(), st.integers())
_FEEDS = st.builds(
    Feed,
    st.integers(),
    files=st.lists(_FILES, max_size=3),
    best=st.none() | _FILES,
    colors=st.dictionaries(st.text(), st.sampled_from(Color), max_size=3),
)
_ARTISTS = st.builds(Artist, st.text(), st.none() | _FILES, st.lists(st.text()))


@given(st.lists(_FEEDS | _ARTISTS, max_size=3).map(tuple))
def test_instances_come_back_the_same(value: tuple[Feed | Artist, ...]) -> None:
    hint = tuple[Feed | Artist, ...]
    text = codec.encode(value, hint)
    back = codec.decode(text, hint)

    assert back == value
    assert repr(back) == repr(value)
    assert codec.encode(back, hint) == text


def test_the_class_name_and_the_fields_are_stored() -> None:
    assert codec.encode([SONG], list[FeedFile]) == (
        '[{"$":"dataclass","n":"FeedFile","v":{"name":"songs.tbz","size":5}}]'
    )
    assert codec.encode(Color.CRIMSON, Color) == '{"$":"enum","n":"Color","v":"RED"}'


def test_each_element_of_a_list_can_be_read_by_the_lists_hint() -> None:
    found = codec.elements(codec.to_tree([SONG, SONG], Files), Files)

    assert found is not None
    assert [codec.from_tree(tree, found[1]) for tree in found[0]] == [SONG, SONG]


def test_post_init_is_not_called_again_on_what_it_made() -> None:
    feed = codec.decode(codec.encode(_feed(), Feed), Feed)

    assert (feed.made, feed._calls) == ([7, 8], 1)


def test_a_struct_is_as_it_was_whatever_its_post_init_does() -> None:
    counted = Counted(["a"])
    back = codec.decode(codec.encode(counted, Counted), Counted)

    assert (back.names, back.count) == (["a", "more"], 1)


def test_a_cached_property_is_computed_anew() -> None:
    feed = _feed()

    assert feed.total == 5
    assert "total" not in vars(codec.decode(codec.encode(feed, Feed), Feed))


def _refusal(value: object, hint: object) -> str:
    with pytest.raises(NotStorable) as caught:
        codec.encode(value, hint, what="the result of step check")
    return str(caught.value).removeprefix("the result of step check: ")


class Loose(msgspec.Struct, dict=True):
    name: str


@dataclass
class Failure(Exception):
    code: int


def _with_extra(value: FeedFile | Loose) -> object:
    value.extra = 1  # type: ignore[union-attr] # that is the point
    return value


def _without_made() -> Feed:
    feed = _feed()
    del feed.made
    return feed


_OTHER_FILE = type("FeedFile", (FeedFile,), {})
_UNSAID = "cannot be stored without an annotation that says so; annotate"


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        pytest.param(
            [1, 2, 3, {"size": SONG}],
            Any,
            f"[3].size: a FeedFile (dataclass) {_UNSAID} the step, "
            "e.g. -> list[dict[str, FeedFile]], or store plain data",
            id="no annotation",
        ),
        pytest.param(
            ({Point(1)},),
            tuple[Point],
            f"[0]{{…}}: a Point (dataclass) {_UNSAID} the step, "
            "e.g. -> tuple[set[Point], ...], or store plain data",
            id="annotation of another place",
        ),
        pytest.param(
            Color.RED,
            Level,
            f"a Color (Enum) {_UNSAID} the step, e.g. -> Color, or store plain data",
            id="annotation of another class",
        ),
        pytest.param(
            Mode.FAST,
            str,
            f"a Mode (Enum) {_UNSAID} the step, e.g. -> Mode, or store plain data",
            id="StrEnum under str",
        ),
        pytest.param(
            [Page([[SONG]])],
            list[Page[int]],
            f"[0].items[0][0]: a FeedFile (dataclass) {_UNSAID} the field items of Page, "
            "e.g. items: list[list[FeedFile]], or store plain data",
            id="annotation of a field",
        ),
        pytest.param(
            Plain(SONG, 1),
            Plain,
            f"a: a FeedFile (dataclass) {_UNSAID} the field a of Plain, e.g. a: FeedFile, "
            "or store plain data",
            id="field without annotation",
        ),
        pytest.param(
            FilePage([]),
            Page,
            f"a FilePage (dataclass) {_UNSAID} the step, e.g. -> FilePage, "
            "or store plain data",
            id="subclass of what is said",
        ),
        pytest.param(
            _OTHER_FILE("a"),
            FeedFile,
            f"a FeedFile (dataclass) {_UNSAID} the step, e.g. -> FeedFile, "
            "or store plain data",
            id="another class of the same name",
        ),
        pytest.param(
            SONG,
            FeedFile | _OTHER_FILE,
            "the annotation leads to 2 classes named FeedFile; rename one of them",
            id="two classes of one name",
        ),
        pytest.param(
            {"a": [SONG]},
            codec.Unresolved("dict[str, list[FeedFile]]"),
            "a[0]: a FeedFile (dataclass) cannot be stored under the annotation "
            "'dict[str, list[FeedFile]]', in which a name cannot be found; "
            "define FeedFile at the top of its module",
            id="annotation that cannot be resolved",
        ),
        pytest.param(
            SONG,
            "FeedFile",
            "a FeedFile (dataclass) cannot be stored under the annotation 'FeedFile', "
            "in which a name cannot be found; define FeedFile at the top of its module",
            id="annotation as text",
        ),
        pytest.param(
            [SONG],
            Lazy,
            "[0]: a FeedFile (dataclass) cannot be stored under the annotation "
            "'list[FeedFile]', in which a name cannot be found; "
            "define FeedFile at the top of its module",
            id="alias of text",
        ),
        pytest.param(
            SONG,
            ForwardRef("FeedFile"),
            "a FeedFile (dataclass) cannot be stored under the annotation 'FeedFile', "
            "in which a name cannot be found; define FeedFile at the top of its module",
            id="forward reference",
        ),
        pytest.param(
            [_with_extra(FeedFile("a"))],
            Files,
            "[0]: the attribute 'extra' is no field of FeedFile (dataclass) and would be "
            "lost; declare it as a field",
            id="attribute that is no field",
        ),
        pytest.param(
            _with_extra(Loose("a")),
            Loose,
            "the attribute 'extra' is no field of Loose (msgspec.Struct) and would be "
            "lost; declare it as a field",
            id="attribute of a Struct that is no field",
        ),
        pytest.param(
            _without_made(),
            Feed,
            "Feed (dataclass): its field 'made' has no value; give it one",
            id="field without a value",
        ),
        pytest.param(
            Right.READ | Right.WRITE,
            Right,
            "<Right.READ|WRITE: 3> is a combination of flags; store a list of its members",
            id="flags",
        ),
        pytest.param(
            Failure(5),
            Failure,
            "a Failure cannot be stored; raise it, or store str(...) of it",
            id="dataclass that is an exception",
        ),
        pytest.param(
            Strict.model_construct(name="bad"),
            Strict,
            "Strict (pydantic model) cannot be stored exactly: RuntimeError: "
            "'a bad name'; look at its aliases, validators and private attributes, or "
            "store plain data",
            id="pydantic model that was not validated",
        ),
    ],
)
def test_what_an_annotation_does_not_lead_to_is_refused(
    value: object, hint: object, message: str
) -> None:
    assert _refusal(value, hint) == message


class Rounded(pydantic.BaseModel):
    value: float

    @pydantic.field_validator("value")
    @classmethod
    def _grow(cls, value: float) -> float:
        return value + 1


def test_a_model_that_does_not_come_back_equal_is_refused() -> None:
    assert _refusal(Rounded(value=1), Rounded) == (
        "Rounded (pydantic model) cannot be stored exactly: its model_dump does not go "
        "back through model_validate to an equal one; look at its aliases, validators "
        "and private attributes, or store plain data"
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(OneWay.model_validate({"Name": "a"}), id="alias for reading only"),
        pytest.param(Song.model_construct(name=5, color=Color.RED), id="not validated"),
    ],
)
def test_a_model_that_pydantic_refuses_is_refused_with_its_words(value: object) -> None:
    name = type(value).__name__
    message = _refusal(value, type(value))

    assert message == Message(
        f"{name} (pydantic model) cannot be stored exactly: ValidationError: {THEIRS}; "
        "look at its aliases, validators and private attributes, or store plain data"
    )


def test_an_instance_that_contains_itself_is_refused() -> None:
    node = Node("a")
    node.below.append(node)

    assert (
        _refusal(node, Node) == "below[0]: it contains itself; store a value that ends"
    )


def _stored(kind: str, name: str, held: object) -> object:
    return [{"$": kind, "n": name, "v": held}]


@pytest.mark.parametrize(
    ("tree", "hint", "message"),
    [
        pytest.param(
            _stored("dataclass", "FeedFile", {"name": "a"}),
            Any,
            "[0]: a FeedFile is stored, but the annotation leads to no such dataclass; "
            "annotate the step, e.g. -> list[FeedFile], or reset the step",
            id="no annotation",
        ),
        pytest.param(
            {"a": _stored("struct", "FeedFile", {"name": "a"})},
            dict[str, Files],
            "a[0]: a FeedFile is stored, but the annotation leads to no such struct; "
            "annotate the step, e.g. -> dict[str, list[FeedFile]], or reset the step",
            id="another kind of class",
        ),
        pytest.param(
            _stored("enum", "os;\nsystem", "x"),
            list[Color],
            "[0]: a ['os;\\nsystem'] is stored, but the annotation leads to no such enum; "
            "annotate the step, e.g. -> list[['os;\\nsystem']], or reset the step",
            id="name that is none",
        ),
        pytest.param(
            _stored("dataclass", "FeedFile", {"name": "a"}),
            GenericAlias(list, (FeedFile | _OTHER_FILE,)),
            "[0]: a FeedFile is stored, and the annotation leads to 2 classes of that "
            "name; rename one of them",
            id="two classes of one name",
        ),
        pytest.param(
            _stored("dataclass", "FeedFile", {"size": 5}),
            Files,
            "[0]: FeedFile (dataclass) needs a field 'name', but none is stored: the class "
            "changed; give the field a default, or reset the step",
            id="field that is missing",
        ),
        pytest.param(
            _stored("dataclass", "FeedFile", {"name": "a", "old": {"$": "x"}}),
            Files,
            "[0]: FeedFile (dataclass) has no field 'old', but one is stored: the class "
            "changed; put the field back, or reset the step",
            id="field that is gone",
        ),
        pytest.param(
            _stored("dataclass", "FeedFile", {"name": _stored("enum", "Color", "RED")}),
            Files,
            "[0].name[0]: a Color is stored, but the annotation leads to no such enum; "
            "annotate the field name of FeedFile, e.g. name: list[Color], or reset the "
            "step",
            id="class in a field",
        ),
        pytest.param(
            _stored("dataclass", "FeedFile", []),
            Files,
            "[0]: {'$': 'dataclass', 'n': 'FeedFile', 'v':… is not what ptsflow stores; "
            "reset the step",
            id="fields that are none",
        ),
        pytest.param(
            _stored("enum", "Color", "PINK"),
            list[Color],
            "[0]: Color (Enum) has no member 'PINK': the class changed; "
            "put the member back, or reset the step",
            id="member that is gone",
        ),
        pytest.param(
            _stored("enum", "Color", ["RED"]),
            list[Color],
            "[0]: Color (Enum) has no member ['RED']: the class changed; "
            "put the member back, or reset the step",
            id="member that is no name",
        ),
        pytest.param(
            _stored("struct", "Counted", {"names": ["a", "b", "c", "d"]}),
            list[Counted],
            "[0]: Counted (msgspec.Struct): its __post_init__ refuses what is stored: "
            "ValueError: 'too many'; reset the step",
            id="Struct that refuses",
        ),
        pytest.param(
            _stored("model", "Strict", {"name": "bad"}),
            list[Strict],
            "[0]: Strict (pydantic model): model_validate refuses what is stored: "
            "RuntimeError: 'a bad name'; reset the step",
            id="pydantic model that refuses",
        ),
        pytest.param(
            _stored("namedtuple", "Plain", {"a": 1}),
            list[Plain],
            "[0]: Plain (NamedTuple) needs a field 'b', but none is stored: the class "
            "changed; give the field a default, or reset the step",
            id="namedtuple without a field",
        ),
    ],
)
def test_what_no_longer_fits_its_class_is_not_read(
    tree: object, hint: object, message: str
) -> None:
    with pytest.raises(StoredValueError) as caught:
        codec.from_tree(tree, hint)

    assert str(caught.value) == f"stored value: {message}"


@pytest.mark.parametrize(
    ("tree", "hint", "expected"),
    [
        pytest.param(
            _stored("dataclass", "FeedFile", {"name": "a"}),
            Files,
            [FeedFile("a", 0)],
            id="dataclass",
        ),
        pytest.param(
            _stored("struct", "Artist", {"name": "a"}),
            list[Artist],
            [Artist("a", None, [], Level.LOW)],
            id="Struct",
        ),
        pytest.param(
            _stored(
                "namedtuple",
                "Span",
                {"start": {"$": "datetime", "v": "2011-09-30T00:00:00"}},
            ),
            list[Span],
            [Span(datetime(2011, 9, 30))],  # noqa: DTZ001 - as it is stored
            id="NamedTuple",
        ),
    ],
)
def test_a_field_that_is_not_stored_takes_its_default(
    tree: object, hint: object, expected: list[object]
) -> None:
    assert codec.from_tree(tree, hint) == expected


_HELD = st.recursive(
    st.none()
    | st.integers()
    | st.text()
    | st.sampled_from(["RED", "READ", "LOW", "a"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "size", "file", "color", "x", "a", "b", "items"]),
            inner,
            max_size=4,
        ),
        st.fixed_dictionaries(
            {
                "$": st.sampled_from(
                    ["dataclass", "struct", "enum", "model", "namedtuple"]
                ),
                "n": st.sampled_from(
                    [
                        "FeedFile",
                        "Point",
                        "Page",
                        "Artist",
                        "Color",
                        "Song",
                        "Plain",
                        "Span",
                    ]
                ),
                "v": inner,
            }
        ),
    ),
    max_leaves=20,
)
_ANY_CLASS = FeedFile | Point | Page[Point] | Artist | Color | Song | Plain | Span
_ANYWHERE = _ANY_CLASS | list[_ANY_CLASS] | dict[str, _ANY_CLASS] | Row


@given(_HELD)
def test_any_tree_of_instances_gives_a_value_or_a_stored_value_error(
    tree: object,
) -> None:
    try:
        codec.from_tree(tree, _ANYWHERE)
        refusal = ""
    except StoredValueError as error:
        refusal = str(error)

    assert "\n" not in refusal


def test_defaults_are_made_anew_each_time() -> None:
    tree = _stored("struct", "Artist", {"name": "a"})
    first, second = codec.from_tree(tree + tree, list[Artist])  # type: ignore[operator] # a list

    assert first.tags is not second.tags


def test_annotations_are_resolved_where_they_can_be() -> None:
    @dataclass
    class Local:
        name: str
        below: list[Local] = field(default_factory=list)

    def reads(a: list[FeedFile], b: Absent, *, c: Annotated[int, "n"] = 1) -> Local:  # type: ignore[name-defined] # noqa: F821 - it is absent
        raise NotImplementedError

    def makes(a: list[Absent]) -> list[Local]:  # type: ignore[name-defined] # noqa: F821 - it is absent
        return [Local(str(a))]

    hints = codec.hints_of(reads)

    assert hints["a"] == list[FeedFile]
    assert hints["b"] == codec.Unresolved("Absent")
    assert hints["c"] is int
    assert hints["return"] == codec.Unresolved("Local")
    # What the body uses is known to the function, though not to its module.
    assert codec.hints_of(makes) == {
        "a": codec.Unresolved("list[Absent]"),
        "return": list[Local],
    }


def test_a_class_of_the_enclosing_function_hides_the_modules() -> None:
    @dataclass
    class Point:
        z: int

    def makes() -> list[Point]:
        return [Point(1)]

    assert codec.hints_of(makes)["return"] == list[Point]


def test_a_class_made_inside_a_function_can_be_nested_in_itself() -> None:
    @dataclass
    class Local:
        name: str
        below: list[Local] = field(default_factory=list)
        odd: Absent = None  # type: ignore[name-defined] # noqa: F821 - it is absent

    value = Local("a", [Local("b")], {"x": 1})

    assert codec.decode(codec.encode(value, Local), Local) == value
    assert _refusal(Local("a", [], {"x": SONG}), Local) == (
        "odd.x: a FeedFile (dataclass) cannot be stored under the annotation 'Absent', "
        "in which a name cannot be found; define FeedFile at the top of its module"
    )


def test_a_variable_that_is_not_assigned_yet_is_no_name() -> None:
    def reads() -> Late:
        return Late()

    before = codec.hints_of(reads)

    class Late:
        pass

    assert before == {"return": codec.Unresolved("Late")}
    assert codec.hints_of(reads) == {"return": Late}


def test_an_annotation_that_is_an_object_is_shown_as_one() -> None:
    def reads(a: object) -> None:
        raise NotImplementedError

    reads.__annotations__["a"] = GenericAlias(list, (ForwardRef("Absent"),))

    assert codec.hints_of(reads) == {
        "a": codec.Unresolved("list[ForwardRef('Absent')]"),
        "return": type(None),
    }


def test_what_has_no_annotations_has_no_hints() -> None:
    assert codec.hints_of(len) == {}
    assert codec.hints_of(Color) == {}


class Posted(pydantic.BaseModel):
    at: datetime
    url: pydantic.HttpUrl
    host: ipaddress.IPv4Address


class Hidden(pydantic.BaseModel):
    secret: pydantic.SecretStr


def test_a_model_with_fields_that_only_json_can_hold_comes_back_equal() -> None:
    text = '{"at": "2026-03-29T01:30:00Z", "url": "http://h/x", "host": "127.0.0.1"}'
    model = Posted.model_validate_json(text)

    assert codec.decode(codec.encode(model, Posted), Posted) == model


def test_a_model_that_json_would_change_is_refused_for_what_it_holds() -> None:
    with pytest.raises(NotStorable) as caught:
        codec.encode(Hidden(secret=pydantic.SecretStr("x")), Hidden)
    assert "SecretStr" in str(caught.value)
