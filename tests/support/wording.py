"""Comparing a message of ptsflow without the words that a library put into it."""

from __future__ import annotations

import re

#: Stands, in a `Message`, for one short line of a library, a server or Python.
THEIRS = "\N{BLACK CIRCLE}theirs\N{BLACK CIRCLE}"


class Message:
    """A text that equals every string with a short text in the place of each `THEIRS`.

    ptsflow promises its own words. A library's words may change with any release, so
    no test compares them.
    """

    def __init__(self, text: str) -> None:
        ours = map(re.escape, text.split(THEIRS))
        self._text = text
        self._pattern = re.compile(r"\S(?:.{0,200}\S)?".join(ours))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        return self._pattern.fullmatch(other) is not None

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return repr(self._text.replace(THEIRS, "<a library's words>"))
