"""What a process loads: no more than what it was begun for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ptsflow
from tests.support.processes import python

_PRINT = "import sys, json; print(json.dumps(sorted(sys.modules)))"


def loaded_by(code: str, folder: Path) -> set[str]:
    """Return the modules that are loaded after `code` in a new process."""
    ended = python("-c", f"{code}\n{_PRINT}", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_a_file_of_workflows_loads_neither_runner_nor_client_nor_store(
    tmp_path: Path,
) -> None:
    loaded = loaded_by("from ptsflow import TaskHandle, Workflow, step", tmp_path)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("ptsflow.")}

    assert not rooms & {"cli", "client", "display", "events", "executors", "runner"}
    assert not loaded & {"apsw", "asyncio", "click", "cronsim", "pymongo", "rich"}


@pytest.mark.parametrize("name", ptsflow.__all__)
def test_every_public_name_is_found_in_every_way(name: str, tmp_path: Path) -> None:
    loaded_by(f"from ptsflow import {name}", tmp_path)
    loaded_by(f"import ptsflow; ptsflow.{name}", tmp_path)

    assert name in dir(ptsflow)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'flows'"):
        ptsflow.__getattr__("flows")

    with pytest.raises(ImportError, match="flows"):
        exec("from ptsflow import flows", {})  # noqa: S102


def test_a_command_loads_no_other_command(tmp_path: Path) -> None:
    loaded = loaded_by(
        "from ptsflow.cli.main import call\n"
        "assert call(['list', '--store', 'sqlite:///none.db']) == 0",
        tmp_path,
    )
    commands = {"change", "failures", "help", "history", "logs", "resume", "retry"}
    commands |= {"run", "show", "store"}

    assert "ptsflow.cli.listing" in loaded
    assert not loaded & {f"ptsflow.cli.{name}" for name in commands}


def test_a_run_without_hooks_loads_nothing_for_them(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import ptsflow\n"
        "class Flow(ptsflow.Workflow):\n"
        "    @ptsflow.step\n"
        "    def work(self) -> int:\n"
        "        return 1\n"
    )
    loaded = loaded_by(
        "import ptsflow, flow\nassert ptsflow.run(flow.Flow(), 'memory:').ok", tmp_path
    )

    assert "ptsflow.runner.session" in loaded
    assert not loaded & {"ptsflow.runner.hooks", "urllib.request", "subprocess"}
