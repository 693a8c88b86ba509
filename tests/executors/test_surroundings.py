"""Bodies in processes run as bodies in threads do: folder, interpreter, module."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PTSFLOW, environment, python

FLAGS = """
import sys
import ptsflow
from ptsflow import Workflow, step

class Flags(Workflow):
    @step
    def look(self) -> list:
        flags = sys.flags
        return [flags.optimize, flags.utf8_mode, flags.dev_mode, flags.isolated,
                list(sys.warnoptions)]

if __name__ == "__main__":
    sys.path.insert(0, __PATH__)
    seen = [ptsflow.run(Flags(), store="memory:", executor=executor).result("look")
            for executor in ("thread", "process")]
    print("same" if seen[0] == seen[1] else seen)
"""


@pytest.mark.parametrize(
    "flags",
    [["-O"], ["-X", "utf8"], ["-X", "dev"], ["-W", "error"], ["-I"], []],
    ids=" ".join,
)
def test_processes_have_the_interpreters_options(
    flags: list[str], tmp_path: Path
) -> None:
    text = FLAGS.replace("__PATH__", repr(environment()["PYTHONPATH"]))
    (tmp_path / "flow.py").write_text(text)
    done = python(*flags, "flow.py", cwd=tmp_path)

    assert done.stdout == "same\n", done.stderr


MOVES = """
import os, tempfile
from ptsflow import Workflow, step

class Moves(Workflow):
    remove: bool

    @step
    def prepare(self) -> None:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        if self.remove:
            os.rmdir(folder)

    @step(executor="process", retry=0)
    def work(self) -> str:
        where = os.getcwd()
        os.chdir("/")
        return where

    @step(executor="process", retry=0)
    def again(self) -> str:
        return os.getcwd()
"""


@pytest.mark.parametrize("remove", [False, True])
def test_processes_begin_in_the_folder_of_the_run(
    remove: bool,  # noqa: FBT001 - a case
    tmp_path: Path,
) -> None:
    (tmp_path / "flow.py").write_text(MOVES)
    (tmp_path / "main.py").write_text(
        "import ptsflow\nfrom flow import Moves\n"
        f"report = ptsflow.run(Moves(remove={remove!r}), store='memory:')\n"
        "print(report.result('work'), report.result('again'), sep='\\n')\n"
    )
    done = python("main.py", cwd=tmp_path)

    assert done.stdout.split() == [str(tmp_path.resolve())] * 2, done.stderr


DOTTED = """
import concurrent.futures, multiprocessing
from ptsflow import Workflow, step

def helper(number):
    return number

class Load(Workflow):
    @step(retry=0)
    def load(self) -> int:
        fork = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(1, fork) as pool:
            return pool.submit(helper, 1).result(20)
"""


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("name", ["flow.v2.py", "json.v2.py", "flow-2.py", "a.b.c.py"])
def test_a_file_may_have_dots_in_its_name(
    name: str, executor: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(DOTTED)
    (tmp_path / "flow.py").write_text(DOTTED)
    done = subprocess.run(
        [*PTSFLOW, "run", name, "--executor", executor],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_a_workflow_that_a_process_cannot_import_fails_once(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import os\nfrom ptsflow import Retry, Workflow, step\n"
        "if 'FIRST' not in os.environ:\n    os.environ['FIRST'] = '1'\n"
        "else:\n    raise OSError('no licence')\n"
        "class Load(Workflow):\n    executor = 'process'\n"
        "    @step(retry=Retry(9, delay=60))\n    def load(self) -> None: ...\n"
    )
    done = subprocess.run(
        [*PTSFLOW, "run", "flow.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "importing it failed: OSError: no licence" in done.stderr
