"""The group of commands, and the exit code of `ptsflow`.

Commands are thin: each calls the public API and prints the result. Standard output is
for data, standard error for everything else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from ptsflow import __version__
from ptsflow.cli import complete, streams
from ptsflow.cli.common import Common, common_options
from ptsflow.cli.shared import (
    BUG,
    Group,
    refuse,
    say,
    tell_what_was_lost,
)
from ptsflow.cli.streams import open_standard_streams
from ptsflow.core.names import similar
from ptsflow.display.next_command import program, typed
from ptsflow.errors import NoThread, PtsflowError, UsageError
from ptsflow.host import garbage
from ptsflow.host.termination import Terminated

_USAGE = 2
_INTERRUPTED = 130
_TERMINATED = 143
_DAY = 24 * 3600

#: Where each command stands below `ptsflow.cli`: it is loaded when it is called.
_COMMANDS = {
    "run": "run:run",
    "resume": "resume:resume",
    "submit": "submit:submit",
    "worker": "worker:worker",
    "status": "show:status",
    "watch": "watch:watch",
    "list": "listing:list_containers",
    "show": "show:show",
    "logs": "logs:logs",
    "errors": "failures:errors",
    "history": "history:history",
    "overdue": "overdue:overdue",
    "schedule": "schedule:schedule",
    "graph": "show:graph",
    "cancel": "change:cancel",
    "retry": "retry:retry",
    "reset": "change:reset",
    "mark": "change:mark",
    "delete": "delete:delete",
    "prune": "prune:prune",
    "store": "store:store",
    "metrics": "metrics:metrics",
    "ui": "ui:ui",
    "report": "report:report",
    "help": "help:help_topic",
}


@click.group(
    cls=Group,
    places=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 complete, 1 a step failed, 2 usage, 3 a bug in ptsflow, "
    "4 target, declaration or parameters do not fit, 5 held by another runner, "
    "6 store, 75 lease lost, 124 --timeout, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.",
)
@click.version_option(__version__, "-V", "--version", message="ptsflow %(version)s")
@common_options
def commands() -> None:
    """Run workflows whose steps are remembered: run again, and only what is left runs."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end the process."""
    garbage.freeze()
    open_standard_streams()
    if not complete.prepare():
        streams.restore_terminal()
    # Signal handlers can be set in the main thread alone.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _terminate)
    code = _call(sys.argv[1:] if arguments is None else arguments)
    # A signal only cuts the waiting short: how the command ended is known.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        streams.finish()
    sys.exit(code)


def call(arguments: Sequence[str]) -> int:
    """Run a command; return what a process would exit with."""
    try:
        return _call(arguments)
    finally:
        streams.finish()
        streams.restore()


def _call(arguments: Sequence[str]) -> int:
    common = Common()
    try:
        _check_text(arguments)
        _check_zone()
        result: Any = commands.main(
            list(arguments), prog_name="ptsflow", standalone_mode=False, obj=common
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return _USAGE
    except click.ClickException as error:
        say(_usage(error))
        return _USAGE
    except (click.Abort, KeyboardInterrupt):
        say("ptsflow: stopped")
        return _INTERRUPTED
    except SystemExit as ended:
        # SIGTERM outside of a run, or the end of a shell completion.
        if ended.code == _TERMINATED:
            say("ptsflow: stopped")
        return ended.code if isinstance(ended.code, int) else BUG
    except PtsflowError as error:
        refuse(error, common)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last place where an error can become one line
        return _unexpected(error, common)
    tell_what_was_lost()
    return result if isinstance(result, int) else 0


def _lacking(error: Exception) -> str:
    """Return what the system has no more of, if that is the error."""
    if isinstance(error, MemoryError):
        return "no memory is left"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"no more files may be open ({error.filename}; see ulimit -n)"
    return ""


def _unexpected(error: Exception, common: Common) -> int:
    """Say what nobody refused in one line; return the exit code."""
    if lacking := _lacking(error):
        say(f"ptsflow: {lacking}; what was recorded is safe, run again with more")
        return NoThread.exit_code
    if not isinstance(error, FileNotFoundError) or _is_folder_there():
        refuse(error, common)
        return BUG
    say("ptsflow: the current folder was removed; go to one that is there (cd)")
    return _USAGE


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse arguments that could be neither stored nor shown.

    Raises:
        UsageError: one is not UTF-8.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the argument {argument!r} is not UTF-8; rename what it names (mv), or "
                "write it in UTF-8"
            ) from None


def _check_zone() -> None:
    """Refuse a time zone of which no time can be told.

    Raises:
        UsageError: it is a day or more from UTC.
    """
    if max(abs(time.timezone), abs(time.altzone)) >= _DAY:
        raise UsageError(
            f"$TZ: expected a time zone less than a day from UTC, found "
            f"{os.environ.get('TZ', '')!r}; name one as in TZ=Europe/Berlin, or unset it"
        )


def _is_folder_there() -> bool:
    with contextlib.suppress(OSError):
        return bool(Path.cwd())
    return False


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = "ptsflow" if context is None else context.command_path
    text = error.format_message().rstrip(".")
    text = text.replace("\n\t", " ").replace("\n", " ")
    if isinstance(error, click.NoSuchOption) and context is not None:
        known = [name for option in context.command.params for name in option.opts]
        text = (
            f"there is no option {error.option_name}{similar(error.option_name, known)}"
        )
    text = text[:1].lower() + text[1:]
    see = typed([*program(), *path.split(" ")[1:], "--help"])
    return f"{path}: {text}; see {see}"


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated(_TERMINATED)
