"""Check every file of every installed Python package against its recorded hash.

    $ python -m ptsflow run examples/verify_packages.py
    $ python -m ptsflow run examples/verify_packages.py -p match="py*"

Of the bytecode that Python runs in a source's place no hash is recorded, so it is
compared with what the source compiles to.

Stop it in the middle, even with kill -9, and run it again: the packages that were
checked are not read again. What was found is in verify_packages.txt. To check anew what
is finished, add --fresh.

Compiling keeps Python busy, so the steps run in processes, which use all cores. To see
how long one takes, add --fresh --executor thread.
"""

from __future__ import annotations

import csv
import hashlib
import marshal
import os
import threading
import warnings
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import metadata
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

from ptsflow import TaskHandle, Workflow, step

CHUNK = 1 << 20
#: Bytecode comes behind its version, and the date and size of its source.
HEADER = 16
#: Of the threads of a process, one at a time may silence warnings.
QUIET = threading.Lock()


@dataclass
class Distribution:
    """An installed package."""

    name: str
    version: str


@dataclass
class Verdict:
    """What came of checking one package."""

    name: str
    version: str
    files: int
    #: How many of the files are sources whose bytecode was checked, too.
    compiled: int
    bytes: int
    problems: list[str]


@dataclass
class Summary:
    """What came of checking all of them."""

    packages: int
    files: int
    compiled: int
    bytes: int
    problems: int


class VerifyPackages(Workflow):
    """Checks the files of all installed packages."""

    container = "packages:{match}"
    executor = "process"
    #: Which packages to check.
    match: str = "*"
    #: Where to write what was found.
    report: Path = Path("verify_packages.txt")

    @step
    def distributions(self) -> list[Distribution]:
        """List the installed packages, the largest first.

        So no core is left alone with a large one in the end.
        """
        found: dict[str, metadata.Distribution] = {}
        for installed in metadata.distributions():
            name = installed.metadata["Name"]
            if name and fnmatchcase(name.lower(), self.match.lower()):
                # Python imports the first of two that have the same name.
                found.setdefault(name.lower(), installed)
        ordered = sorted(found.values(), key=source_size, reverse=True)
        return [Distribution(each.metadata["Name"], each.version) for each in ordered]

    @step(each=distributions, key="name")
    def verify(self, package: Distribution, task: TaskHandle) -> Verdict:
        """Read all files of a package, and note those that are not as recorded."""
        verdict = Verdict(package.name, package.version, 0, 0, 0, [])
        try:
            recorded = recorded_files(metadata.distribution(package.name))
        except (metadata.PackageNotFoundError, csv.Error, ValueError) as error:
            verdict.problems.append(f"its RECORD cannot be read: {error}")
            return verdict
        if not recorded:
            verdict.problems.append("no hashes were recorded")
        for path, expected, size in task.track(recorded):
            found, problem = check(path, expected, size)
            verdict.files += 1
            verdict.bytes += found
            if problem:
                verdict.problems.append(f"{path}: {problem}")
            elif bytecode := bytecode_of(path):
                verdict.compiled += 1
                if problem := check_bytecode(bytecode, path):
                    verdict.problems.append(f"{bytecode}: {problem}")
        return verdict

    @step
    def write_report(self, verify: list[Verdict]) -> Summary:
        """Write down what was found."""
        lines = []
        for verdict in sorted(verify, key=lambda verdict: verdict.name.lower()):
            outcome = "PROBLEMS" if verdict.problems else "ok"
            title = f"{verdict.name} {verdict.version}"
            checked = f"{verdict.files} files, {verdict.compiled} with bytecode"
            lines.append(f"{title}: {outcome}, {checked}")
            lines += [f"    {problem}" for problem in verdict.problems]
        self.report.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return Summary(
            packages=len(verify),
            files=sum(verdict.files for verdict in verify),
            compiled=sum(verdict.compiled for verdict in verify),
            bytes=sum(verdict.bytes for verdict in verify),
            problems=sum(len(verdict.problems) for verdict in verify),
        )


def recorded_files(installed: metadata.Distribution) -> list[tuple[Path, str, int]]:
    """Return the files of a package with the hash and size that were recorded."""
    record = csv.reader((installed.read_text("RECORD") or "").splitlines())
    return [
        (Path(str(installed.locate_file(path))), expected, int(size))
        for path, expected, size in record
        if expected
    ]


def source_size(installed: metadata.Distribution) -> int:
    """Return how many bytes of source a package has: they tell how long it takes."""
    try:
        recorded = recorded_files(installed)
    except (csv.Error, ValueError):
        return 0  # `verify` says it.
    return sum(size for path, _, size in recorded if path.suffix == ".py")


def check(path: Path, expected: str, size: int) -> tuple[int, str]:
    """Read a file; return its size, and what is wrong with it, if anything."""
    algorithm, _, digest = expected.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        return 0, f"its hash is of an unknown kind, {algorithm!r}"
    hashed = hashlib.new(algorithm)
    found = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
                found += len(chunk)
    except FileNotFoundError:
        return 0, "is missing"
    except OSError as error:
        return found, f"cannot be read: {error.strerror}"
    if found != size:
        return found, f"has {found} bytes, {size} were recorded"
    if urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode() != digest:
        return found, f"its {algorithm} is not the recorded one"
    return found, ""


def bytecode_of(source: Path) -> Path | None:
    """Return what this Python can run in place of a source, if it is there."""
    if source.suffix != ".py":
        return None
    path = Path(cache_from_source(source))
    return path if os.access(path, os.R_OK) else None


def check_bytecode(path: Path, source: Path) -> str:
    """Return what is wrong with the bytecode of a source, if anything."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not data.startswith(MAGIC_NUMBER):
        return "is not of this version of Python"
    try:
        found = marshal.loads(data[HEADER:])  # noqa: S302 - it is compared, never run
    except (EOFError, TypeError, ValueError) as error:
        return f"is no bytecode: {error}"
    try:
        with QUIET, warnings.catch_warnings(action="ignore"):
            expected = compile(source.read_bytes(), source, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"cannot be of its source, which does not compile: {error}"
    return "" if found == expected else "is not what its source compiles to"
