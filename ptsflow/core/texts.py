"""Texts that are kept: how long they may be, how longer ones are cut, and their hashes."""

from __future__ import annotations

from zlib import crc32

#: The longest status text and error text kept, in characters.
TEXT_LIMIT = 4_000
ERROR_LIMIT = 16_000


def cut(text: str, limit: int) -> str:
    """Return `text` fit to be stored: valid, its middle left out if it is too long."""
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def hash_of(text: str | None) -> int:
    """Return the hash of a stored value; 0 for None."""
    if text is None or text == "null":
        return 0
    data = text.encode()
    return len(data) << 32 | crc32(data)
