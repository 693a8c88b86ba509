"""What the marks of a timeline mean."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ptsflow.core.model import Status
from ptsflow.display.format import KILLED, SYMBOLS
from ptsflow.web.drawing.svg import drawing, mark

_WIDTH, _HEIGHT = 26, 12
_STATUSES = (Status.DONE, Status.FAILED, Status.RUNNING, Status.SKIPPED)


def legend(drawn: str) -> Sequence[tuple[Markup, str]]:
    """Return the marks that a timeline has, each with what it means."""
    wait = mark("path", "wait tall-12", "", d=f"M0 6H{_WIDTH}")
    shade = mark("path", "shade-3", "", d=f"M0 6H{_WIDTH}")
    #: By how the class of a mark begins.
    kinds = {
        **{f"is-{kind}": (_bar(kind), f"{SYMBOLS[kind]} {kind}") for kind in _STATUSES},
        f"is-{Status.WAITING}": (_bar(Status.WAITING), "stopped, or put off"),
        f"is-{KILLED}": (_bar(KILLED), f"{KILLED} with its runner"),
        "wait": (wait, "until another attempt"),
        "shade": (shade, "many items: the darker, the more run"),
    }
    return [
        (drawing("key", "", (_WIDTH, _HEIGHT), [marks]), word)
        for kind, (marks, word) in kinds.items()
        if any(f'<{tag} class="{kind}' in drawn for tag in ("rect", "path"))
    ]


def _bar(kind: str) -> str:
    bar = mark("rect", f"is-{kind}", "", x=0, y=0, width=_WIDTH, height=_HEIGHT)
    is_failed = kind == Status.FAILED
    return bar + mark("path", "struck", "", d=f"M0 6H{_WIDTH}") if is_failed else bar
