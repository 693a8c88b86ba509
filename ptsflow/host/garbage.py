"""The garbage collector of this process."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

#: More objects than Python 3.12 and later freeze themselves, and fewer than somebody does
#: who freezes what is loaded.
_FROZEN_BY_PYTHON = 1_000
#: Whether `freeze` was called.
_is_frozen = False


def freeze() -> None:
    """Keep the collector from all that was made until now, also as the process ends."""
    global _is_frozen  # noqa: PLW0603 - a process has one collector
    gc.freeze()
    _is_frozen = True


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from looking through many objects again and again as they are made.

    What is made must not be garbage in cycles; all else is freed as ever.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def modules_stay() -> Iterator[None]:
    """Keep the collector from looking through modules as they are loaded, and at once after.

    Modules stay; to look through them takes a tenth of the start of a process. With the
    next whole collection the collector looks through them as through all else.

    A whole collection is rare, and what was garbage before stays until then. So nothing
    happens where no module is loaded.
    """
    with uncollected():
        before = len(sys.modules)
        yield
        if len(sys.modules) == before:
            return
        # Now all is as old as can be. What somebody has frozen stays so; to count that
        # takes 2 ms where it is all that `ptsflow` loads.
        if not _is_frozen and gc.get_freeze_count() <= _FROZEN_BY_PYTHON:
            gc.freeze()
            gc.unfreeze()
