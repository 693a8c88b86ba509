"""What is said of the end that a runner expects: the same on every screen. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ptsflow.core.insight import Outlook
from ptsflow.core.model import Status
from ptsflow.display import format as fmt


def sayings(
    outlook: Outlook | None, now: int, *, began_at: int, by_status: Mapping[Status, int]
) -> list[str]:
    """Return what can be said of a run's end, the longest text first; [] if nothing.

    Args:
        outlook: what the runner told last.
        now: the time in milliseconds since the epoch.
        began_at: when the run began.
        by_status: how many tasks stand in each status. Before one is complete it is said
            what is usual.
    """
    if outlook is None or outlook.eta_at is None:
        return []
    runs = f" ({fmt.many(outlook.runs, 'run', 'runs')})" if outlook.runs else ""
    if runs and not any(n for status, n in by_status.items() if status.is_complete):
        usual = f"usually {fmt.duration(outlook.eta_at - began_at)}"
        return [f"{usual}{runs}", usual]
    left = outlook.eta_at - now
    eta = f"ETA {fmt.duration(left)}" if left > 0 else "ETA any moment"
    about = _range(outlook) if left > 0 else ""
    return [f"{eta}{about}{runs}", f"{eta}{about}", eta]


def _range(outlook: Outlook) -> str:
    """Return ` ±12%`: half the range in which the end is, as a share of the time left."""
    if outlook.eta_at is None or outlook.low_at is None or outlook.high_at is None:
        return ""
    left = outlook.eta_at - outlook.at
    half = (outlook.high_at - outlook.low_at) / 2
    return f" ±{half / left:.0%}" if left > 0 else ""
