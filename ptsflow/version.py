"""The version of ptsflow, which workers of a cluster must have as the runner has it."""

from __future__ import annotations

VERSION = "0.1.0"
