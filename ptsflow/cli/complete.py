"""What the shell asks when somebody presses Tab: names of containers, tasks, steps, parameters.

Whatever goes wrong, nothing is said: there are no proposals then.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import click

from ptsflow.cli.common import Common

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ptsflow.core.model import ContainerRecord, TaskRecord
    from ptsflow.workflow.workflow import Workflow

#: A proposal: a text, or that the shell knows better, as for files.
Item = Union[str, "CompletionItem"]
Propose = Callable[[click.Context, click.Parameter, str], list[Item]]

#: Longer than this nobody waits for a proposal, in seconds.
_PATIENCE = 2.0


class Command(click.Command):
    """A command that knows its arguments also where the value of an option is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave out an option that stands last and has no value yet: click would give up."""
        if ctx.resilient_parsing and args and self._wants_value(args[-1]):
            args = args[:-1]
        return super().parse_args(ctx, args)

    def _wants_value(self, word: str) -> bool:
        return any(
            word in option.opts
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
        )


def _proposing(find: Callable[[click.Context, str], Iterable[Item]]) -> Propose:
    """Return `find` as click calls it: quick, silent, and with what fits alone."""

    def propose(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[Item]:
        try:
            with _in_time(), _silent():
                return [
                    each
                    for each in find(context, incomplete)
                    if not isinstance(each, str)
                    or (each.startswith(incomplete) and each.isprintable())
                ]
        except BaseException:  # noqa: BLE001 - a user's module may raise anything
            return []

    return propose


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield


# -- containers ---------------------------------------------------------------


@_proposing
def containers(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose names of containers, the newest first."""
    return _names(context)


@_proposing
def resumable(context: click.Context, incomplete: str) -> Iterable[Item]:
    """Propose TARGETs, and behind the first one the names of containers that fit."""
    names = _names(context) if context.params.get("words") else []
    if any(name.startswith(incomplete) for name in names):
        return names
    return _targets(incomplete)


def _names(context: click.Context) -> list[str]:
    return [record.name for record in _records(context)]


def _records(context: click.Context) -> list[ContainerRecord]:
    """Return all containers, the newest first."""
    from ptsflow.cli.shared import open_existing  # noqa: PLC0415 - only on Tab

    store = open_existing(_url(context))
    if store is None:
        return []
    with contextlib.closing(store):
        records = store.containers(plans=False)
    records.sort(
        key=lambda record: record.started_at or record.created_at, reverse=True
    )
    return records


@_proposing
def tasks(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose the tasks of the container that stands before."""
    return [task.name for task in _stored(context, context.params["name"])[1]]


@_proposing
def steps(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose the steps and tasks of the container that stands before."""
    record, found = _stored(context, context.params["name"])
    names = [*(step.name for step in record.plan), *(task.name for task in found)]
    return dict.fromkeys(names)


def _stored(
    context: click.Context, name: str
) -> tuple[ContainerRecord, list[TaskRecord]]:
    from ptsflow.cli.shared import open_to_look  # noqa: PLC0415 - only on Tab
    from ptsflow.client.admin import find  # noqa: PLC0415

    with contextlib.closing(open_to_look(_url(context))) as store:
        record = find(store, name)
        return record, store.tasks(record.uid)


def _url(context: click.Context) -> str:
    return (context.find_object(Common) or Common()).url


@_proposing
def histories(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose workflows and names of containers."""
    records = _records(context)
    names = [record.name for record in records]
    return dict.fromkeys([*(r.workflow for r in records if r.workflow), *names])


@_proposing
def workflows(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose the workflows that containers are of."""
    return dict.fromkeys(r.workflow for r in _records(context) if r.workflow)


# -- workflows ----------------------------------------------------------------


@_proposing
def targets(_context: click.Context, incomplete: str) -> Iterable[Item]:
    """Propose files, and behind a colon the workflows of a file or a module."""
    return _targets(incomplete)


def _targets(incomplete: str) -> list[Item]:
    place, colon, _ = incomplete.partition(":")
    if not colon:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only on Tab

        return [CompletionItem("", type="file")]
    from ptsflow.workflow.loading import workflows_of  # noqa: PLC0415 - only on Tab
    from ptsflow.workflow.workflow import Workflow  # noqa: PLC0415

    return [f"{place}:{name}" for name in workflows_of(place, Workflow)]


@_proposing
def target_steps(context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose the steps of TARGET, and the items that its container has."""
    kind = _loaded(context)
    names = list(kind.declared_steps)
    with contextlib.suppress(Exception):
        names += [task.name for task in _stored(context, _container(context, kind))[1]]
    return dict.fromkeys(names)


@_proposing
def parameters(context: click.Context, incomplete: str) -> Iterable[Item]:
    """Propose the parameters of TARGET, and behind the sign their values."""
    declared = _loaded(context).declared_parameters
    name, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in declared]
    if declared[name].is_secret:
        return [f"{name}={kind}" for kind in ("env:", "file:")]
    found = _values(declared[name].hint)
    if found is None:
        return []
    return [f"{name}={text}" for text in found if text.startswith(value)]


def _values(hint: Any) -> list[str] | None:
    """Return what a parameter may be, where that can be listed."""
    if hint is bool:
        return ["yes", "no"]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(member.value) for member in hint]
    return None


def _loaded(context: click.Context) -> type[Workflow]:
    from ptsflow.workflow.loading import load  # noqa: PLC0415 - only on Tab
    from ptsflow.workflow.workflow import Workflow  # noqa: PLC0415

    listed = context.params.get("words") or context.params.get("targets") or [""]
    target = context.params.get("target") or listed[0]
    return load(target, Workflow)


def _container(context: click.Context, kind: type[Workflow]) -> str:
    from ptsflow.cli.request import parameters as values  # noqa: PLC0415 - only on Tab

    named: str | None = context.params.get("container")
    return named or kind(**values(kind, context.params["param"])).container_name


# -- the rest -----------------------------------------------------------------


@_proposing
def topics(_context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose topics of the manual."""
    from ptsflow.cli.help import MANUAL  # noqa: PLC0415 - only on Tab

    return sorted(path.stem for path in MANUAL.glob("*.md"))


@_proposing
def executors(_context: click.Context, _incomplete: str) -> Iterable[str]:
    """Propose where bodies can run."""
    return ["thread", "process", "dask", "dask://"]


def prepare() -> bool:
    """Get ready to answer the shell; return whether it asks."""
    is_asked = "_PTSFLOW_COMPLETE" in os.environ
    if is_asked:
        from click.shell_completion import add_completion_class  # noqa: PLC0415 - only on Tab

        from ptsflow.cli.bash_completion import Bash  # noqa: PLC0415

        add_completion_class(Bash)
    return is_asked
