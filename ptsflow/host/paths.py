"""Paths that users name, and what can be wrong with them."""

from __future__ import annotations

import contextlib
from pathlib import Path


class PathError(ValueError):
    """Says what is wrong with a path, and what to do."""


def size_of(path: Path) -> int | None:
    """Return how long a file is, in bytes; None if it is not there (any more)."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def resolved(name: str) -> Path:
    """Return the absolute path without symbolic links; nothing needs to be there.

    Raises:
        PathError: there can never be a file, or its name cannot be stored.
    """
    try:
        path = Path(name).resolve()
        str(path).encode()
        with contextlib.suppress(
            FileNotFoundError, NotADirectoryError, PermissionError
        ):
            path.stat()
    except FileNotFoundError:
        raise PathError(
            "the current folder was removed; go to one that is there (cd)"
        ) from None
    except UnicodeEncodeError:
        raise PathError(
            "its path is not UTF-8; rename the file or the folder (mv), or name another"
        ) from None
    except RuntimeError:  # Before Python 3.13; later ones raise OSError.
        raise PathError("it is a loop of symbolic links; name another file") from None
    except OSError as error:
        raise PathError(f"{error.strerror}; name another file") from None
    return path
