"""The command line: one module for each family of commands."""

from __future__ import annotations

from ptsflow.host.garbage import modules_stay

with modules_stay():
    from ptsflow.cli.main import main

__all__ = ["main"]
