"""From `package.module:Class` or `path/file.py:Class` to the class."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from ptsflow.core import texts
from ptsflow.core.names import listed, similar
from ptsflow.errors import DeclarationError, LoadError, PtsflowError
from ptsflow.host import paths
from ptsflow.host.termination import Terminated

#: True while a worker process imports the workflow's module. A run that begins meanwhile
#: belongs to a script that calls `run` whenever it is imported.
is_for_bodies = False
#: The longest name of a file that a refusal repeats, in characters.
_LONGEST_SHOWN = 200


class Reference(Struct, frozen=True):
    """Where a class is found again by another process."""

    module: str
    #: The module's file, where it was not found on the import path.
    file: str | None
    name: str


def refer(kind: type) -> Reference:
    """Return where `kind` is found again.

    Raises:
        LoadError: nowhere, as it was made inside a function.
    """
    if "<locals>" in kind.__qualname__:
        raise LoadError(
            f"{kind.__qualname__}: a class made inside a function cannot be found by "
            "another process; move it to the top of its module"
        )
    module = sys.modules[kind.__module__]
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    if spec is not None and _is_found(spec.name):
        return Reference(spec.name, None, kind.__qualname__)
    if file is None:
        raise LoadError(
            f"{kind.__qualname__}: its module {module.__name__} has no file, and cannot "
            "be found by another process; put it into one"
        )
    return Reference(module.__name__, str(Path(file).resolve()), kind.__qualname__)


def _is_found(name: str) -> bool:
    """Whether another process that imports the name finds what it means here."""
    # Not by importlib.util.find_spec, which answers from what is loaded already.
    top = name.partition(".")[0]
    specs = (finder.find_spec(top, None, None) for finder in sys.meta_path)
    found = next((spec for spec in specs if spec is not None), None)
    if found is None:
        return False
    here = getattr(sys.modules.get(top), "__file__", None)
    return found.origin is None or here is None or found.origin == here


def find(reference: Reference) -> type:
    """Return the class that `refer` referred to, in another process.

    Raises:
        LoadError: it is not there.
    """
    if reference.file is not None:
        module = _load_file(reference.file)
    else:
        module = _load_module(reference.module, reference.module)
    found: object = module
    for part in reference.name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type):
        return found
    why = "there is no such class"
    if reference.module == "__main__":
        why = (
            "a class in the __main__ of a zip or a folder cannot be found by another "
            "process; move it into a module beside it"
        )
    raise LoadError(f"{reference.module}:{reference.name}: {why}")


def load(target: str, base: type) -> type:
    """Return the class that TARGET names: a subclass of `base`.

    The folder of a file, and the current folder for a module, come first on the
    import path, as with `python file.py` and `python -m module`.

    Args:
        target: `package.module:Class` or `path/file.py:Class`; the class may be left
            out where the module defines one.
        base: what the class must derive from.

    Raises:
        LoadError: there is no such file, module or class, or importing it failed.
    """
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    if not place:
        raise LoadError(
            f"{target!r} names no module; TARGET is package.module:Class or "
            "path/file.py:Class"
        )
    return _pick(_load(place, target), name, base, place)


def is_module(name: str) -> bool:
    """Whether Python finds a module, or its package, from the current folder."""
    top = name.partition(".")[0]
    with contextlib.suppress(ImportError, ValueError, OSError):
        return PathFinder.find_spec(top, [str(Path.cwd()), *sys.path]) is not None
    return False


def workflows_of(place: str, base: type) -> list[str]:
    """Return the names of the workflows of a file or a module.

    Raises:
        LoadError: there is no such file or module, or importing it failed.
    """
    return list(_found_in(_load(place, place), base))


def _load(place: str, target: str) -> ModuleType:
    is_file = place.endswith(".py") or "/" in place
    return _load_file(place) if is_file else _load_module(place, target)


def _found_in(module: ModuleType, base: type) -> dict[str, type]:
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }


def _load_file(place: str) -> ModuleType:
    try:
        path = paths.resolved(place)
    except paths.PathError as error:
        raise LoadError(f"{texts.cut(place, _LONGEST_SHOWN)}: {error}") from None
    if not path.is_file():
        raise LoadError(f"{place}: no such file; TARGET is path/file.py:Class")
    # A dot in a module's name would mean a package.
    name = path.stem.replace(".", "_")
    other = f"ptsflow_target_{name}"
    _refuse_hiding(name, path, place)
    for loaded in (sys.modules.get(name), sys.modules.get(other)):
        if loaded is not None and getattr(loaded, "__file__", None) == str(path):
            return loaded
    if name in sys.modules or name in sys.stdlib_module_names:
        name = other
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{place}: not a Python file; TARGET is path/file.py:Class")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _import_failed(place, error) from error
    return module


def _refuse_hiding(name: str, path: Path, place: str) -> None:
    """Refuse a file that others will import instead of a module of Python.

    Raises:
        LoadError: it has the name of such a module, which is not loaded yet.
    """
    loaded = getattr(sys.modules.get(name), "__file__", str(path))
    if name in sys.stdlib_module_names and loaded == str(path):
        raise LoadError(
            f"{place}: it is named like Python's own module {name}, and hides that from "
            "all that import it; rename the file"
        )


def _load_module(place: str, target: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place + ".").startswith(error.name + "."):
            raise LoadError(
                f"{target}: no module {error.name!r} is found from {Path.cwd()}; "
                "TARGET is package.module:Class or path/file.py:Class"
            ) from error
        raise _import_failed(place, error) from error
    except BaseException as error:
        raise _import_failed(place, error) from error


def _import_failed(place: str, error: BaseException) -> BaseException:
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return error
    where = _place_of(error)
    # What ptsflow itself refuses is clear enough as it is.
    if isinstance(error, DeclarationError):
        return DeclarationError(f"{error}{where}")
    if isinstance(error, PtsflowError):
        return error
    text = str(error).split("\n")[0]
    if isinstance(error, ImportError) and text.startswith(_RELATIVE):
        return LoadError(f"{place}: {_as_module(place)}{where}")
    if isinstance(error, SyntaxError):
        text = error.msg
    text += _hint(error)
    kind = type(error).__name__
    return LoadError(f"{place}: importing it failed: {kind}: {text}{where}")


#: What Python says if a file that was loaded by its path imports relatively.
_RELATIVE = "attempted relative import with no known parent package"


def _hint(error: BaseException) -> str:
    """Say which step is in the way of a class that cannot be made, or nothing."""
    trace = error.__traceback__
    if not isinstance(error, TypeError) or trace is None:
        return ""
    import builtins  # noqa: PLC0415 - only for a refusal
    import linecache  # noqa: PLC0415 - only for a refusal

    from ptsflow.workflow.step import Step  # noqa: PLC0415 - only for a refusal

    hint = ""
    while trace is not None:
        code, line = trace.tb_frame.f_code, trace.tb_lineno
        here, below = (
            linecache.getline(code.co_filename, number).lstrip()
            for number in (line, line + 1)
        )
        if here.startswith("@") and below.startswith("@step"):
            hint = "; put @step above the other decorators"
        for name, value in trace.tb_frame.f_locals.items():
            if isinstance(value, Step) and hasattr(builtins, name) and name in here:
                hint = (
                    f"; {name} is the step named {name} here; name the step otherwise"
                )
        trace = trace.tb_next
    return hint


def _place_of(error: BaseException) -> str:
    """Return file and line of what users wrote, where the error was raised, or nothing."""
    import traceback  # noqa: PLC0415 - 2 ms, only for a refusal

    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_shown(error.filename)}:{error.lineno})"
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", _OWN))
    ]
    # The last line that users wrote tells them more than one of a library.
    installed = tuple(
        f"{Path(prefix).resolve()}/lib" for prefix in (sys.prefix, sys.base_prefix)
    )
    theirs = [frame for frame in frames if not frame[0].startswith(installed)]
    found = theirs or frames
    return f" ({_shown(found[-1][0])}:{found[-1][1]})" if found else ""


#: The folder of ptsflow.
_OWN = f"{Path(__file__).parent.parent}/"


def _shown(file: str) -> str:
    """Return the path of a file, from the current folder if it lies there."""
    with contextlib.suppress(ValueError, OSError):
        return str(Path(file).relative_to(Path.cwd()))
    return file


def _as_module(place: str) -> str:
    """Say how a file that imports relatively is to be named."""
    path = paths.resolved(place)
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) == 1:
        # A folder below the current one is a package without a file that says so.
        with contextlib.suppress(ValueError, OSError):
            above = path.parent.relative_to(Path.cwd()).parts
            names, folder = [*above, *names], Path.cwd() if above else folder
    what = "it imports relatively, as only a module of a package can; "
    if len(names) == 1:
        return f"{what}import what lies beside it by its name, without the dot"
    module = ".".join(name for name in names if name != "__init__")
    where = "" if _shown(str(folder)) == "." else f" in the folder {folder}"
    return f"{what}type {module} instead of {place}{where}"


def _pick(module: ModuleType, name: str, base: type, place: str) -> type:
    found = _found_in(module, base)
    if name:
        if name in found:
            return found[name]
        other = getattr(module, name, None)
        what = "is not a Workflow" if other is not None else "is not there"
        raise LoadError(
            f"{place}: {name!r} {what}{similar(name, found)}; "
            f"its workflows: {listed(found, name) or 'none'}"
        )
    own = {
        value: key
        for key, value in found.items()
        if value.__module__ == module.__name__
    }
    # A base without steps is there for the others.
    own = {
        kind: key for kind, key in own.items() if getattr(kind, "declared_steps", True)
    } or own
    if len(own) == 1:
        return next(iter(own))
    if not own:
        raise LoadError(f"{place}: it defines no Workflow class")
    raise LoadError(
        f"{place}: it defines {len(own)} workflows; "
        f"say which: {', '.join(f'{place}:{key}' for key in own.values())}"
    )
