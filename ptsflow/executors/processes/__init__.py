"""Bodies in processes of this machine that end with their runner."""

from __future__ import annotations
