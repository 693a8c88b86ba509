"""What the headers of a web server's answer say of a file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from ptsflow.host.clock import system_clock


def etag(headers: Mapping[str, str]) -> str:
    """Return the ETag; "" if there is none, or only a weak one, which may lie."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else ""


def validator(headers: Mapping[str, str]) -> str:
    """Return what names this version of the file; "" if nothing does for sure."""
    tag = etag(headers)
    changed = _moment(headers.get("Last-Modified", ""))
    now = _moment(headers.get("Date", ""))
    # A file may change twice in a second, and its date says nothing of that.
    if tag or changed is None or now is None or (now - changed).total_seconds() < 1:
        return tag
    return str(headers["Last-Modified"])


def _moment(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        return parsedate_to_datetime(text)
    return None


def content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the whole, as `Content-Range` says."""
    text = headers.get("Content-Range", "")
    place, _, total = text.removeprefix("bytes ").partition("/")
    return number(place.partition("-")[0]), number(total)


def number(text: str) -> int | None:
    """Return the number that a text is; None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how long the server wants to be left alone, in seconds; None if unsaid."""
    text = headers.get("Retry-After", "")
    moment = _moment(text)
    if text.isascii() and text.isdecimal():
        return float(text)
    return (
        None if moment is None else max(0.0, moment.timestamp() - system_clock() / 1000)
    )
