"""Texts that are kept: how long they may be, how longer ones are cut, and their hashes."""

from __future__ import annotations

import re
from zlib import crc32

#: The longest status text and error text kept, in characters.
TEXT_LIMIT = 4_000
ERROR_LIMIT = 16_000
#: What can be done about an attempt in a thread that is over its limits.
LATE_ADVICE = "a thread cannot be killed, executor='process' can"
# A text, as `re` compiles it when it is first used.
_LATE = rf"(?:^|; )((?:stalled|over timeout=\S+) for \d+ s; {re.escape(LATE_ADVICE)})$"


def cut(text: str, limit: int) -> str:
    """Return `text` fit to be stored: valid, its middle left out if it is too long."""
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def split_late(text: str) -> tuple[str, str]:
    """Return a task's text, and what it says at its end of being over its limits."""
    late = re.search(_LATE, text) if text.endswith(LATE_ADVICE) else None
    return (text[: late.start()], late[1]) if late else (text, "")


def hash_of(text: str | None) -> int:
    """Return the hash of a stored value; 0 for None."""
    if text is None or text == "null":
        return 0
    data = text.encode()
    return len(data) << 32 | crc32(data)


def one_line(error: BaseException) -> str:
    """Return the class and the first line of the message of any error, also a broken one."""
    kind = type(error).__name__
    try:
        text = str(error).strip().partition("\n")[0]
    except BaseException:  # noqa: BLE001 - a user's __str__ is a user's code
        text = "(its message cannot be read)"
    return f"{kind}: {text}" if text else kind
