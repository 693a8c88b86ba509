"""How long a container of a workflow usually takes, for people and as JSON."""

from __future__ import annotations

from ptsflow.core.history import Profile
from ptsflow.display import format as fmt
from ptsflow.display.as_json import Json


def usually(profile: Profile) -> str:
    """Return `usually takes 15m02s (20 runs, 12m40s to 19m10s)`; "" if no run tells."""
    if profile.usual_ms is None:
        return ""
    runs = fmt.many(profile.runs, "run", "runs")
    low, high = profile.low_ms, profile.high_ms
    between = (
        ""
        if profile.runs == 1 or low is None or high is None
        else f", {fmt.duration(low)} to {fmt.duration(high)}"
    )
    return f"usually takes {fmt.duration(profile.usual_ms)} ({runs}{between})"


def usual(profile: Profile) -> Json:
    """Return the same in seconds; None if no run tells."""
    if profile.usual_ms is None:
        return None
    times = {
        "seconds": profile.usual_ms,
        "low_seconds": profile.low_ms,
        "high_seconds": profile.high_ms,
    }
    found: dict[str, Json] = {
        name: None if ms is None else ms / 1000 for name, ms in times.items()
    }
    return found | {"runs": profile.runs}
