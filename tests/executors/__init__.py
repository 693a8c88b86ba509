"""Bodies in threads and in child processes."""

from __future__ import annotations
