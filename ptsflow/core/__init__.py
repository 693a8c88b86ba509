"""What decides: records, the plan, and pure functions over them; no clock, no I/O."""

from __future__ import annotations
