"""The command `watch`: what a run's own screen shows, from any terminal and machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import click

from ptsflow.cli import complete
from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.looking import Poller
from ptsflow.cli.request import seconds_of
from ptsflow.cli.shared import refuse, say
from ptsflow.cli.status_page import say_remedies, show_page
from ptsflow.cli.watch_views import Lines, ScreenView, Sight, View, view_of
from ptsflow.client.admin import find
from ptsflow.client.looking import look_at, look_at_all
from ptsflow.core.model import Status
from ptsflow.display import format as fmt
from ptsflow.display import tables
from ptsflow.display.look import Look
from ptsflow.display.look_at_all import LookAtAll
from ptsflow.errors import ContainerNotFound, UsageError
from ptsflow.host.clock import since_boot
from ptsflow.stores.base import Store

S = TypeVar("S", bound=Sight)

_INCOMPLETE, _NOT_THERE, _INTERRUPTED = 1, 4, 130
#: The least interval between two looks that can be asked for, in seconds.
_SHORTEST = 0.1


@click.command()
@click.argument("name", required=False, shell_complete=complete.containers)
@click.option(
    "--interval",
    metavar="TIME",
    default="1",
    help="Look so often (1 second); in large containers less often.",
)
@click.option(
    "--wait",
    metavar="TIME",
    help="Wait so long for the container to be made, and for a run of it to begin.",
)
@click.option(
    "-q", "--quiet", is_flag=True, help="Only what is not complete at the end."
)
@common_options
@pass_common
def watch(
    common: Common, name: str | None, *, interval: str, wait: str | None, quiet: bool
) -> int:
    """Show a run while it lasts, wherever it runs; the run is not touched.

    NAME may be any unique part of a container's name. Without NAME there is a table of
    what runs, what was killed, and what ended last, until Ctrl-C. Elsewhere than on a
    terminal there is a line for each change.

    Exit 0 if the container is complete at the end, 1 if it is not, 4 if there is none,
    6 if the store was away for a minute, 130 at Ctrl-C.
    """
    every = max(_SHORTEST, seconds_of("--interval", interval))
    seconds = 0.0 if wait is None else seconds_of("--wait", wait)
    if name is None and (quiet or seconds):
        option = "--quiet" if quiet else "--wait"
        raise UsageError(f"watch: {option} goes with NAME; say which container")
    return follow(common, name, interval=every, wait=seconds, quiet=quiet)


def follow(
    common: Common,
    name: str | None,
    *,
    interval: float = 1.0,
    wait: float = 0.0,
    quiet: bool = False,
) -> int:
    """Show a container, or all, while it runs; return the exit code.

    Args:
        common: the store, and whether JSON is wanted.
        name: a part of the container's name; None for all that runs.
        interval: how often to look, in seconds.
        wait: how long to wait for a run to begin, in seconds.
        quiet: show nothing while it runs.
    """
    poller = Poller(common.url, interval)
    show = partial(_shown, poller, json=common.json, quiet=quiet)
    try:
        with contextlib.closing(poller):
            if name is None:
                show(_looks_at_all(poller))
                return 0
            look, view = show(_looks(poller, name, wait))
            return _end(common, poller, look, view)
    except ContainerNotFound as error:
        refuse(error, common)
        return _NOT_THERE
    except KeyboardInterrupt:
        say("ptsflow: no longer watching; what runs goes on")
        return _INTERRUPTED


def _shown(
    poller: Poller, looks: Iterator[S | None], *, json: bool, quiet: bool
) -> tuple[S, View[S]]:
    """Show looks as they come; None stands for a store that is away.

    Return the last look, and what showed it.
    """
    sight = first = _first(looks)
    with contextlib.closing(view_of(first, json=json, quiet=quiet)) as view:
        view.show(first)
        was_away = False
        for found in looks:
            is_away = poller.problem is not None
            if is_away != was_away:
                was_away = is_away
                view.note(poller.problem)
            if found is not None:
                sight = found
                view.show(found)
    return sight, view


def _first(looks: Iterator[S | None]) -> S:
    # A store that never answered raises.
    return next(look for look in looks if look is not None)


def _looks_at_all(poller: Poller) -> Iterator[LookAtAll | None]:
    before: LookAtAll | None = None
    while True:
        found = poller.ask(partial(look_at_all, before=before))
        before = found or before
        yield found
        poller.pause()


def _looks(poller: Poller, name: str, wait: float) -> Iterator[Look | None]:
    """Yield looks at a container until nobody runs it; None while the store is away.

    Raises:
        ContainerNotFound: there is no such container, or it was deleted.
    """
    until = since_boot() + wait
    ask: Callable[[Store], Look] = partial(_found, name)
    is_found = has_run = False
    while True:
        try:
            look = poller.ask(ask)
        except ContainerNotFound:
            if is_found or since_boot() >= until:
                raise
            poller.pause()
            continue
        if look is not None:
            ask, is_found = partial(_again, look.record.name), True
            has_run = has_run or look.is_live
            if look.is_blank and (look.is_leased or since_boot() < until):
                poller.pause()
                continue
        yield look
        if look is not None and not look.is_live:
            is_over = look.status is Status.DONE or has_run
            if is_over or since_boot() >= until:
                return
        poller.pause()


def _found(name: str, store: Store) -> Look:
    return look_at(store, find(store, name))


def _again(name: str, store: Store) -> Look:
    record = store.container(name)
    if record is None:
        raise ContainerNotFound(f"container {name!r} was deleted")
    return look_at(store, record)


def _end(common: Common, poller: Poller, look: Look, view: View[Look]) -> int:
    """Say how a container stands at the end; return the exit code."""
    is_done = look.status is Status.DONE
    if isinstance(view, ScreenView):
        poller.ask(partial(show_page, common, look))
    elif isinstance(view, Lines) or not is_done:
        if not isinstance(view, Lines):
            text = tables.in_a_line(look.record, look.glance.tallies, look.at, None)
            say(f"{fmt.clean(look.record.name)}  {text}")
        poller.ask(partial(say_remedies, common, look))
    return 0 if is_done else _INCOMPLETE
