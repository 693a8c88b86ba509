"""Bodies on other machines: cluster workers connect to the runner and get attempts."""

from __future__ import annotations
