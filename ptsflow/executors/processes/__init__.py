"""Bodies in processes of this machine that cannot outlive their runner."""

from __future__ import annotations
