"""Bodies on other machines: workers call the runner and are told what to do."""

from __future__ import annotations
