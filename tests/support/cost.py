"""How the cost of something grows with its size, on a machine however busy."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

#: How much larger the large one is.
FACTOR = 4

#: What is in proportion costs about four times as much, and what is not at least
#: sixteen times: between them lies what other processes on the machine disturb.
IN_PROPORTION = 8

#: As often is measured, at least and at most.
ROUNDS = (3, 12)


def growth(call: Callable[[int], object], small: int) -> float:
    """Return by what factor `call` costs more at `FACTOR` times the size.

    Cost is CPU time of this process. Of several rounds the least counts: whatever
    else the machine does only adds to it. A factor that is too large is measured
    again, as a busy neighbour takes the processor's caches from the large one first.
    """
    least, most = ROUNDS
    first = large = float("inf")
    for number in range(1, most + 1):
        first = min(first, _cost(call, small))
        large = min(large, _cost(call, FACTOR * small))
        if number >= least and large < IN_PROPORTION * first:
            break
    return large / first


def _cost(call: Callable[[int], object], size: int) -> float:
    """Return the seconds of one call, without what the garbage collector takes."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        call(size)
        return time.process_time() - began
    finally:
        gc.enable()
