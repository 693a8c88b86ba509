"""What people see: text and tables made from stores and events, never the runner."""

from __future__ import annotations
