"""The commands that messages name, ready to be typed in any folder.

Every command that a message names is composed here, by `command`: it begins as this
process was begun, names the store, and its names are quoted for a shell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ptsflow.cli.common import Common
from ptsflow.core.model import Cause, ContainerRecord, Status, TaskRecord
from ptsflow.core.secrets import HIDDEN
from ptsflow.core.sources import misfit_source
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.errors import PtsflowError, StoreURLError
from ptsflow.stores import absolute, mask, mask_in

#: The words of a command behind the program's name.
Words = list[str]


def command(common: Common, words: Iterable[str], *, folder: str | None = None) -> str:
    """Return a command as it is typed.

    Args:
        common: says which store.
        words: the command's name and arguments.
        folder: where it has to be typed; None for anywhere.
    """
    words = list(words)
    if not {"--store", "--help", "help"} & set(words):
        words += _store_words(common.url)
    there = "" if folder is None else f"cd {typed([folder])} && "
    return f"{there}{typed([*program(), *words])}"


def left_out(common: Common, words: Iterable[str]) -> list[str]:
    """Say what a command leaves out: passwords in URLs."""
    found = []
    if common.store is not None and mask(common.store) != common.store:
        found.append("the store's URL has a password: give it in PTSFLOW_STORE")
    if any(":***@" in word for word in words):
        found.append(
            "a parameter has a URL with a password, shown as ***: put it in, or declare "
            f"the parameter Secret[str] ({typed([*program(), 'help', 'steps'])})"
        )
    return found


def message_of(error: BaseException, common: Common) -> str:
    """Return an error's message; the command that ends it is ready to be typed."""
    text = str(error)
    if isinstance(error, PtsflowError) and error.command:
        text = text.removesuffix(error.typed_command) + command(common, error.command)
    return text


# -- the next thing to do -----------------------------------------------------


def after(
    record: ContainerRecord,
    failed: Iterable[TaskRecord],
    rerun: Callable[[], tuple[Words, str | None] | None],
) -> tuple[Words, str | None] | None:
    """Return the command to type after a run, and in which folder; None if there is none.

    Args:
        record: the container.
        failed: its failed tasks.
        rerun: returns the command that continues the run.
    """
    if record.status is Status.DONE:
        return ["show", record.name], None
    failed = list(failed)
    for task in failed:
        if task.cause is Cause.UNKNOWN:
            return ["mark", record.name, task.name, "done"], None
    for task in failed:
        source = misfit_source(task.error)
        if source:
            return reset(record, source), None
    return rerun()


def why(record: ContainerRecord, task: TaskRecord) -> Words:
    """Return the command that shows the attempts of a task, and where they failed."""
    return ["show", record.name, task.name]


def reset(record: ContainerRecord, name: str) -> Words:
    """Return the command that forgets what a step or a task did."""
    return ["reset", record.name, "--step", name, "-y"]


def rerun(
    record: ContainerRecord,
    parameters: Iterable[tuple[str, str]],
    more: Sequence[str] = (),
) -> tuple[Words, str | None] | None:
    """Return the command that runs a container again, and in which folder it is typed.

    Args:
        record: the container.
        parameters: names and values as they are typed.
        more: further options.

    Returns:
        None if nobody knows by which TARGET the container is run.
    """
    found = _target(record)
    if found is None:
        return None
    target, folder = found
    words = ["run", target]
    for name, text in parameters:
        words += ["-p", mask_in(f"{name}={text}")]
    return [*words, "-c", record.name, *more], folder


def stored_parameters(record: ContainerRecord) -> list[tuple[str, str]]:
    """Return the parameters of a container as they are typed."""
    return [
        # A secret is not stored; the variable is only a proposal.
        (name, f"env:{name.upper()}" if value == HIDDEN else parameter_text(value))
        for name, value in as_json.params(record).items()
    ]


def parameter_text(value: Any) -> str:
    """Return a rendered parameter as `-p` reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(map(_is_plain, value)):
        return ",".join(map(str, value))
    return str(value) if not isinstance(value, (list, dict)) else as_json.dumps(value)


def _is_plain(element: Any) -> bool:
    """Whether an element of a list may stand between commas."""
    if isinstance(element, str):
        return bool(element) and "," not in element and element[0] not in "[{"
    return isinstance(element, (int, float)) and not isinstance(element, bool)


def _target(record: ContainerRecord) -> tuple[str, str | None] | None:
    """Return the TARGET that a container is run by, and the folder where it is found."""
    of_file = f"{record.file}:{record.workflow}" if record.file else None
    target = record.target
    if target is None:
        return None if of_file is None else (of_file, None)
    place, _, _ = target.rpartition(":") if ":" in target else (target, "", "")
    if place.endswith(".py") or "/" in place:
        # A target that is not absolute was typed in a folder that nobody knows.
        known = target if Path(place).is_absolute() else of_file
        return None if known is None else (known, None)
    top = place.partition(".")[0]
    if _is_importable(top):
        return target, None
    if record.module == place == top and of_file and not _is_package(record.file):
        return of_file, None
    return target, _root_of(record) or str(Path.cwd())


def absolute_target(target: str) -> str:
    """Return a TARGET that means the same in every folder, if it names a file."""
    place, colon, name = target.rpartition(":") if ":" in target else (target, "", "")
    is_file = place.endswith(".py") or "/" in place
    return f"{Path(place).absolute()}{colon}{name}" if is_file else target


def _is_importable(top: str) -> bool:
    """Whether Python finds a module in whatever folder it is started."""
    from importlib.machinery import PathFinder  # noqa: PLC0415 - rarely used.

    here = str(Path.cwd())
    folders = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100 - "" too
    if PathFinder.find_spec(top, folders) is not None:
        return True
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    return any(finder.find_spec(top, None, None) for finder in others)


def _is_package(file: str) -> bool:
    return Path(file).name == "__init__.py"


def _root_of(record: ContainerRecord) -> str | None:
    """Return the folder that holds the top package of the module of a container's class."""
    if not record.file or not record.module:
        return None
    depth = record.module.count(".") + _is_package(record.file)
    return str(Path(record.file).parents[depth])


# -- spelling -----------------------------------------------------------------


def program() -> Words:
    """Return the words that begin `ptsflow` as this process was begun, in any folder."""
    called = Path(sys.argv[0])
    if called.name == "ptsflow":
        return [_found_as("ptsflow", str(called.absolute()))]
    options: list[str] = []
    if called.parts[-2:] == ("ptsflow", "__main__.py") and "-m" in sys.orig_argv:
        options = sys.orig_argv[1 : sys.orig_argv.index("-m")]
    return [_found_as(sys.orig_argv[0], sys.executable), *options, "-m", "ptsflow"]


def _found_as(name: str, place: str) -> str:
    """Return the name of a program if a shell finds the program by it, else its place."""
    import shutil  # noqa: PLC0415 - only at the end of a command.

    return name if "/" not in name and shutil.which(name) == place else place


def typed(words: Iterable[str]) -> str:
    """Return words quoted for a shell, on one line, without control characters."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if fmt.clean(word) == word:
        import shlex  # noqa: PLC0415 - 2 ms, only at the end of a command.

        return shlex.quote(word)
    escaped = fmt.clean(word.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{escaped}'"


def _store_words(url: str) -> Words:
    """Return the option that names a store in every folder, unless that tells a password."""
    if mask(url) != url:
        return []
    try:
        return ["--store", absolute(url)]
    except StoreURLError:
        return ["--store", url]
