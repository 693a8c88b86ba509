"""The options and arguments with which `run` and `resume` run a container."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ptsflow.cli.common import Common
from ptsflow.cli.shared import say
from ptsflow.display.next_command import absolute_target
from ptsflow.errors import ParameterError, UsageError
from ptsflow.runner.options import RunOptions
from ptsflow.stores.store_wait import StoreWait
from ptsflow.workflow import units
from ptsflow.workflow.workflow import Workflow

#: The lease without `--lease`, in seconds.
LEASE = 60.0
_STORE_WAIT = 30.0
#: How often a running task has a line in plain output, in seconds.
_EVERY = 300.0


class Request(Struct, frozen=True, kw_only=True):
    """How a container is to be run: the options and arguments of `run` and `resume`."""

    target: str
    param: tuple[str, ...]
    container: str | None = None
    jobs: int | None
    fresh: bool = False
    from_step: str | None = None
    only: tuple[str, ...] = ()
    changed: bool = False
    wait: float
    store_wait: str | None
    lease: float
    executor: str | None
    timeout: str | None
    every: str | None
    quiet: bool
    no_hooks: bool = False
    dry_run: bool = False
    stored: bool = False
    #: Whether what the schedule says is due is run, and from when on.
    due: bool = False
    since: str | None = None
    #: Whether the command runs several containers.
    is_one_of_many: bool = False

    def options(self) -> RunOptions:
        """Return them as the runner takes them."""
        return RunOptions(
            container=self.container,
            jobs=self.jobs,
            lease=self.lease,
            wait=self.wait,
            fresh=self.fresh,
            from_step=self.from_step,
            only=self.only or None,
            changed=self.changed,
            executor=self.executor,
            timeout=_timeout(self.timeout),
            hooks=not self.no_hooks,
            store_wait=_store_wait(self),
            target=absolute_target(self.target),
        )

    def line_every(self) -> float | None:
        """Return how often a running task has a line, in seconds; None for never."""
        if self.every is None:
            return None if self.quiet else _EVERY
        return None if self.every == "0" else seconds_of("--every", self.every)

    def again(self, common: Common, only: Sequence[str] = ()) -> list[str]:
        """Return the options of the command that continues this run.

        --fresh, --from and --changed are left out: the run has already begun what they
        ask for, and a rerun continues it.

        Args:
            common: the options of all commands.
            only: steps that have to run too.
        """
        words = [] if self.jobs is None else ["-j", str(self.jobs)]
        words += [] if self.executor is None else ["--executor", self.executor]
        words += [] if self.timeout is None else ["--timeout", self.timeout]
        for name in (*only, *self.only):
            words += ["--only", name]
        words += ["--wait", f"{self.wait:g}"] if self.wait else []
        words += ["--store-wait", self.store_wait] if self.store_wait else []
        words += [] if self.every is None else ["--every", self.every]
        words += ["--lease", f"{self.lease:g}"] if self.lease != LEASE else []
        words += ["--no-hooks"] if self.no_hooks else []
        flags = {"--json": common.json, "-q": self.quiet, "-v": common.verbose}
        return words + [flag for flag, is_set in flags.items() if is_set]


def _timeout(text: str | None) -> float | None:
    return None if text is None else seconds_of("--timeout", text)


def _store_wait(request: Request) -> StoreWait:
    """Return how long to wait for the store; waiting for another runner covers it too."""
    text, seconds = request.store_wait, _STORE_WAIT
    if text is not None:
        seconds = 0.0 if text == "0" else seconds_of("--store-wait", text)
    timeout = _timeout(request.timeout) or math.inf
    return StoreWait(min(max(seconds, request.wait), timeout), say)


def seconds_of(option: str, text: str) -> float:
    """Return a time such as "90" or "2h" that an option was given, in seconds.

    Raises:
        UsageError: it is no time.
    """
    is_number = text.replace(".", "", 1).isdecimal()
    found = units.seconds(float(text) if is_number else text)
    if found is None:
        raise UsageError(
            f"{option}: expected a time such as 90, 30m or 2h, found {text!r}"
        )
    return found


def parameters(kind: type[Workflow], given: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that `name=text` pairs give, by the workflow's annotations.

    Raises:
        UsageError: one is not `name=text`, or is given twice.
        ParameterError: a value does not fit its annotation.
    """
    texts: dict[str, list[str]] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p: expected name=value, found {pair!r}")
        texts.setdefault(name, []).append(text)
    return {name: _value(kind, name, listed) for name, listed in texts.items()}


def _value(kind: type[Workflow], name: str, texts: list[str]) -> Any:
    declared = kind.declared_parameters.get(name)
    if declared is None:
        return texts[
            -1
        ]  # The workflow refuses an unknown name and lists the known ones.
    label = f"{kind.__name__}: the parameter {name}"
    values = [declared.parsed(text, label) for text in texts]
    if len(values) == 1:
        return values[0]
    if all(isinstance(value, (list, tuple)) for value in values):
        return type(values[0])(element for value in values for element in value)
    if all(isinstance(value, (set, frozenset)) for value in values):
        return type(values[0])().union(*values)
    raise ParameterError(f"{label}: expected one -p {name}=..., found {len(values)}")
