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


def growth(call: Callable[[int], object], small: int) -> float:
    """Return by what factor `call` costs more at `FACTOR` times the size.

    Cost is CPU time of this process. Of several rounds the least counts: whatever
    else the machine does only adds to it.
    """
    rounds = [(_cost(call, small), _cost(call, FACTOR * small)) for _ in range(3)]
    return min(large for _, large in rounds) / min(first for first, _ in rounds)


def _cost(call: Callable[[int], object], size: int) -> float:
    gc.collect()
    began = time.process_time()
    call(size)
    return time.process_time() - began
