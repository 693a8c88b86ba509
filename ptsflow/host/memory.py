"""Memory that this process has freed, and that the system could use."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give the memory that was freed back to the system, as far as the C library can.

    glibc keeps what one thread allocated and another freed, if anything above it is in
    use, and does not use it for the other thread.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
