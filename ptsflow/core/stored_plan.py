"""What a stored plan must be like, whoever wrote it to the store."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ptsflow.core.model import StepSummary


def misfit(plan: Sequence[StepSummary]) -> str | None:
    """Return what in a stored plan no run can have written; None if there is nothing.

    Invariant: a step waits for earlier steps alone, and no two steps have one name.
    """
    known: set[str] = set()
    for place, step in enumerate(plan):
        name = step.name
        each = () if step.each is None else (step.each,)
        for other in (*step.needs, *step.takes, *each):
            if other not in known:
                return f"step {name!r} that waits for {other!r}, which is no step before it"
        if name in known:
            return f"two steps {name!r}"
        if not 0 <= (step.above or 0) <= place:
            return f"step {name!r} that waits for the first {step.above} steps"
        if not 0 <= step.weight < math.inf:
            return f"step {name!r} of weight {step.weight}"
        if step.tolerate and not _is_share_or_number(step.tolerate):
            return f"step {name!r} that tolerates {step.tolerate!r}"
        known.add(name)
    return None


def _is_share_or_number(tolerate: int | str) -> bool:
    if isinstance(tolerate, int):
        return tolerate >= 0
    try:
        return tolerate.endswith("%") and 0 <= float(tolerate[:-1]) < math.inf
    except ValueError:
        return False
