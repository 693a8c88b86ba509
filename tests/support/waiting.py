"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

#: Seconds after which a loaded machine, too, would have done what is waited for.
PATIENCE = 60


def awaited(path: Path) -> str:
    """Return the text of a file, once it is there."""
    until(path.exists, seen=lambda: f"{path} did not appear")
    return path.read_text(encoding="utf-8")


def until(
    condition: Callable[[], object],
    *,
    seen: Callable[[], object] = str,
) -> None:
    """Return as soon as the condition holds, or fail with what `seen` returns then."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, seen()
        time.sleep(0.005)
