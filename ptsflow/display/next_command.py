"""The commands that messages name, ready to be typed in any folder.

Every command that a message names is composed here, by `command`: it begins as this
process was begun, names the store, and its names are quoted for a shell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ptsflow.core.container_fit import parameters_of
from ptsflow.core.model import Cause, ContainerRecord, Status, TaskRecord
from ptsflow.core.secrets import HIDDEN, source_of
from ptsflow.core.sources import misfit_source
from ptsflow.display import format as fmt
from ptsflow.errors import StoreURLError
from ptsflow.stores import absolute, mask

#: The words of a command behind the program's name.
Words = list[str]
#: The commands behind which names stand first, and then options.
_OF_A_CONTAINER = frozenset({"cancel", "mark", "reset", "show", "watch"})


def command(url: str, words: Iterable[str], *, folder: str | None = None) -> str:
    """Return a command as it is typed.

    Args:
        url: where the store is.
        words: the command's name and arguments.
        folder: where it has to be typed; None for anywhere.
    """
    first, *more = words
    # Names of a container and a task, which may look like options.
    count = {"reset": 1}.get(first, len(more)) if first in _OF_A_CONTAINER else 0
    names, options = more[:count], more[count:]
    if first != "help" and not {"--store", "--help"} & set(options):
        options += _store_words(url)
    is_like_option = any(name.startswith("-") for name in names)
    rest = [*options, "--", *names] if is_like_option else [*names, *options]
    there = "" if folder is None else f"cd {typed([folder])} && "
    return f"{there}{typed([*program(), first, *rest])}"


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


class Remedies(NamedTuple):
    """What can be done about a container, by what is known of its tasks."""

    #: Those that are no items, and the first of the failed ones.
    tasks: Sequence[TaskRecord]
    #: The steps whose code changed since they ran.
    changed: Sequence[str]
    #: The tasks that were made from other results than their sources have now.
    outdated: Sequence[str]


def advice(
    record: ContainerRecord, found: Remedies
) -> tuple[Words | None, tuple[Words, str | None] | None]:
    """Return the command that says why a task failed, and the command to type next.

    Args:
        record: the container, with the status that it has; nobody runs it.
        found: what can be done about it.
    """
    if record.workflow is None:
        return None, None
    failed = [task for task in found.tasks if task.has_failed]
    again = partial(rerun, record)
    is_done = record.status is Status.DONE
    reason = why(record, failed[0]) if failed and not is_done else None
    if found.outdated:
        return reason, (reset(record, found.outdated[0]), None)
    if found.changed:
        return reason, again(["--changed"])
    return reason, None if is_done else after(record, failed, again)


def why(record: ContainerRecord, task: TaskRecord) -> Words:
    """Return the command that shows the attempts of a task, and where they failed."""
    return ["show", record.name, task.name]


def reset(record: ContainerRecord, name: str) -> Words:
    """Return the command that forgets what a step or a task did."""
    return ["reset", record.name, "--step", name, "-y"]


def rerun(
    record: ContainerRecord, more: Sequence[str] = ()
) -> tuple[Words, str | None] | None:
    """Return the command that runs a container again, and in which folder it is typed.

    Args:
        record: the container.
        more: further options.

    Returns:
        None if nobody knows by which TARGET the container is run.
    """
    found = _target(record)
    if found is None:
        return None
    target, folder = found
    words = ["run", target, "-c", record.name, "--stored"]
    for name, source in secrets_of(record):
        words += ["-p", f"{name}={source}"]
    return [*words, *more], folder


def secrets_of(record: ContainerRecord) -> list[tuple[str, str]]:
    """Return the secret parameters of a container, each with where it can come from."""
    found: list[tuple[str, str]] = []
    for name, text in parameters_of(record).items():
        source = source_of(text)
        if source is not None:
            # Where a value came from that was given as such is only a proposal.
            found.append((name, f"env:{name.upper()}" if source == HIDDEN else source))
    return found


class Continuation(NamedTuple):
    """The command that runs the unfinished containers of a workflow."""

    workflow: str
    #: How many containers that are.
    unfinished: int
    words: Words
    #: Where it is typed; None for anywhere.
    folder: str | None


def continuations(records: Iterable[ContainerRecord]) -> list[Continuation]:
    """Return the command for each workflow that unfinished containers belong to."""
    groups: dict[tuple[str, ...], list[ContainerRecord]] = {}
    for record in records:
        if record.workflow is not None:
            place = (record.target or "", record.module, record.file)
            groups.setdefault((record.workflow, *place), []).append(record)
    found: list[Continuation] = []
    for (workflow, *_), of_one in groups.items():
        command = _for_all(of_one)
        if command is not None:
            found.append(Continuation(workflow, len(of_one), *command))
    return found


def _for_all(records: Sequence[ContainerRecord]) -> tuple[Words, str | None] | None:
    """Return the command that runs containers of one workflow again."""
    if len(records) == 1:
        return rerun(records[0])
    found = _target(records[0])
    if found is None:
        return None
    secrets = dict(secret for record in records for secret in secrets_of(record))
    given = [word for item in secrets.items() for word in ("-p", "=".join(item))]
    return ["resume", found[0], *given], found[1]


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
    above = Path(record.file).parents
    return str(above[depth]) if depth < len(above) else None


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
    if "/" in name:
        return place
    # As `shutil.which` does, which takes 7 ms to load.
    named = (Path(folder, name) for folder in os.get_exec_path())
    first = next((p for p in named if p.is_file() and os.access(p, os.X_OK)), None)
    return name if str(first) == place else place


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
