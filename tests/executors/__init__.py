"""Bodies in threads, in worker processes and on clusters."""

from __future__ import annotations
