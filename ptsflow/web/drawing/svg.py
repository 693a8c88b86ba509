"""What drawings are made of: escaped texts, marks with titles, and a bound on their size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from markupsafe import Markup, escape

from ptsflow.display import format as fmt

D = TypeVar("D")

#: The largest drawing, in bytes.
LIMIT = 40_000
#: The least width of what lasted, however short it was.
LEAST = 4.0

#: Returns the address of a task or a step by its name; None if there is no page of it.
Link = Callable[[str], str | None]

# XML has no place for these two, however they are written.
_NO_CHARACTER = re.compile("[\ufffe\uffff]")
_NAMES = re.compile(r'<g class="names" data-room="([0-9.]+)">(.*?)</g>', re.DOTALL)


def text_of(text: str, most: int) -> Markup:
    """Return a text from data, on one line, cut to so many columns and escaped."""
    # Cut twice: characters of no width would let a text of any length through.
    cleaned = _NO_CHARACTER.sub("\ufffd", fmt.clean(text[: most + 1]))
    return escape(fmt.cut(cleaned, most))


def columns_of(text: str) -> int:
    """Return how many columns a text from data has on one line, 100 at the most."""
    return fmt.cells(fmt.cut(fmt.clean(text[:101]), 100))


def number(value: float) -> str:
    """Return a coordinate to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def segment(left: float, right: float, most: float) -> tuple[float, float]:
    """Return where a segment begins and how wide it is, so that it can be seen.

    Args:
        left: where it begins.
        right: where it ends.
        most: the end of the room.
    """
    width = max(LEAST, right - left)
    return max(0.0, min(left, most - width)), width


def mark(
    tag: str,
    classes: str,
    title: str | Markup,
    body: str | Markup = "",
    **where: float | str,
) -> str:
    """Return an element that says what it is when pointed at.

    Args:
        tag: its name.
        classes: what colours it.
        title: what it says, escaped; "" for a mark that needs no words.
        body: the text that it shows, escaped.
        where: its other attributes, texts of which are our own.
    """
    attributes = "".join(
        f' {name}="{value if isinstance(value, str) else number(value)}"'
        for name, value in where.items()
    )
    said = f"<title>{title}</title>" if title else ""
    return f'<{tag} class="{classes}"{attributes}>{said}{body}</{tag}>'


def linked(marks: str, address: str | None) -> str:
    """Return marks that lead to an address.

    The tables beside drawings have the same links, so the keyboard passes these over.
    """
    if address is None:
        return marks
    return f'<a href="{escape(address)}" tabindex="-1">{marks}</a>'


def opened(marks: str, address: str) -> str:
    """Return marks that lead to an address, also for the keyboard."""
    return f'<a href="{escape(address)}">{marks}</a>'


def drawing(
    kind: str, label: str, size: tuple[float, float], marks: Iterable[str]
) -> Markup:
    """Return marks as a drawing.

    Args:
        kind: its class.
        label: what it shows, for those who cannot see it.
        size: its width and height.
        marks: what is in it.
    """
    width, height = map(number, size)
    # All parts are escaped: texts by `text_of`, addresses by `linked`.
    return Markup(  # noqa: S704
        f'<svg class="drawing {kind}" role="group" aria-label="{text_of(label, 120)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"{''.join(marks)}</svg>"
    )


def named(names: Iterable[str], room: float) -> str:
    """Return the names of rows, which have so much room at the left; see `names_of`."""
    return f'<g class="names" data-room="{number(room)}">{"".join(names)}</g>'


def names_of(drawn: Markup) -> Markup:
    """Return the names of the rows of a drawing, each where its row is.

    They are laid over a drawing that is scrolled.
    """
    found = _NAMES.search(drawn)
    if found is None:
        return Markup("")
    height = float(drawn.partition(' height="')[2].partition('"')[0])
    return drawing("row-names", "", (float(found[1]), height), [found[2]])


def fitted(draw: Callable[[D], Markup], details: Sequence[D]) -> Markup:
    """Return the first drawing that is within the limit; the last one must be.

    Args:
        draw: draws with one of the details.
        details: how much is drawn, the most first.
    """
    for detail in details:
        drawn = draw(detail)
        if len(drawn.encode()) <= LIMIT:
            break
    return drawn
