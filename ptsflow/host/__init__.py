"""What the operating system knows: clocks, files, processes, locks."""

from __future__ import annotations
