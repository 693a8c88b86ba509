"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an empty folder with a store of its own."""
    return Place(tmp_path)
