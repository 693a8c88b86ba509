"""The store in memory, for tests and `run_inline`."""

from __future__ import annotations
