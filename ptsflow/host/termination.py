"""The end of a command by SIGTERM."""

from __future__ import annotations


class Terminated(SystemExit):
    """SIGTERM ends a command; a user's module that exits as it is imported raises another."""
