"""`run TARGET --help`: what the workflow is, and its parameters."""

from __future__ import annotations

import contextlib
import inspect
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from ptsflow import codec
from ptsflow.cli import complete
from ptsflow.core.secrets import HIDDEN
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.errors import PtsflowError
from ptsflow.workflow.loading import load
from ptsflow.workflow.secret import Secret
from ptsflow.workflow.workflow import Workflow

if TYPE_CHECKING:
    from ptsflow.workflow.collect import Parameter

_ARGUMENTS = "ptsflow.arguments"


class TargetCommand(complete.Command):
    """A command whose help tells of the TARGET that it is given, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments for the help, which is asked for before they are read."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_help_text(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the help of the command, and what there is to know of TARGET."""
        super().format_help_text(ctx, formatter)
        target = self._target(ctx)
        if target is None:
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):
                kind: type[Workflow] = load(target, Workflow)
        except PtsflowError as error:
            formatter.write_paragraph()
            formatter.write_text(fmt.clean(f"TARGET: {error}"))
            return
        if kind.__doc__:
            with formatter.section(kind.__name__):
                formatter.write_text(inspect.cleandoc(kind.__doc__))
        rows = [_row(parameter) for parameter in kind.declared_parameters.values()]
        if rows:
            with formatter.section(f"Parameters of {kind.__name__}"):
                formatter.write_dl(rows)

    def _target(self, ctx: click.Context) -> str | None:
        given = list(ctx.meta.get(_ARGUMENTS, ()))
        with contextlib.suppress(click.UsageError):
            values, _, _ = self.make_parser(ctx).parse_args(given)
            target = values.get("target")
            return target if isinstance(target, str) else None
        return None


def _row(parameter: Parameter) -> tuple[str, str]:
    """Return how a parameter is given, and what it may be."""
    kind = parameter.spelling
    if parameter.is_secret:
        kind = f"{kind}; env:VARIABLE or file:PATH"
    if parameter.is_required:
        return f"-p {parameter.name}=", fmt.clean(f"{kind}; must be given")
    value, default = parameter.default, HIDDEN
    if isinstance(value, Enum):
        default = str(value.value)
    elif not isinstance(value, Secret):
        default = _spelt(as_json.value(codec.encode(value, parameter.hint)))
    return f"-p {parameter.name}=", fmt.clean(f"{kind}; default {default}")


def _spelt(value: Any) -> str:
    """Return a rendered default as `-p` reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(map(_is_plain, value)):
        return ",".join(map(str, value))
    return str(value) if not isinstance(value, (list, dict)) else as_json.dumps(value)


def _is_plain(element: Any) -> bool:
    """Whether an element of a list may stand between commas."""
    if isinstance(element, str):
        return bool(element) and "," not in element and element[0] not in "[{"
    return isinstance(element, (int, float)) and not isinstance(element, bool)
