"""Every block of README and of the manual is run; every name and link in them is real."""

from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import ptsflow
from ptsflow.cli.main import commands
from ptsflow.workflow.step_options import GivenOptions
from tests.crash import test_mutants
from tests.crash.mutants import MUTANTS
from tests.crash.test_mutants import CHECKS, IN_PROCESS, SERVER_CHECKS
from tests.crash.test_simulation import MUTANTS_OF_STORIES
from tests.docs.blocks import blocks_of, commands_of, environment
from tests.support.processes import ROOT

README = ROOT / "README.md"
MANUAL = ROOT / "ptsflow" / "manual"
TOPICS = sorted(MANUAL.glob("*.md"))
DOCUMENTS = [README, *TOPICS]
ARCHITECTURE = ROOT / "ptsflow" / "README.md"
FOR_DEVELOPERS = [ARCHITECTURE, ROOT / ".github" / "CONTRIBUTING.md"]


def text_of(topic: str) -> str:
    """Return the text of a topic of the manual."""
    return (MANUAL / f"{topic}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_block_runs(
    document: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    env = environment(tmp_path)
    (tmp_path / "flow.py").write_text(blocks_of(README)[0].text, encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for written in blocks_of(document):
        block = written
        if "mongodb://localhost/pts" in block.text and block.kind != "text":
            server = request.getfixturevalue("mongod_url").split("/")[2]
            text = block.text.replace("//localhost/pts", f"//{server}/{document.stem}")
            block = block._replace(text=text)
        for command in commands_of(block, tmp_path):
            done = subprocess.run(
                command,
                cwd=tmp_path,
                env=env,
                input="continue\n",  # for the debugger
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )

            assert done.returncode == 0, (
                f"{document.name}, line {block.line}: {done.stdout}{done.stderr}"
            )


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *FOR_DEVELOPERS], ids=lambda path: path.stem
)
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [
        link
        for link in links
        if not link.startswith("https://") and not (document.parent / link).exists()
    ]

    assert missing == []


def test_the_architecture_names_files_that_there_are() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:\.py|\.md|/))`", text)
    inside = [ROOT / "ptsflow" / name for name in named]

    assert [path for path in inside if not path.exists()] == []


def test_the_architecture_names_every_room() -> None:
    picture = blocks_of(ARCHITECTURE)[0].text
    rooms = {path.name for path in ARCHITECTURE.parent.iterdir() if path.is_dir()}

    assert rooms - {"__pycache__"} == set(re.findall(r"^(\w+)/", picture, re.MULTILINE))


def test_readme_links_every_topic() -> None:
    links = re.findall(r"\]\(ptsflow/manual/(\w+)\.md\)", README.read_text())

    assert sorted(links) == [path.stem for path in TOPICS]


@pytest.mark.parametrize("topic", [path.stem for path in TOPICS])
def test_a_topic_begins_with_its_title_and_what_it_says(topic: str) -> None:
    title, blank, sentence, *_ = text_of(topic).splitlines()

    assert title.startswith("# ")
    assert blank == ""
    assert sentence.endswith(".")
    assert len(sentence) <= 66, "ptsflow help shows it in 80 columns"


def command_words() -> Iterator[tuple[str, str]]:
    """Yield every command with each of its options' names."""
    context = click.Context(commands)
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    yield name, option


@pytest.mark.parametrize(("command", "option"), sorted(set(command_words())))
def test_the_manual_names_every_option_of_every_command(
    command: str, option: str
) -> None:
    text = text_of("cli")

    assert f"`ptsflow {command}" in text
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", text)


def names_in_step_and_retry() -> Iterator[tuple[str, str]]:
    """Yield a topic with each name that must be in it."""
    for name in ("after", "each", *GivenOptions.__annotations__):
        yield "steps", f"`{name}="
    for name in inspect.signature(ptsflow.Retry).parameters:
        yield "retries", name
    for name in ("progress", "track", "checkpoint", "processing_data", "cancelled"):
        yield "progress", f"task.{name}"
    for name in inspect.signature(ptsflow.run).parameters:
        if name != "workflow":
            yield "python", f"`{name}`"
    for name in ptsflow.Task.__struct_fields__:
        yield "python", f"`{name}`"


@pytest.mark.parametrize(("topic", "name"), sorted(set(names_in_step_and_retry())))
def test_the_manual_names_every_option_and_argument(topic: str, name: str) -> None:
    assert name in text_of(topic)


@pytest.mark.parametrize("name", ptsflow.__all__)
def test_the_manual_names_all_that_is_public(name: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]

    assert any(re.search(rf"\b{name}\b", text) for text in texts)


def test_each_promise_names_tests_and_mutants_that_exist() -> None:
    promises, tried = text_of("guarantees").split("## What happens after a crash")
    numbers = re.findall(r"^(\d)\. ", promises, re.MULTILINE)
    rows = re.findall(r"^\| (\d) .+?\| (.+) \| (.+) \|$", tried, re.MULTILINE)
    mutants = (MUTANTS.keys() - NO_MUTANTS) | IN_PROCESS.keys()

    assert [number for number, _, _ in rows] == numbers
    for _, tests, taken_out in rows:
        assert named(tests)
        assert named(taken_out)
        assert named(taken_out) <= mutants
    said = named(tried.split("## How each promise is tried")[1])
    files = {name for name in said if "/" in name}
    assert [name for name in files if not (ROOT / name).exists()] == []
    # No mutant is kept for nothing, and none is named that there is not.
    assert said - files == mutants


def test_each_mutant_is_noticed_by_a_test_that_its_promise_names() -> None:
    _, tried = text_of("guarantees").split("## How each promise is tried")
    *rows, others = re.findall(r"^\| \d .+\|$|^What is said .+$", tried, re.MULTILINE)

    for row in (*rows, others):
        for mutant in named(row) & noticed().keys():
            assert noticed()[mutant] & named(row), mutant
    assert noticed().keys() == (MUTANTS.keys() - NO_MUTANTS) | IN_PROCESS.keys()


def noticed() -> dict[str, set[str]]:
    """Return by mutant the files whose tests notice that the mechanism is taken out."""
    found: dict[str, set[str]] = {}
    checks = [(each.values[0], each.values[-1]) for each in (*CHECKS, *SERVER_CHECKS)]
    for mutant, check in checks:
        found.setdefault(str(mutant), set()).update(files_of(check))
    for mutant, (*_, check) in IN_PROCESS.items():
        found[mutant] = files_of(check)
    for mutant in MUTANTS_OF_STORIES:
        found[mutant].add("tests/crash/test_simulation.py")
    return found


def files_of(check: Any) -> set[str]:
    """Return the files of tests that a check is, or calls."""
    called = (vars(test_mutants).get(name) for name in check.__code__.co_names)
    modules = {check.__module__, *(getattr(each, "__name__", "") for each in called)}
    return {f"{name.replace('.', '/')}.py" for name in modules}


#: What is put into runners and takes nothing out.
NO_MUTANTS = {"plain", "skewed"}


def named(text: str) -> set[str]:
    """Return what stands in backticks."""
    return set(re.findall(r"`(.+?)`", text))
