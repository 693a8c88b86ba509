"""The store in one SQLite file, the default."""

from __future__ import annotations
