"""Names as people type them: which one was meant, and many of them in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import nlargest
from itertools import pairwise

from ptsflow.core.model import NAME_LIMIT

#: The longest list of names that a sentence has whole, in characters.
_WHOLE = 240
#: How many names of a longer list a sentence has.
_SOME = 5
#: How alike two names must be for one to be meant by the other; equal ones have 1.
_ALIKE = 0.6
#: How many names, the likeliest ones, are compared letter by letter.
_COMPARED = 200


def similar(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` where something known is near `name`, else ""."""
    near = _nearest(name, known, 1)
    return perhaps(repr(near[0])) if near else ""


def perhaps(meant: str) -> str:
    """Return the question whether that was meant, as a part of a sentence."""
    return f" (did you mean {meant}?)"


def listed(names: Collection[str], near: str = "") -> str:
    """Return names separated by commas; of many only some, and how many more there are.

    Args:
        names: the names.
        near: what was typed instead; of many names, those near to it are the first.
    """
    whole = ", ".join(names) if len(names) < _WHOLE else ""
    if len(whole) <= _WHOLE and (whole or not names):
        return whole
    chosen = dict.fromkeys([*(_nearest(near, names, _SOME) if near else ()), *names])
    some = ", ".join(list(chosen)[:_SOME])
    rest = len(names) - _SOME
    return f"{some} and {rest} more" if rest > 0 else some


def unusable(name: str) -> str:
    """Return why a store cannot keep a name; "" if it can."""
    if name.isidentifier() and 4 * len(name) <= NAME_LIMIT:
        return ""  # Nearly all names, and a class may have thousands.
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is no valid text"
    if not name or name.isspace():
        return "it is blank"
    if "\0" in name:
        return "it has a NUL"
    return "" if size <= NAME_LIMIT else f"it has {size} bytes"


def _nearest(name: str, known: Iterable[str], most: int) -> list[str]:
    """Return the names that are alike `name`, the nearest first, then as they are given."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - 1 ms, only for a refusal

    pairs = _pairs(name)
    likely = nlargest(
        _COMPARED, enumerate(known), key=lambda entry: len(pairs & _pairs(entry[1]))
    )
    matcher = SequenceMatcher()
    matcher.set_seq2(name)
    alike: dict[str, float] = {}
    for _, other in sorted(likely):
        matcher.set_seq1(other)
        if matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE:
            alike[other] = matcher.ratio()
    return nlargest(most, alike, key=lambda other: alike[other])


def _pairs(name: str) -> set[tuple[str, str]]:
    """Return which letters stand beside each other: quick to compare in many names."""
    return set(pairwise(name))
