"""Which of many failures, or reasons, are the same but for numbers and names in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from ptsflow.core.forecast import Forecast

#: What differs from one failure to the next: addresses, uuids, hashes, numbers.
_NUMBER = re.compile(
    r"""
    0[xX][0-9a-fA-F]+
    | \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b
    | \b(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b
    | [0-9]+(?:[.,][0-9]+)*
    """,
    re.VERBOSE,
)
#: What stands in quotes; an apostrophe within a word is none.
_QUOTED = re.compile(r"""(?<!\w)(['"`])(.+?)\1(?!\w)""")
_LETTER = re.compile(r"[^\W\d_]")
#: The class of an exception before its message.
_TYPE = re.compile(r"([A-Za-z_][\w.]*): (.*)", re.DOTALL)


class Failure(Struct, frozen=True, kw_only=True):
    """A task that is failed."""

    container: str
    task: str
    step: str
    #: As its record keeps it: the class of the exception, a colon, and the message.
    error: str
    #: When it failed.
    at: int


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Failures of one step by errors of one class and of like messages."""

    step: str
    error_type: str
    #: The message with # for numbers, and … for names in quotes.
    message: str
    #: The newest first.
    failures: tuple[Failure, ...]

    @property
    def containers(self) -> list[str]:
        """The containers that have one, that with the newest first."""
        return list(dict.fromkeys(failure.container for failure in self.failures))


def group_failures(failures: Iterable[Failure]) -> list[FailureGroup]:
    """Return failures by what went wrong, those of the most containers first."""
    found: dict[tuple[str, str, str], list[Failure]] = defaultdict(list)
    for failure in sorted(failures, key=lambda failure: failure.at, reverse=True):
        kind, message = split_error(failure.error)
        found[failure.step, kind, pattern_of(message)].append(failure)
    groups = [
        FailureGroup(step=step, error_type=kind, message=message, failures=tuple(group))
        for (step, kind, message), group in found.items()
    ]
    groups.sort(key=lambda group: len(group.containers), reverse=True)
    return groups


def split_error(error: str) -> tuple[str, str]:
    """Return the class of the exception that an error names, or "", and its message."""
    match = _TYPE.match(error)
    return (match[1], match[2]) if match else ("", error)


def pattern_of(message: str) -> str:
    """Return the first line of a message without what differs from one to the next."""
    first_line = message.partition("\n")[0].strip()
    return _QUOTED.sub(_without_names, _NUMBER.sub("#", first_line))


def _without_names(match: re.Match[str]) -> str:
    quote, text = match.groups()
    return f"{quote}…{quote}" if _LETTER.search(text) else match[0]


class ForecastGroup(Struct, frozen=True, kw_only=True):
    """What a run would do alike with several tasks of a step."""

    action: str
    #: The reason; with # for numbers and … for names in quotes, where these differ.
    reason: str
    names: tuple[str, ...]


def group_forecasts(forecasts: Iterable[Forecast]) -> list[ForecastGroup]:
    """Return what a run would do, the tasks of a step with like reasons as one."""
    found: dict[tuple[str, str, str], list[Forecast]] = defaultdict(list)
    for entry in forecasts:
        step = entry.name.partition("[")[0]
        found[step, entry.action, pattern_of(entry.reason)].append(entry)
    return [
        ForecastGroup(
            action=action,
            reason=pattern if len({e.reason for e in group}) > 1 else group[0].reason,
            names=tuple(entry.name for entry in group),
        )
        for (_, action, pattern), group in found.items()
    ]
