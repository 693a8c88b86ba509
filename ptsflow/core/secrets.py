"""Secret parameters: what is kept in their place, and texts without their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ptsflow.errors import NotStorable

#: What is shown in the place of a secret value.
HIDDEN = "***"
_BEGIN = '{"$":"secret","v":'
#: Shorter values, and shorter lines of a value, are not looked for in texts: they stand in
#: too many words.
_SHORTEST = 4
#: A result or a checkpoint is not refused because of a shorter value.
_SHORTEST_REFUSED = 8


def placeholder(source: str) -> str:
    """Return the JSON text that a container keeps in the place of a secret value.

    Args:
        source: where the value comes from, such as `env:TOKEN`; "" if that is not known.
    """
    return f"{_BEGIN}{json.dumps(source)}}}"


def source_of(text: str) -> str | None:
    """Return the source of a placeholder, `HIDDEN` if unknown; None of any other text."""
    if not text.startswith(_BEGIN):
        return None
    return str(json.loads(text)["v"]) or HIDDEN


class Concealer:
    """Takes the values of secret parameters out of texts.

    Args:
        values: the values by the names of their parameters.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        forms = {form for value in values.values() for form in _forms(value)}
        # The longest first: a value may be the beginning of another one.
        listed = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, listed)) or "(?!)")

    def hide(self, text: str) -> str:
        """Return a text with `HIDDEN` for each value in it."""
        return self._pattern.sub(HIDDEN, text)

    def refuse(self, text: str, what: str) -> None:
        """Refuse to store a value that has the value of a secret parameter in it.

        Args:
            text: as the value would be stored.
            what: what error messages call it.

        Raises:
            NotStorable: it has.
        """
        for name, value in self._values.items():
            spelt = json.dumps(value), json.dumps(value, ensure_ascii=False)
            found = any(spelling[1:-1] in text for spelling in spelt)
            if found and len(value) >= _SHORTEST_REFUSED:
                raise NotStorable(
                    f"{what} has the value of the secret parameter {name}, which is never "
                    "stored; leave it out, and take it from the parameter"
                )


def _forms(value: str) -> Iterator[str]:
    """Yield a value, and each line of it, as texts may spell it."""
    from urllib.parse import quote, quote_plus  # noqa: PLC0415 - only with a secret

    for part in {value, *value.splitlines()}:
        if len(part) >= _SHORTEST:
            spellings = (
                repr(part),
                json.dumps(part),
                json.dumps(part, ensure_ascii=False),
            )
            yield from (spelling[1:-1] for spelling in spellings)
            yield from (part, quote(part, safe=""), quote(part), quote_plus(part))
