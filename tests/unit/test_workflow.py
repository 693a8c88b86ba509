"""Classes of workflows: what is collected, and every declaration that is refused."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ptsflow import TaskHandle, Workflow, step
from ptsflow.core.plan import Binding
from ptsflow.errors import DeclarationError, FrozenWorkflow, NotStorable, ParameterError
from ptsflow.testing import run_inline
from tests.support.wording import THEIRS, Message


class Import(Workflow):
    """An import of a feed."""

    container = "epf:{hour:%Y%m%dT%H}"
    hour: datetime
    server: str = "http://localhost"
    retries: ClassVar[int] = 3
    _secret: str = "kept out"  # noqa: S105 - no secret

    @step
    def check(self) -> list[str]:
        return ["songs"]

    @step(each=check, key=str.upper)
    def download(self, file: str, task: TaskHandle, check: list[str]) -> str:
        return f"{file} {task.name} {check}"

    @step(always=True)
    def clean_up(self, download: list[str]) -> int:
        return len(download)

    @step
    def verify(self, *, download: list[str]) -> int:
        return len(download)


HOUR = datetime(2011, 9, 30, 13)  # noqa: DTZ001 - as the CLI reads it


def refused(declare: Callable[[], object]) -> str:
    """Return the one line that a declaration is refused with."""
    with pytest.raises(DeclarationError) as raised:
        declare()

    message = str(raised.value)
    assert "\n" not in message
    return message


# -- what is collected ----------------------------------------------------------


def test_steps_stand_in_order_and_those_that_always_run_at_the_end() -> None:
    assert list(Import.declared_steps) == ["check", "download", "verify", "clean_up"]


def test_annotated_attributes_are_parameters() -> None:
    declared = Import.declared_parameters

    assert list(declared) == ["hour", "server"]
    assert declared["hour"].is_required
    assert not declared["server"].is_required
    assert declared["hour"].hint is datetime


def test_every_parameter_of_a_method_is_bound() -> None:
    assert Import.declared_bindings["download"] == (
        Binding("file", "item"),
        Binding("task", "task"),
        Binding("check", "result", "check"),
    )
    assert Import.declared_bindings["verify"] == (
        Binding("download", "result", "download"),
    )


def test_a_workflow_object_has_its_parameters() -> None:
    workflow = Import(hour=HOUR)

    assert (workflow.hour, workflow.server) == (HOUR, "http://localhost")
    assert workflow.parameters == {"hour": HOUR, "server": "http://localhost"}
    assert repr(workflow) == f"Import(hour={HOUR!r}, server='http://localhost')"


def test_parameters_are_encoded_by_their_annotations() -> None:
    assert Import(hour=HOUR).encoded_parameters() == {
        "hour": '{"$":"datetime","v":"2011-09-30T13:00:00"}',
        "server": '"http://localhost"',
    }


def test_a_parameter_that_cannot_be_stored_is_refused() -> None:
    class Odd(Workflow):
        thing: Any

    with pytest.raises(NotStorable, match="the parameter thing of Odd"):
        Odd(thing=object()).encoded_parameters()


# -- inheritance ------------------------------------------------------------------


class Base(Workflow):
    limit: int = 5

    @step
    def first(self) -> int:
        return 1

    @step
    def second(self) -> int:
        return 2

    @step(always=True)
    def last(self) -> None: ...


def test_an_overridden_step_keeps_its_place_and_an_added_one_comes_before_always() -> (
    None
):
    class Other(Base):
        @step
        def third(self) -> int:
            return 3

        @step
        def first(self) -> int:
            return 10

    assert list(Other.declared_steps) == ["first", "second", "third", "last"]
    assert Other.declared_steps["first"] is not Base.declared_steps["first"]
    assert list(Base.declared_steps) == ["first", "second", "last"]


def test_an_inherited_step_is_named_by_its_class() -> None:
    class Other(Base):
        @step(after=Base.first)
        def third(self, first: int) -> int:
            return first

    assert Other.declared_steps["third"].after == ("first",)


def test_a_base_class_s_step_may_be_named_where_it_is_overridden() -> None:
    class Other(Base):
        @step
        def first(self) -> int:
            return 10

        @step(after=Base.first)
        def third(self) -> None: ...

    assert Other.declared_steps["third"].after == ("first",)


def test_a_step_is_removed_by_setting_it_to_none() -> None:
    other: type[Workflow] = type("Other", (Base,), {"second": None})

    assert list(other.declared_steps) == ["first", "last"]


def plain(self: Workflow) -> int:  # noqa: ARG001 - a method
    return 1


@pytest.mark.parametrize(
    "instead",
    [
        pytest.param(plain, id="a method"),
        pytest.param(property(plain), id="a property"),
        pytest.param(7, id="a value"),
    ],
)
def test_an_override_without_step_is_refused(instead: object) -> None:
    class Mixin:
        second = instead

    for make in (
        functools.partial(type, "Other", (Base,), {"second": instead}),
        functools.partial(type, "Other", (Mixin, Base), {}),
    ):
        assert refused(make) == (
            "Other.second: it overrides the step Base.second without @step; put @step "
            "above it, or write second = None to leave the step out"
        )


def unwrapped(function: Any) -> Any:
    return lambda *given: function(*given)  # noqa: PLW0108 - another function


def wrapped(function: Any) -> Any:
    return functools.wraps(function)(lambda *given: function(*given))  # noqa: PLW0108


HIDES = "what stands above @step hides it; put @step above the other decorators"


@pytest.mark.parametrize(
    "decorator",
    [
        unwrapped,
        wrapped,
        property,
        functools.cached_property,
        functools.partialmethod,
        functools.singledispatchmethod,
        staticmethod,
        classmethod,
        lambda _: None,
    ],
)
@pytest.mark.parametrize("declare", [step, step(retry=1)], ids=["bare", "called"])
def test_a_decorator_that_hides_a_step_is_refused(decorator: Any, declare: Any) -> None:
    def make() -> type[Workflow]:
        class Import(Workflow):
            @decorator  # type: ignore[untyped-decorator]
            @declare  # type: ignore[untyped-decorator]
            def load(self) -> None: ...

            @step
            def check(self) -> None: ...

        return Import

    assert refused(make) == f"Import.load: {HIDES}"


def test_a_step_that_a_function_declares_is_refused_too_if_it_is_hidden() -> None:
    def persistent(function: Any) -> Any:
        return step(retry=5)(function)

    def make() -> type[Workflow]:
        class Import(Workflow):
            @unwrapped
            @persistent
            def load(self) -> None: ...

            @persistent
            def check(self) -> None: ...

        return Import

    assert refused(make) == f"Import.load: {HIDES}"


def test_steps_of_a_class_inside_of_a_workflow_are_refused() -> None:
    def make() -> type[Workflow]:
        class Import(Workflow):
            class Sub(Workflow):
                @step
                def load(self) -> None: ...

            class Steps:
                @step
                def load(self) -> None: ...

            @step
            def check(self) -> None: ...

        return Import

    assert refused(make) == (
        "Import.Steps.load: the class Steps stands in the workflow Import, which does "
        "not run the steps of it; write def load in Import itself"
    )


def test_a_step_that_is_hidden_in_a_mixin_is_refused_too() -> None:
    class Mixin:
        @property
        @step
        def load(self) -> None: ...

    assert refused(lambda: type("Import", (Mixin, Base), {})) == f"Import.load: {HIDES}"


def test_a_step_that_is_declared_twice_is_refused() -> None:
    def make() -> type[Workflow]:
        class Import(Workflow):
            @step
            def load(self) -> None: ...

            @step  # type: ignore[no-redef]
            def load(self) -> None: ...  # noqa: F811

        return Import

    assert refused(make) == (
        "Import.load: the step is declared twice; give one of the two another name"
    )


def test_a_class_body_that_broke_off_leaves_nothing_behind() -> None:
    def make(*, broken: bool) -> type[Workflow]:
        class Import(Workflow):
            if broken:

                @step
                def load(self) -> None: ...

                raise KeyError

            @step
            def check(self) -> None: ...

        return Import

    with pytest.raises(KeyError):
        make(broken=True)

    assert list(make(broken=False).declared_steps) == ["check"]


def test_a_step_that_is_set_on_the_class_afterwards_is_refused_when_it_is_run() -> None:
    class Import(Workflow):
        @step
        def check(self) -> None: ...

    Import.late = step(plain)  # type: ignore[attr-defined]

    with pytest.raises(DeclarationError) as caught:
        run_inline(Import())
    assert str(caught.value) == (
        "Import.late: the step was set after the class was made, so no run would make "
        "it; declare it in the body of the class"
    )


@pytest.mark.parametrize("instead", [step(plain), lambda _: None, None])
def test_a_step_that_is_replaced_afterwards_is_refused_when_it_is_run(
    instead: Any,
) -> None:
    class Import(Workflow):
        @step
        def plain(self) -> None: ...

    class Daily(Import): ...

    if instead is None:
        del Import.plain
    else:
        Import.plain = instead  # type: ignore[method-assign]

    for workflow in (Import, Daily):
        with pytest.raises(DeclarationError) as caught:
            run_inline(workflow())
        assert str(caught.value) == (
            f"{workflow.__name__}.plain: the step was replaced or deleted after the class "
            "was made, and a run would make it as it was; declare a subclass instead"
        )


def test_a_class_without_steps_is_refused_when_it_is_run() -> None:
    class Empty(Workflow):
        """Made, as it may be the base of others."""

    with pytest.raises(DeclarationError) as caught:
        run_inline(Empty())
    assert str(caught.value) == (
        "Empty: expected at least one step, found none; put @step above a method"
    )


def method(value: int) -> Any:
    """Return a new function each time, as marks stay on a function."""

    def plain(self: Workflow) -> int:  # noqa: ARG001 - a method
        return value

    return plain


@pytest.mark.parametrize("bases", [(Workflow,), (Workflow, abc.ABC)])
@pytest.mark.parametrize(
    "made",
    [abc.abstractmethod(step(method(1))), step(abc.abstractmethod(method(1)))],  # type: ignore[type-var]
    ids=["above", "below"],
)
def test_an_abstract_step_has_to_be_overridden(
    bases: tuple[type, ...], made: Any
) -> None:
    abstract: Any = type("Abstract", bases, {"plain": made})
    concrete: Any = type("Concrete", (abstract,), {"plain": step(method(2))})

    with pytest.raises(DeclarationError) as caught:
        abstract()
    assert str(caught.value) == (
        "Abstract.plain: the step is abstract (method.<locals>.plain); write def plain "
        "with a @step of its own in Abstract"
    )
    assert run_inline(concrete()).result("plain") == 2


def test_removing_a_step_that_others_need_is_refused() -> None:
    class Needing(Base):
        @step(after=Base.second)
        def third(self) -> None: ...

    message = refused(lambda: type("Other", (Needing,), {"second": None}))

    assert message == (
        "Other.third: after= names 'second', which is not a step of this class; "
        "it may name first"
    )


def test_a_mixin_brings_steps_and_parameters() -> None:
    class Mixin:
        folder: Path = Path("tmp")

        @step
        def mixed(self) -> str:
            return str(self.folder)

    class Other(Mixin, Base):
        @step(after=Mixin.mixed)
        def third(self, mixed: str) -> None: ...

    assert list(Other.declared_steps) == ["first", "second", "mixed", "third", "last"]
    assert Other(folder="x").parameters == {"limit": 5, "folder": Path("x")}


def test_a_parameter_may_get_another_default_in_a_subclass() -> None:
    class Other(Base):
        limit = 7

    assert Other().parameters == {"limit": 7}


def test_a_class_without_steps_is_a_workflow_still() -> None:
    class Empty(Workflow):
        pass

    assert Empty.declared_steps == {}
    assert Empty().container_name == "Empty"


# -- steps that are refused ----------------------------------------------------


def declare_task_as_a_step() -> None:
    class W(Workflow):
        @step
        def task(self) -> None: ...


def declare_parameters_as_a_step() -> None:
    class W(Workflow):
        @step
        def parameters(self) -> None: ...  # type: ignore[override] # what it is about


def declare_a_dunder() -> None:
    class W(Workflow):
        @step
        def __enter__(self) -> None: ...


def declare_under_another_name() -> None:
    class W(Workflow):
        @step
        def one(self) -> None: ...

        two = one


def declare_a_lambda() -> None:
    class W(Workflow):
        one = step(lambda _: 1)


def declare_a_hidden_staticmethod() -> None:
    class W(Workflow):
        @staticmethod
        @step
        def one(_: object) -> None: ...


def declare_a_hidden_classmethod() -> None:
    class W(Workflow):
        @classmethod
        @step
        def one(cls) -> None: ...


def declare_behind_a_decorator() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    class W(Workflow):
        @logged
        @step
        def one(self) -> None: ...


def declare_without_self() -> None:
    class W(Workflow):
        @step  # type: ignore[arg-type] # what it is about
        def one() -> None: ...


def declare_with_a_result_for_self() -> None:
    class W(Workflow):
        @step
        def one(self) -> int:
            return 1

        @step
        def two(one: int) -> None: ...  # noqa: N805


def declare_with_task_for_self() -> None:
    class W(Workflow):
        @step
        def one(task: TaskHandle) -> None: ...  # noqa: N805


def declare_with_args_for_self() -> None:
    class W(Workflow):
        @step
        def one(*args: Any) -> None: ...


def declare_args() -> None:
    class W(Workflow):
        @step
        def one(self, *args: Any) -> None: ...


def declare_kwargs() -> None:
    class W(Workflow):
        @step
        def one(self) -> None: ...

        @step  # type: ignore[arg-type] # what it is about
        def two(self, **given: Any) -> None: ...


def declare_positional_only() -> None:
    class W(Workflow):
        @step
        def one(self, task: TaskHandle, /) -> None: ...


def declare_an_unknown_parameter() -> None:
    class W(Workflow):
        @step
        def download(self) -> None: ...

        @step
        def verify(self, downlaod: None) -> None: ...


def declare_an_unknown_parameter_first() -> None:
    class W(Workflow):
        @step
        def one(self, file: str) -> None: ...


def declare_a_parameter_with_a_default() -> None:
    class W(Workflow):
        @step
        def one(self, size: int = 5) -> None: ...


def declare_two_items() -> None:
    class W(Workflow):
        @step
        def one(self) -> list[int]:
            return [1]

        @step(each=one)
        def two(self, item: int, other: int) -> None: ...


def declare_the_result_of_a_later_step() -> None:
    class W(Workflow):
        @step
        def one(self, two: int) -> None: ...

        @step
        def two(self) -> None: ...


def declare_the_result_of_an_always_step() -> None:
    class W(Workflow):
        @step(always=True)
        def one(self) -> None: ...

        @step
        def two(self, one: None) -> None: ...


def declare_after_an_always_step() -> None:
    class W(Workflow):
        @step(always=True)
        def one(self) -> None: ...

        @step(after=one)
        def two(self) -> None: ...


def declare_after_a_step_of_another_class() -> None:
    class W(Workflow):
        @step(after=Base.first)
        def one(self) -> None: ...


def declare_after_a_namesake_of_another_class() -> None:
    class W(Workflow):
        @step
        def first(self) -> None: ...

        @step(after=Base.first)
        def one(self) -> None: ...


def declare_each_of_a_step_below() -> None:
    class W(Base):
        @step(each=Import.check)
        def one(self) -> None: ...


def declare_after_a_step_below() -> None:
    class Later(Base):
        @step
        def third(self) -> None: ...

    class W(Later):
        @step(after=Later.third)
        def first(self) -> int: ...  # type: ignore[empty-body] # what it is about


def declare_a_key_in_a_chain() -> None:
    class W(Workflow):
        @step
        def one(self) -> list[int]:
            return [1]

        @step(each=one)
        def two(self, item: int) -> int:
            return item

        @step(each=two, key="name")
        def three(self, item: int) -> None: ...


SELF = "a step is a method, its first parameter is self; write def"


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            declare_task_as_a_step,
            (
                "W.task: 'task' has a meaning of its own in a workflow (did you mean a "
                "parameter task of the step's method, which receives the TaskHandle?); "
                "give the step another name"
            ),
        ),
        (
            declare_parameters_as_a_step,
            (
                "W.parameters: 'parameters' has a meaning of its own in a workflow; "
                "give the step another name"
            ),
        ),
        (
            declare_a_dunder,
            (
                "W.__enter__: '__enter__' has a meaning of its own in a workflow; "
                "give the step another name"
            ),
        ),
        (
            declare_under_another_name,
            (
                "W.two: a step goes by its method's name, 'one'; "
                "write def two with a @step of its own"
            ),
        ),
        (
            declare_a_lambda,
            (
                "W.one: a step goes by its method's name, '<lambda>'; "
                "write def one with a @step of its own"
            ),
        ),
        (
            declare_a_hidden_staticmethod,
            (
                "W.one: what stands above @step hides it; "
                "put @step above the other decorators"
            ),
        ),
        (
            declare_a_hidden_classmethod,
            (
                "W.one: what stands above @step hides it; "
                "put @step above the other decorators"
            ),
        ),
        (
            declare_behind_a_decorator,
            (
                "W.one: what stands above @step hides it; "
                "put @step above the other decorators"
            ),
        ),
        (declare_without_self, f"W.one: {SELF} one(self, ...)"),
        (declare_with_a_result_for_self, f"W.two: {SELF} two(self, ...)"),
        (declare_with_task_for_self, f"W.one: {SELF} one(self, ...)"),
        (declare_with_args_for_self, f"W.one: {SELF} one(self, ...)"),
        (
            declare_args,
            "W.one: the parameter *args cannot be filled in; name each: task",
        ),
        (
            declare_kwargs,
            (
                "W.two: the parameter **given cannot be filled in; "
                "name each: task, the steps above it (one)"
            ),
        ),
        (
            declare_positional_only,
            ("W.one: the parameter task cannot be filled in; name each: task"),
        ),
        (
            declare_an_unknown_parameter,
            (
                "W.verify: the parameter 'downlaod' is no step above it "
                "(did you mean 'download'?); allowed: task, the steps above it (download)"
            ),
        ),
        (
            declare_an_unknown_parameter_first,
            "W.one: the parameter 'file' is no step above it; allowed: task",
        ),
        (
            declare_a_parameter_with_a_default,
            "W.one: the parameter 'size' is no step above it; allowed: task",
        ),
        (
            declare_two_items,
            (
                "W.two: the parameter 'other' is no step above it; "
                "allowed: task, one name for the item, the steps above it (one)"
            ),
        ),
        (
            declare_the_result_of_a_later_step,
            "W.one: the parameter 'two' is no step above it; allowed: task",
        ),
        (
            declare_the_result_of_an_always_step,
            "W.two: the parameter 'one' is no step above it; allowed: task",
        ),
        (
            declare_after_an_always_step,
            (
                "W.two: after= names 'one', which always runs last, so nothing can wait "
                "for it; it may name no step, as it is the first"
            ),
        ),
        (
            declare_after_a_step_of_another_class,
            (
                "W.one: after= names 'first', which is not a step of this class; "
                "it may name no step, as it is the first"
            ),
        ),
        (
            declare_after_a_namesake_of_another_class,
            (
                "W.one: after= names 'first', which is not a step of this class; "
                "it may name first"
            ),
        ),
        (
            declare_each_of_a_step_below,
            (
                "W.one: each= names 'check', which is not a step of this class; "
                "it may name first, second"
            ),
        ),
        (
            declare_after_a_step_below,
            (
                "W.first: after= names 'third', which is not declared above it; "
                "it may name no step, as it is the first"
            ),
        ),
        (
            declare_a_key_in_a_chain,
            (
                "W.three: key= has no use, as an item of two keeps its key behind it; "
                "leave key= out"
            ),
        ),
    ],
)
def test_a_wrong_step_is_refused_when_the_class_is_made(
    declare: Callable[[], None], message: str
) -> None:
    assert refused(declare) == message


def test_self_may_be_positional_only() -> None:
    class W(Workflow):
        @step
        def one(self, /) -> int:
            return 1

    assert W().one() == 1


# -- parameters that are refused ------------------------------------------------


def declare_a_parameter_named_like_a_step() -> None:
    class W(Workflow):
        check: int = 5

        @step  # type: ignore[no-redef] # what it is about
        def check(self) -> None: ...  # noqa: F811


def declare_a_parameter_named_like_an_inherited_step() -> None:
    class W(Base):
        first: int  # type: ignore[assignment] # what it is about


def declare_an_annotated_container() -> None:
    class W(Workflow):
        container: str = "x"  # type: ignore[misc] # what it is about


def declare_a_default_of_another_type() -> None:
    class W(Workflow):
        size: int = "5"  # type: ignore[assignment] # what it is about


def declare_a_local_annotation() -> None:
    class Local:
        pass

    class W(Workflow):
        thing: list[Local]


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (
            declare_a_parameter_named_like_a_step,
            (
                "W.check: there is a step of that name; give the parameter another one, "
                "or annotate it as a ClassVar"
            ),
        ),
        (
            declare_a_parameter_named_like_an_inherited_step,
            (
                "W.first: there is a step of that name; give the parameter another one, "
                "or annotate it as a ClassVar"
            ),
        ),
        (
            declare_an_annotated_container,
            (
                "W.container: 'container' has a meaning of its own in a workflow (did you "
                'mean container = "import:{hour}", a template without def and '
                "annotation?); give the parameter another name"
            ),
        ),
        (
            declare_a_default_of_another_type,
            f"W.size: the default: expected int, found '5' ({THEIRS})",
        ),
        (
            declare_a_local_annotation,
            (
                "W.thing: its annotation list[Local] cannot be looked up; "
                "import what it names, or define it outside of the function"
            ),
        ),
    ],
)
def test_a_wrong_parameter_is_refused_when_the_class_is_made(
    declare: Callable[[], None], message: str
) -> None:
    assert refused(declare) == Message(message)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"hour": HOUR, "sever": "x"},
            (
                "Import: there is no parameter 'sever' (did you mean 'server'?); "
                "it takes hour, server"
            ),
        ),
        (
            {"hour": HOUR, "zzz": 1},
            "Import: there is no parameter 'zzz'; it takes hour, server",
        ),
        (
            {"server": "x"},
            "Import: the parameter hour is missing; give Import(hour=...) or -p hour=...",
        ),
        (
            {"hour": HOUR, "server": 5},
            f"Import: the parameter server: expected str, found 5 ({THEIRS})",
        ),
    ],
)
def test_wrong_values_are_refused_in_one_line(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        Import(**given)

    assert str(raised.value) == Message(message)


def test_a_workflow_without_parameters_takes_none() -> None:
    class Bare(Workflow):
        pass

    with pytest.raises(ParameterError) as raised:
        Bare(hour=1)

    assert str(raised.value) == "Bare: there is no parameter 'hour'; it takes none"


def test_a_workflow_object_is_frozen() -> None:
    workflow = Import(hour=HOUR)
    message = (
        "Import.found: a workflow object is frozen, as a resumed run could not know "
        "what a step put there; return the value from the step, and take it in a later "
        "one by a parameter named like the step"
    )

    with pytest.raises(FrozenWorkflow) as assigned:
        workflow.found = 5
    with pytest.raises(FrozenWorkflow) as deleted:
        del workflow.server

    assert str(assigned.value) == message
    assert str(deleted.value) == message.replace("found", "server")


def test_what_is_computed_once_from_parameters_may_be_kept() -> None:
    class Cached(Workflow):
        size: int = 2

        @functools.cached_property
        def double(self) -> int:
            return self.size * 2

    assert Cached().double == 4


# -- the container's name ----------------------------------------------------------


def named(template: str, **annotations: Any) -> type[Workflow]:
    """Return a workflow W with a template and annotated attributes."""
    members = {"container": template, "__annotations__": annotations}
    return type("W", (Workflow,), members)


@pytest.mark.parametrize(
    ("template", "values", "name"),
    [
        pytest.param(
            "epf:{hour:%Y%m%dT%H}", {"hour": HOUR}, "epf:20110930T13", id="spec"
        ),
        pytest.param(
            "{workflow}:{hour.year}", {"hour": HOUR}, "W:2011", id="attribute"
        ),
        pytest.param("{tags[0]}", {"tags": ["a"]}, "a", id="element"),
        pytest.param("{name!r}", {"name": "a"}, "'a'", id="conversion"),
        pytest.param("{{{name}}}", {"name": "a"}, "{a}", id="braces"),
        pytest.param("nightly", {"name": "a"}, "nightly", id="constant"),
        pytest.param("{name}", {"name": "ä" * 100}, "ä" * 100, id="200 bytes"),
        pytest.param("", {}, "W", id="default"),
        pytest.param("", {"a": 1, "b": "x"}, "W:a=1,b=x", id="default with parameters"),
        pytest.param(
            "",
            {"a": "x" * 200},
            "W:640a28a76b848d50",
            id="default, too long for values",
        ),
    ],
)
def test_the_container_s_name(template: str, values: dict[str, Any], name: str) -> None:
    workflow = named(template, **{key: type(value) for key, value in values.items()})

    assert workflow(**values).container_name == name


def test_values_that_are_too_long_still_tell_containers_apart() -> None:
    workflow = named("", a=str)

    assert workflow(a="x" * 200).container_name != workflow(a="y" * 200).container_name


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "epf:{hoor}",
            (
                "W.container = 'epf:{hoor}' names 'hoor' (did you mean 'hour'?); "
                "it may name workflow, hour"
            ),
        ),
        ("{}", "W.container = '{}' names ''; it may name workflow, hour"),
        ("{0}", "W.container = '{0}' names '0'; it may name workflow, hour"),
        (
            "{step.name}",
            "W.container = '{step.name}' names 'step'; it may name workflow, hour",
        ),
        (
            "{hour",
            f"W.container = '{{hour' is no template: {THEIRS}",
        ),
        (
            "}",
            f"W.container = '}}' is no template: {THEIRS}",
        ),
        (
            5,
            'W.container: expected a template such as "import:{hour}", found 5',
        ),
    ],
)
def test_a_wrong_template_is_refused_when_the_class_is_made(
    template: Any, message: str
) -> None:
    assert refused(lambda: named(template, hour=datetime)) == Message(message)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{name:%Y}",
            "W.container = '{name:%Y}' cannot be filled in with W(name='x'): " + THEIRS,
        ),
        (
            "{name.year}",
            (
                "W.container = '{name.year}' cannot be filled in with W(name='x'): "
                + THEIRS
            ),
        ),
        (
            "{name:{width}}",
            "W.container = '{name:{width}}' cannot be filled in with W(name='x'): "
            + THEIRS,
        ),
    ],
)
def test_a_template_that_does_not_fit_the_values_is_refused(
    template: str, message: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        _ = named(template, name=str)(name="x").container_name

    assert str(raised.value) == Message(message)


@pytest.mark.parametrize(
    ("value", "size"),
    [pytest.param("", 0, id="empty"), pytest.param("ä" * 101, 202, id="too long")],
)
def test_a_name_of_no_or_too_many_bytes_is_refused(value: str, size: int) -> None:
    with pytest.raises(ParameterError) as raised:
        _ = named("{name}", name=str)(name=value).container_name

    assert str(raised.value) == (
        f"W.container = '{{name}}' gives a name of {size} bytes; expected 1 to 200"
    )


def test_what_is_named_like_the_source_is_the_item_where_nothing_else_is() -> None:
    class Named(Workflow):
        @step
        def numbers(self) -> list[int]:
            return [1, 2]

        @step(each=numbers)
        def double(self, numbers: int) -> int:
            return 2 * numbers

        @step(each=numbers)
        def share(self, number: int, numbers: list[int]) -> float:
            return number / sum(numbers)

    report = run_inline(Named())

    assert report.result("double") == [2, 4]
    assert report.result("share") == [1 / 3, 2 / 3]
