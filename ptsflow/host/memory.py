"""The memory of this process, as the C library deals with it."""

from __future__ import annotations

import ctypes

#: The number of glibc's parameter for how many heaps threads have (`mallopt`).
_ARENA_MAX = -8


def give_back() -> None:
    """Give the memory that was freed back to the system, as far as the C library can.

    glibc keeps what one thread allocated and another freed, if anything above it is in
    use, and does not use it for the other thread.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def share_heap() -> None:
    """Let threads that begin from now on share one heap, as far as the C library can.

    glibc reserves 64 MiB of addresses for each heap. Where addresses are limited, a
    few threads that need next to no memory would leave none for another thread.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_ARENA_MAX, 1)
