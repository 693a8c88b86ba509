"""The listeners that a project's settings give to every `ptsflow run`.

`$PTSFLOW_LISTENERS`, or else `[tool.ptsflow] listeners` in the nearest `pyproject.toml`
from the current folder upwards, names functions as `package.module:make`. Each function
is called once a run, without arguments, and returns a listener.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from ptsflow.core.texts import one_line
from ptsflow.errors import LoadError
from ptsflow.events import Listener
from ptsflow.host.termination import Terminated

_VARIABLE = "PTSFLOW_LISTENERS"
_SETTING = "[tool.ptsflow] listeners"


def configured_listeners() -> list[Listener]:
    """Return the listeners that the environment or the project names.

    Raises:
        LoadError: a listener cannot be loaded, or the setting is no list of names.
    """
    given = os.environ.get(_VARIABLE)
    if given is not None:
        names = [name.strip() for name in given.split(",") if name.strip()]
        return [_make(name, f"${_VARIABLE}", Path.cwd()) for name in names]
    file = _project(Path.cwd())
    if file is None:
        return []
    return [_make(name, f"{file}: {_SETTING}", file.parent) for name in _names(file)]


def _project(folder: Path) -> Path | None:
    """Return the `pyproject.toml` of the folder, or of the nearest folder above it."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        with contextlib.suppress(OSError):  # A folder above may be closed to this user.
            if file.is_file():
                return file
    return None


def _names(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
        if "ptsflow" not in text or "listeners" not in text:
            return []
        import tomllib  # noqa: PLC0415 - 3 ms, only for a project that may name some

        found: Any = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise LoadError(
            f"{file}: {_SETTING} cannot be read: {one_line(error)}"
        ) from error
    for key in ("tool", "ptsflow", "listeners"):
        found = found.get(key, []) if isinstance(found, dict) else found
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    raise LoadError(
        f"{file}: {_SETTING}: expected a list such as "
        f'["package.module:make"], found {found!r}'
    )


def _make(name: str, where: str, folder: Path) -> Listener:
    """Return what the function of that name returns; its module may be in the folder."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise LoadError(f"{where}: expected package.module:make, found {name!r}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found: Any = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
        listener = found()
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        raise LoadError(
            f"{where}: the listener {name} cannot be loaded: {one_line(error)}; expected "
            "a function without arguments that returns a listener"
        ) from error
    if callable(listener):
        made: Listener = listener
        return made
    raise LoadError(
        f"{where}: {name} returned {type(listener).__name__}; expected a listener, "
        "which is a function that takes an event"
    )
