"""Check every file of every installed Python package against its recorded hash.

    $ python -m ptsflow run examples/verify_packages.py
    $ python -m ptsflow run examples/verify_packages.py -p match="py*"

Stop it in the middle, even with kill -9, and run it again: the packages that were
checked are not read again. What was found is in verify_packages.txt. To check anew what
is finished, add --fresh.
"""

from __future__ import annotations

import csv
import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from ptsflow import TaskHandle, Workflow, step

CHUNK = 1 << 20


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
    bytes: int
    problems: list[str]


@dataclass
class Summary:
    """What came of checking all of them."""

    packages: int
    files: int
    bytes: int
    problems: int


class VerifyPackages(Workflow):
    """Checks the files of all installed packages."""

    container = "packages:{match}"
    #: Which packages to check.
    match: str = "*"
    #: Where to write what was found.
    report: Path = Path("verify_packages.txt")

    @step
    def distributions(self) -> list[Distribution]:
        """List the installed packages."""
        found: dict[str, Distribution] = {}
        for installed in metadata.distributions():
            name = installed.metadata["Name"]
            if name and fnmatchcase(name.lower(), self.match.lower()):
                # Python imports the first of two that have the same name.
                found.setdefault(name.lower(), Distribution(name, installed.version))
        return [found[name] for name in sorted(found)]

    @step(each=distributions, key="name")
    def verify(self, package: Distribution, task: TaskHandle) -> Verdict:
        """Read all files of a package, and note those that are not as recorded."""
        verdict = Verdict(package.name, package.version, 0, 0, [])
        try:
            recorded = recorded_files(package.name)
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
        return verdict

    @step
    def write_report(self, verify: list[Verdict]) -> Summary:
        """Write down what was found."""
        lines = []
        for verdict in verify:
            outcome = "PROBLEMS" if verdict.problems else "ok"
            title = f"{verdict.name} {verdict.version}"
            lines.append(f"{title}: {outcome}, {verdict.files} files")
            lines += [f"    {problem}" for problem in verdict.problems]
        self.report.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return Summary(
            packages=len(verify),
            files=sum(verdict.files for verdict in verify),
            bytes=sum(verdict.bytes for verdict in verify),
            problems=sum(len(verdict.problems) for verdict in verify),
        )


def recorded_files(name: str) -> list[tuple[Path, str, int]]:
    """Return the files of a package with the hash and size that were recorded."""
    installed = metadata.distribution(name)
    record = csv.reader((installed.read_text("RECORD") or "").splitlines())
    return [
        (Path(str(installed.locate_file(path))), expected, int(size))
        for path, expected, size in record
        if expected
    ]


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
