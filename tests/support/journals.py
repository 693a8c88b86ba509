"""Journals that bodies write beside the store, for what no store can be asked."""

from __future__ import annotations

import os
from pathlib import Path


def append(journal: str | Path, *words: object) -> None:
    """Append a line with one write, so that no crash tears it."""
    number = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(number, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(number)


def read(journal: str | Path) -> list[list[str]]:
    """Return the words of each line; none where nothing was written yet."""
    path = Path(journal)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split(" ") for line in lines]
