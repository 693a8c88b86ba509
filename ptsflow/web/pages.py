"""What each page shows: parts that change by themselves, made from one look."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from ptsflow.core.model import Attempt, Status
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.display.format import Piece
from ptsflow.web.drawing import names_of
from ptsflow.web.live import Fragments

#: The levels of log lines that have a colour of their own.
_LEVELS = frozenset({"warning", "error", "critical"})
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Part(Struct, frozen=True):
    """A part of a page: a template, and what it is given."""

    template: str
    values: Mapping[str, Any]


class Page(Struct, frozen=True, kw_only=True):
    """A page as it is at one moment."""

    title: str
    #: By the ids of the elements that hold them.
    parts: Mapping[str, Part]


@cache
def environment() -> Environment:
    """Return what renders templates: every text is escaped, and safe on one line."""
    made = Environment(
        loader=PackageLoader("ptsflow.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": fmt.duration,
        "date_time": fmt.date_time,
        "moment": fmt.moment,
        "percent": fmt.percent,
        "ago": _ago,
        "clock": fmt.clock_time,
        "ending": _ending,
        "level": lambda level: level if level in _LEVELS else "other",
        "lines": _lines,
        "many": fmt.many,
        "merge": lambda pairs, more: {**pairs, **more},
        "size": fmt.size,
        "plain": fmt.plain_value,
        "symbol": lambda status: fmt.SYMBOLS[status],
        # Jinja's own leaves slashes, and "/../" leads to another page.
        "urlencode": partial(quote, safe=""),
        "when": as_json.when,
        "took": tables.took,
        "what": partial(fmt.what, between=" · "),
    }
    made.globals |= {"Status": Status, "order": fmt.ORDER, "names_of": names_of}
    return made


def _shown(value: object) -> object:
    """Return what an expression puts into a page: control characters are escaped."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return fmt.clean(value)
    return value


def _ending(attempt: Attempt) -> Piece:
    return Piece(tables.ending_word(attempt.ending), tables.ENDINGS[attempt.ending])


def _lines(text: str) -> list[str]:
    """Return the lines of a text; each is escaped by itself."""
    return text.expandtabs().rstrip("\n").split("\n")


def _ago(ms: int, now: int) -> str:
    """Return how long ago a time was, such as `5m ago`; of yesterday and before the date.

    It changes seldom, so that a page need not be sent again.
    """
    seconds = max(0, now - ms) // 1000
    if seconds < _MINUTE:
        return "just now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR}h ago"
    return fmt.date_time(ms)[:16]


def fragments(templates: Environment, page: Page) -> Fragments:
    """Return the parts of a page as HTML."""
    return {
        name: templates.get_template(part.template).render(part.values)
        for name, part in page.parts.items()
    }
