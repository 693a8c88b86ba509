"""The commands that messages of the command line name; they name the store."""

from __future__ import annotations

from collections.abc import Iterable

from ptsflow.cli.common import Common
from ptsflow.display import next_command
from ptsflow.errors import PtsflowError
from ptsflow.stores import mask


def command(common: Common, words: Iterable[str], *, folder: str | None = None) -> str:
    """Return a command as it is typed; see `next_command.command`."""
    return next_command.command(common.url, words, folder=folder)


def left_out(common: Common) -> str:
    """Say what a command leaves out: the store's URL if it has a password; else ""."""
    if common.store is None or mask(common.store) == common.store:
        return ""
    return "the store's URL has a password: give it in PTSFLOW_STORE"


def message_of(error: BaseException, common: Common) -> str:
    """Return an error's message; the command that ends it is ready to be typed."""
    text = str(error)
    if isinstance(error, PtsflowError) and error.command:
        text = text.removesuffix(error.typed_command) + command(common, error.command)
    return text
