"""The store in MongoDB, for several machines."""

from __future__ import annotations
